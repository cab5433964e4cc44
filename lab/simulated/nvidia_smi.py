"""nvidia-smi: asks the simulated driver. It stands for the real tool, which asks the driver through libnvidia-ml.

It answers --query-gpu for the fields below (any order, csv with noheader and nounits), --query-compute-apps for
gpu_uuid,pid,used_memory (of what the knob `held` says alone), -L, -q, -pm, -mig and the table.
Refusals, messages and exit statuses are the real tool's: field not known (2), no devices (6), driver not loaded (9),
library of another version than the driver (18). Values that would change (power, temperature) are those of idle cards.
"""

from __future__ import annotations

from pathlib import Path

from lab.simulated import host, knobs

NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n"
)
NO_LIBRARY = (
    "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. "
    "Please make sure that the NVIDIA Display Driver is properly installed and present in your system.\n"
    "Please also try adding directory that contains libnvidia-ml.so to your system PATH."
)

UNITS = {
    **dict.fromkeys(("memory.total", "memory.free", "memory.used", "memory.reserved"), "MiB"),
    **dict.fromkeys(("utilization.gpu", "utilization.memory"), "%"),
    **dict.fromkeys(("power.draw", "power.limit"), "W"),
    "clocks.sm": "MHz",
}
_REMAPPED = ("gpu_name", "gpu_uuid", "gpu_bus_id")  # fields of --query-remapped-rows besides remapped_rows.*


def values(index: int) -> dict[str, str]:
    """Value of every field that can be queried, for a card."""
    hardware, knobs_set = host.hardware(), host.knobs()
    card, memory = hardware["cards"][index], str(hardware["memory_mib"])
    uuid, address = f"GPU-{card['uuid']}", f"0000{card['address'].upper()}"
    mig = _switch(index in knobs_set.get("mig", []))
    errors = str(knobs_set.get("ecc", {}).get(str(index), 0))
    state, status = fabric()
    return {
        "index": str(index),
        "count": str(len(visible())),
        **dict.fromkeys(("name", "gpu_name"), hardware["name"]),
        **dict.fromkeys(("uuid", "gpu_uuid"), uuid),
        **dict.fromkeys(("pci.bus_id", "gpu_bus_id"), address),
        "serial": card["serial"],
        "pci.device_id": f"0x{hardware['device'][2:].upper()}10DE",
        "driver_version": host.loaded_version("nvidia") or "",
        "compute_cap": hardware["compute_capability"],
        **dict.fromkeys(("memory.total", "memory.free"), memory),
        "memory.used": "0",
        "memory.reserved": "547",
        **dict.fromkeys(("utilization.gpu", "utilization.memory"), "0"),
        "temperature.gpu": "31",
        "power.draw": "71.32",
        "power.limit": "700.00",
        "clocks.sm": "345",
        "persistence_mode": _switch(remembered("persistence") == "1"),
        "compute_mode": "Default",
        **dict.fromkeys(("mig.mode.current", "mig.mode.pending"), mig),
        **dict.fromkeys(("ecc.mode.current", "ecc.mode.pending"), "Enabled"),
        **dict.fromkeys(("ecc.errors.corrected.volatile.total", "ecc.errors.corrected.aggregate.total"), "0"),
        **dict.fromkeys(("ecc.errors.uncorrected.volatile.total", "ecc.errors.uncorrected.aggregate.total"), errors),
        "retired_pages.pending": "[N/A]",
        "remapped_rows.correctable": "0",
        "remapped_rows.uncorrectable": errors,
        "remapped_rows.pending": "Yes" if index in knobs_set.get("repair_pending", []) else "No",
        "remapped_rows.failure": "No",
        "fabric.state": state,
        "fabric.status": status,
    }


def _switch(on: bool) -> str:
    return "Enabled" if on else "Disabled"


def main(argv: list[str]) -> int:
    """Run nvidia-smi; returns the exit status."""
    words = split(argv[1:])
    if problem := trouble():
        print(problem[0])
        return problem[1]
    chosen = selected(words)
    for index in host.knobs().get("lost", []):
        if index in chosen:
            print(
                f"Unable to determine the device handle for GPU{host.cards()[index]['address'].upper()}: Unknown Error"
            )
            return 15
    for option in ("--query-gpu", "--query-remapped-rows"):
        if option in words:
            return query(words[option].split(","), words.get("--format", ""), chosen, rows=option != "--query-gpu")
    if "--query-compute-apps" in words:
        for index, memory in host.knobs().get("held", {}).items():
            if int(index) in chosen:
                print(f"{values(int(index))['uuid']}, 1, {memory} MiB")
        return 0
    if "-pm" in words:
        remember("persistence", words["-pm"])
        return 0
    if "-mig" in words:
        on = set(host.knobs().get("mig", [])) - set(chosen) | (set(chosen) if words["-mig"] == "1" else set())
        knobs.change({"mig": sorted(on) or None})
        print("All done.")
        return 0
    if "-L" in words or "--list-gpus" in words:
        for index in chosen:
            print(f"GPU {index}: {values(index)['name']} (UUID: {values(index)['uuid']})")
        return 0
    (details if "-q" in words else table)(chosen)
    return 0


