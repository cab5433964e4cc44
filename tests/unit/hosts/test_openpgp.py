"""Keys of repositories by fingerprint, checked against what gpg says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from barewind import catalog
from barewind.errors import BarewindError
from barewind.hosts import openpgp
from barewind.hosts.apt_sources import repositories

KEYS = Path(catalog.__file__).parent / "keys"
FINGERPRINTS = {entry.key.removesuffix(".asc"): entry.fingerprint for entry in repositories().values()}


@pytest.mark.parametrize("name", sorted(path.stem for path in KEYS.glob("*.asc")))
def test_shipped_keys_are_the_vendors(name: str) -> None:
    text = openpgp.read(KEYS / f"{name}.asc", FINGERPRINTS[name])
    assert text.startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----")


def test_another_key_is_refused_and_both_are_named() -> None:
    with pytest.raises(BarewindError, match=rf"docker.asc: holds key {FINGERPRINTS['docker']}, expected 0000"):
        openpgp.read(KEYS / "docker.asc", "0" * 40)


def test_a_sites_own_key_needs_no_fingerprint() -> None:
    assert openpgp.read(KEYS / "docker.asc")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519 AAAA",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nbm90IGEga2V5\n=AAAA\n-----END PGP PUBLIC KEY BLOCK-----\n",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!!\n-----END PGP PUBLIC KEY BLOCK-----\n",
    ],
)
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.asc"
    path.write_text(text)
    with pytest.raises(BarewindError, match="holds no ASCII-armored OpenPGP public key"):
        openpgp.read(path)


def test_a_truncated_key_is_refused(tmp_path: Path) -> None:
    lines = (KEYS / "nvidia.asc").read_text().splitlines()
    path = tmp_path / "a.asc"
    path.write_text("\n".join([*lines[:5], "-----END PGP PUBLIC KEY BLOCK-----", ""]))
    with pytest.raises(BarewindError, match="holds no"):
        openpgp.read(path, FINGERPRINTS["nvidia"])


def test_a_missing_file_names_the_key_to_correct(tmp_path: Path) -> None:
    with pytest.raises(BarewindError, match="correct 'repository_keys'"):
        openpgp.read(tmp_path / "none.asc")


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gpg"
    path.write_bytes(os.urandom(64) + b"\xff")
    with pytest.raises(BarewindError, match="cannot be read as an ASCII-armored key"):
        openpgp.read(path)


def test_a_key_made_by_gpg_has_the_fingerprint_gpg_says(tmp_path: Path) -> None:
    env = {"GNUPGHOME": str(tmp_path), "PATH": os.environ["PATH"]}
    tmp_path.chmod(0o700)

    def gpg(*arguments: str) -> str:
        done = subprocess.run(["gpg", "--batch", *arguments], env=env, capture_output=True, text=True, check=True)
        return done.stdout

    try:
        gpg("--passphrase", "", "--quick-generate-key", "Test <test@example.org>", "ed25519", "sign", "never")
        listing = gpg("--with-colons", "--list-keys")
        (fingerprint, *_) = [line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:")]
        path, secret = tmp_path / "a.asc", tmp_path / "secret.asc"
        path.write_text(gpg("--armor", "--export"))
        secret.write_text(gpg("--armor", "--export-secret-keys"))
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], env=env, check=False)  # gpg leaves its agent running
    assert openpgp.read(path, fingerprint)
    with pytest.raises(BarewindError, match=r"secret.asc: holds no ASCII-armored OpenPGP public key"):
        openpgp.read(secret, fingerprint)
