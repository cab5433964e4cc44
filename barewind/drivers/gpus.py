"""One accelerator as whichever tool answered describes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypedDict


class Gpu(TypedDict):
    """`memory_mib` in MiB; None or "" where the tool does not say.

    `ecc_errors` are uncorrectable memory errors since the driver was loaded, `repair_pending` whether memory waits to be
    mapped out at the next reset, `fabric` how far the NVSwitch fabric has taken the card in ("Completed" is good).
    """

    vendor: str
    name: str
    memory_mib: int | None
    driver: str
    uuid: str
    bus: str
    mig: bool | None
    persistence: bool | None
    ecc_errors: int | None
    repair_pending: bool | None
    fabric: str


def unknown(vendor: str) -> Gpu:
    """A card of which only the vendor is known."""
    return {
        "vendor": vendor,
        "name": "",
        "memory_mib": None,
        "driver": "",
        "uuid": "",
        "bus": "",
        "mig": None,
        "persistence": None,
        "ecc_errors": None,
        "repair_pending": None,
        "fabric": "",
    }


def whole(text: object) -> int | None:
    """A whole number of at least 0 ("196592", 196592), None for everything else ("N/A", "[GPU is lost]")."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text if text >= 0 else None
    known = re.fullmatch(r"\s*([0-9]{1,18})\s*", text) if isinstance(text, str) else None
    return int(known[1]) if known else None


def which(gpus: list[Gpu], some: Iterable[Gpu]) -> str:
    """GPUs by their number, as the tools count them."""
    return "GPU " + ", ".join(str(number) for number, gpu in enumerate(gpus) if any(gpu is other for other in some))
