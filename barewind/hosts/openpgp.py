"""Public keys of repositories: the key that a file holds, identified by its fingerprint."""

from __future__ import annotations

from pathlib import Path

from pysequoia import Cert

from barewind.errors import BarewindError

_ARMOR = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


def read(path: str | Path, fingerprint: str | None = None) -> str:
    """The text of a key file; with `fingerprint` (hexadecimal), only if it holds that key.

    Raises:
        BarewindError: the file cannot be read, holds no key, or holds another.
    """
    file = Path(path).expanduser()
    try:
        text = file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise BarewindError(
            f"{file}: cannot be read as an ASCII-armored key ({error}); correct 'repository_keys'."
        ) from error
    held = _fingerprint(text)
    if held is None:
        raise BarewindError(f"{file}: holds no ASCII-armored OpenPGP public key; export it with: gpg --armor --export")
    if fingerprint is not None and held != fingerprint:
        raise BarewindError(f"{file}: holds key {held}, expected {fingerprint}; get the vendor's key again.")
    return text


def _fingerprint(text: str) -> str | None:
    """The fingerprint of the first key, upper case; None if there is no key, or a secret key, which no host may get."""
    if _ARMOR not in text:
        return None
    try:
        return Cert.split_bytes(text.encode())[0].fingerprint.upper()
    except (RuntimeError, IndexError):  # whatever the library cannot parse; nothing in the armor
        return None