def split(words: list[str]) -> dict[str, str]:
    """Options by name, with their values: --query-gpu=name, -i 0."""
    options: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, _, value = word.partition("=")
        takes = name in ("-i", "--id", "-pm", "-mig", "-d", "--format") or name.startswith("--query-")
        options[{"--id": "-i"}.get(name, name)] = value or (next(rest, "") if takes else "")
    return options


def library_version() -> str | None:
    """Version of the installed libnvidia-ml; the driver's own if a container's image brings another besides."""
    installed = [path.name.split(".so.")[1] for path in sorted(host.LIBRARIES.glob("libnvidia-ml.so.*.*"))]
    loaded = host.loaded_version("nvidia")
    return loaded if loaded in installed else next(iter(installed), None)


def trouble() -> tuple[str, int] | None:
    """Message and exit status with which the real tool would fail, or None."""
    loaded, library = host.loaded_version("nvidia"), library_version()
    if library is None:
        return NO_LIBRARY, 12
    if loaded is None:
        return NO_DRIVER, 9
    if loaded != library:
        short = ".".join(library.split(".")[:2])
        return f"Failed to initialize NVML: Driver/library version mismatch\nNVML library version: {short}", 18
    return None if visible() else ("No devices were found", 6)


def visible() -> list[int]:
    """Indices of the cards that have a device node; in a container, those that it was given."""
    return [index for index in range(len(host.cards())) if Path(f"/dev/nvidia{index}").exists()]


def selected(words: dict[str, str]) -> list[int]:
    """Indices of the cards that -i selects by index, UUID or bus id; all of them without it."""
    if "-i" not in words:
        return visible()
    names = {
        name: index for index in visible() for name in (str(index), values(index)["uuid"], values(index)["pci.bus_id"])
    }
    return [names[word] for word in words["-i"].split(",") if word in names]


def query(fields: list[str], form: str, chosen: list[int], *, rows: bool) -> int:
    """Print a line per card; `rows`: of --query-remapped-rows. Returns the exit status."""
    fields = [field.strip() for field in fields]
    known = [name for name in values(0) if name.startswith("remapped_rows.") == rows or (rows and name in _REMAPPED)]
    for field in fields:
        if field not in known:
            print(f'Field "{field}" is not a valid field to query.\n')
            return 2
    parts = form.split(",")
    if "csv" not in parts:
        print('"--format=" switch is missing. Please run "nvidia-smi -h" for help.\n')
        return 2
    if "noheader" not in parts:
        print(", ".join(f"{field} [{UNITS[field]}]" if field in UNITS else field for field in fields))
    for index in chosen:
        card = values(index)
        units = {} if "nounits" in parts else UNITS
        print(", ".join(f"{card[field]} {units.get(field, '')}".strip() for field in fields))
    return 0


def fabric() -> tuple[str, str]:
    """State and status of the registration with the NVLink fabric."""
    if not host.hardware()["switches"]:
        return "N/A", "N/A"
    state = host.knobs().get("fabric") or remembered("fabric") or "In Progress"
    return state, "Success" if state == "Completed" else "N/A"


def remembered(name: str) -> str:
    """A value that the loaded driver remembers, or nothing."""
    try:
        return (host.NVIDIA / name).read_text().strip()
    except OSError:
        return ""


def remember(name: str, value: str) -> None:
    """Have the loaded driver remember a value until it is unloaded."""
    host.write(host.NVIDIA / name, value + "\n")


def details(chosen: list[int]) -> None:
    """Print a part of what -q prints."""
    print(f"\n==============NVSMI LOG==============\n\n{'Driver Version':<42}: {host.loaded_version('nvidia')}")
    print(f"{'CUDA Version':<42}: 13.0\n\n{'Attached GPUs':<42}: {len(visible())}")
    for index in chosen:
        card = values(index)
        print(f"GPU {card['pci.bus_id']}")
        for label, field in (
            ("    Product Name", "name"),
            ("    Persistence Mode", "persistence_mode"),
            ("    MIG Mode\n        Current", "mig.mode.current"),
            ("    GPU UUID", "uuid"),
            ("    FB Memory Usage\n        Total", "memory.total"),
            ("    Fabric\n        State", "fabric.state"),
            ("        Status", "fabric.status"),
        ):
            *above, last = label.split("\n")
            print("\n".join([*above, f"{last:<42}: {card[field]} {UNITS.get(field, '')}".rstrip()]))


def table(chosen: list[int]) -> None:
    """Print what the tool prints without options, shortened."""
    version = host.loaded_version("nvidia") or ""
    line = "+" + "-" * 89 + "+"
    print(f"{line}\n| NVIDIA-SMI {version:<22} Driver Version: {version:<14} CUDA Version: 13.0{'':<5} |\n{line}")
    for index in chosen:
        card = values(index)
        memory = f"0MiB / {card['memory.total']}MiB"
        print(f"| {index:>3}  {card['name']:<30} {card['pci.bus_id']:<20} {memory:>28}    |")
    print(line)
