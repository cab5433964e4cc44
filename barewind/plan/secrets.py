"""Secrets of an engine: how its container gets them from a file of the host, so that no argument, unit or inspection shows them.

systemd opens the file as the standard input of `docker run`, which hands it on into the container. There a shell reads
NAME=VALUE lines, exports them, and becomes the engine. Docker knows nothing of them: its own `--env-file` would have them in
`docker inspect`.
"""

from __future__ import annotations

import shlex

from barewind import secrets
from barewind.engines import ENGINES
from barewind.errors import BarewindError
from barewind.plan.names import RELEASES
from barewind.spec.keys import EngineSpec

OPTIONS = ("--interactive", "--entrypoint=/bin/sh")  # of `docker run`; every image that serves has a shell
_KEY = "engine_secrets"
_END = "."  # the last line: without it some did not arrive, and an engine without its key would serve everybody
# An engine must not find the rest of what was its input: it starts with none.
LAUNCH = (
    f'while IFS= read -r barewind_line && [ "$barewind_line" != {_END} ]; do '
    'case $barewind_line in \\#*) ;; *) export "$barewind_line" ;; esac; done; '
    f'[ "$barewind_line" = {_END} ] || {{ echo "the secrets of this release did not arrive whole" >&2; exit 78; }}; '
    'exec "$@" < /dev/null'
)


def fingerprints(spec: EngineSpec) -> dict[str, str]:
    """What tells whether a host's secrets are others than before, by the name of the variable; nothing tells the secrets.

    Raises:
        BarewindError: a file cannot be read, or others can read it.
    """
    return {name: secrets.fingerprint(name, secret) for name, secret in _read(spec).items()}


def arguments(spec: EngineSpec, argv: list[str]) -> list[str]:
    """What follows the image in `docker run`, for an engine whose own arguments are `argv`."""
    if not spec.engine_secrets:
        return argv
    engine = ENGINES[spec.engine]
    return ["-c", LAUNCH, "barewind-secrets", *engine.image_entrypoint, *argv]


def file_path(release: str) -> str:
    """Where a host keeps the secrets of a release, for root alone: as long as the release can be rolled back to."""
    return f"{RELEASES}/{release}.secrets"


def file_content(spec: EngineSpec, planned: dict[str, str]) -> str:
    """The text of that file. `planned`: the fingerprints that the release was planned with.

    They stand in it as well, so that its SHA-256, which facts show, is no means to guess a secret by.

    Raises:
        BarewindError: a file cannot be read, or was changed since the plan was made.
    """
    values = _read(spec)
    marks = {name: secrets.fingerprint(name, secret) for name, secret in values.items()}
    if marks != planned:
        raise BarewindError(f"{spec.host}: a file of '{_KEY}' was changed while this ran; run it again.")
    lines = [f"# {mark}" for mark in marks.values()] + [f"{name}={secret}" for name, secret in values.items()]
    return "".join(f"{line}\n" for line in [*lines, _END])


def header(engine: str, names: tuple[str, ...], release: str) -> str | None:
    """Shell command that prints the HTTP header with which an engine lets its own host in; None where it asks for none."""
    variable = ENGINES[engine].api_key_variable
    if variable is None or variable not in names:
        return None
    return f"sed -n {shlex.quote(f's/^{variable}=/Authorization: Bearer /p')} {shlex.quote(file_path(release))}"


def client_key(engine: str, names: tuple[str, ...], release: str, variable: str) -> str:
    """Shell command that prints what `LAUNCH` reads: the engine's key as the value of `variable`, if it wants one."""
    own = ENGINES[engine].api_key_variable
    if own is None or own not in names:
        return f"echo {_END}"
    return f"{{ sed -n {shlex.quote(f's/^{own}=/{variable}=/p')} {shlex.quote(file_path(release))}; echo {_END}; }}"


def _read(spec: EngineSpec) -> dict[str, str]:
    return {name: secrets.read_line(f"{_KEY}[{name!r}]", file) for name, file in sorted(spec.engine_secrets.items())}
