"""Facts of cards, drivers and the kernel: the real script in a real shell, over files that stand for a host's."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from barewind.drivers import kernel, pci
from barewind.drivers.accelerators import read, sections
from barewind.drivers.facts import Accelerators
from barewind.hosts.packages import upstream
from barewind.hosts.script import script, split
from tests.support.data_files import fact_tests
from tests.support.shell import Programs, Shell
from tests.support.tool_output import OUTPUT, said

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:No command set for test")]  # commands are run below

TestAccelerators = fact_tests(Accelerators, Path(__file__).parent)

Tree = dict[str, str]


def planted(root: Path, files: Tree) -> None:
    """Files under a root; a value that begins with -> is a link."""
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("->"):
            file.symlink_to(content[2:])
        else:
            file.write_text(content)


def below(root: Path, sections: dict[str, str]) -> str:
    """The script, looking at files under a root instead of the machine's."""
    return re.sub(r"(?<![\w.])/(sys|proc|lib/modules|var|etc|run)/", rf"{root}/\1/", script(**sections))


def device(address: str, vendor: str, product: str, kind: str, driver: str | None = None) -> Tree:
    folder = f"sys/bus/pci/devices/{address}"
    files = {"vendor": vendor, "device": product, "class": kind}
    link = {f"{folder}/driver": f"->../../../../bus/pci/drivers/{driver}"} if driver else {}
    return {f"{folder}/{name}": f"0x{value}\n" for name, value in files.items()} | link


def test_pci_devices(shell: Shell, tmp_path: Path) -> None:
    planted(
        tmp_path,
        device("0000:17:00.0", "10de", "2335", "030200", "nvidia")
        | device("0000:3d:00.0", "10de", "2335", "030200", "vfio-pci")
        | device("0000:05:00.0", "1002", "74a1", "120000")
        | device("0000:06:00.0", "1002", "740f", "038000", "amdgpu")
        | device("0000:87:00.0", "10de", "22a3", "068000", "nvidia-nvswitch")
        | device("0000:88:00.0", "10de", "22a3", "068000")
        | device("0000:cb:00.0", "1a03", "2000", "030000", "ast")
        | device("0000:41:00.0", "15b3", "1021", "020700", "mlx5_core")
        | device("0000:42:00.0", "10de", "1aef", "040300", "snd_hda_intel")
        | device("0000:43:00.0", "1002", "1480", "060000"),
    )
    found = split(shell(below(tmp_path, {"pci": sections()["pci"]})).stdout.splitlines())
    assert [(card["address"], card["vendor"], card["device"], card["driver"]) for card in pci.read(found["pci"])] == [
        ("0000:05:00.0", "1002", "74a1", ""),
        ("0000:06:00.0", "1002", "740f", "amdgpu"),
        ("0000:17:00.0", "10de", "2335", "nvidia"),
        ("0000:3d:00.0", "10de", "2335", "vfio-pci"),
    ]
    assert pci.switches(found["pci"], "10de") == 2
    assert pci.switches(found["pci"], "1002") == 0


def test_cards_without_any_driver_on_the_bus(shell: Shell, tmp_path: Path) -> None:
    planted(tmp_path, device("0000:17:00.0", "10de", "2335", "030200"))
    found = split(shell(below(tmp_path, {"pci": sections()["pci"]})).stdout.splitlines())
    assert pci.read(found["pci"])[0]["driver"] == ""


def test_amdgpus_own_files(shell: Shell, tmp_path: Path) -> None:
    folder = "sys/bus/pci/devices/0000:83:00.0"
    planted(
        tmp_path,
        {
            f"{folder}/mem_info_vram_total": "206141652992\n",
            f"{folder}/product_name": "AMD Instinct MI300X OAM\n",
            f"{folder}/ras/umc_err_count": "ue: 3\nce: 17\n",
            f"{folder}/ras/gpu_vram_bad_pages": "0x00000001 : 0x00001000 : R\n",
            "sys/module/amdgpu/version": "6.16.6\n",
        },
    )
    chosen = {name: sections()[name] for name in ("amd_sysfs", "amd_ras", "amdgpu_loaded")}
    lines = shell(below(tmp_path, chosen)).stdout.replace(str(tmp_path), "").splitlines()
    facts = read(split(lines))
    assert facts["tool"] == "sysfs"
    assert facts["gpus"] == [
        {
            "vendor": "amd",
            "name": "AMD Instinct MI300X OAM",
            "memory_mib": 196592,
            "driver": "6.16.6",
            "uuid": "",
            "bus": "0000:83:00.0",
            "mig": None,
            "persistence": None,
            "ecc_errors": 3,
            "repair_pending": False,
            "fabric": "",
        }
    ]


