"""What others have put on a host that would get in our way: the same repositories with other keys, drivers without apt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from barewind.drivers.repositories import needed
from barewind.drivers.vendors import VENDORS
from barewind.hosts.apt_sources import OTHERS, uris, url
from barewind.hosts.problem import Problem
from barewind.spec.keys import EngineSpec


def section() -> str:
    """The part of a host's script that prints every line of apt's sources with its file, ours excepted, and uninstallers."""
    uninstallers = [program.path for vendor in VENDORS.values() for program in vendor.uninstallers]
    return "; ".join(
        (
            OTHERS,
            *(f"[ ! -x {path} ] || echo {path}" for path in uninstallers),
        )
    )


def problems(spec: EngineSpec, lines: list[str]) -> Iterator[Problem]:
    """What must be gone before drivers can be installed; `lines` as that part prints them."""
    others = list(uris(lines))
    for name in needed(spec):
        ours = urlsplit(url(spec, name))
        pattern = re.compile(rf"([a-z]+\+)*https?://{re.escape(ours.netloc + ours.path)}(/|$)")
        for file in sorted({file for file, uri in others if pattern.match(uri)}):
            yield Problem(
                spec.host,
                f"{file} names {url(spec, name)}, which the deploy adds with its own key: apt refuses both",
                f"rm {file} (keep other repositories in it), or accelerator_drivers = 'external'",
            )
    if spec.accelerator_drivers == "managed":
        for uninstaller in (program for vendor in VENDORS.values() for program in vendor.uninstallers):
            if uninstaller.path in lines:
                yield Problem(spec.host, uninstaller.finding, uninstaller.remedy)
