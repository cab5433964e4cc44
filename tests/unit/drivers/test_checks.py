"""Accelerators as facts tell of them, and the problems that are made of it: what holds for every vendor."""

from __future__ import annotations

import pytest

from barewind.spec.keys import EngineSpec
from tests.support.accelerator_hosts import bare, changed, h100_hgx, h200_hgx, mi300x
from tests.support.checking import MADE, MODES, Facts, cards, each, found, one, spec_of, without
from tests.support.factories import lab_spec

GIB = 2**30

# ---- hosts in order


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("accelerator", MADE)
def test_a_host_in_order_has_no_problem(accelerator: str, mode: str) -> None:
    assert found(MADE[accelerator](), mode, spec_of(accelerator)) == []
    assert found(MADE[accelerator](), mode, spec_of(accelerator), cuda="13.0.2", rocm="7.1.1") == []


@pytest.mark.parametrize("accelerator", MADE)
def test_a_bare_host_is_no_problem_before_a_deploy_that_installs_drivers(accelerator: str) -> None:
    assert found(bare(MADE[accelerator]()), "before", spec_of(accelerator)) == []


@pytest.mark.parametrize("accelerator", MADE)
@pytest.mark.parametrize("mode", ["after", "external"])
def test_a_bare_host_is_not_ready(accelerator: str, mode: str) -> None:
    findings = [finding for finding, _ in found(bare(MADE[accelerator]()), mode, spec_of(accelerator))]
    vendor = "AMD" if accelerator == "mi300x" else "NVIDIA"
    assert f"no {vendor} driver is loaded" in findings
    assert len(findings) >= 3


def test_a_host_without_accelerator_is_not_asked_for_one() -> None:
    assert found(bare(h200_hgx(pci=[])), "after", lab_spec()) == []
    assert found(h200_hgx(shm_bytes=0), "external", lab_spec()) == []


# ---- what the machine is


COUNT = "correct 'accelerator' and 'accelerator_count' for this host, or look for a failed card"
KIND = f"one engine needs accelerators of one kind: take the others out, or {COUNT.split(', or')[0]}"
FRESH = bare(h200_hgx())
UNKNOWN = "20b0"  # an A100, which the catalog does not hold
DISPLAY = {"address": "0000:02:00.0", "vendor": "1002", "device": "6611", "driver": "radeon"}
T400 = {"address": "0000:02:00.0", "vendor": "10de", "device": "1ff2", "driver": ""}


def mi355x(**changes: object) -> Facts:
    """Eight MI355X."""
    eight = mi300x(pci=cards(mi300x(), *range(8), device="75a3"))
    return changed({**eight, "gpus": each(eight, name="AMD Instinct MI355X", memory_mib=294896)}, **changes)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("spec", "facts", "finding", "remedy"),
    [
        (spec_of("b200"), h200_hgx(), "has 8 x NVIDIA H200, the inventory says 8 x b200", COUNT),
        (
            spec_of("h200", accelerator_count=4),
            h200_hgx(),
            "has 8 x NVIDIA H200, the inventory says 4 x h200",
            COUNT,
        ),
        (
            spec_of("h200"),
            h200_hgx(gpus=one(h200_hgx(), 3, name="NVIDIA H100 80GB HBM3", memory_mib=81559)),
            "has 7 x NVIDIA H200, 1 x NVIDIA H100 80GB HBM3, the inventory says 8 x h200",
            KIND,
        ),
        (spec_of("h200"), mi300x(), "has 8 x AMD Instinct MI300X, the inventory says 8 x h200", COUNT),
        (
            spec_of("h200"),  # as many as wanted, but one of them is another vendor's
            h200_hgx(gpus=without(h200_hgx(), 0), pci=[*h200_hgx()["pci"][1:], mi300x()["pci"][0]]),
            "has 7 x h200, 1 x mi300x, the inventory says 8 x h200",
            KIND,
        ),
        (  # its name and its id are MI308X's
            spec_of("mi300x"),
            mi300x(gpus=each(mi300x(), name="AMD Instinct MI308X OAM"), pci=cards(mi300x(), *range(8), device="74a2")),
            "has 8 x AMD Instinct MI308X OAM, the inventory says 8 x mi300x",
            COUNT,
        ),
        (  # a name that names no product, and the id of another
            spec_of("mi300x"),
            mi300x(gpus=each(mi300x(), name="AMD Radeon Graphics"), pci=cards(mi300x(), *range(8), device="74a2")),
            "has 8 x AMD Radeon Graphics, the inventory says 8 x mi300x",
            COUNT,
        ),
        (
            spec_of("mi300x"),
            mi300x(gpus=each(mi300x(), name=""), pci=cards(mi300x(), *range(8), device="75a3"), tool="sysfs"),
            "has 8 x mi355x, the inventory says 8 x mi300x",
            COUNT,
        ),
        (
            spec_of("mi300x"),
            mi300x(gpus=each(mi300x(), name="MI300X-O"), pci=cards(mi300x(), 5, device="74a2")),
            "has 8 x MI300X-O, the inventory says 8 x mi300x",
            COUNT,
        ),
        (
            spec_of("h200"),
            h200_hgx(gpus=without(h200_hgx(), 0), pci=h200_hgx()["pci"][1:]),
            "has 7 x NVIDIA H200, the inventory says 8 x h200",
            COUNT,
        ),
    ],
)
def test_other_accelerators_by_name(spec: EngineSpec, facts: Facts, finding: str, remedy: str, mode: str) -> None:
    assert found(facts, mode, spec) == [(finding, remedy)]