@pytest.mark.parametrize(
    ("loaded", "modinfo", "module"),
    [
        ("proc-version-open.txt", [], ("595.71.05", None, "open")),
        ("proc-version-proprietary.txt", [], ("580.82.09", None, "proprietary")),
        (None, ["version=580.126.09", "license=Dual MIT/GPL"], (None, "580.126.09", "open")),
        (None, ["version=580.126.09", "license=NVIDIA"], (None, "580.126.09", "proprietary")),
        (None, ["version=580.126.09", "license="], (None, "580.126.09", None)),
        (None, ["version=", "license="], (None, None, None)),
        ("proc-version-open.txt", ["version=580.142", "license=NVIDIA"], ("595.71.05", "580.142", "open")),
    ],
)
def test_nvidia_module(loaded: str | None, modinfo: list[str], module: tuple[str | None, ...]) -> None:
    lines = {"nvidia_loaded": said(loaded)[:1] if loaded else [], "modinfo": [f"nvidia {line}" for line in modinfo]}
    assert tuple(read(lines)["modules"]["nvidia"].values()) == module


@pytest.mark.parametrize(
    ("loaded", "version", "file", "module"),
    [
        ([], "", "", (None, None, None)),
        (["6.16.6"], "6.16.6", "/lib/modules/6.1.0-41-amd64/updates/dkms/amdgpu.ko", ("6.16.6", "6.16.6", "dkms")),
        (
            ["6.1.0-41-amd64"],
            "",
            "/lib/modules/6.1.0-41-amd64/kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko",
            ("6.1.0-41-amd64", "6.1.0-41-amd64", "kernel"),
        ),
        (
            ["6.1.0-41-amd64"],
            "6.16.6",
            "/lib/modules/6.1.0-41-amd64/updates/dkms/amdgpu.ko.xz",
            ("6.1.0-41-amd64", "6.16.6", "dkms"),
        ),
    ],
)
def test_amdgpu_module(loaded: list[str], version: str, file: str, module: tuple[str | None, ...]) -> None:
    said_of = [f"amdgpu version={version}", f"amdgpu file={file}", "kernel=6.1.0-41-amd64"]
    assert tuple(read({"amdgpu_loaded": loaded, "modinfo": said_of})["modules"]["amdgpu"].values()) == module


