"""What AMD's tools say of each GPU: amd-smi, rocm-smi where that is missing or fails, the driver's own files at last."""

from __future__ import annotations

import json
import re
from typing import Any

from barewind.drivers.gpus import Gpu, unknown, whole

_LIMIT = 60  # seconds; the tools are Python programs that ask every card
_PATH = 'PATH="$PATH:/opt/rocm/bin"'
_UNITS = {
    "b": 1,
    "kb": 2**10,
    "kib": 2**10,
    "mb": 2**20,
    "mib": 2**20,
    "gb": 2**30,
    "gib": 2**30,
}  # amd-smi's MB is MiB

# The sections run in one shell: rocm-smi (deprecated) is asked only if amd-smi had no answer.
SECTIONS = {
    "amd_smi": f"""{_PATH}; amd_said=
if command -v amd-smi > /dev/null; then
  amd_said=$(timeout -k 5 {_LIMIT} amd-smi static --asic --vram --driver --bus --json 2>&1); code=$?
  echo "$amd_said"
  [ "$code" != 124 ] || echo "amd-smi does not answer within {_LIMIT} s"
fi""",
    "rocm_smi": f"""{_PATH}
case "$amd_said" in *'"market_name"'*) ;; *)
  if command -v rocm-smi > /dev/null; then
    timeout -k 5 {_LIMIT} rocm-smi --showproductname --showmeminfo vram --showbus --showdriverversion --json 2>&1
  fi
esac""",
    "amd_sysfs": "grep -Hs . /sys/bus/pci/devices/*/mem_info_vram_total /sys/bus/pci/devices/*/product_name",
    "amd_ras": "grep -Hs -e '^ue:' -e ' : P' /sys/bus/pci/devices/*/ras/umc_err_count "
    "/sys/bus/pci/devices/*/ras/gpu_vram_bad_pages",
}


def read_amd_smi(lines: list[str]) -> tuple[list[Gpu], str]:
    """amd-smi's JSON: newer releases wrap the list in `gpu_data`, older ones print it bare; warnings may come before."""
    document = _document(lines)
    entries = document.get("gpu_data") if isinstance(document, dict) else document
    gpus: list[Gpu] = []
    for entry in entries if isinstance(entries, list) else []:
        asic, bus, driver = (_record(entry, part) for part in ("asic", "bus", "driver"))
        name = asic.get("market_name")
        if isinstance(name, str):
            gpus.append(
                unknown("amd")
                | {
                    "name": "" if name == "N/A" else name,
                    "memory_mib": _mebibytes(_record(entry, "vram").get("size")),
                    "driver": _version(driver.get("version")),
                    "bus": _text(bus.get("bdf")),
                }
            )
    return gpus, "" if gpus else _complaint(document, lines)


def read_rocm_smi(lines: list[str]) -> tuple[list[Gpu], str]:
    """rocm-smi's JSON: all values are text, keys change their case between releases, the driver stands in "system"."""
    document = _document(lines)
    names = document if isinstance(document, dict) else {}
    cards = {name: _lower(_record(document, name)) for name in names}
    driver = _version(cards.get("system", {}).get("driver version"))
    gpus: list[Gpu] = []
    for name, card in cards.items():
        total = whole(card.get("vram total memory (b)"))
        if re.fullmatch(r"card\d+", name) and (total is not None or "card series" in card):
            series = _text(card.get("card series"))
            gpus.append(
                unknown("amd")
                | {
                    "name": "" if series.startswith("0x") else series,  # an id: the tool is older than the card
                    "memory_mib": None if total is None else total // 2**20,
                    "driver": driver,
                    "bus": _text(card.get("pci bus")),
                }
            )
    return gpus, "" if gpus else _complaint(document, lines)


def read_sysfs(lines: list[str]) -> list[Gpu]:
    """The files of the amdgpu driver: memory in bytes, and the board's name where its maker wrote one."""
    by_address: dict[str, Gpu] = {}
    for line in lines:
        if match := re.fullmatch(r"/sys/bus/pci/devices/([^/]+)/(mem_info_vram_total|product_name):(.+)", line):
            address, file, value = match.groups()
            gpu = by_address.setdefault(address, unknown("amd") | {"bus": address})
            if file == "product_name":
                gpu["name"] = value.strip()
            elif (total := whole(value)) is not None:
                gpu["memory_mib"] = total // 2**20
    return [gpu for _, gpu in sorted(by_address.items()) if gpu["memory_mib"] is not None]


def add_errors(gpus: list[Gpu], lines: list[str]) -> None:
    """Note the driver's memory errors: uncorrectable ones counted, pages that wait to be reserved."""
    for gpu in gpus:
        prefix = f"/sys/bus/pci/devices/{gpu['bus'].lower()}/ras/"
        own = [line[len(prefix) :] for line in lines if line.startswith(prefix)]
        for line in own:
            if match := re.fullmatch(r"umc_err_count:ue: *(\d{1,18})", line):
                gpu["ecc_errors"] = int(match[1])
                gpu["repair_pending"] = any(row.startswith("gpu_vram_bad_pages:") for row in own)


def _document(lines: list[str]) -> Any:
    """The first JSON document that begins at the start of a line; None if there is none."""
    for number, line in enumerate(lines):
        if line.lstrip()[:1] in ("{", "["):
            try:
                return json.JSONDecoder().raw_decode("\n".join(lines[number:]).lstrip())[0]
            except (ValueError, RecursionError):
                continue
    return None


def _complaint(document: Any, lines: list[str]) -> str:
    """What a tool said instead of GPUs, in one line."""
    if isinstance(document, dict) and isinstance(document.get("error"), str):
        return str(document["error"])
    if document is not None:
        return ""
    messages = [line.strip() for line in lines if line.strip()]
    if not messages:
        return ""
    return messages[-1] if any(line.startswith("Traceback") for line in messages) else messages[0]


def _record(entry: Any, part: str) -> dict[str, Any]:
    record = entry.get(part) if isinstance(entry, dict) else None
    return record if isinstance(record, dict) else {}


def _lower(record: dict[str, Any]) -> dict[str, Any]:
    return {key.lower(): value for key, value in record.items()}


def _text(value: object) -> str:
    return value if isinstance(value, str) and value != "N/A" else ""


def _version(value: object) -> str:
    """A driver's version; of the kernel's own driver the tools print the kernel's whole banner."""
    return value if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)+", value) else ""


def _mebibytes(size: object) -> int | None:
    """MiB of {"value": 196592, "unit": "MB"}, of "196592 MB" and of a bare number, which is MiB too."""
    unit = "mb"
    if isinstance(size, dict):
        unit = str(size.get("unit", unit)).lower()
        size = size.get("value")
    elif isinstance(size, str) and (match := re.fullmatch(r"(\d+) *([A-Za-z]*)", size.strip())):
        size, unit = match[1], match[2].lower() or "mb"
    number = whole(size)
    return number * _UNITS[unit] // 2**20 if number is not None and unit in _UNITS else None
