"""The text of an API key: shown once, and kept nowhere. Pure."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib

START = "sk-bw-"  # by which scanners for secrets find it: `barewind.secrets` does
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM = 43  # digits of base 62: 256 bits, so that nobody finds a key by its SHA-256
_CHECK = 6  # digits that hold any CRC32
_SHOWN = 4  # characters that people tell keys of one team by


def new() -> str:
    """The text of a key that nobody has yet: `sk-bw-`, 43 random digits of base 62, 6 of their CRC32."""
    random = "".join(secrets.choice(_DIGITS) for _ in range(_RANDOM))
    return START + random + _check(random)


def is_key(text: str) -> bool:
    """Whether a text has the form of a key, its check included: a scanner can tell it from whatever else begins so."""
    match = re.fullmatch(rf"{START}([0-9A-Za-z]{{{_RANDOM}}})([0-9A-Za-z]{{{_CHECK}}})", text, re.ASCII)
    return match is not None and _check(match[1]) == match[2]


def sha256(text: str) -> str:
    """What is kept of a key, hexadecimal: balancers compare what clients show with it."""
    return hashlib.sha256(text.encode()).hexdigest()


def hint(text: str) -> str:
    """The last characters, by which a person tells which key it is."""
    return text[-_SHOWN:]


def _check(random: str) -> str:
    number, digits = zlib.crc32(random.encode()), ""
    for _ in range(_CHECK):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