def test_modules_are_asked_of_the_running_kernel(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(
        modinfo='case "$*" in "-F version nvidia") echo 580.126.09;; "-F license nvidia") echo Dual MIT/GPL;; '
        '*amdgpu) echo "modinfo: ERROR: Module amdgpu not found." >&2; exit 1;; esac',
        uname="echo 6.1.0-41-amd64",
    )
    planted(
        tmp_path,
        {"proc/driver/nvidia/version": (OUTPUT / "proc-version-open.txt").read_text(), "sys/module/amdgpu/x": ""},
    )
    chosen = {name: sections()[name] for name in ("nvidia_loaded", "amdgpu_loaded", "modinfo")}
    modules = read(split(shell(below(tmp_path, chosen)).stdout.splitlines()))["modules"]
    assert modules == {
        "nvidia": {"loaded": "595.71.05", "installed": "580.126.09", "flavour": "open"},
        "amdgpu": {"loaded": "6.1.0-41-amd64", "installed": None, "flavour": None},
    }


UNITS = """Id=nvidia-fabricmanager.service
ActiveState={}
UnitFileState={}

Id=nvidia-persistenced.service
ActiveState={}
UnitFileState={}"""


@pytest.mark.parametrize(
    ("states", "fabric", "persistenced"),
    [
        (("active", "enabled", "active", "static"), (True, True), (True, True)),
        (("failed", "disabled", "inactive", ""), (False, False), (False, False)),
        (("activating", "enabled", "active", "masked"), (False, True), (True, False)),
    ],
)
def test_units(states: tuple[str, ...], fabric: tuple[bool, bool], persistenced: tuple[bool, bool]) -> None:
    facts = read({"units": UNITS.format(*states).splitlines()})
    assert (facts["fabric"]["active"], facts["fabric"]["enabled"]) == fabric
    assert (facts["persistenced"]["active"], facts["persistenced"]["enabled"]) == persistenced


def test_packages_fabric_manager_and_toolkit() -> None:
    lines = [
        "hi  580.126.09-1 nvidia-fabricmanager",
        "ii  2025.10.11-1 nvlsm",
        "ii  1.18.1-1 nvidia-container-toolkit",
        "un  nvidia-driver-cuda",
        "rc  570.1-1 nvidia-utils-570",
    ]
    facts = read({"packages": lines, "ib_umad": ["loaded"], "runtimes": ['{"runc": {}, "nvidia": {"path": "x"}}']})
    assert facts["packages"] == {
        "nvidia-fabricmanager": {"version": "580.126.09-1", "held": True},
        "nvlsm": {"version": "2025.10.11-1", "held": False},
        "nvidia-container-toolkit": {"version": "1.18.1-1", "held": False},
    }
    assert (facts["fabric"]["version"], facts["fabric"]["nvlsm"]) == ("580.126.09", "2025.10.11-1")
    assert facts["fabric"]["ib_umad"] is True
    assert (facts["toolkit"]["version"], facts["runtimes"]) == ("1.18.1", ["nvidia", "runc"])
    older = read({"packages": ["ii  570.172.08-0ubuntu1 nvidia-fabricmanager-570", "ii  1-1 nvidia-fabricmanager-dev"]})
    assert older["fabric"]["version"] == "570.172.08"


@pytest.mark.parametrize(
    ("version", "numbers"),
    [
        ("580.126.09-1", "580.126.09"),
        ("1:6.16.6.30200100-2255209.22.04", "6.16.6.30200100"),
        ("", None),
        ("unknown", None),
    ],
)
def test_upstream_versions(version: str, numbers: str | None) -> None:
    assert upstream(version) == numbers


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("cdi-nvidia.yaml", ["0", "GPU-00000000-0000-0000-0000-00000000d256", "all"]),
        ("cdi-nvidia-old.yaml", ["0", "all"]),
    ],
)
@pytest.mark.parametrize("folder", ["var/run/cdi", "etc/cdi"])
def test_devices_for_containers(shell: Shell, tmp_path: Path, file: str, names: list[str], folder: str) -> None:
    planted(tmp_path, {f"{folder}/nvidia.yaml": (OUTPUT / file).read_text()})
    found = split(shell(below(tmp_path, {"cdi": sections()["cdi"]})).stdout.splitlines())
    assert read(found)["toolkit"]["cdi_devices"] == names


SECURE = "\x06\x00\x00\x00\x01"
INSECURE = "\x06\x00\x00\x00\x00"
FIRMWARE = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def kernel_facts(shell: Shell, programs: Programs, root: Path, files: Tree, **stand_ins: str) -> Any:
    programs(**{"uname": "echo 6.1.0-41-amd64", "mokutil": "exit 127"} | stand_ins)
    planted(root, files)
    return kernel.read(split(shell(below(root, {"kernel": sections()["kernel"]})).stdout.splitlines())["kernel"])


