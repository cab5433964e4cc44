"""What a host with accelerators gets besides containers: repositories, driver packages, kernel settings, services.

Pure: a spec and what the host is (system, processor, kernel) in, a plan out. `steps` works out the difference.
"""

from __future__ import annotations

from dataclasses import dataclass

from barewind.files import HostFile
from barewind.packages import Package

PREFERENCES_FILE = "/etc/apt/preferences.d/barewind"
UNATTENDED_FILE = "/etc/apt/apt.conf.d/52barewind"
SYSCTL_FILE = "/etc/sysctl.d/90-barewind.conf"
TMPFILES_FILE = "/etc/tmpfiles.d/barewind.conf"
MODULES_FILE = "/etc/modules-load.d/barewind.conf"
GRUB_FILE = "/etc/default/grub.d/90-barewind.cfg"
SOURCES = ("nvidia", "nvidia-toolkit", "amdgpu", "rocm", "amd-toolkit", "docker")


def keyring(name: str) -> str:
    """Where the key of a repository stands."""
    return f"/etc/apt/keyrings/barewind-{name}.asc"


def source_list(name: str) -> str:
    """Where the source line of a repository stands."""
    return f"/etc/apt/sources.list.d/barewind-{name}.list"


# Every file of ours that a driver plan can have.
PATHS = (
    *(path(name) for name in SOURCES for path in (keyring, source_list)),
    *(PREFERENCES_FILE, UNATTENDED_FILE, SYSCTL_FILE, TMPFILES_FILE, MODULES_FILE, GRUB_FILE),
)


@dataclass(frozen=True)
class System:
    """What a driver plan needs to know of a host: `name` as facts tell it ("debian 12"), its processor's vendor and kernel."""

    name: str
    cpu_vendor: str
    kernel: str


@dataclass(frozen=True)
class Source:
    """An apt repository: its name (of our files), its URL, the rest of its source line, the text of its key."""

    name: str
    url: str
    rest: str
    key: str
    architecture: str = "amd64"

    @property
    def files(self) -> tuple[HostFile, HostFile]:
        """The key and the source line."""
        line = f"deb [arch={self.architecture} signed-by={keyring(self.name)}] {self.url}{self.rest}\n"
        return HostFile(keyring(self.name), self.key), HostFile(source_list(self.name), line)


@dataclass(frozen=True)
class DriverPlan:
    """Everything one host with accelerators shall have.

    `packages` are the driver's own: changing one takes the host out of service. `helpers` (kernel headers, tools) can
    change beside a running engine. `components` of the distribution's repository hold what they depend on. `module` is the
    kernel module, `version` the driver's; `extra_modules` are loaded too. `held` are patterns of versions: whatever is
    installed in such a version belongs to the driver.
    """

    vendor: str
    version: str
    module: str
    sources: tuple[Source, ...]
    packages: tuple[Package, ...]
    helpers: tuple[Package, ...]
    held: tuple[str, ...]
    files: tuple[HostFile, ...]
    components: tuple[str, ...] = ()
    extra_modules: tuple[str, ...] = ()
    kernel_parameters: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    fabric_manager: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file of ours on the host."""
        return tuple(file.path for source in self.sources for file in source.files) + tuple(
            file.path for file in self.files
        )
