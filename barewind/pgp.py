"""Public keys of repositories: which key a file holds, by its fingerprint (RFC 4880 section 12.2)."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from barewind.errors import BarewindError

_BLOCK = re.compile(
    r"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+\r?\n)*?\r?\n(.+?)(?:\r?\n=[\w+/]{4})?\r?\n-----END PGP",
    re.DOTALL,
)
_PUBLIC_KEY = 6  # tag of the packet a key begins with


def read(path: str | Path, fingerprint: str | None = None) -> str:
    """The text of a key file; with `fingerprint`, only if it holds that key.

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
    found = _fingerprint(text)
    if found is None:
        raise BarewindError(f"{file}: holds no ASCII-armored OpenPGP public key; export it with: gpg --armor --export")
    if fingerprint is not None and found != fingerprint:
        raise BarewindError(f"{file}: holds key {found}, expected {fingerprint}; get the vendor's key again.")
    return text


def _fingerprint(text: str) -> str | None:
    """The fingerprint of a version 4 key, 40 hexadecimal digits."""
    block = _BLOCK.search(text)
    if block is None:
        return None
    try:
        data = base64.b64decode(re.sub(r"\s", "", block[1]), validate=True)
    except ValueError:
        return None
    packet = _first_packet(data)
    if not packet or packet[0] != 4:
        return None
    return hashlib.sha1(b"\x99" + len(packet).to_bytes(2, "big") + packet).hexdigest().upper()  # noqa: S324 - the format's


def _first_packet(data: bytes) -> bytes | None:
    """The body of the first packet if it is a public key (RFC 4880 section 4.2)."""
    if len(data) < 3 or not data[0] & 0x80:
        return None
    if data[0] & 0x40:  # new format
        tag, first = data[0] & 0x3F, data[1]
        length, start = (first, 2) if first < 192 else (((first - 192) << 8) + data[2] + 192, 3)
    else:
        tag, size = (data[0] >> 2) & 0x0F, 1 << (data[0] & 3)
        length, start = int.from_bytes(data[1 : 1 + size], "big"), 1 + size
    body = data[start : start + length]
    return body if tag == _PUBLIC_KEY and len(body) == length else None
