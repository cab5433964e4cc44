"""NVIDIA's CUDA repository: driver, fabric manager and subnet manager for the systems of simulated hosts, in versions.

Names come from vendors.yaml; what those packages depend on besides is listed here. Relations are the real ones: the same
version throughout, open and proprietary modules in conflict. The last version's modules do not build. The packages differ
from NVIDIA's in holding no driver: modules are text files that dkms copies (lab/simulated/).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from barewind.drivers.nvidia.packages import System as NvidiaSystem
from barewind.drivers.nvidia.packages import packages as nvidia_packages
from lab.hosts import hardware
from lab.packages.deb import Deb, File
from lab.packages.repository import Repository
from lab.simulated.stub import stub

VERSIONS = ("580.95.05", "580.126.09", "580.142.01")
BROKEN = "580.142.01"
NVLSM = "2025.10.11-1"
_EARLIER_REVISION = {"580.95.05": {"-1ubuntu1": "-0ubuntu1"}}  # Ubuntu's changed within the branch
_LICENSES = {"open": "Dual MIT/GPL", "proprietary": "NVIDIA"}
_LIBRARIES = "/usr/lib/x86_64-linux-gnu"


def repositories() -> Iterator[Repository]:
    """A repository per system."""
    simulated = {system.name for system in hardware.SYSTEMS.values()}
    for name, system in nvidia_packages().systems.items():
        if name not in simulated:
            continue
        packages = [deb for version in VERSIONS for deb in _driver(name, system, version)]
        packages.append(_nvlsm())
        yield Repository(f"nvidia/{system.distribution}/x86_64", tuple(packages), origin="NVIDIA")


def _driver(name: str, system: NvidiaSystem, version: str) -> list[Deb]:
    revision = _EARLIER_REVISION.get(version, {}).get(system.revision, system.revision)
    debs = _debian(version, version + revision) if name.startswith("debian") else _ubuntu(version, version + revision)
    fabric_version = version + system.fabric_revision
    debs += [_fabric_manager(fabric, version, fabric_version) for fabric in system.fabric]
    names = {deb.name for deb in debs}
    flavours: tuple[Literal["open", "proprietary"], ...] = ("open", "proprietary")
    for flavour in flavours:
        missing = [package for package in system.names(version, flavour) if package not in names]
        debs += [Deb(package, version + revision, "NVIDIA driver (stand-in of the lab, empty)") for package in missing]
        names.update(missing)
    return debs


def _debian(version: str, full: str) -> list[Deb]:
    """Packages for Debian 12. nvidia-installer-cleanup is Debian's own, in its component contrib."""
    exact = f"(= {full})"
    modules = {"open": "nvidia-kernel-open-dkms", "proprietary": "nvidia-kernel-dkms"}
    support = File("blacklist nouveau\n")
    return [
        Deb(
            "nvidia-driver-cuda",
            full,
            "NVIDIA driver for computing (stand-in of the lab, empty)",
            {
                "Depends": f"nvidia-kernel-open-dkms {exact} | nvidia-kernel-dkms {exact}, nvidia-smi {exact}, libcuda1 {exact}, "
                f"nvidia-persistenced {exact}, nvidia-modprobe, nvidia-kernel-support {exact}, nvidia-installer-cleanup"
            },
        ),
        *(
            _modules(
                package,
                version,
                full,
                flavour,
                {
                    "Depends": f"dkms, nvidia-kernel-support {exact}, firmware-nvidia-gsp {exact}",
                    "Provides": "nvidia-kernel-dkms-any",
                    "Conflicts": "nvidia-kernel-dkms-any",
                    "Replaces": "nvidia-kernel-dkms-any",
                },
                with_source=True,
            )
            for flavour, package in modules.items()
        ),
        Deb(
            "nvidia-kernel-support",
            full,
            "Settings for the modules",
            files={"/etc/modprobe.d/nvidia-blacklists-nouveau.conf": support},
        ),
        Deb("firmware-nvidia-gsp", full, "Firmware of the GPU's own processor (stand-in of the lab, empty)"),
        Deb(
            "libcuda1", full, "CUDA driver library", {"Depends": f"libnvidia-ml1 {exact}"}, _library("libcuda", version)
        ),
        Deb("libnvidia-ml1", full, "NVIDIA management library", files=_library("libnvidia-ml", version)),
        Deb(
            "nvidia-smi",
            full,
            "NVIDIA management tool",
            {"Depends": f"libnvidia-ml1 {exact}"},
            _tool("/usr/bin/nvidia-smi"),
        ),
        Deb(
            "nvidia-modprobe",
            full,
            "Loads the modules for users",
            {},
            {"/usr/bin/nvidia-modprobe": File("#!/bin/sh\nmodprobe nvidia\n", 0o755)},
        ),
        _persistenced(full, {"Depends": f"libnvidia-cfg1 {exact}"}, static=False),
        Deb("libnvidia-cfg1", full, "NVIDIA configuration library", files=_library("libnvidia-cfg", version)),
    ]


