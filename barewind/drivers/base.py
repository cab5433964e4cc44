"""A vendor of accelerators as one value: all that Barewind knows of it beside the catalog's entry.

A new vendor is a file or folder here with such a value, a row in `vendors.py`, an entry in catalog/vendors.yaml (how containers
get at its cards, where its packages come from) and its accelerators in catalog/accelerators.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from barewind.catalog import Accelerator
from barewind.drivers.gpus import Gpu
from barewind.drivers.model import AcceleratorFacts, DriverFacts, DriverPlan, Finding, Sections, Step, System
from barewind.drivers.modules import Modinfo, Module
from barewind.hosts.packages import Installed
from barewind.plan.engine import EnginePlan
from barewind.spec.keys import EngineSpec


@dataclass(frozen=True)
class Reading:
    """What a vendor's tools say: the first `tool` that answered ("" where none did), its cards, and a complaint ("" for none)."""

    tool: str
    gpus: list[Gpu]
    error: str


@dataclass(frozen=True)
class Uninstaller:
    """A program that comes with drivers from elsewhere, which packages cannot replace."""

    path: str
    finding: str
    remedy: str


def _nothing(*_: Any) -> Iterator[Any]:
    return iter(())


@dataclass(frozen=True)
class Vendor:
    """One vendor. Everything with a default is for vendors that have such a thing.

    On the bus and in the kernel:
    + name: as the catalog calls it
    + title: what the deploy's steps for it are called
    + pci_vendor: its PCI vendor id, four hexadecimal digits; pci_classes: the device classes of its cards, four digits each
    + module: its kernel module; read_module: that module's versions, from the lines of sections and what modinfo says
    + replaced_driver: the kernel's own driver, from which the vendor's takes the cards when it is installed
    + kernel_errors, harmless_errors: extended regular expressions of lines of the kernel log: what an accelerator's failure looks
      like, and which of those lines are none
    + explain_error: what such a line means, in brackets behind it; error_help: where to look it up
    + groups: groups that own its devices

    Its tools, asked in one shell with everything else:
    + sections: parts of a host's script, by name
    + read_gpus: the cards as the tools describe them, from the lines of sections and the version of the loaded module
    + read_own: facts beside `AcceleratorFacts`, by name, from the lines of sections and the installed packages
    + packages: patterns of dpkg for the packages whose versions are facts
    + memory_help: commands that show a card's memory errors
    + partition_help: commands that make one accelerator of a card again; "" where a tool never shows more of them than cards
    + product_name: pattern of its tools' names for products; a card that they call otherwise ("AMD Radeon Graphics") is known by
      its PCI id; "" where they know each by name
    + strict_tool: the tool whose complaint beside its cards tells of a failing card

    What a host shall have:
    + repositories: names of the apt repositories it needs
    + plan: its drivers
    + unpublished: what keeps them from being installed on an operating system: no packages for it, a kernel too new
    + conflicts: keys that do not go together: `(key, sentence)`
    + services: steps that have daemons run and containers find the devices
    + service_drain_reasons: why a host must be drained for these
    + is_planned: whether the loaded module is the one that a managed deploy installs
    + ready: what must be in place before an engine starts
    + health: what is wrong with the cards, beside what is true of any vendor's
    + image: what an image lacks for the accelerator
    + cards: the file of templates/ with the shell functions by which a host gives an engine some of its cards only
      (release/divide-host.sh.j2 says which); "" where an engine always has all of them
    + figures: the file of templates/ with the shell functions by which a host tells a monitor of its cards
      (monitoring/figures.sh.j2 says which); "" where nothing tells
    + visibility: environment variables that choose cards in a container: they would undo that
    + uninstallers: traces of drivers that did not come as packages
    """

    name: str
    title: str
    pci_vendor: str
    pci_classes: tuple[str, ...]
    module: str
    read_module: Callable[[Sections, Modinfo], Module]
    sections: Mapping[str, str]
    read_gpus: Callable[[Sections, str], Reading]
    plan: Callable[[EngineSpec, System], DriverPlan]
    ready: Callable[[EnginePlan, Accelerator, AcceleratorFacts], Iterator[Finding]]
    is_planned: Callable[[EngineSpec, Module], bool]
    repositories: Callable[[EngineSpec], tuple[str, ...]]
    packages: tuple[str, ...]
    memory_help: str
    kernel_errors: tuple[str, ...] = ()
    harmless_errors: tuple[str, ...] = ()
    explain_error: Callable[[str], str] = lambda _: ""
    error_help: str = ""
    groups: tuple[str, ...] = ()
    read_own: Callable[[Sections, dict[str, Installed]], dict[str, Any]] = lambda *_: {}
    conflicts: Callable[[EngineSpec], Iterator[tuple[str, str]]] = _nothing
    unpublished: Callable[[EngineSpec, System], Iterator[Finding]] = _nothing
    services: Callable[[DriverPlan, DriverFacts], Iterator[Step]] = _nothing
    service_drain_reasons: Callable[[DriverPlan, DriverFacts], Iterator[str]] = _nothing
    health: Callable[[AcceleratorFacts], Iterator[Finding]] = _nothing
    image: Callable[[EnginePlan, Accelerator], Iterator[Finding]] = _nothing
    partition_help: str = ""
    product_name: str = ""
    strict_tool: str = ""
    replaced_driver: str = ""
    cards: str = ""
    figures: str = ""
    visibility: tuple[str, ...] = ()
    uninstallers: tuple[Uninstaller, ...] = ()