@pytest.mark.parametrize(
    ("facts", "finding", "remedy"),
    [
        (changed(FRESH, pci=[]), "has no accelerator on its PCI bus, the inventory says 8 x h200", COUNT),
        (changed(FRESH, pci=[DISPLAY]), "has no accelerator on its PCI bus, the inventory says 8 x h200", COUNT),
        (changed(FRESH, pci=FRESH["pci"][:7]), "has 7 x h200, the inventory says 8 x h200", COUNT),
        (bare(h100_hgx()), "has 8 x h100, the inventory says 8 x h200", COUNT),
        (bare(mi300x()), "has 8 x mi300x, the inventory says 8 x h200", COUNT),
        (
            changed(FRESH, pci=cards(FRESH, *range(8), device=UNKNOWN)),
            "has 8 x 10de:20b0, the inventory says 8 x h200",
            COUNT,
        ),
        (
            changed(FRESH, pci=cards(FRESH, 0, 1, device="2330")),
            "has 2 x h100, 6 x h200, the inventory says 8 x h200",
            KIND,
        ),
        (
            changed(FRESH, pci=[*FRESH["pci"], bare(mi300x())["pci"][0]]),
            "has 8 x h200, 1 x mi300x, the inventory says 8 x h200",
            KIND,
        ),
        (
            changed(FRESH, pci=[*FRESH["pci"], T400]),
            "has 8 x h200, 1 x 10de:1ff2, the inventory says 8 x h200",
            KIND,
        ),
    ],
)
def test_other_accelerators_by_pci_id(facts: Facts, finding: str, remedy: str) -> None:
    assert found(facts, "before") == [(finding, remedy)]


