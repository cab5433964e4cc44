"""NVIDIA's repository of the container toolkit: flat, for all systems, two versions, with units that refresh the CDI file.

Differs from NVIDIA's in that libnvidia-container is empty: the stand-in runtime uses CDI alone.
"""

from __future__ import annotations

from barewind.drivers.nvidia.packages import packages as nvidia_packages
from lab.packages.deb import Deb, File
from lab.packages.repository import Repository
from lab.simulated.stub import stub

VERSIONS = ("1.19.0", "1.20.0")

_REFRESH = """\
[Unit]
Description=Refresh NVIDIA CDI specification file
ConditionPathExists=/usr/bin/nvidia-smi
ConditionPathExists=/usr/bin/nvidia-ctk

[Service]
Type=oneshot
Environment=NVIDIA_CTK_CDI_OUTPUT_FILE_PATH=/var/run/cdi/nvidia.yaml
EnvironmentFile=-/etc/nvidia-container-toolkit/nvidia-cdi-refresh.env
ExecCondition=/usr/bin/grep -qE '/nvidia.ko' /lib/modules/%v/modules.dep
ExecStart=/usr/bin/nvidia-ctk cdi generate
CapabilityBoundingSet=CAP_SYS_MODULE CAP_SYS_ADMIN CAP_MKNOD

[Install]
WantedBy=multi-user.target
"""

_PATH = """\
[Unit]
Description=Trigger CDI refresh on NVIDIA driver install / uninstall events

[Path]
PathChanged=/lib/modules/%v/modules.dep
PathChanged=/lib/modules/%v/modules.dep.bin

[Install]
WantedBy=multi-user.target
"""

_START = """\
[ "$1" = configure ] || exit 0
systemctl daemon-reload
systemctl enable nvidia-cdi-refresh.path nvidia-cdi-refresh.service
systemctl start nvidia-cdi-refresh.path
systemctl start nvidia-cdi-refresh.service || true
"""


def repository() -> Repository:
    """The repository, with every package that the catalog names; those not described here are empty."""
    catalog = nvidia_packages()
    packages = []
    for version in VERSIONS:
        full = version + catalog.toolkit_revision
        described = {deb.name: deb for deb in _packages(version, full)}
        packages += [
            described.get(name) or Deb(name, full, "NVIDIA Container Toolkit (stand-in of the lab, empty)")
            for name in catalog.toolkit
        ]
    return Repository("nvidia-toolkit/amd64", tuple(packages), origin="NVIDIA")


def _packages(version: str, full: str) -> list[Deb]:
    programs = ("nvidia-ctk", "nvidia-container-runtime", "nvidia-cdi-hook")
    units = {"nvidia-cdi-refresh.service": _REFRESH, "nvidia-cdi-refresh.path": _PATH}
    return [
        Deb(
            "nvidia-container-toolkit-base",
            full,
            "NVIDIA Container Toolkit: programs",
            files={
                **{f"/usr/bin/{program}": File(stub("nvidia_ctk"), 0o755) for program in programs},
                **{f"/usr/lib/systemd/system/{unit}": File(text) for unit, text in units.items()},
                "/usr/share/nvidia-container-toolkit/version": File(version + "\n"),
            },
            scripts={
                "postinst": _START,
                "prerm": f'[ "$1" != remove ] || systemctl disable --now {" ".join(units)} || true\n',
            },
        ),
        Deb(
            "nvidia-container-toolkit",
            full,
            "NVIDIA Container Toolkit",
            {"Depends": f"nvidia-container-toolkit-base (= {full}), libnvidia-container-tools (= {full})"},
        ),
        Deb(
            "libnvidia-container-tools",
            full,
            "NVIDIA container library: tools",
            {"Depends": f"libnvidia-container1 (= {full})"},
        ),
    ]
