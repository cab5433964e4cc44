"""Facts of accelerators: every tool's output, whole, cut off and garbled."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, cast

import pytest

from barewind.drivers.accelerators import read, sections
from barewind.drivers.amd import amd_smi
from barewind.drivers.nvidia import nvidia_smi
from barewind.drivers.nvidia.software import NvidiaFacts
from barewind.hosts.script import script, split
from tests.support.shell import Programs, Shell
from tests.support.tool_output import OUTPUT, said

# ---- nvidia-smi


def test_nvidia_smi_with_every_field() -> None:
    rows = ["GPU-00000000-0000-0000-0000-000000000001, No", "GPU-00000000-0000-0000-0000-000000000003, Yes"]
    gpus, error = nvidia_smi.read(said("nvidia-smi-h200.csv"), rows)
    assert error == ""
    assert gpus[0] == {
        "vendor": "nvidia",
        "name": "NVIDIA H200",
        "memory_mib": 143771,
        "driver": "580.126.09",
        "uuid": "GPU-00000000-0000-0000-0000-000000000001",
        "bus": "00000000:17:00.0",
        "mig": False,
        "persistence": True,
        "ecc_errors": 0,
        "repair_pending": False,
        "fabric": "Completed",
    }
    ill = gpus[2]
    assert (ill["mig"], ill["persistence"], ill["ecc_errors"], ill["fabric"]) == (True, False, 3, "In Progress")
    assert [gpu["repair_pending"] for gpu in gpus] == [False, None, True]


def test_rows_of_failed_memory() -> None:
    rows = said("nvidia-smi-remapped-rows.csv")
    line = "NVIDIA H200, GPU-00000000-0000-0000-0000-{:012d}, 143771 MiB"
    lines = ["name,uuid,memory.total", *(line.format(number) for number in range(4))]
    gpus, _ = nvidia_smi.read(lines, rows)
    assert [gpu["repair_pending"] for gpu in gpus] == [False, True, False, None]
    uuid = "GPU-00000000-0000-0000-0000-00000000000"
    older = nvidia_smi.read(lines, [f"{uuid}0, 1", f"{uuid}1, 0", "No devices were found"])[0]
    assert [gpu["repair_pending"] for gpu in older] == [True, False, None, None]


@pytest.mark.parametrize(
    ("file", "seen", "error"),
    [
        ("nvidia-smi-basic.csv", [("NVIDIA H100 80GB HBM3", 81559, "525.147.05", None, None, "")], ""),
        ("nvidia-smi-no-fabric-field.csv", [("NVIDIA H100 80GB HBM3", 81559, "525.147.05", True, 0, "")], ""),
        (
            "nvidia-smi-na.csv",
            [
                ("NVIDIA A10", 23028, "580.126.09", True, 0, ""),
                ("NVIDIA RTX 6000 Ada Generation", 49140, "580.126.09", True, None, ""),
                ("NVIDIA H100 80GB HBM3", None, "580.126.09", None, None, ""),
            ],
            "NVIDIA H100 80GB HBM3 00000000:27:00.0: GPU requires reset",
        ),
        (
            "nvidia-smi-prefixed-fabric.csv",
            [
                ("NVIDIA GB200", 189471, "570.158.01", True, 0, "Completed"),
                ("NVIDIA GB200", 189471, "570.158.01", True, 0, "Completed (Insufficient Resources)"),
            ],
            "",
        ),
        (
            "nvidia-smi-one-lost.csv",
            [("NVIDIA H200", 143771, "610.57.04", True, 0, "Completed")],
            "Unable to determine the device handle for GPU1: 0000:34:00.0: Unknown Error",
        ),
        ("nvidia-smi-error-mismatch.txt", [], "Failed to initialize NVML: Driver/library version mismatch"),
        ("nvidia-smi-error-no-devices.txt", [], "No devices were found"),
        ("nvidia-smi-error-lost.txt", [], "Unable to determine the device handle for GPU0000:08:00.0: Unknown Error"),
        (
            "nvidia-smi-error-no-driver.txt",
            [],
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
            "Make sure that the latest NVIDIA driver is installed and running.",
        ),
    ],
)
def test_nvidia_smi(file: str, seen: list[Any], error: str) -> None:
    gpus, complaint = nvidia_smi.read(said(file), [])
    shown = [
        (one["name"], one["memory_mib"], one["driver"], one["persistence"], one["ecc_errors"], one["fabric"])
        for one in gpus
    ]
    assert (shown, complaint) == (seen, error)


NVIDIA_SMI = """
for one in "$@"; do case "$one" in
  --query-remapped-rows=*) echo 'GPU-1, Yes'; exit;;
  --query-gpu=*) fields=${one#*=};;
esac; done
case "$fields" in *UNKNOWN*) echo 'Field "UNKNOWN" is not a valid field to query.'; exit 2;; esac
for field in $(echo "$fields" | tr , ' '); do case "$field" in
  name) printf 'NVIDIA H200';; driver_version) printf ', 580.126.09';; uuid) printf ', GPU-1';;
  pci.bus_id) printf ', 00000000:17:00.0';; fabric.state) printf ', Completed';; fabric.status) printf ', Success';;
  memory.total) echo ', 143771 MiB';; *) printf ', [N/A]';;
