"""The key that signs the lab's package repositories; made by `up`, removed by `down`."""

from __future__ import annotations

from pathlib import Path

from lab import paths, proc, state
from lab.errors import LabError

_OWNER = "Package repositories of the lab <lab@localhost>"


def public_path() -> Path:
    """File of the public key, ASCII-armored, for `repository_keys`."""
    return paths.state() / "repositories.asc"


def public_key() -> str:
    """The public key, ASCII-armored; LabError before `ensure`."""
    try:
        return public_path().read_text()
    except OSError:
        raise LabError(f"{public_path()} is not there; run `barewind lab up`") from None


def ensure() -> None:
    """Make the key unless it is there."""
    if public_path().exists() and _home().exists():
        return
    _home().mkdir(parents=True, mode=0o700, exist_ok=True)
    _gpg("--passphrase", "", "--quick-generate-key", _OWNER, "ed25519", "sign", "never")
    state.write_text(public_path(), _gpg("--armor", "--export"))


def sign(release: Path) -> None:
    """Write InRelease and Release.gpg beside a Release file."""
    _gpg("--yes", "--clearsign", "--output", str(release.with_name("InRelease")), str(release))
    _gpg("--yes", "--armor", "--detach-sign", "--output", str(release.with_name("Release.gpg")), str(release))


def stop_agent() -> None:
    """End the agent that GnuPG leaves running."""
    proc.run(["gpgconf", "--homedir", str(_home()), "--kill", "gpg-agent"], check=False)


def _home() -> Path:
    return paths.state() / "gnupg"


def _gpg(*words: str) -> str:
    return proc.run(["gpg", "--batch", "--quiet", "--homedir", str(_home()), *words]).stdout
