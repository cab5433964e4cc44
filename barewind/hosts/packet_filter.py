"""Packet filter tables: a port of a host that only some addresses reach."""

from __future__ import annotations

from collections.abc import Iterable

from barewind.templates import from_template


def packet_filter(
    table: str, port: int | str, sources: Iterable[str], *, comment: str, rules: Iterable[str] = ()
) -> str:
    """Rules for `nft -f` that replace a table of ours: a TCP port answers `sources` and the host itself, nobody else.

    + port: or several, as nft writes them ("8000-8003")
    + sources: addresses or networks, IPv4 or IPv6
    + comment: first line of the file, after the words "Written by Barewind"
    + rules: what else the table says, after that
    """
    return from_template(
        "hosts/packet_filter.nft.j2",
        table=table,
        port=port,
        sources=sorted(sources),
        comment=comment,
        rules=list(rules),
    )
