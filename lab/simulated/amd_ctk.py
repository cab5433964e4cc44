"""amd-ctk and amd-container-runtime, which stand for the AMD Container Toolkit: containers get cards by AMD_VISIBLE_DEVICES.

They know `runtime configure`, `cdi generate` and `cdi list`; cards are named by index, or all of them by `all`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lab.simulated import amd_smi, host, oci

KIND = "amd.com/gpu"


def main(argv: list[str]) -> int:
    """Run the program that this was called as; returns the exit status."""
    if Path(argv[0]).name == "amd-container-runtime":
        return oci.become_runc(argv, inject)
    words = [word for word in argv[1:] if not word.startswith("-")]
    options = oci.options(argv)
    match words:
        case ["runtime", "configure", *_]:
            return oci.add_runtime("amd", "amd-container-runtime", options)
        case ["cdi", "generate", *_]:
            devices = [
                {"name": name, "containerEdits": {"deviceNodes": [{"path": node} for node in nodes]}}
                for name, nodes in cards().items()
            ]
            text = json.dumps({"cdiVersion": "0.6.0", "kind": KIND, "devices": devices}, indent=2) + "\n"
            host.write(Path(options.get("output", "/etc/cdi/amd.json")), text)
            return 0
        case ["cdi", "list"]:
            print("\n".join(f"{KIND}={name}" for name in cards()))
            return 0
    print("amd-ctk: this stand-in knows runtime configure, cdi generate and cdi list", file=sys.stderr)
    return 1


def cards() -> dict[str, list[str]]:
    """Device nodes by name of the card."""
    count = len(amd_smi.present())
    nodes = {str(index): [f"/dev/dri/card{1 + index}", f"/dev/dri/renderD{128 + index}"] for index in range(count)}
    return nodes | {"all": [node for paths in nodes.values() for node in paths]}


def inject(description: oci.Description) -> str:
    """Add the cards that the container's environment asks for; returns an error, or nothing."""
    names = [name for name in oci.variable(description, "AMD_VISIBLE_DEVICES").split(",") if name]
    known = cards()
    for name in names:
        if name not in known:
            return f"failed to inject AMD devices: no GPU {name}"
    if names:
        oci.add_devices(description, ["/dev/kfd", *(node for name in names for node in known[name])])
    return ""
