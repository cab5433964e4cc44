"""Hosts with simulated accelerators: what they are made of, and what their kernel and tools answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from barewind import catalog
from lab import topology
from lab.hosts import hardware, simulated_host
from lab.simulated import (
    amd_smi,
    boot,
    dkms,
    host,
    kernel_log,
    knobs,
    modules,
    nvidia_ctk,
    nvidia_smi,
    oci,
    runc_memlock,
)

Booted = Callable[[str], Path]
KINDS = {"hopper": "h100", "blackwell": "b200", "mi300x": "mi300x"}


def simulated(kind: str) -> topology.Host:
    return topology.layout(engines=0, **{kind: 1})[-1]


@pytest.fixture
def booted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Booted:
    """A simulated host whose files are below a folder; no mounts, no device nodes."""

    def boot_host(kind: str) -> Path:
        for name in (
            "HARDWARE",
            "KNOBS",
            "KERNEL",
            "MODULE",
            "PROC_DRIVER",
            "PCI",
            "FIRMWARE",
            "FILES",
            "NVIDIA",
            "LIBRARIES",
        ):
            monkeypatch.setattr(host, name, tmp_path / name.lower())
        monkeypatch.setattr(modules, "BLACKLISTS", (str(tmp_path / "modprobe.d"),))
        monkeypatch.setattr(modules, "DRI", tmp_path / "dri")
        monkeypatch.setattr(modules, "_nodes", lambda _: None)
        monkeypatch.setattr(host, "kernel_log", lambda *_: None)
        monkeypatch.setattr(
            modules, "on_disk", lambda name, _=None: path if (path := tmp_path / f"{name}.ko").exists() else None
        )
        monkeypatch.setattr(nvidia_smi, "visible", lambda: list(range(len(host.cards()))))
        monkeypatch.setattr(amd_smi, "present", host.cards)
        host.HARDWARE.write_text(json.dumps(hardware.describe(simulated(kind))))
        host.MODULE.mkdir()
        modules.describe_pci()
        return tmp_path

    return boot_host


def driver(root: Path, version: str, license_: str = "Dual MIT/GPL") -> None:
    """Install a driver: the module on disk and its library."""
    (root / "nvidia.ko").write_text(f"version={version}\nlicense={license_}\n")
    host.LIBRARIES.mkdir(exist_ok=True)
    for old in host.LIBRARIES.iterdir():
        old.unlink()
    (host.LIBRARIES / f"libnvidia-ml.so.{version}").touch()


@pytest.mark.parametrize(("kind", "accelerator"), KINDS.items())
def test_hardware_is_what_the_catalog_expects(kind: str, accelerator: str) -> None:
    described, expected = hardware.describe(simulated(kind)), catalog.accelerators()[accelerator]
    assert described["memory_mib"] == expected.reported_mib
    assert expected.is_called(described["name"])
    assert described["device"].removeprefix("0x") in expected.device_ids
    assert described["switches"] == expected.fabric
    assert len(described["cards"]) == 8
    assert len({card["uuid"] for card in described["cards"]}) == 8


def test_a_hosts_cards_keep_their_ids_and_differ_from_anothers() -> None:
    hosts = topology.layout(engines=0, hopper=2)[1:]
    first, second = (hardware.describe(host)["cards"] for host in hosts)
    assert first == hardware.describe(hosts[0])["cards"]
    assert {card["uuid"] for card in first}.isdisjoint(card["uuid"] for card in second)


def test_switches_show_on_hopper_only() -> None:
    switches = {
        kind: [d for d in hardware.describe(simulated(kind))["others"] if d["pci_class"] == "0x068000"]
        for kind in KINDS
    }
    assert {kind: len(devices) for kind, devices in switches.items()} == {"hopper": 4, "blackwell": 0, "mi300x": 0}


def test_each_kind_says_another_system() -> None:
    assert {kind: hardware.SYSTEMS[kind].name for kind in KINDS} == {
        "hopper": "debian 12",
        "blackwell": "ubuntu 24.04",
        "mi300x": "ubuntu 22.04",
    }
    assert 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\n' in hardware.os_release("blackwell")
    assert "ID=debian\n" in hardware.os_release("hopper")


def test_files_of_a_host() -> None:
    files = simulated_host.files(simulated("hopper"), "KEY")
    assert files[simulated_host.BOOT][1] == 0o755
    assert "from lab.simulated.boot import main" in files[simulated_host.BOOT][0]
    assert files["/etc/apt/keyrings/lab.asc"][0] == "KEY"
    assert not [path for path in files if path.startswith(("/lib/", "/sbin/", "/bin/"))], "links on Debian 12"
    for _, module in simulated_host.COMMANDS.items():
        assert f"{simulated_host.LIBRARY}/lab/simulated/{module}.py" in files


def test_pci_bus(booted: Booted) -> None:
    booted("hopper")
    devices = host.PCI / "devices"
    assert len(list(devices.iterdir())) == 8 + 4 + 1
    assert (devices / "0000:1b:00.0" / "device").read_text() == "0x2330\n"
    assert not (devices / "0000:1b:00.0" / "driver").is_symlink()
    knobs.change({"count": 7})
    assert not (devices / "0000:df:00.0").exists()


def test_loading_the_driver(booted: Booted) -> None:
    root = booted("hopper")
    assert nvidia_smi.trouble() == (nvidia_smi.NO_LIBRARY, 12)
    driver(root, "580.95.05")
    assert nvidia_smi.trouble() == (nvidia_smi.NO_DRIVER, 9)
    modules.load("nvidia")
    assert nvidia_smi.trouble() is None
    version = (host.PROC_DRIVER / "nvidia" / "version").read_text()
    assert version.startswith("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build")
    assert modules.bound("nvidia") == list(range(8))
    assert (host.MODULE / "nvidia_uvm" / "version").read_text() == "580.95.05\n"


def test_an_upgrade_mismatches_until_the_next_boot(booted: Booted) -> None:
    root = booted("hopper")
    driver(root, "580.95.05")
    modules.load("nvidia")
    driver(root, "580.126.09")
    modules.load("nvidia")
    message, status = nvidia_smi.trouble() or ("", 0)
    assert message.splitlines() == [
        "Failed to initialize NVML: Driver/library version mismatch",
        "NVML library version: 580.126",
    ]
    assert status == 18
    modules.unload("nvidia")
    modules.load("nvidia")
    assert nvidia_smi.trouble() is None


def test_proprietary_modules_do_not_drive_blackwell(booted: Booted) -> None:
    root = booted("blackwell")
    driver(root, "580.126.09", "NVIDIA")
    with pytest.raises(modules.Refused, match="No such device"):
        modules.load("nvidia")
    assert not host.loaded("nvidia")


def test_secure_boot_wants_an_enrolled_key(booted: Booted, monkeypatch: pytest.MonkeyPatch) -> None:
    root = booted("hopper")
    driver(root, "580.126.09")
    built = root / "updates"
    built.mkdir()
    (root / "nvidia.ko").rename(built / "nvidia.ko")
    monkeypatch.setattr(modules, "on_disk", lambda *_: built / "nvidia.ko")
    knobs.change({"secure_boot": True})
    assert next((host.FIRMWARE / "efi" / "efivars").iterdir()).read_bytes()[-1] == 1
    with pytest.raises(modules.Refused, match="Key was rejected by service"):
        modules.load("nvidia")
    knobs.change({"key_enrolled": True})
    modules.load("nvidia")


def test_nouveau_holds_the_cards_unless_blacklisted(booted: Booted) -> None:
    root = booted("hopper")
    driver(root, "580.126.09")
    (root / "nouveau.ko").write_text("license=GPL\n")
    knobs.change({"nouveau": True})
    modules.autoload()
    assert modules.bound("nouveau") == list(range(8))
    assert not host.loaded("nvidia")
    modules.unload("nouveau")
    (root / "modprobe.d").mkdir()
    (root / "modprobe.d" / "nvidia.conf").write_text("blacklist nouveau\n")
    modules.autoload()
    assert modules.bound("nvidia") == list(range(8))


def test_dkms_builds_with_headers_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, folder in (("TREE", "dkms"), ("SOURCES", "src"), ("MODULES", "modules")):
        monkeypatch.setattr(dkms, name, tmp_path / folder)
    monkeypatch.setattr(host, "KNOBS", tmp_path / "knobs.json")
    source = tmp_path / "src" / "nvidia-580.126.09"
    (source / "modules").mkdir(parents=True)
    (source / "dkms.conf").touch()
    (source / "modules" / "nvidia.ko").write_text("version=580.126.09\n")
    built = tmp_path / "modules" / "6.1" / "updates" / "dkms" / "nvidia.ko"
    command = ["dkms", "install", "nvidia/580.126.09", "-k", "6.1"]
    assert dkms.main(command) == 21
    (tmp_path / "modules" / "6.1" / "build").mkdir(parents=True)
    (source / "build-fails").touch()
    assert dkms.main(command) == 10
    (source / "build-fails").unlink()
    assert dkms.main(command) == 0
    assert built.exists()
    assert "updates/dkms/nvidia.ko:" in (tmp_path / "modules" / "6.1" / "modules.dep").read_text()
    assert dkms.main(["dkms", "remove", "nvidia/580.126.09", "--all"]) == 0
    assert not built.exists()
    assert dkms.main(command) == 0, "the tree is added again"
    assert dkms.main(["dkms", "install", "nvidia/1.0"]) == 2


def test_query(booted: Booted, capsys: pytest.CaptureFixture[str]) -> None:
    root = booted("hopper")
    driver(root, "580.126.09")
    modules.load("nvidia")
    fields = "memory.total,driver_version,fabric.state,name"
    assert nvidia_smi.main(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", "-i", "0"]) == 0
    assert capsys.readouterr().out == "81559 MiB, 580.126.09, In Progress, NVIDIA H100 80GB HBM3\n"
    assert nvidia_smi.main(["nvidia-smi", "--query-gpu=index,memory.total", "--format=csv,nounits", "-i", "7"]) == 0
    assert capsys.readouterr().out == "index, memory.total [MiB]\n7, 81559\n"
    assert nvidia_smi.main(["nvidia-smi", "--query-gpu=name,beauty", "--format=csv"]) == 2
    assert capsys.readouterr().out == 'Field "beauty" is not a valid field to query.\n\n'
    assert nvidia_smi.main(["nvidia-smi", "--query-gpu=remapped_rows.pending", "--format=csv"]) == 2
    capsys.readouterr()


def test_knobs_show_in_the_tools(booted: Booted, capsys: pytest.CaptureFixture[str]) -> None:
    root = booted("hopper")
    driver(root, "580.126.09")
    modules.load("nvidia")
    knobs.change({"mig": [1], "ecc": {"1": 2}, "repair_pending": [1], "fabric": "In Progress"})
    values = nvidia_smi.values(1)
    assert values["mig.mode.current"] == "Enabled"
    assert values["ecc.errors.uncorrected.volatile.total"] == "2"
    assert values["remapped_rows.pending"] == "Yes"
    assert nvidia_smi.values(0)["mig.mode.current"] == "Disabled"
    nvidia_smi.main(["nvidia-smi", "-i", "1", "-mig", "0"])
    assert "mig" not in host.knobs()
    knobs.change({"lost": [3]})
    assert nvidia_smi.main(["nvidia-smi", "-L"]) == 15
    assert "GPU0000:61:00.0: Unknown Error" in capsys.readouterr().out
    assert knobs.main(["lab-knobs", '{"beauty": 1}']) == 2


def test_memory_that_a_process_holds(booted: Booted, capsys: pytest.CaptureFixture[str]) -> None:
    root = booted("hopper")
    driver(root, "580.126.09")
    modules.load("nvidia")
    question = ["nvidia-smi", "--query-compute-apps=gpu_uuid,pid,used_memory", "--format=csv,noheader"]
    assert nvidia_smi.main(question) == 0
    assert capsys.readouterr().out == ""
    assert knobs.main(["lab-knobs", '{"held": {"3": 90000}}']) == 0
    assert nvidia_smi.main(question) == 0
    assert capsys.readouterr().out == f"GPU-{host.cards()[3]['uuid']}, 1, 90000 MiB\n"


def test_render_nodes_are_named_by_address_and_memory_is_told(booted: Booted) -> None:
    root = booted("mi300x")
    (root / "amdgpu.ko").write_text("version=6.16.13\nlicense=GPL\n")
    modules.load("amdgpu")
    assert {link.name: str(link.readlink()) for link in (root / "dri/by-path").iterdir()} == {
        f"pci-{card['address']}-render": f"../renderD{128 + number}" for number, card in enumerate(host.cards())
    }
    used = [
        int((host.PCI / "devices" / card["address"] / "mem_info_vram_used").read_text()) // 2**20
        for card in host.cards()
    ]
    assert used == [283] * 8
    nodes = [(host.PCI / "devices" / card["address"] / "numa_node").read_text() for card in host.cards()]
    assert nodes == ["0\n"] * 4 + ["1\n"] * 4


def test_amd_smi_in_both_shapes(booted: Booted, capsys: pytest.CaptureFixture[str]) -> None:
    booted("mi300x")
    assert amd_smi.amd_smi(["static", "--json"]) == 0
    newer = json.loads(capsys.readouterr().out)["gpu_data"]
    knobs.change({"amd_smi": "older"})
    amd_smi.amd_smi(["static", "--json"])
    assert json.loads(capsys.readouterr().out) == newer
    assert newer[7]["asic"]["market_name"] == "AMD Instinct MI300X"
    assert newer[7]["vram"]["size"] == {"value": 196592, "unit": "MB"}
    knobs.change({"amd_smi": "silent"})
    assert amd_smi.amd_smi(["static", "--json"]) == 1


def test_cdi_names_every_card(booted: Booted) -> None:
    root = booted("blackwell")
    driver(root, "580.126.09")
    modules.load("nvidia")
    named = nvidia_ctk.read(nvidia_ctk.specification())
    assert named == nvidia_ctk.nodes()
    assert len(named) == 8 + 8 + 1
    assert named["all"] == [f"/dev/nvidia{number}" for number in range(8)]


def test_a_container_gets_only_what_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia_ctk, "devices", lambda: {"0": ["/dev/null"], "all": ["/dev/null", "/dev/zero"]})
    monkeypatch.setattr(nvidia_ctk, "_COMMON", ())
    asked = {"process": {"env": ["NVIDIA_VISIBLE_DEVICES=nvidia.com/gpu=all"]}, "mounts": []}
    assert nvidia_ctk.inject(asked) == ""
    assert [device["path"] for device in asked["linux"]["devices"]] == ["/dev/null", "/dev/zero"]
    unknown = {"process": {"env": ["NVIDIA_VISIBLE_DEVICES=nvidia.com/gpu=9"]}, "mounts": []}
    assert "unresolvable CDI devices nvidia.com/gpu=9" in nvidia_ctk.inject(unknown)
    nothing = {"process": {"env": ["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_VISIBLE_DEVICES=void"]}}
    assert nvidia_ctk.inject(nothing) == ""
    assert "linux" not in nothing


def test_runtime_is_merged_into_daemon_json(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text('{"insecure-registries": ["10.0.0.2:5000"], "runtimes": {"other": {"path": "other"}}}')
    assert oci.add_runtime("nvidia", "nvidia-container-runtime", {"config": str(path)}) == 0
    settings = json.loads(path.read_text())
    assert settings["insecure-registries"] == ["10.0.0.2:5000"]
    assert settings["runtimes"] == {
        "other": {"path": "other"},
        "nvidia": {"args": [], "path": "nvidia-container-runtime"},
    }


def test_locked_memory_is_lowered_and_nothing_else() -> None:
    unlimited = 2**64 - 1
    limits = [
        {"type": "RLIMIT_MEMLOCK", "soft": unlimited, "hard": unlimited},
        {"type": "RLIMIT_STACK", "soft": unlimited, "hard": unlimited},
    ]
    container = {"process": {"rlimits": limits}}
    assert runc_memlock.lower(container, 8192)
    assert limits[0] == {"type": "RLIMIT_MEMLOCK", "soft": 8192, "hard": 8192}
    assert limits[1]["soft"] == unlimited
    assert not runc_memlock.lower(container, 8192)
    assert not runc_memlock.lower({"process": {}}, 8192)
    assert runc_memlock.descriptions(["runc", "create", "--bundle", "/b", "id"]) == [Path("/b/config.json")]


def test_kernel_log_records() -> None:
    record = kernel_log._record(5, "<3>NVRM: Xid (PCI:0000:1b:00): 79")
    assert record is not None
    head, text = record.decode().split(";")
    assert head.split(",")[:2] == ["3", "5"]
    assert text == "NVRM: Xid (PCI:0000:1b:00): 79\n"
    assert kernel_log._record(5, "") is None


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("always\n", "[always] madvise never\n"),
        ("nevers [madvise] never\n", "always madvise [never]\n"),  # "never" over what was there
        ("madvise[madvise] never\n", "always [madvise] never\n"),
        ("always [madvise] never\n", "[always] madvise never\n"),  # "always" over it: the text stays the same
        ("[always] madvise never\n", "[always] madvise never\n"),
    ],
)
def test_transparent_huge_pages_as_the_kernel_shows_them(written: str, shown: str) -> None:
    assert kernel_log.settled_choice(written) == shown


def test_a_shorter_number_over_a_longer_one() -> None:
    assert kernel_log.settled_number("0\n24\n") == "0\n"


@pytest.mark.parametrize(
    ("line", "vendor", "has"),
    [
        ("ro quiet", "GenuineIntel", False),
        ("ro intel_iommu=on iommu=pt", "GenuineIntel", True),
        ("ro", "AuthenticAMD", True),
        ("ro iommu=off", "AuthenticAMD", False),
    ],
)
def test_iommu(line: str, vendor: str, has: bool) -> None:
    assert boot.has_iommu(line, vendor) is has


def test_command_line_is_the_boot_loaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "GRUB", tmp_path / "grub.cfg")
    boot.GRUB.write_text("menuentry 'GNU/Linux' {\n\tlinux\t/boot/vmlinuz-6 root=UUID=1 ro  iommu=pt quiet\n}\n")
    assert boot.command_line() == "BOOT_IMAGE=/boot/vmlinuz-6 root=UUID=1 ro iommu=pt quiet\n"