def _ubuntu(version: str, full: str) -> list[Deb]:
    """Packages for Ubuntu, where the branch is part of most names."""
    branch, exact = version.split(".")[0], f"(= {full})"
    modules = []
    for flavour, suffix in (("open", "-open"), ("proprietary", "")):
        other = f"nvidia-dkms-{branch}" + ("" if suffix else "-open")
        source = f"nvidia-kernel-source-{branch}{suffix}"
        modules += [
            _modules(
                f"nvidia-dkms-{branch}{suffix}",
                version,
                full,
                flavour,
                {
                    "Depends": f"dkms, nvidia-kernel-common-{branch} {exact}, {source} {exact}",
                    "Conflicts": f"nvidia-dkms-kernel, {other}",
                    "Provides": "nvidia-dkms-kernel",
                    "Replaces": "nvidia-dkms-kernel",
                },
                with_source=False,
            ),
            Deb(
                source,
                full,
                "Source of the modules (stand-in of the lab: text)",
                {"Conflicts": f"nvidia-kernel-source-{branch}{'' if suffix else '-open'}"},
                _source(version, flavour),
            ),
        ]
    library = f"libnvidia-compute-{branch}"
    return [
        *modules,
        Deb(
            f"nvidia-kernel-common-{branch}",
            full,
            "Settings for the modules",
            {"Depends": f"nvidia-firmware-{branch} {exact}, nvidia-modprobe"},
            {"/usr/lib/modprobe.d/nvidia-graphics-drivers.conf": File("blacklist nouveau\nblacklist lbm-nouveau\n")},
        ),
        Deb(f"nvidia-firmware-{branch}", full, "Firmware of the GPU's own processor (stand-in of the lab, empty)"),
        Deb(
            f"libnvidia-gpucomp-{branch}", full, "NVIDIA compiler library", files=_library("libnvidia-gpucomp", version)
        ),
        Deb(
            library,
            full,
            "CUDA driver and management libraries",
            {"Depends": f"libnvidia-gpucomp-{branch} {exact}"},
            _library("libcuda", version) | _library("libnvidia-ml", version),
        ),
        Deb(f"libnvidia-cfg1-{branch}", full, "NVIDIA configuration library", files=_library("libnvidia-cfg", version)),
        Deb(
            f"nvidia-utils-{branch}",
            full,
            "NVIDIA management tools",
            {"Depends": f"{library} {exact}"},
            _tool("/usr/bin/nvidia-smi"),
        ),
        Deb(
            f"nvidia-compute-utils-{branch}",
            full,
            "NVIDIA compute tools (stand-in of the lab, empty)",
            {"Depends": f"{library} {exact}, nvidia-persistenced"},
        ),
        _persistenced(full, {}, static=True),
        Deb(
            "nvidia-modprobe",
            full,
            "Loads the modules for users",
            {},
            {"/usr/bin/nvidia-modprobe": File("#!/bin/sh\nmodprobe nvidia\n", 0o755)},
        ),
    ]


def _library(name: str, version: str) -> dict[str, File]:
    return {
        f"{_LIBRARIES}/{name}.so.{version}": File("a library of the lab: only its name counts\n"),
        f"{_LIBRARIES}/{name}.so.1": File(link=f"{name}.so.{version}"),
    }


def _tool(path: str) -> dict[str, File]:
    return {path: File(stub(path.rsplit("/", 1)[1].replace("-", "_")), 0o755)}


def _source(version: str, flavour: str) -> dict[str, File]:
    folder = f"/usr/src/nvidia-{version}"
    about = f"version={version}\nlicense={_LICENSES[flavour]}\ndescription=NVIDIA kernel module (stand-in of the lab)\n"
    names = ("nvidia", "nvidia-uvm", "nvidia-modeset", "nvidia-drm", "nvidia-peermem")
    files = {f"{folder}/modules/{name}.ko": File(about) for name in names}
    files[f"{folder}/dkms.conf"] = File(f'PACKAGE_NAME="nvidia"\nPACKAGE_VERSION="{version}"\nAUTOINSTALL="yes"\n')
    if version == BROKEN:
        files[f"{folder}/build-fails"] = File("")
    return files


