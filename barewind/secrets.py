"""Secrets: the files on this machine that hold them, each read here, and only if nobody else can read it; what looks like one."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from functools import lru_cache
from pathlib import Path

from barewind.errors import BarewindError

_LONGEST = 100_000  # bytes: Linux takes 128 KiB for a variable and its name (execve(2))

# The last word of a name decides: `--hf-token` holds a token, `--max-num-batched-tokens` and `--tokenizer` hold none, nor does
# `--ssl-keyfile`, which names a file.
_NAME = re.compile(
    r"(^|[-_.])(token|password|passwd|passphrase|secret|credentials?|api-?key|(api|admin|access|secret|private|auth|signing|master|"
    r"license|licence|account|encryption)[-_.]key)$",
    re.IGNORECASE,
)
# Of variables every one that ends so: a needless file is better than a secret in a unit.
_VARIABLE = re.compile(
    r"(^|_)(token|password|passwd|passphrase|pwd|secret|credentials?|api_?key|key|auth|cookie)$", re.IGNORECASE
)
# Beginnings that their issuers have made up so that scanners find them: Hugging Face, OpenAI and its like, GitHub, GitLab, AWS,
# NVIDIA NGC, Slack, Google, JSON Web Tokens, PEM; headers that let somebody in; URLs with a password,
# or with a secret behind the question mark.
_VALUE = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9_-]{16,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|"
    r"\b(AKIA|ASIA)[A-Z0-9]{16}\b|\bnvapi-[\w-]{20,}|\bxox[abprs]-[\w-]{10,}|\bAIza[\w-]{30,}|\bdckr_pat_[\w-]{16,}|"
    r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.|-----BEGIN [A-Z ]*PRIVATE KEY-----|://[^/@\s:]*:[^/@\s]+@|"
    r"\b[Bb]earer [\w.~+/-]{8,}|[?&]([\w-]*[_-])?(token|secret|password|passwd|key|apikey|sig|signature)=[^&#\s]{4,}",
    re.ASCII,
)


def read(key: str, file: str) -> str:
    """The text of a secret file; `key` is the one that names it in the group data.

    The mode decides: of a file that only its owner can read, the owner is whoever reads it here, or this is root.

    Raises:
        BarewindError: the file cannot be read, is empty, or others can read it.
    """
    path = Path(file).expanduser()
    try:
        with path.open() as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            text = opened.read()
    except OSError as error:
        # What is no path may be the secret itself, in the wrong place.
        shown = str(path) if "/" in file else "the file that it names"
        raise BarewindError(f"{key} {shown}: {error.strerror}; write the secret to it, or correct the key.") from error
    except UnicodeDecodeError as error:
        raise BarewindError(f"{key} {path}: is no text; correct the key.") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BarewindError(f"{key} {path}: mode {mode:04o} lets others read it; run: chmod 600 {path}")
    if not text.strip():
        raise BarewindError(f"{key} {path}: is empty; write the secret to it, or correct the key.")
    return text


def read_line(key: str, file: str) -> str:
    """The secret of a file that holds one line, without the line break at its end.

    Raises:
        BarewindError: as for `read`, or the file holds more than a line, or too long a one.
    """
    text = read(key, file).removesuffix("\n").removesuffix("\r")
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise BarewindError(
            f"{key} {file}: holds more than one line, or control characters; write the secret alone to it, in one line."
        )
    if len(text.encode()) > _LONGEST:
        raise BarewindError(f"{key} {file}: holds more than {_LONGEST} bytes; correct the key.")
    return text


def read_login(key: str, file: str) -> tuple[str, str]:
    """User and password of a file that holds them as user:password in one line.

    Raises:
        BarewindError: as for `read_line`, or there is no colon in it.
    """
    user, colon, password = read_line(key, file).partition(":")
    if not (user and colon and password):
        raise BarewindError(f"{key} {file}: is no login; write user:password to it, in one line.")
    return user, password


@lru_cache(maxsize=256)
def fingerprint(name: str, secret: str) -> str:
    """What tells whether a secret is another one, and nothing else: guessing it takes as long as scrypt takes for each guess."""
    return hashlib.scrypt(secret.encode(), salt=f"barewind {name}".encode(), n=2**14, r=8, p=1, dklen=16).hex()


def option_named_like_one(name: str) -> bool:
    """Whether an option, or a key inside its value, is named like one that holds a secret."""
    return _NAME.search(name.replace("_", "-")) is not None


def variable_named_like_one(name: str) -> bool:
    """Whether an environment variable is named like one that holds a secret."""
    return _VARIABLE.search(name) is not None


def concealed(text: str) -> str:
    """A text without what has the form of a secret."""
    return _VALUE.sub("...", text)


def looks_like_one(text: str) -> bool:
    """Whether a text has the form of a secret, or has one in it."""
    return _VALUE.search(text) is not None
