"""nvidia-ctk and nvidia-container-runtime: containers get cards through CDI. Stand for the NVIDIA Container Toolkit.

What they write and accept is the real ones': the CDI file, the entry in daemon.json, the devices in the container's OCI
description, the refusal of a device that no CDI file names. They differ in what comes with the devices: two
libraries that are only names, the simulated nvidia-smi and what it reads.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from lab.simulated import host, nvidia_smi, oci

VERSION = Path("/usr/share/nvidia-container-toolkit/version")
CDI_FOLDERS = (Path("/etc/cdi"), Path("/var/run/cdi"))
KIND = "nvidia.com/gpu"
_COMMON = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset")
_MOUNTS = ("/usr/bin/nvidia-smi", "/usr/local/lib/barewind-lab", "/etc/lab", "/run/lab")
_LIBRARIES = ("libnvidia-ml.so.*.*", "libcuda.so.*.*")


def main(argv: list[str]) -> int:
    """Dispatch by name."""
    if Path(argv[0]).name.startswith("nvidia-container-runtime"):
        return oci.become_runc(argv, inject)
    words = [word for word in argv[1:] if not word.startswith("-")]
    options = oci.options(argv)
    if "version" in options or "v" in options:
        print(f"NVIDIA Container Toolkit CLI version {VERSION.read_text().strip()}\ncommit: lab")
        return 0
    match words:
        case ["cdi", "generate", *_]:
            return generate(options.get("output") or os.environ.get("NVIDIA_CTK_CDI_OUTPUT_FILE_PATH", ""))
        case ["cdi", "list"]:
            names = sorted(devices())
            print(f"INFO[0000] Found {len(names)} CDI devices", file=sys.stderr)
            print("\n".join(f"{KIND}={name}" for name in names))
            return 0
        case ["runtime", "configure", *_]:
            return oci.add_runtime("nvidia", "nvidia-container-runtime", options)
    print("nvidia-ctk: this stand-in knows cdi generate, cdi list and runtime configure", file=sys.stderr)
    return 1


def generate(output: str) -> int:
    """Write the CDI file: every card by index, by UUID, and all of them together."""
    if problem := nvidia_smi.trouble():
        reason = {9: "Driver Not Loaded", 18: "Driver/library version mismatch"}.get(problem[1], "Unknown Error")
        print(f"ERRO[0000] failed to generate CDI spec: failed to initialize NVML: {reason}", file=sys.stderr)
        return 1
    text = specification()
    if not output:
        print(text, end="")
        return 0
    # The whole file at once: who reads it meanwhile sees the old one.
    host.write(Path(f"{output}.new"), text)
    Path(f"{output}.new").rename(output)
    print(f"INFO[0000] Generated CDI spec with version 0.7.0 in {output}", file=sys.stderr)
    return 0


def specification() -> str:
    """The CDI file's text."""
    lines = ["---", "cdiVersion: 0.7.0", f"kind: {KIND}", "devices:"]
    for name, paths in nodes().items():
        lines += [f'    - name: "{name}"' if name.isdecimal() else f"    - name: {name}", "      containerEdits:"]
        lines += ["        deviceNodes:", *(f"            - path: {path}" for path in paths)]
    lines += ["containerEdits:", "    env:", "        - NVIDIA_VISIBLE_DEVICES=void", "    deviceNodes:"]
    lines += [f"        - path: {path}" for path in _COMMON]
    lines.append("    mounts:")
    for path in mounts():
        lines += [
            f"        - hostPath: {path}",
            f"          containerPath: {path}",
            "          options:",
            "            - ro",
        ]
    return "\n".join(lines) + "\n"


def mounts() -> list[str]:
    """What comes with the devices: the driver's libraries, nvidia-smi, and what that reads."""
    return [*(str(path) for pattern in _LIBRARIES for path in sorted(host.LIBRARIES.glob(pattern))), *_MOUNTS]


def nodes() -> dict[str, list[str]]:
    """Device nodes of the cards that are there: by index, by UUID, of all."""
    indices, cards = nvidia_smi.visible(), host.cards()
    found = {str(index): [f"/dev/nvidia{index}"] for index in indices}
    found |= {f"GPU-{cards[index]['uuid']}": [f"/dev/nvidia{index}"] for index in indices}
    return found | {"all": [f"/dev/nvidia{index}" for index in indices]}


def devices() -> dict[str, list[str]]:
    """Device nodes by device name, of every CDI file that `generate` wrote."""
    found: dict[str, list[str]] = {}
    for folder in CDI_FOLDERS:
        for path in sorted(folder.glob("*.yaml")):
            found |= read(path.read_text())
    return found


def read(text: str) -> dict[str, list[str]]:
    """Device nodes by device name, of a text that `specification` made."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.partition("\ndevices:\n")[2].partition("\ncontainerEdits:\n")[0].splitlines():
        if match := re.match(r'    - name: "?([^"]+)"?', line):
            name = match[1]
            found[name] = []
        elif match := re.match(r" +- path: (\S+)", line):
            found[name].append(match[1])
    return found


def inject(description: oci.Description) -> str:
    """Add the devices that the container's environment asks for; returns what is wrong, or nothing."""
    asked = oci.variable(description, "NVIDIA_VISIBLE_DEVICES").split(",")
    names = [name for name in asked if name and name not in ("void", "none")]
    if not names:
        return ""
    known = devices()
    if not any("=" in name for name in names):
        # Plain names need no file: the toolkit makes the description on the fly.
        if trouble := nvidia_smi.trouble():
            return f"failed to construct CDI spec: failed to initialize NVML: {trouble[0].splitlines()[0]}"
        known = nodes()
    unknown = [name for name in names if name.removeprefix(f"{KIND}=") not in known]
    if unknown:
        return f"failed to inject CDI devices: unresolvable CDI devices {', '.join(unknown)}"
    wanted = [*_COMMON, *(node for name in names for node in known[name.removeprefix(f"{KIND}=")])]
    if gone := [node for node in wanted if not Path(node).exists()]:
        return f'failed to inject CDI devices: failed to stat CDI host device "{gone[0]}": no such file or directory'
    oci.add_devices(description, wanted)
    oci.add_mounts(description, mounts())
    return ""
