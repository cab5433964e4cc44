"""Values of keys that have a syntax of their own: shares, and counts of hosts."""

from __future__ import annotations

import ipaddress
import re

FULL = 100  # percent
_LAST_PORT = 65535
_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # RFC 1123, 2.1


def parse_shares(value: object) -> tuple[int, ...]:
    """The shares of "10,50,100" or of a single number, in percent.

    Raises:
        ValueError: the value is no list of shares, or they do not rise.
    """
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    words = [str(part).strip() for part in parts]
    shares = tuple(int(word.removesuffix("%")) for word in words if re.fullmatch(r"[0-9]{1,3}%?", word))
    rise = all(before < after for before, after in zip((0, *shares), shares, strict=False))
    if not shares or len(shares) != len(words) or not rise or shares[-1] > FULL:
        raise ValueError(f'found {value!r}; write a percent from 1 to 100, or several that rise: "10,50,100"')
    return shares


def ports(value: int | str) -> int | str:
    """A TCP port, or a range of them ("30000-30100") as nft writes it.

    Raises:
        ValueError: the value is neither.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?", str(value))
    if match and int(match[1]) <= int(match[2] or match[1]) <= _LAST_PORT and match[1] != match[2]:
        return int(match[1]) if match[2] is None else match[0]
    raise ValueError(f'found {value!r}; write a port from 1 to {_LAST_PORT}, or a range of them: "30000-30100"')


def parse_max_unavailable(value: int | str, hosts: int) -> int:
    """How many of a group's hosts may be drained at once: a number, or a share of the group, rounded down but at least 1.

    Raises:
        ValueError: it is neither, or would let no host be drained.
    """
    text = str(value).strip()
    share = re.fullmatch(r"([0-9]+)%", text)
    if share and 1 <= int(share[1]) <= 100:
        return max(1, hosts * int(share[1]) // 100)
    if re.fullmatch(r"[0-9]+", text) and int(text) >= 1:
        return int(text)
    raise ValueError(f'found {value!r}; write a number of hosts from 1, or a share of the group from "1%" to "100%"')


def domain(value: str) -> str:
    """A host's name in small letters, as a URL may have it.

    Raises:
        ValueError: it is none: an address, a URL, a pattern.
    """
    name = value.lower()
    if len(name) > 253 or not re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", name) or re.fullmatch(r"[0-9.]+", name):
        raise ValueError(
            f"found {value!r}; write the exact name of a host, such as images.example.com: no URL, port, pattern or address"
        )
    return name


def name_or_address(value: str) -> str:
    """A host's name in small letters, or an IP address, as a client's URL may have it.

    Raises:
        ValueError: it is neither.
    """
    try:
        return str(ipaddress.ip_address(value.replace("%", " ")))  # a zone means something on one host only
    except ValueError:
        pass
    try:
        return domain(value)
    except ValueError:
        raise ValueError(
            f"found {value!r}; write the name or address by which clients connect, such as llm.example.com: no URL, no port"
        ) from None


def url_host(address: str) -> str:
    """A name or address as a URL or host:port has it: IPv6 in brackets (RFC 3986, 3.2.2)."""
    return f"[{address}]" if ":" in address else address
