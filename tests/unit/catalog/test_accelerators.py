"""The accelerators of the catalog: what they are called and are not, what they can do, what becomes of it in a plan."""

from __future__ import annotations

from typing import Any

import pytest

from barewind import catalog
from barewind.drivers.conflicts import conflicts as driver_conflicts
from barewind.drivers.nvidia.plan import needs_fabric_manager
from barewind.errors import BarewindError
from barewind.plan import checks
from barewind.site.conflicts import conflicts
from barewind.site.notes import notes
from barewind.site.read import read_site
from tests.support.factories import MEDIUM, engine_entry, engine_spec, plan

ACCELERATORS = catalog.accelerators()
IMAGE = "registry.example/engine:nightly"
SERVED = [name for name, accelerator in ACCELERATORS.items() if not accelerator.is_cpu]

NAMES = [
    # as the vendors' tools print them, and whose they are
    ("NVIDIA A100-SXM4-80GB", {"a100"}),
    ("NVIDIA A100 80GB PCIe", {"a100"}),
    ("NVIDIA A100-SXM4-40GB", set()),
    ("NVIDIA A100-PCIE-40GB", set()),
    ("NVIDIA H100 80GB HBM3", {"h100"}),
    ("NVIDIA H100 NVL", {"h100nvl"}),
    ("NVIDIA H200", {"h200"}),
    ("NVIDIA H20", {"h20"}),
    ("NVIDIA H20-3e", {"h20-141"}),
    ("NVIDIA H200 NVL", {"h200"}),
    ("NVIDIA GB200", set()),
    ("NVIDIA L40S", {"l40s"}),
    ("NVIDIA L40", set()),
    ("NVIDIA RTX PRO 6000 Blackwell Server Edition", {"rtxpro6000"}),
    ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", {"rtxpro6000"}),
    ("NVIDIA GeForce RTX 5090", {"rtx5090"}),
    ("AMD Instinct MI300X OAM", {"mi300x"}),
    ("AMD Instinct MI300X VF", {"mi300x"}),
    ("AMD Instinct MI308X OAM", {"mi308x"}),
    ("AMD Instinct MI350X", {"mi350x"}),
    ("AMD Instinct MI355X", {"mi355x"}),
]


@pytest.mark.parametrize(("name", "whose"), NAMES)
def test_a_product_name_is_one_accelerators_or_nobodys(name: str, whose: set[str]) -> None:
    assert {known for known, accelerator in ACCELERATORS.items() if accelerator.is_called(name)} == whose


def test_no_two_accelerators_share_a_device_id() -> None:
    ids = [(known.vendor, device) for known in ACCELERATORS.values() for device in known.device_ids]
    assert len(ids) == len(set(ids))
    assert all(len(device) == 4 and int(device, 16) for _, device in ids)


@pytest.mark.parametrize("name", SERVED)
def test_the_vendors_tool_reports_no_less_than_programs_see(name: str) -> None:
    accelerator = ACCELERATORS[name]
    assert accelerator.memory_mib <= accelerator.reported_mib <= accelerator.memory_mib * 1.03
    assert accelerator.compute


# --- What a user writes ---

SPELLED = [
    ("H100", "did you mean 'h100'?"),
    ("mi-300x", "did you mean 'mi300x'?"),
    ("NVIDIA L40S", "did you mean 'l40s'?"),
    ("NVIDIA H100 80GB HBM3", "did you mean 'h100'?"),
    ("AMD Instinct MI300X OAM", "did you mean 'mi300x'?"),
    ("NVIDIA H200 NVL", "did you mean 'h200'?"),
    ("h20_141", "did you mean 'h20-141'?"),
    ("RTX 5090", "did you mean 'rtx5090'?"),
    ("AMD Instinct MI355X", "did you mean 'mi355x'?"),
]
GRACE = "its hosts are arm64 (NVIDIA Grace), and Barewind serves x86-64 alone"


@pytest.mark.parametrize(("name", "hint"), SPELLED)
def test_another_spelling_of_an_accelerator_is_proposed(name: str, hint: str) -> None:
    assert hint in refusal(name)


@pytest.mark.parametrize(
    "name", ["a10", "a1000", "h10", "h200nvl", "b100", "l40", "mi300a", "mi325", "rtx4090", "gb", "h2000"]
)
def test_another_chip_is_never_proposed(name: str) -> None:
    said = refusal(name)
    assert "did you mean" not in said
    assert f"unknown accelerator '{name}': known: a100, b200," in said


@pytest.mark.parametrize("name", ["gb200", "GB200", "gb300", "gh200", "NVIDIA GH200", "gb10"])
def test_arm64_is_refused_with_the_reason(name: str) -> None:
    said = refusal(name)
    assert f"accelerator '{name}' is not served: {GRACE}; known: a100," in said
    assert "did you mean" not in said


def refusal(accelerator: str) -> str:
    with pytest.raises(BarewindError) as caught:
        read_site([engine_entry("10.0.0.7", accelerator=accelerator)])
    return str(caught.value)


# --- What follows from it ---

