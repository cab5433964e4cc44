"""Names of the catalog as a user writes them: each known, or refused with what is known."""

from __future__ import annotations

import re
from typing import Any

from barewind import catalog
from barewind.spec.hints import near
from barewind.spec.names import shown


def known(name: str, entries: dict[str, Any], kind: str) -> str:
    """The name of an entry.

    Raises:
        ValueError: there is none of that name.
    """
    if name in entries:
        return name
    raise ValueError(f"unknown {kind} {shown(name)}: {_meant(name, entries)} (barewind/catalog/ holds what is known)")


def model(name: str) -> str:
    """The name of a model. What another owner has published under a similar name is not proposed: it is other weights.

    Raises:
        ValueError: no model is called so.
    """
    models = catalog.models()
    if name in models:
        return name
    owner = name.partition("/")[0].lower()
    same = {other: entry for other, entry in models.items() if "/" not in name or other.lower().startswith(f"{owner}/")}
    meant = _meant(name, same) if same else f"known: {', '.join(sorted(models))}."
    raise ValueError(
        f'unknown model {shown(name)}: {meant} (a file of your own adds others: catalog = ["mine.yaml"], docs/adding.md)'
    )


def _meant(name: str, entries: dict[str, Any]) -> str:
    begun = [entry for entry in entries if name and entry.lower().startswith(name.lower())]
    close = near(name, entries) or min(begun, key=len, default=None)
    return f"did you mean '{close}'?" if close else f"known: {', '.join(sorted(entries))}."


def accelerator(name: str) -> str:
    """The name of an accelerator. Nothing similar is proposed: another chip is another machine, not a slip of the pen.

    Raises:
        ValueError: none is called so, or one that is not served.
    """
    chips = catalog.accelerators()
    if name in chips:
        return name
    spelled = re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("nvidia").removeprefix("amd instinct"))
    served = f"known: {', '.join(sorted(chips))}."
    for chip, unserved in catalog.unserved().items():
        if spelled == chip:
            raise ValueError(f"accelerator {shown(name)} is not served: {unserved.reason}; {served}")
    same = next((other for other in chips if re.sub(r"[^a-z0-9]", "", other) == spelled), None)
    same = same or next((other for other, chip in chips.items() if chip.is_called(name)), None)
    hint = f"did you mean '{same}'?" if same else served
    raise ValueError(f"unknown accelerator {shown(name)}: {hint} (docs/adding.md says how to add one)")
