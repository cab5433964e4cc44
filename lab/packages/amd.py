"""AMD's repositories: amdgpu (a directory per release), ROCm's tools, the container toolkit; suites jammy and noble.

Names come from vendors.yaml. The last amdgpu release's module does not build. The packages differ from AMD's in holding
no driver and no library: the module is a text file that dkms copies.
"""

from __future__ import annotations

from collections.abc import Iterator

from barewind.drivers.amd.packages import packages as amd_packages
from lab.packages.deb import Deb, File
from lab.packages.nvidia import dkms_postinst, dkms_prerm
from lab.packages.repository import Repository
from lab.simulated.stub import stub

SUITES = {"jammy": "22.04", "noble": "24.04"}

# Release -> module version, the release as it stands in package versions, build number.
RELEASES = {
    "30.20.1": ("6.16.6", "30200100", "2255209"),
    "30.30.3": ("6.16.13", "30300300", "2327507"),
    "30.40.1": ("6.18.4", "30400100", "2391144"),
}
BROKEN = "30.40.1"
ROCM = {
    "6.3.4": ("25.1.0.60304", "60304-76"),
    "7.2.3": ("26.2.2.70203", "70203-81"),
}  # release -> amd-smi-lib, the rest
TOOLKIT = "1.3.0"


def repositories() -> Iterator[Repository]:
    """AMD's repositories, of every directory and suite."""
    for suite, system in SUITES.items():
        for release in RELEASES:
            yield Repository(
                f"amdgpu/{release}/ubuntu", tuple(_driver(release, system)), suite, "main", "repo.radeon.com"
            )
        for release in ROCM:
            yield Repository(f"rocm/{release}", tuple(_tools(release, system)), suite, "main", "repo.radeon.com")
        toolkit = Deb(
            "amd-container-toolkit",
            f"{TOOLKIT}~{system}",
            "AMD Container Toolkit",
            files={
                "/usr/bin/amd-ctk": File(stub("amd_ctk"), 0o755),
                "/usr/bin/amd-container-runtime": File(stub("amd_ctk"), 0o755),
            },
        )
        yield Repository("amd-toolkit", (toolkit,), suite, "main", "repo.radeon.com")


def _driver(release: str, system: str) -> list[Deb]:
    module, code, build = RELEASES[release]
    tree = f"{module}-{build}.{system}"
    folder = f"/usr/src/amdgpu-{tree}"
    about = f"version={module}\nlicense=GPL and additional rights\ndescription=AMD GPU (stand-in of the lab)\n"
    names = ("amdgpu", "amdttm", "amdkcl", "amd-sched")
    files = {f"{folder}/modules/{name}.ko": File(about) for name in names}
    files[f"{folder}/dkms.conf"] = File(f'PACKAGE_NAME="amdgpu"\nPACKAGE_VERSION="{tree}"\nAUTOINSTALL="yes"\n')
    if release == BROKEN:
        files[f"{folder}/build-fails"] = File("")
    firmware = f"{release}.0.{code}-{build}.{system}"
    debs = [
        Deb(
            "amdgpu-dkms",
            f"1:{module}.{code}-{build}.{system}",
            "amdgpu driver in DKMS format (stand-in of the lab)",
            {"Depends": f"dkms, amdgpu-dkms-firmware (= {firmware})"},
            files,
            {
                "postinst": dkms_postinst("amdgpu", tree, "amdgpu-dkms", "/sys/module/amdgpu/version").replace(
                    f"-qsw {tree}", f"-qsw {module}"
                ),
                "prerm": dkms_prerm("amdgpu", tree),
            },
        ),
        Deb("amdgpu-dkms-firmware", firmware, "Firmware for amdgpu (stand-in of the lab, empty)", architecture="all"),
    ]
    named = {deb.name for deb in debs}
    debs += [Deb(name, firmware, "stand-in of the lab, empty") for name in amd_packages().driver if name not in named]
    return debs


def _tools(release: str, system: str) -> list[Deb]:
    library, rest = ROCM[release]
    full = f"{library}-{rest.split('-')[1]}~{system}"
    core = Deb(
        "rocm-core",
        f"{release}.{rest}~{system}",
        "ROCm: where it is and which",
        files={"/opt/rocm/.info/version": File(release + "\n")},
    )
    smi = Deb(
        "amd-smi-lib",
        full,
        "AMD's management tool",
        {"Depends": "rocm-core"},
        {"/opt/rocm/bin/amd-smi": File(stub("amd_smi"), 0o755), "/usr/bin/amd-smi": File(link="/opt/rocm/bin/amd-smi")},
    )
    older = Deb(
        "rocm-smi-lib",
        f"7.8.0.{rest}~{system}",
        "AMD's earlier management tool",
        {"Depends": "rocm-core"},
        {"/opt/rocm/bin/rocm-smi": File(stub("amd_smi"), 0o755)},
    )
    named = {"amd-smi-lib", "rocm-smi-lib"}
    return [
        core,
        smi,
        older,
        *(Deb(name, full, "stand-in of the lab, empty") for name in amd_packages().tools if name not in named),
    ]
