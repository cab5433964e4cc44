"""What is known of a host's accelerators, and what the host shall get for them. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from barewind.drivers.gpus import Gpu
from barewind.drivers.kernel import Kernel
from barewind.drivers.modules import Module
from barewind.drivers.pci import Card
from barewind.hosts.apt_sources import Source, keyring, repositories, source_list
from barewind.hosts.file import HostFile
from barewind.hosts.packages import Installed, Package

PREFERENCES_FILE = "/etc/apt/preferences.d/barewind"
UNATTENDED_FILE = "/etc/apt/apt.conf.d/52barewind"
SYSCTL_FILE = "/etc/sysctl.d/90-barewind.conf"
TMPFILES_FILE = "/etc/tmpfiles.d/barewind.conf"
MODULES_FILE = "/etc/modules-load.d/barewind.conf"
GRUB_FILE = "/etc/default/grub.d/90-barewind.cfg"

Finding = tuple[str, str]  # what is wrong, and its remedy
Sections = Mapping[str, list[str]]  # the lines that each part of a host's script printed


def own_files() -> tuple[str, ...]:
    """Paths of every file of ours that a driver plan can have."""
    of_repositories = (path(name) for name in repositories() for path in (keyring, source_list))
    return (
        *of_repositories,
        *(PREFERENCES_FILE, UNATTENDED_FILE, SYSCTL_FILE, TMPFILES_FILE, MODULES_FILE, GRUB_FILE),
    )


class AcceleratorFacts(TypedDict):
    """A host's accelerators and what they need; a vendor's own facts stand beside these (`Vendor.read_own`).

    `pci` is what is in the machine, `gpus` what the first `tool` that answered makes of it ("" where none did),
    `tool_error` what a tool said instead of, or beside, the cards. `modules` are kernel modules by name, `runtimes` those
    that Docker knows.
    """

    pci: list[Card]
    gpus: list[Gpu]
    tool: str
    tool_error: str
    modules: dict[str, Module]
    runtimes: list[str]
    kernel: Kernel
    kernel_errors: list[str]
    shm_bytes: int | None
    groups: dict[str, int]
    packages: dict[str, Installed]


class DriverFacts(TypedDict):
    """What a driver plan is compared with.

    `files` by path, as `read_files` tells of them; `components` of the distribution's repository that apt reads;
    `foreign` what others have put there (`barewind.drivers.foreign`).
    """

    accelerators: AcceleratorFacts
    files: dict[str, dict[str, str]]
    components: list[str]
    foreign: list[str]


EXTERNAL = "install drivers yourself and set accelerator_drivers = 'external'"  # where none can be had as packages


@dataclass(frozen=True)
class System:
    """What a driver plan needs to know of a host: `name` as facts tell it ("debian 12"), its processor's vendor and kernel.

    `accelerators` are the host's facts; None where a plan is made for no host in particular.
    """

    name: str
    cpu_vendor: str
    kernel: str
    accelerators: AcceleratorFacts | None = None

    @classmethod
    def of(cls, name: str, accelerators: AcceleratorFacts) -> System:
        """The system of a host whose facts were read."""
        kernel = accelerators["kernel"]
        return cls(name, kernel["cpu_vendor"], kernel["running"], accelerators)


@dataclass(frozen=True)
class Step:
    """One command; `stdin` goes to its standard input. A disruptive one takes accelerators from what runs."""

    title: str
    command: str
    stdin: str | None = None
    disruptive: bool = False


@dataclass(frozen=True)
class DriverPlan:
    """Everything one host with accelerators shall have.

    `packages` are the driver's own: changing one has the host drained. `helpers` (kernel headers, tools) can
    change beside a running engine. `components` of the distribution's repository hold what they depend on. `module` is the
    kernel module, `version` the driver's; `extra_modules` are loaded too. `held` are patterns of versions: whatever is
    installed in such a version belongs to the driver. `module_version` is what the module itself must say once it is loaded
    (None: whatever is installed), `module_flavour` of which make it must be (None: any).
    """

    vendor: str
    version: str
    module: str
    sources: tuple[Source, ...]
    packages: tuple[Package, ...]
    helpers: tuple[Package, ...]
    held: tuple[str, ...]
    files: tuple[HostFile, ...]
    module_version: str | None = None
    module_flavour: str | None = None
    components: tuple[str, ...] = ()
    extra_modules: tuple[str, ...] = ()
    kernel_parameters: tuple[str, ...] = ()
    services: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file of ours on the host."""
        return tuple(file.path for source in self.sources for file in source.files) + tuple(
            file.path for file in self.files
        )