def test_kernel(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    facts = kernel_facts(
        shell,
        programs,
        tmp_path,
        {
            "lib/modules/6.1.0-41-amd64/build/Makefile": "",
            "proc/cmdline": "BOOT_IMAGE=/vmlinuz root=UUID=1 ro iommu=pt\n",
            FIRMWARE: SECURE,
            "sys/kernel/iommu_groups/0/devices/x": "",
            "proc/sys/kernel/numa_balancing": "1\n",
            "proc/sys/kernel/random/boot_id": "0b16\n",
            "proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\n\nprocessor\t: 1\nvendor_id\t: GenuineIntel\n",
            "run/reboot-required": "",
        },
    )
    assert facts == {
        "running": "6.1.0-41-amd64",
        "headers": True,
        "command_line": ["BOOT_IMAGE=/vmlinuz", "root=UUID=1", "ro", "iommu=pt"],
        "secure_boot": True,
        "key_enrolled": None,
        "iommu": True,
        "numa_balancing": 1,
        "cpu_vendor": "GenuineIntel",
        "boot_id": "0b16",
        "reboot_required": True,
    }


@pytest.mark.parametrize("files", [{FIRMWARE: INSECURE}, {}, {FIRMWARE: ""}])
def test_without_secure_boot(shell: Shell, programs: Programs, tmp_path: Path, files: Tree) -> None:
    facts = kernel_facts(shell, programs, tmp_path, files | {"lib/modules/6.1.0-41-amd64/build": "->/no/such/headers"})
    assert (facts["secure_boot"], facts["headers"], facts["iommu"], facts["numa_balancing"]) == (
        False,
        False,
        False,
        None,
    )


@pytest.mark.parametrize(
    ("says", "enrolled"),
    [
        ('echo "$2 is already enrolled"; exit 1', True),  # exits 1 for an enrolled key in several releases
        ('echo "$2 is not enrolled"', False),
        ('echo "$2 is already in the enrollment request"; exit 1', False),
        ('echo "EFI variables are not supported on this system" >&2; exit 1', None),
    ],
)
@pytest.mark.parametrize("key", ["var/lib/dkms/mok.pub", "var/lib/shim-signed/mok/MOK.der"])
def test_enrolled_key(
    shell: Shell, programs: Programs, tmp_path: Path, says: str, enrolled: bool | None, key: str
) -> None:
    facts = kernel_facts(shell, programs, tmp_path, {key: "key", FIRMWARE: SECURE}, mokutil=says)
    assert facts["key_enrolled"] is enrolled


@pytest.mark.parametrize("source", ["journalctl", "dmesg"])
@pytest.mark.parametrize("vendor", ["nvidia", "amd"])
def test_kernel_log(shell: Shell, programs: Programs, source: str, vendor: str) -> None:
    errors, harmless = (OUTPUT / f"kernel-log-{vendor}-{kind}.txt" for kind in ("errors", "harmless"))
    stand_ins = {"journalctl": "exit 1", "dmesg": "exit 1"} | {source: f"cat {harmless} {errors} {harmless}"}
    programs(**stand_ins)
    found = read(split(shell(script(kernel_errors=sections()["kernel_errors"])).stdout.splitlines()))
    assert found["kernel_errors"] == errors.read_text().splitlines()


def test_the_newest_errors_of_many(shell: Shell, programs: Programs) -> None:
    programs(journalctl="seq -f 'NVRM: Xid (PCI:0000:17:00): 79, %g' 1 500")
    found = read(split(shell(script(kernel_errors=sections()["kernel_errors"])).stdout.splitlines()))["kernel_errors"]
    assert len(found) == 20
    assert found[-1].endswith("79, 500")


def test_groups() -> None:
    assert read({"groups": ["render:x:105:", "video:x:44:alice,bob", "render", "x:y"]})["groups"] == {
        "render": 105,
        "video": 44,
    }


def test_the_script_on_this_very_machine(shell: Shell, programs: Programs) -> None:
    programs(docker="exit 127", journalctl="exit 1", dmesg="exit 1")
    before = time.monotonic()
    done = shell(Accelerators().command())
    took = time.monotonic() - before
    assert (done.returncode, done.stderr) == (0, "")
    assert took < 15  # seconds; 0.1 as a rule: no tool's time limit is waited for
    facts = Accelerators().process(done.stdout.splitlines())
    assert (facts["gpus"], facts["tool"], facts["tool_error"]) == ([], "", "")
    assert facts["kernel"]["running"]
    assert facts["kernel"]["boot_id"]
    assert facts["shm_bytes"]
