"""nvidia-ctk and nvidia-container-runtime, which stand for the NVIDIA Container Toolkit: containers get cards by CDI.

The CDI file, the entry in daemon.json, the devices in the container's OCI description and the refusal of a device that
no CDI file names are as in the real toolkit. They differ in what comes with the devices: two libraries that are only
names, the simulated nvidia-smi and what it reads.
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
    """Run the program that this was called as; returns the exit status."""
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
    """Write the CDI file: every card by index and by UUID, and all of them; returns the exit status."""
    if problem := nvidia_smi.trouble():
        reason = {9: "Driver Not Loaded", 18: "Driver/library version mismatch"}.get(problem[1], "Unknown Error")
        print(f"ERRO[0000] failed to generate CDI spec: failed to initialize NVML: {reason}", file=sys.stderr)
        return 1
    text = specification()
    if not output:
        print(text, end="")
        return 0
    # Replaced at once, so that nobody reads half of it.
    host.write(Path(f"{output}.new"), text)
    Path(f"{output}.new").rename(output)
    print(f"INFO[0000] Generated CDI spec with version 0.7.0 in {output}", file=sys.stderr)
    return 0


def specification() -> str:
    """Text of the CDI file."""
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
    """Files that containers get with the devices: the driver's libraries, nvidia-smi, and what it reads."""
    return [*(str(path) for pattern in _LIBRARIES for path in sorted(host.LIBRARIES.glob(pattern))), *_MOUNTS]


def nodes() -> dict[str, list[str]]:
    """Device nodes by name of the device: index, UUID, or `all`."""
    indices, cards = nvidia_smi.visible(), host.cards()
    by_name = {str(index): [f"/dev/nvidia{index}"] for index in indices}
    by_name |= {f"GPU-{cards[index]['uuid']}": [f"/dev/nvidia{index}"] for index in indices}
    return by_name | {"all": [f"/dev/nvidia{index}" for index in indices]}


def devices() -> dict[str, list[str]]:
    """Device nodes by name of the device, out of the CDI files that `generate` wrote."""
    by_name: dict[str, list[str]] = {}
    for folder in CDI_FOLDERS:
        for path in sorted(folder.glob("*.yaml")):
            by_name |= read(path.read_text())
    return by_name


def read(text: str) -> dict[str, list[str]]:
    """Device nodes by name of the device, out of a text of `specification`."""
    by_name: dict[str, list[str]] = {}
    name = ""
    for line in text.partition("\ndevices:\n")[2].partition("\ncontainerEdits:\n")[0].splitlines():
        if match := re.match(r'    - name: "?([^"]+)"?', line):
            name = match[1]
            by_name[name] = []
        elif match := re.match(r" +- path: (\S+)", line):
            by_name[name].append(match[1])
    return by_name


def inject(description: oci.Description) -> str:
    """Add the devices that the container's environment asks for; returns an error, or nothing."""
    visible = oci.variable(description, "NVIDIA_VISIBLE_DEVICES").split(",")
    names = [name for name in visible if name and name not in ("void", "none")]
    if not names:
        return ""
    known = devices()
    if not any("=" in name for name in names):
        # Plain names need no file: the toolkit describes their devices itself.
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
