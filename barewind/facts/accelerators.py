"""Accelerators as the vendors' tools report them. Pure parsing; the host fact runs the tools."""

from __future__ import annotations

import json
from typing import TypedDict

NVIDIA = "nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader"
AMD = "amd-smi static --asic --vram --driver --bus --json"


class Found(TypedDict):
    """One accelerator; `memory_mib` in MiB."""

    name: str
    memory_mib: int
    driver: str


def read_nvidia(lines: list[str]) -> list[Found]:
    """`NVIDIA H200, 143771 MiB, 580.126.09` -> one entry per line; lines of another shape are messages, not GPUs."""
    found: list[Found] = []
    for line in lines:
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 3 and fields[1].endswith(" MiB") and fields[1][:-4].isdigit():
            found.append({"name": fields[0], "memory_mib": int(fields[1][:-4]), "driver": fields[2]})
    return found


def read_amd(lines: list[str]) -> list[Found]:
    """amd-smi's JSON: newer releases wrap the list in `gpu_data`, older ones print it bare. MB means MiB there."""
    text = "\n".join(lines)
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if start < 0:
        return []
    try:
        document = json.loads(text[start:])
    except ValueError:
        return []
    gpus = document.get("gpu_data") if isinstance(document, dict) else document
    found: list[Found] = []
    for gpu in gpus if isinstance(gpus, list) else []:
        match gpu:
            case {"asic": {"market_name": str(name)}, "vram": {"size": {"value": int(size)}}, **rest}:
                driver = rest.get("driver")
                version = driver.get("version", "") if isinstance(driver, dict) else ""
                found.append({"name": name, "memory_mib": size, "driver": str(version)})
    return found
