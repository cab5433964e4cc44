"""What a registry asks for when it wants to know who asks: the challenges of WWW-Authenticate (RFC 9110, 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_TOKEN = r"[\w!#$%&'*+.^`|~-]+"  # noqa: S105 - RFC 9110's word for it
_PIECE = re.compile(
    rf"[\s,]*(?:(?P<name>{_TOKEN})\s*=\s*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<bare>[^\s\",]+))|(?P<scheme>{_TOKEN}))"
)


@dataclass(frozen=True)
class Challenge:
    """One way to show who asks: `scheme` in small letters, its parameters by name in small letters."""

    scheme: str
    parameters: Mapping[str, str]

    @property
    def realm(self) -> str:
        """Where a token is to be had (Bearer), or whom the login is for; "" where the challenge does not say."""
        return self.parameters.get("realm", "")


def read(header: str) -> list[Challenge]:
    """The challenges of a header's value; values of several headers stand behind each other, with commas between them."""
    found: list[tuple[str, dict[str, str]]] = []
    at = 0
    while piece := _PIECE.match(header, at):
        at = piece.end()
        if piece["scheme"]:
            found.append((piece["scheme"].lower(), {}))
        elif found:
            value = piece["bare"] if piece["quoted"] is None else re.sub(r"\\(.)", r"\1", piece["quoted"])
            found[-1][1].setdefault(piece["name"].lower(), value)
    return [Challenge(scheme, parameters) for scheme, parameters in found]
