"""What others have put on a host that would get in our way: the same repositories with other keys, drivers without apt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from barewind.drivers.sources import needed, url
from barewind.problem import Problem
from barewind.spec import EngineSpec

UNINSTALLER = "/usr/bin/nvidia-uninstall"  # of NVIDIA's .run installer

# Every line of apt's sources that names a repository, with its file; ours excepted.
SECTION = (
    "grep -sHE '^(deb |URIs:)' /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources | "
    f"grep -v '^/etc/apt/sources.list.d/barewind-'; [ ! -x {UNINSTALLER} ] || echo {UNINSTALLER}"
)


def problems(spec: EngineSpec, lines: list[str]) -> Iterator[Problem]:
    """What must be gone before drivers can be installed; `lines` as SECTION prints them."""
    for name in needed(spec):
        ours = urlsplit(url(spec, name))
        pattern = re.compile(rf"https?://{re.escape(ours.netloc + ours.path)}(/|\s|$)")
        for file in sorted({line.split(":", 1)[0] for line in lines if pattern.search(line)}):
            yield Problem(
                spec.host,
                f"{file} names {url(spec, name)}, which the deploy adds with its own key: apt refuses both",
                f"rm {file} (keep other repositories in it), or accelerator_drivers = 'external'",
            )
    if spec.accelerator_drivers == "managed" and UNINSTALLER in lines:
        yield Problem(
            spec.host,
            "has a driver of NVIDIA's .run installer, which packages cannot replace",
            "nvidia-uninstall; reboot; or accelerator_drivers = 'external'",
        )
