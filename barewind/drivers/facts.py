"""What a driver plan is compared with: the accelerators, the files of ours, repositories of others for the same packages."""

from __future__ import annotations

from pyinfra.api import FactBase

from barewind.drivers import accelerators, foreign
from barewind.drivers.model import AcceleratorFacts, DriverFacts
from barewind.hosts.script import FILES, quoted, read_files, script, split


class Accelerators(FactBase[AcceleratorFacts]):
    """The accelerators alone, for operations that look at them between two steps."""

    abstract = False

    def command(self) -> str:
        return script(**accelerators.sections())

    def process(self, output: list[str]) -> AcceleratorFacts:
        return accelerators.read(split(output))


def sections(paths: list[str]) -> dict[str, str]:
    """The parts of a host's script that `read` reads."""
    return {
        **accelerators.sections(),
        "files": FILES % quoted(paths) if paths else "true",
        "components": ". /etc/os-release; apt-get indextargets --format '$(RELEASE) $(COMPONENT)' | sort -u | "
        'sed -n "s/^$VERSION_CODENAME //p"',
        "foreign": foreign.section(),
    }


def read(printed: dict[str, list[str]]) -> DriverFacts:
    """The facts, from the lines that each section printed."""
    return {
        "accelerators": accelerators.read(printed),
        "files": read_files(printed.get("files", [])),
        "components": printed.get("components", []),
        "foreign": printed.get("foreign", []),
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