def _modules(
    package: str, version: str, full: str, flavour: str, relations: dict[str, str], *, with_source: bool
) -> Deb:
    """A package that builds modules when it is installed, as dkms' common.postinst does."""
    return Deb(
        package,
        full,
        f"NVIDIA kernel modules, {flavour} (stand-in of the lab)",
        relations,
        _source(version, flavour) if with_source else {},
        {
            "postinst": dkms_postinst("nvidia", version, package, "/proc/driver/nvidia/version"),
            "prerm": dkms_prerm("nvidia", version),
        },
    )


def dkms_postinst(module: str, version: str, package: str, loaded: str) -> str:
    """Maintainer script that builds modules, and asks for a reboot if another version runs, as the file `loaded` says."""
    return f"""\
[ "$1" = configure ] || exit 0
dkms add {module}/{version}
if [ -e "/lib/modules/$(uname -r)/build" ]; then
    dkms install {module}/{version} -k "$(uname -r)"
else
    echo "Module build for kernel $(uname -r) was skipped since the"
    echo "kernel headers for this kernel do not seem to be installed."
fi
if [ -d /sys/module/nouveau ] || {{ [ -d /sys/module/{module} ] && ! grep -qsw {version} {loaded}; }}; then
    echo '*** System restart required ***' > /run/reboot-required
    grep -qsx {package} /run/reboot-required.pkgs || echo {package} >> /run/reboot-required.pkgs
fi
"""


def dkms_prerm(module: str, version: str) -> str:
    """Maintainer script that removes built modules."""
    return f"dkms remove {module}/{version} --all >/dev/null || true\n"


def service(command: str, description: str, *, after: str = "", wanted: bool = True) -> File:
    """A systemd unit that is active when its program notifies."""
    install = "\n[Install]\nWantedBy=multi-user.target\n" if wanted else ""
    return File(
        f"[Unit]\nDescription={description}\n{after}\n[Service]\nType=notify\nNotifyAccess=all\nExecStart={command}\n{install}"
    )


def _persistenced(full: str, relations: dict[str, str], *, static: bool) -> Deb:
    """The persistence daemon. `static`: as in Ubuntu, by a unit that cannot be enabled; Debian's package enables its own."""
    unit = "nvidia-persistenced.service"
    files = _tool("/usr/bin/nvidia-persistenced") | {
        "/usr/bin/nvidia-persistenced": File(stub("nvidia_daemons"), 0o755),
        f"/usr/lib/systemd/system/{unit}": service(
            "/usr/bin/nvidia-persistenced", "NVIDIA Persistence Daemon", wanted=not static
        ),
    }
    enable = f"systemctl enable {unit}\n"
    if static:
        files[f"/usr/lib/systemd/system/multi-user.target.wants/{unit}"] = File(link=f"../{unit}")
        enable = ""
    start = f"systemctl daemon-reload\n{enable}systemctl restart {unit} || true\n"
    return Deb("nvidia-persistenced", full, "NVIDIA persistence daemon", relations, files, _daemon_scripts(unit, start))


def _fabric_manager(name: str, version: str, full: str) -> Deb:
    unit = "nvidia-fabricmanager.service"
    files = {
        "/usr/bin/nv-fabricmanager": File(stub("nvidia_daemons"), 0o755),
        "/usr/share/nvidia/nvswitch/version": File(version + "\n"),
        f"/usr/lib/systemd/system/{unit}": service(
            "/usr/bin/nv-fabricmanager -c /usr/share/nvidia/nvswitch/fabricmanager.cfg",
            "NVIDIA fabric manager service",
            after="After=network-online.target\nWants=network-online.target\n",
        ),
        "/usr/share/nvidia/nvswitch/fabricmanager.cfg": File("LOG_LEVEL=4\n"),
    }
    return Deb(name, full, "NVIDIA fabric manager", {}, files, _daemon_scripts(unit, "systemctl daemon-reload\n"))


def _daemon_scripts(unit: str, start: str) -> dict[str, str]:
    return {
        "postinst": f'[ "$1" = configure ] || exit 0\n{start}',
        "prerm": f'[ "$1" != remove ] || systemctl disable --now {unit} || true\n',
    }


def _nvlsm() -> Deb:
    return Deb(
        "nvlsm",
        NVLSM,
        "NVLink subnet manager",
        files={"/opt/nvidia/nvlsm/sbin/nvlsm": File(stub("nvidia_daemons"), 0o755)},
    )
