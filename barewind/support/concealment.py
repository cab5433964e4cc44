"""What leaves this machine in a bundle, without secrets. Pure but for the files that hold them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from barewind.secrets import concealed, looks_like_one, option_named_like_one, variable_named_like_one
from barewind.spec.site import HostEntry

HIDDEN = "..."
# Keys of group data that name files with secrets: a path, or paths by what they are for.
_FILE_KEYS = ("hub_token_file", "registry_logins", "engine_secrets")
_PATH_KEYS = ("ssh_key",)  # named like a secret, and the path of a file
_SHORTEST = 4  # characters: hiding each "a" would hide the fault too
# A name and its value, as shells, JSON, YAML and headers write them; an option and the word behind it.
_PAIR = re.compile(
    r"""(?P<name>[\w.-]*[A-Za-z][\w.-]*)(?P<between>["']?\s*[:=]\s*["']?)(?P<value>[^\s"',;]{4,})|"""
    r"""(?P<option>--[\w-]+)(?P<apart>["']?,?\s+["']?)(?P<word>[^\s"',;-][^\s"',;]{3,})"""
)
_HEADER = re.compile(r"(?i)\b(authorization|proxy-authorization|x-api-key|cookie|set-cookie)(\s*[:=]\s*)[^\r\n]+")
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


class Concealment:
    """Texts with every secret that is known, and all that is named or shaped like one, replaced by "..."."""

    def __init__(self, known: Iterable[str]) -> None:
        """`known`: secrets to take out wherever they stand, in whatever a text calls them."""
        longest_first = sorted({each for each in known if len(each) >= _SHORTEST}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def text(self, text: str) -> str:
        """A text without secrets."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        text = concealed(_PEM.sub(HIDDEN, text))
        return _PAIR.sub(_hide_value, _HEADER.sub(rf"\1\2{HIDDEN}", text))

    def keys(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Keys of group data, and what is in them, without secrets."""
        return {str(name): self._value(str(name), value) for name, value in data.items()}

    def _value(self, name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return self.keys(value)
        if isinstance(value, list | tuple):
            return [self._value(name, each) for each in value]
        if isinstance(value, str):
            return HIDDEN if _named_like_one(name) else self.text(value)
        return value


def known_secrets(entries: Iterable[HostEntry]) -> set[str]:
    """The secrets of a site: what its files of secrets hold, and passwords that stand in the data of hosts."""
    secrets: set[str] = set()
    for entry in entries:
        for name, value in entry.data.items():
            if isinstance(value, str) and _named_like_one(name):
                secrets.add(value)
        for key in _FILE_KEYS:
            value = entry.data.get(key)
            for file in value.values() if isinstance(value, Mapping) else [value]:
                secrets |= _held(file)
    return secrets


def _held(file: object) -> set[str]:
    """What a file of secrets holds: all of it, each line, and the password of a login. A file that cannot be read holds none."""
    try:
        text = Path(str(file)).expanduser().read_text() if file else ""
    except (OSError, UnicodeDecodeError):
        return set()
    lines = {line.strip() for line in text.splitlines()}
    return {text.strip(), *lines, *(line.partition(":")[2] for line in lines)} - {""}


def _hide_value(pair: re.Match[str]) -> str:
    name, between, value = (
        pair.group("name", "between", "value") if pair["name"] else pair.group("option", "apart", "word")
    )
    return f"{name}{between}{HIDDEN}" if _named_like_one(name) or looks_like_one(value) else pair[0]


def _named_like_one(name: str) -> bool:
    return name not in _PATH_KEYS and (variable_named_like_one(name) or option_named_like_one(name))
