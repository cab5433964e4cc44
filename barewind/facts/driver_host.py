"""What a driver plan is compared with: the accelerators, the files of ours, repositories of others for the same packages."""

from __future__ import annotations

from typing import TypedDict

from pyinfra.api import FactBase

from barewind.drivers import foreign
from barewind.facts import FILES, accelerators, quoted, read_files, script, split
from barewind.facts.accelerators import AcceleratorFacts


class DriverFacts(TypedDict):
    """`files` by path, as `read_files` tells of them; `components` of the distribution's repository that apt reads;
    `foreign` what others have put there (`barewind.drivers.foreign`)."""

    accelerators: AcceleratorFacts
    files: dict[str, dict[str, str]]
    components: list[str]
    foreign: list[str]


def sections(paths: list[str]) -> dict[str, str]:
    """The parts of a host's script that `read` reads."""
    return {
        **accelerators.SECTIONS,
        "files": FILES % quoted(paths) if paths else "true",
        "components": ". /etc/os-release; apt-get indextargets --format '$(RELEASE) $(COMPONENT)' | sort -u | "
        'sed -n "s/^$VERSION_CODENAME //p"',
        "foreign": foreign.SECTION,
    }


def read(found: dict[str, list[str]]) -> DriverFacts:
    """The facts of what the sections printed."""
    return {
        "accelerators": accelerators.read(found),
        "files": read_files(found.get("files", [])),
        "components": found.get("components", []),
        "foreign": found.get("foreign", []),
    }


class DriverHost(FactBase[DriverFacts]):
    """A host's accelerators and drivers.

    + paths: files of ours to look at

    ```
    {"accelerators": {...}, "files": {"/etc/modules-load.d/barewind.conf": {"mode": "644", ...}},
     "components": ["contrib", "main"]}
    ```
    """

    abstract = False

    def command(self, paths: list[str]) -> str:
        return script(**sections(paths))

    def process(self, output: list[str]) -> DriverFacts:
        return read(split(output))