esac; done
"""


def nvidia_gpus(shell: Shell) -> tuple[str, list[Any], str]:
    facts = read(split(shell(script(**nvidia_smi.SECTIONS)).stdout.splitlines()))
    return facts["tool"], list(facts["gpus"]), facts["tool_error"]


@pytest.mark.parametrize(
    ("unknown", "known"),
    [
        ("no-such-field", {"bus": "00000000:17:00.0", "fabric": "Completed", "repair_pending": True}),
        ("fabric.state", {"bus": "00000000:17:00.0", "fabric": "", "repair_pending": True}),
        ("mig.mode.current", {"bus": "", "fabric": "", "repair_pending": None}),
        ("driver_version", {"bus": "", "driver": "", "repair_pending": None}),  # a tool that calls it something else
    ],
)
def test_a_driver_that_does_not_know_a_field_is_asked_for_less(
    shell: Shell, programs: Programs, unknown: str, known: dict[str, Any]
) -> None:
    programs(nvidia_smi=NVIDIA_SMI.replace("UNKNOWN", unknown))
    tool, gpus, error = nvidia_gpus(shell)
    assert (tool, error, len(gpus)) == ("nvidia-smi", "", 1)
    assert gpus[0] == gpus[0] | {"name": "NVIDIA H200", "memory_mib": 143771, "driver": "580.126.09"} | known


def test_a_tool_that_hangs(shell: Shell, programs: Programs) -> None:
    programs(timeout="exit 124", nvidia_smi="sleep 3600", amd_smi="sleep 3600", rocm_smi="sleep 3600")
    assert nvidia_gpus(shell) == ("", [], "nvidia-smi does not answer within 30 s")
    facts = read(split(shell(script(**amd_smi.SECTIONS)).stdout.splitlines()))
    assert (facts["gpus"], facts["tool_error"]) == ([], "amd-smi does not answer within 60 s")


def test_the_time_limit_is_real(shell: Shell, programs: Programs) -> None:
    programs(nvidia_smi="exec sleep 3600")
    command = script(**nvidia_smi.SECTIONS).replace("-k 5 30", "-k 5 0.1")
    facts = read(split(shell(command).stdout.splitlines()))
    assert facts["tool_error"].startswith("nvidia-smi does not answer")


def test_what_nvidia_smi_says_to_the_error_channel_counts(shell: Shell, programs: Programs) -> None:
    programs(nvidia_smi="echo 'cannot open shared object file' >&2; exit 127")
    assert nvidia_gpus(shell) == ("", [], "cannot open shared object file")


# ---- AMD's tools


def amd(name: str, memory: int | None, driver: str, bus: str) -> dict[str, Any]:
    return {"name": name, "memory_mib": memory, "driver": driver, "bus": bus}


@pytest.mark.parametrize(
    ("file", "seen"),
    [
        (
            "amd-smi-static-mi300x.json",
            [
                amd("AMD Instinct MI300X", 196592, "6.19.14", "0000:83:00.0"),
                amd("AMD Instinct MI300X", 196592, "6.19.14", "0000:a3:00.0"),
            ],
        ),
        ("amd-smi-static-list.json", [amd("AMD Instinct MI300X", 196592, "6.10.5", "0000:05:00.0")]),
        # the kernel's own driver: no version but the kernel's whole banner
        ("amd-smi-static-object.json", [amd("AMD Instinct MI210", 65520, "", "")]),
        ("amd-smi-with-warning.txt", [amd("AMD Instinct MI300X", 196592, "6.16.13", "0000:83:00.0")]),
    ],
)
def test_amd_smi(file: str, seen: list[dict[str, Any]]) -> None:
    gpus, error = amd_smi.read_amd_smi(said(file))
    assert error == ""
    assert [{key: gpu[key] for key in seen[0]} for gpu in cast("list[Any]", gpus)] == seen


@pytest.mark.parametrize(
    ("size", "memory"),
    [
        ('{"value": 196592, "unit": "MB"}', 196592),
        ('{"value": 34359738368, "unit": "B"}', 32768),
        ('{"value": 192, "unit": "GB"}', 196608),
        ('{"value": "N/A", "unit": "MB"}', None),
        ('{"value": 1, "unit": "parsec"}', None),
        ("{}", None),
        ('"196592 MB"', 196592),
        ("196592", 196592),
        ('"N/A"', None),
        ("-1", None),
        ("true", None),
        ("1.5", None),
        ("null", None),
    ],
)
def test_memory_of_amd_smi(size: str, memory: int | None) -> None:
    text = f'[{{"asic": {{"market_name": "AMD Instinct MI300X"}}, "vram": {{"size": {size}}}}}]'
    assert [gpu["memory_mib"] for gpu in amd_smi.read_amd_smi([text])[0]] == [memory]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", ""),
        ("[]", ""),
        ("{}", ""),
        ('{"gpu_data": null}', ""),
        ('["N/A"]', ""),
        ('[{"asic": []}]', ""),
        ('{"error": "Device is not valid", "code": -3}', "Device is not valid"),
        ("ERROR:root:Unable to get devices", "ERROR:root:Unable to get devices"),
        ("Traceback (most recent call last):\n  File x\namdsmi: driver not loaded", "amdsmi: driver not loaded"),
    ],
)
def test_amd_smi_without_gpus(text: str, error: str) -> None:
    assert amd_smi.read_amd_smi(text.splitlines()) == ([], error)


@pytest.mark.parametrize(
    ("file", "seen"),
    [
        (
            "rocm-smi.json",
            [
                amd("AMD Instinct MI300X", 196592, "6.16.13", "0000:83:00.0"),
                amd("AMD Instinct MI300X", 196592, "6.16.13", "0000:85:00.0"),
            ],
        ),
        (
            "rocm-smi-old.json",
            [
                amd("Navi 22 [Radeon RX 6700/6700 XT/6750 XT / 6800M/6850M XT]", 10224, "6.12.12", ""),
                amd("Cezanne [Radeon Vega Series / Radeon Vega Mobile Series]", 512, "6.12.12", ""),
            ],
        ),
    ],
)
def test_rocm_smi(file: str, seen: list[dict[str, Any]]) -> None:
    gpus, error = amd_smi.read_rocm_smi(said(file))
    assert error == ""
    assert [{key: gpu[key] for key in seen[0]} for gpu in cast("list[Any]", gpus)] == seen


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("WARNING: No JSON data to report", "WARNING: No JSON data to report"),
        ("{}", ""),
        ('{"system": {"Driver version": "6.8.5"}}', ""),
        ('{"card0": {}, "card1": "N/A"}', ""),
        ("ERROR:root:Driver not initialized (amdgpu not found in modules)",) * 2,
    ],
)
def test_rocm_smi_exits_0_without_gpus(text: str, error: str) -> None:
    assert amd_smi.read_rocm_smi(text.splitlines()) == ([], error)


def test_a_series_that_is_an_id_is_no_name() -> None:
    gpus, _ = amd_smi.read_rocm_smi(['{"card0": {"Card series": "0x74a1", "VRAM Total Memory (B)": "206141652992"}}'])
    assert [(gpu["name"], gpu["memory_mib"]) for gpu in gpus] == [("", 196592)]


AMD = {
    name: (OUTPUT / file).read_text()
    for name, file in (("amd", "amd-smi-static-mi300x.json"), ("rocm", "rocm-smi.json"))
}


@pytest.mark.parametrize(
    ("by_amd_smi", "by_rocm_smi", "tool", "driver", "error"),
    [
        (AMD["amd"], AMD["rocm"], "amd-smi", "6.19.14", ""),
        ("ERROR: cannot import amdsmi", AMD["rocm"], "rocm-smi", "6.16.13", ""),
        ("", AMD["rocm"], "rocm-smi", "6.16.13", ""),
        (AMD["amd"][:-40], AMD["rocm"], "rocm-smi", "6.16.13", ""),
        ("ERROR: no", "ERROR: neither", "sysfs", "6.16.6", "ERROR: no"),
        ("", "", "sysfs", "6.16.6", ""),
    ],
)
def test_the_first_of_amds_tools_that_answers(
    by_amd_smi: str, by_rocm_smi: str, tool: str, driver: str, error: str
) -> None:
    device = "/sys/bus/pci/devices/0000:83:00.0"
    facts = read(
        {
            "amd_smi": by_amd_smi.splitlines(),
            "rocm_smi": by_rocm_smi.splitlines(),
            "amd_sysfs": [
                f"{device}/mem_info_vram_total:206141652992",
                f"{device}/product_name:AMD Instinct MI300X OAM",
            ],
            "amd_ras": [f"{device}/ras/umc_err_count:ue: 2", f"{device}/ras/gpu_vram_bad_pages:0x1 : 0x1000 : P"],
            "amdgpu_loaded": ["6.16.6"],
        }
    )
    first = facts["gpus"][0]
    assert (facts["tool"], facts["tool_error"]) == (tool, error)
    assert (first["memory_mib"], first["bus"], first["driver"]) == (196592, "0000:83:00.0", driver)
    assert (first["ecc_errors"], first["repair_pending"]) == (2, True)
    assert (first["mig"], first["persistence"], first["fabric"]) == (None, None, "")


def test_a_display_adapter_does_not_hide_accelerators() -> None:
    lines = {"nvidia_smi": said("nvidia-smi-basic.csv"), "amd_smi": AMD["amd"].splitlines()}
    pci = [
        "0000:02:00.0 0x10de 0x1ff2 0x030000 nvidia.",
        *(f"0000:{n}:00.0 0x1002 0x74a1 0x120000 amdgpu." for n in (83, 85)),
    ]
    assert read(lines | {"pci": pci})["tool"] == "amd-smi"
    assert read(lines | {"pci": pci[:2]})["tool"] == "nvidia-smi"
    assert read({"nvidia_smi": lines["nvidia_smi"], "pci": pci})["tool"] == "nvidia-smi"


def test_why_the_accelerators_tool_fails_is_said_where_only_a_display_adapter_answers() -> None:
    pci = [
        *(f"0000:{n}:00.0 0x10de 0x2335 0x030200 nvidia." for n in (17, 43)),
        "0000:05:00.0 0x1002 0x1638 0x030000 amdgpu.",
    ]
    failed = ["name,driver_version,memory.total", "NVIDIA-SMI has failed"]
    size = ["/sys/bus/pci/devices/0000:05:00.0/mem_info_vram_total:536870912"]
    facts = read({"pci": pci, "nvidia_smi": failed, "amd_sysfs": size})
    assert (facts["tool"], facts["tool_error"]) == ("sysfs", "NVIDIA-SMI has failed")


def test_neither_tool_nor_driver_leaves_the_pci_ids() -> None:
    facts = read({"pci": ["0000:83:00.0 0x1002 0x74a1 0x120000 ."]})
    assert (facts["gpus"], facts["tool"], facts["tool_error"]) == ([], "", "")
    assert facts["pci"] == [{"address": "0000:83:00.0", "vendor": "1002", "device": "74a1", "driver": ""}]


def test_rocm_smi_is_asked_only_if_amd_smi_has_no_answer(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    file = OUTPUT / "amd-smi-static-mi300x.json"
    programs(amd_smi=f"cat {file}", rocm_smi=f"touch {tmp_path}/asked; cat {OUTPUT / 'rocm-smi.json'}")
    facts = read(split(shell(script(**amd_smi.SECTIONS)).stdout.splitlines()))
    assert (facts["tool"], (tmp_path / "asked").exists()) == ("amd-smi", False)
    programs(amd_smi="echo broken >&2; exit 1")
    facts = read(split(shell(script(**amd_smi.SECTIONS)).stdout.splitlines()))
    assert (facts["tool"], (tmp_path / "asked").exists()) == ("rocm-smi", True)


# ---- whatever may happen to an answer


FILES = [
    ("nvidia_smi", "nvidia-smi-h200.csv"),
    ("nvidia_smi", "nvidia-smi-na.csv"),
    ("nvidia_smi", "nvidia-smi-basic.csv"),
    ("amd_smi", "amd-smi-static-list.json"),
    ("amd_smi", "amd-smi-static-mi300x.json"),
    ("amd_smi", "amd-smi-with-warning.txt"),
    ("rocm_smi", "rocm-smi.json"),
    ("rocm_smi", "rocm-smi-old.json"),
]


@pytest.mark.parametrize(("section", "file"), FILES)
def test_a_cut_off_answer_has_less_in_it_and_nothing_wrong(section: str, file: str) -> None:
    text = (OUTPUT / file).read_text().rstrip("\n")
    whole = read({section: text.splitlines()})["gpus"]
    assert whole
    for end in range(len(text)):
        found = read({section: text[:end].splitlines()})["gpus"]
        assert all(gpu in whole for gpu in found), text[:end][-40:]
        assert len(found) < len(whole) or text[end:].strip() == ""


@pytest.mark.parametrize(
    ("section", "lines"),
    [
        ("nvidia_loaded", said("proc-version-open.txt")[:1]),
        ("nvidia_loaded", said("proc-version-proprietary.txt")[:1]),
        ("pci", ["0000:17:00.0 0x10de 0x2335 0x030200 nvidia."]),
        ("packages", ["hi  580.126.09-1 nvidia-fabricmanager"]),
        ("groups", ["render:x:105:"]),
    ],
)
def test_a_cut_off_line_is_no_line(section: str, lines: list[str]) -> None:
    nothing = read({})
    for end in range(len(lines[0])):
        found = read({section: [lines[0][:end]]})
        version = found["modules"]["nvidia"]["loaded"]
        assert version is None or f" {version} " in lines[0]
        assert (found["pci"], found["groups"], found["fabric"]) == (nothing["pci"], {}, nothing["fabric"])


def test_garbage_is_nothing() -> None:
    dice = random.Random(4)  # noqa: S311
    noise = [
        "",
        "{",
        "[",
        "null",
        "=",
        "a=b=c",
        ":::",
        "GPU, , MiB",
        "card0",
        "name:",
        "\x00\xff",
        "ue: x",
        " " * 99,
        "0" * 5000,
    ]
    tricky = [*noise, "[" * 3000, '{"gpu_data": {"gpu": 1}}', '{"card0": [1]}', "1 MiB, 2 MiB", "Id=x", '"runc"', "[1]"]
    for _ in range(300):
        found = {name: dice.choices(tricky, k=dice.randrange(6)) for name in sections()}
        facts = read(found)
        assert (facts["gpus"], facts["pci"], facts["nvswitches"], facts["packages"]) == ([], [], 0, {})
        assert all(module["loaded"] is None for name, module in facts["modules"].items() if name == "nvidia")
        assert set(facts) == set(NvidiaFacts.__annotations__)


def test_nothing_at_all_is_nothing() -> None:
    facts = read({})
    assert set(facts) == set(NvidiaFacts.__annotations__)
    assert facts == read({name: [] for name in sections()})
    assert facts["shm_bytes"] is None
    assert facts["kernel"]["key_enrolled"] is None
