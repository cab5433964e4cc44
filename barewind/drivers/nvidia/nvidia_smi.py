"""What nvidia-smi says of each GPU, and what it says instead."""

from __future__ import annotations

import re

from barewind.drivers.gpus import Gpu, unknown, whole

_LIMIT = 30  # seconds; with a card off the bus it may never answer
# Older drivers refuse a query for a field they do not know. The memory comes last: its unit shows that a line is whole.
_BASIC = "name,driver_version,memory.total"
_HEALTH = "name,driver_version,uuid,pci.bus_id,mig.mode.current,persistence_mode,ecc.errors.uncorrected.volatile.total"
_LEAST = "name,memory.total"
QUERIES = (f"{_HEALTH},fabric.state,fabric.status,memory.total", f"{_HEALTH},memory.total", _BASIC, _LEAST)

SECTIONS = {
    "nvidia_smi": f"""
PATH="$PATH:/usr/sbin:/sbin"; said=
if command -v nvidia-smi > /dev/null; then
  for fields in {" ".join(QUERIES)}; do
    said=$(timeout -k 5 {_LIMIT} nvidia-smi --query-gpu="$fields" --format=csv,noheader 2>&1); code=$?
    case "$said" in *"not a valid field"*) ;; *) break ;; esac
  done
  echo "$fields"; echo "$said"
  [ "$code" != 124 ] || echo "nvidia-smi does not answer within {_LIMIT} s"
fi
""",
    # a question of its own: many drivers do not know this field of the one above
    "nvidia_rows": f"""case "$said" in *" MiB"*)
  timeout -k 5 {_LIMIT} nvidia-smi --query-remapped-rows=gpu_uuid,remapped_rows.pending --format=csv,noheader
esac""",
}


def read(lines: list[str], rows: list[str]) -> tuple[list[Gpu], str]:
    """The GPUs, and the first thing nvidia-smi said that is no GPU ("" for nothing); `rows` says whose memory failed."""
    if not lines:
        return [], ""
    pending = dict(row.split(", ", 1) for row in rows if ", " in row)
    fields = lines[0].split(",")
    gpus: list[Gpu] = []
    error = ""
    for line in lines[1:]:
        values = [value.strip() for value in line.split(",")]
        gpu = _gpu(dict(zip(fields, values, strict=True))) if len(values) == len(fields) else None
        if gpu is not None:
            gpus.append(gpu | {"repair_pending": _switch(pending.get(gpu["uuid"]))})
            broken = re.search(r"\[(GPU [^]]+|Unknown Error)\]", line)  # "[GPU is lost]", "[GPU requires reset]"
            error = error or (f"{gpu['name']} {gpu['bus']}: {broken[1]}" if broken else "")
        else:
            error = error or line.strip()
    return gpus, error


def _gpu(values: dict[str, str]) -> Gpu | None:
    memory, name = values.get("memory.total", ""), values.get("name", "")
    if not name or not re.fullmatch(r"\d+ MiB|\[.+\]", memory):
        return None
    driver = values.get("driver_version", "")
    return unknown("nvidia") | {
        "name": name,
        "memory_mib": whole(memory.removesuffix(" MiB")),
        "driver": driver if re.fullmatch(r"\d+(\.\d+)+", driver) else "",
        "uuid": _known(values.get("uuid", "")),
        "bus": _known(values.get("pci.bus_id", "")),
        "mig": _switch(values.get("mig.mode.current")),
        "persistence": _switch(values.get("persistence_mode")),
        "ecc_errors": whole(values.get("ecc.errors.uncorrected.volatile.total")),
        "fabric": _fabric(values.get("fabric.state", ""), values.get("fabric.status", "")),
    }


def _known(text: str) -> str:
    return "" if text.startswith("[") else text  # [N/A], [Unknown Error]


def _switch(text: str | None) -> bool | None:
    return {"Enabled": True, "Yes": True, "1": True, "Disabled": False, "No": False, "0": False}.get(text or "")


def _fabric(state: str, status: str) -> str:
    """ "Completed", or the state with its status where the fabric is up and this card is not taken in."""
    # 570.158.01 prints the fields' names before their values: "state  Completed", "status Success"
    state, status = re.sub(r"^state +", "", state), re.sub(r"^status +", "", status)
    if not re.fullmatch(r"Completed|In Progress|Not Started", state):
        return ""  # N/A: the driver or the board has none
    odd = state == "Completed" and re.fullmatch(r"\w[\w ]*", status) and status not in ("Success", "N/A")
    return f"{state} ({status})" if odd else state