MARLIN = (
    f"a100 on 10.0.0.7 cannot multiply FP8: the weights of {MEDIUM} stay FP8 in memory and are multiplied as BF16 (Marlin "
    "kernels, which the engine chooses itself). Prompts are read more slowly than on accelerators with FP8; published figures "
    "are not this set-up's"
)


@pytest.mark.parametrize(
    ("accelerator", "told"), [("a100", [MARLIN]), *((name, []) for name in SERVED if name != "a100")]
)
def test_weights_that_the_matrix_units_cannot_multiply_are_told(accelerator: str, told: list[str]) -> None:
    site = read_site(
        [engine_entry("10.0.0.7", accelerator=accelerator, accelerator_count=8, channel="stable", image=IMAGE)]
    )
    assert notes(site) == told


def test_an_accelerator_that_nothing_runs_fp8_weights_on_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    old = ACCELERATORS["a100"].model_copy(update={"fp8_kernel": None})
    monkeypatch.setitem(catalog.accelerators(), "a100", old)
    (said,) = (text for key, text in conflicts(engine_spec(accelerator="a100")) if key == "accelerator")
    assert said.startswith(f"a100 cannot multiply FP8, which {MEDIUM} is stored in; use one of h100, ")


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize(
    ("accelerator", "count", "given"),
    [("rtx5090", 8, True), ("rtxpro6000", 8, False), ("l40s", 8, False), ("h200", 8, False)],
)
def test_cards_that_do_not_reach_each_other_go_without_the_engines_own_all_reduce(
    engine: str, accelerator: str, count: int, *, given: bool
) -> None:
    planned = plan(engine_spec(engine=engine, accelerator=accelerator, accelerator_count=count, channel="stable"))
    assert ("--disable-custom-all-reduce" in planned.command.argv) is given


@pytest.mark.parametrize("name", [name for name in SERVED if ACCELERATORS[name].vendor == "nvidia"])
def test_open_modules_are_demanded_of_blackwell_alone(name: str) -> None:
    found = [key for key, _ in driver_conflicts(engine_spec(accelerator=name, nvidia_modules="proprietary"))]
    assert found == (["nvidia_modules"] if name in ("b200", "b300", "rtxpro6000", "rtx5090") else [])


FABRIC: list[tuple[dict[str, Any], bool]] = [
    *(
        ({"accelerator": name, "accelerator_count": 8}, True)
        for name in ("a100", "h100", "h20", "h20-141", "h200", "b200")
    ),
    *(
        ({"accelerator": name, "accelerator_count": 4}, False) for name in ("a100", "h100", "h200")
    ),  # HGX 4-GPU: no switches
    *(({"accelerator": name, "accelerator_count": 8}, False) for name in ("h100nvl", "l40s", "rtxpro6000", "rtx5090")),
    ({"accelerator": "a100", "accelerator_count": 8, "nvidia_fabric_manager": False}, False),  # cards in slots
]


@pytest.mark.parametrize(("values", "needed"), FABRIC)
def test_the_fabric_manager_goes_where_switches_are(values: dict[str, Any], *, needed: bool) -> None:
    assert needs_fabric_manager(engine_spec(**values), None) is needed


@pytest.mark.parametrize(
    ("values", "switches", "needed"),
    [
        ({"accelerator": "h200"}, 4, True),
        ({"accelerator": "h200"}, 0, False),  # H200 NVL, or a virtual machine
        ({"accelerator": "a100"}, 0, False),
        ({"accelerator": "h100", "accelerator_count": 4}, 4, True),
        ({"accelerator": "h200", "nvidia_fabric_manager": False}, 4, False),
        ({"accelerator": "h200", "nvidia_fabric_manager": True}, 0, True),
        ({"accelerator": "b200"}, 0, True),  # its switches are no PCI devices
        ({"accelerator": "rtxpro6000"}, 0, False),
    ],
)
def test_the_pci_bus_tells_more_than_the_name(values: dict[str, Any], switches: int, *, needed: bool) -> None:
    assert needs_fabric_manager(engine_spec(**{"accelerator_count": 8} | values), switches) is needed


# --- What is too small, with the number that is enough; tests/unit/engines/test_sizing.py has every cell ---

ENOUGH = [
    # accelerator, number, the least number that fits
    ("a100", 1, 2),
    ("h100nvl", 1, 2),
    ("h20", 1, 2),
    ("h20-141", 1, 2),
    ("rtxpro6000", 1, 2),
    ("l40s", 1, 4),
    ("l40s", 2, 4),
    ("rtx5090", 1, 8),
    ("rtx5090", 4, 8),
    ("mi308x", 1, None),
    ("mi350x", 1, None),
]


@pytest.mark.parametrize(("accelerator", "count", "enough"), ENOUGH)
def test_too_few_accelerators_are_refused_with_the_number_that_fits(
    accelerator: str, count: int, enough: int | None
) -> None:
    found = checks.problems(plan(engine_spec(accelerator=accelerator, accelerator_count=count, channel="stable")))
    if enough is None:
        assert found == []
        return
    (said,) = found
    assert said.startswith(f"{count} x {accelerator} cannot hold {MEDIUM} with 32768 tokens of context: ")
    assert f"accelerator_count = {enough}: fits" in said
