"""What every engine looks for when it starts; why it cannot, an engine's own module says."""

import re
from dataclasses import dataclass
from pathlib import Path

DEVICES = Path("/dev")


class StartError(Exception):
    """The engine cannot start; the message is what the real engine writes last, `status` its exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Accelerators:
    """Accelerators that a container has."""

    vendor: str  # nvidia | amd | none
    count: int


def accelerators(devices: Path = DEVICES) -> Accelerators:
    """Accelerators by device nodes: /dev/nvidia0..., or /dev/dri/renderD* besides /dev/kfd."""
    nvidia = [node for node in devices.glob("nvidia*") if re.fullmatch(r"nvidia\d+", node.name)]
    if nvidia:
        return Accelerators("nvidia", len(nvidia))
    if (devices / "kfd").exists():
        return Accelerators("amd", len(list((devices / "dri").glob("renderD*"))))
    return Accelerators("none", 0)


OUT_OF_MEMORY = StartError(
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.25 GiB. GPU 0 has a total capacity of "
    "139.80 GiB of which 1.19 GiB is free. Including non-PyTorch memory, this process has 138.60 GiB memory in use."
)