@pytest.mark.parametrize(
    ("accelerator", "facts"),
    [
        ("h200", h200_hgx(gpus=each(h200_hgx(), name="nvidia h200"))),
        ("h200", h200_hgx(pci=cards(h200_hgx(), *range(8), device="233b"))),  # H200 NVL
        ("h200", h200_hgx(pci=cards(h200_hgx(), *range(8), device="2336"))),  # a variant the catalog does not hold
        ("h200", h200_hgx(pci=[])),  # a virtual machine may show no bus
        ("h200", h200_hgx(pci=[DISPLAY, *h200_hgx()["pci"]])),  # the other vendor's display adapter is none
        ("mi300x", mi300x(gpus=each(mi300x(), name="AMD Instinct MI300X OAM"))),
        # names that name no product: the id does
        ("mi300x", mi300x(gpus=each(mi300x(), name="MI300X-O"))),
        ("mi300x", mi300x(gpus=each(mi300x(), name="AMD Radeon Graphics"))),
        ("mi300x", mi300x(gpus=each(mi300x(), name="AMD Radeon Graphics", bus=""))),
        ("mi355x", mi355x(gpus=each(mi355x(), name="AMD Radeon Graphics"))),
        ("mi300x", mi300x(gpus=each(mi300x(), name=""), tool="sysfs")),
        ("mi300x", mi300x(gpus=each(mi300x(), name="AMD Instinct MI300X VF", memory_mib=196288))),
        ("mi300x", mi300x(pci=[*mi300x()["pci"], T400])),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_the_same_accelerators_told_otherwise(accelerator: str, facts: Facts, mode: str) -> None:
    assert found(facts, mode, spec_of(accelerator)) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("accelerator", "facts", "finding", "remedy"),
    [
        (
            "h200",
            h200_hgx(pci=cards(h200_hgx(), 0, 1, driver="vfio-pci"), gpus=h200_hgx()["gpus"][2:]),
            "0000:17:00.0, 0000:3d:00.0 belong to the driver vfio-pci, which keeps cards for virtual machines",
            "take their ids off /etc/modprobe.d and the kernel parameter vfio-pci.ids; update-initramfs -u; reboot",
        ),
        (
            "h200",
            h200_hgx(gpus=without(h200_hgx(), 7), tool_error="Unable to determine the device handle for GPU7"),
            "nvidia-smi shows 7 of 8 accelerators, not 0000:ed:00.0 (Unable to determine the device handle for GPU7)",
            "look at: journalctl -k -b; power the host off and on; have the card replaced if it stays away",
        ),
        (
            "h200",
            h200_hgx(gpus=[gpu | {"bus": ""} for gpu in without(h200_hgx(), 7)]),
            "nvidia-smi shows 7 of 8 accelerators",
            "look at: journalctl -k -b; power the host off and on; have the card replaced if it stays away",
        ),
        (
            "h200",
            h200_hgx(tool_error="NVIDIA H200 00000000:17:00.0: GPU requires reset"),
            "nvidia-smi complains: NVIDIA H200 00000000:17:00.0: GPU requires reset",
            "reboot; have the card replaced if it says so again",
        ),
        (
            "mi300x",
            mi300x(gpus=mi300x()["gpus"] * 8),
            "amd-smi shows 64 accelerators for 8 cards: they are partitioned",
            "amd-smi set --memory-partition NPS1; amd-smi set --compute-partition SPX",
        ),
        (
            "h200",
            h200_hgx(gpus=one(h200_hgx(), 2, memory_mib=71885)),
            "GPU 2 reports 71885 MiB of memory, h200 has 143771",
            "look for a partition mode or a virtual function; the whole card is needed",
        ),
        (
            "h200",
            h200_hgx(gpus=[gpu | {"mig": at in (1, 5)} for at, gpu in enumerate(h200_hgx()["gpus"])]),
            "MIG is on for GPU 1, 5: an engine would see slices of it",
            "nvidia-smi -mig 0; reboot",
        ),
        (
            "h200",
            h200_hgx(gpus=one(h200_hgx(), 4, ecc_errors=2)),
            "GPU 4: 2 uncorrectable memory errors since the driver was loaded",
            "look at: nvidia-smi -q -d ECC,ROW_REMAPPER; reboot; have the card replaced if they come back",
        ),
        (
            "mi300x",
            mi300x(gpus=one(mi300x(), 0, ecc_errors=1)),
            "GPU 0: 1 uncorrectable memory errors since the driver was loaded",
            "look at: amd-smi metric --ecc; amd-smi bad-pages; reboot; have the card replaced if they come back",
        ),
        (
            "h200",
            h200_hgx(gpus=one(h200_hgx(), 6, repair_pending=True)),
            "GPU 6: failed memory waits for a reset to be mapped out",
            "reboot; look at: nvidia-smi -q -d ECC,ROW_REMAPPER",
        ),
        (
            "h200",
            h200_hgx(
                kernel_errors=["NVRM: other", "NVRM: Xid (PCI:0000:17:00): 79, pid=1, GPU has fallen off the bus."]
            ),
            "2 accelerator errors in the kernel log since boot, the last: NVRM: Xid (PCI:0000:17:00): 79, pid=1, "
            "GPU has fallen off the bus. (Xid 79: the card fell off the bus)",
            "look it up in NVIDIA's Xid catalog; reboot; have the card replaced if it comes back",
        ),
        (
            "mi300x",
            mi300x(kernel_errors=["amdgpu: ring comp_1.0.1 timeout"]),
            "1 accelerator error in the kernel log since boot, the last: amdgpu: ring comp_1.0.1 timeout",
            "reboot; have the card replaced if it comes back",
        ),
        (
            "h200",
            h200_hgx(shm_bytes=64 * 2**20),
            "/dev/shm holds 0.1 GiB, engines on several accelerators want 32 GiB",
            "mount -o remount,size=32G /dev/shm; in /etc/fstab: tmpfs /dev/shm tmpfs defaults,size=32G 0 0",
        ),
    ],
)
def test_what_no_deploy_mends(accelerator: str, facts: Facts, finding: str, remedy: str, mode: str) -> None:
    assert (finding, remedy) in found(facts, mode, spec_of(accelerator))
    if "vfio" not in finding:
        assert len(found(facts, mode, spec_of(accelerator))) == 1


@pytest.mark.parametrize("size", [31 * GIB, None])
def test_half_of_64_gib_are_enough_shared_memory(size: int | None) -> None:
    assert found(h200_hgx(shm_bytes=size), "external") == []


def test_nouveau_hands_its_cards_over_when_the_driver_is_installed() -> None:
    facts = changed(FRESH, pci=cards(FRESH, 0, driver="nouveau"))
    assert found(facts, "before") == []
    for mode in ("after", "external"):
        assert (
            "0000:17:00.0 belongs to the driver nouveau",
            "echo blacklist nouveau > /etc/modprobe.d/nouveau.conf; update-initramfs -u; reboot",
        ) in found(facts, mode)


# ---- Secure Boot


ON, TRUSTED, DOUBTED = ({"secure_boot": True, "key_enrolled": trust} for trust in (None, True, False))
OTHER_MODULE = {"nvidia": {"loaded": "570.172.08", "installed": "570.172.08"}}


@pytest.mark.parametrize(
    ("mode", "facts", "problem"),
    [
        ("before", changed(FRESH, kernel=ON), True),
        ("before", changed(FRESH, kernel=DOUBTED), True),
        ("before", changed(FRESH, kernel=TRUSTED), False),
        ("before", h200_hgx(kernel=ON), False),  # the driver of the group data is loaded: it was trusted
        ("before", h200_hgx(kernel=ON, modules=OTHER_MODULE), True),
        ("external", h200_hgx(kernel=ON), False),
        ("external", h200_hgx(kernel=DOUBTED), False),
        ("external", changed(FRESH, kernel=ON), True),
        ("after", changed(FRESH, kernel=DOUBTED), True),
        ("before", FRESH, False),
    ],
)
def test_secure_boot(mode: str, facts: Facts, problem: bool) -> None:
    told = [remedy for finding, remedy in found(facts, mode) if finding.startswith("Secure Boot is on")]
    assert bool(told) is problem
    assert all("switch Secure Boot off" in remedy and "mokutil --import" in remedy for remedy in told)


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        (changed(bare(mi300x()), kernel=ON), True),
        (mi300x(kernel=ON), False),
        (mi300x(kernel=ON, modules={"amdgpu": {"loaded": "6.1.0-41-amd64", "flavour": "kernel"}}), True),
    ],
)
def test_secure_boot_with_amd(facts: Facts, problem: bool) -> None:
    assert [finding[:11] for finding, _ in found(facts, "before", spec_of("mi300x"))] == ["Secure Boot"] * problem
