"""Steps of a run: what their names say, and what they came to, of many batches together. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from barewind.output.names import fold

_BATCH = re.compile(r"(?P<before>.*?)Batch (?P<number>\d+) of (?P<of>\d+): (?P<what>.+)", re.DOTALL)


@dataclass(frozen=True)
class StepName:
    """The name of an operation: `Rotation | Batch 3 of 10: drain`."""

    step: str  # without the batch: "Rotation | drain"
    batch: int = 0  # 0: it says none
    of: int = 0

    @classmethod
    def read(cls, name: str) -> StepName:
        """Read the name of an operation."""
        match = _BATCH.fullmatch(name)
        if match is None:
            return cls(name)
        return cls(match["before"] + match["what"], int(match["number"]), int(match["of"]))


@dataclass
class Total:
    """What one step comes to, in every batch that has it: names of hosts."""

    changed: list[str] = field(default_factory=list)
    perhaps: list[str] = field(default_factory=list)  # only if an earlier step of the same run has changed something
    failed: list[str] = field(default_factory=list)
    unchanged: int = 0


def totals(steps: Iterable[tuple[str, Total]]) -> dict[str, Total]:
    """What steps of the same name but for the batch come to, in the order in which each comes first."""
    merged: dict[str, Total] = {}
    for name, total in steps:
        into = merged.setdefault(StepName.read(name).step, Total())
        into.changed += total.changed
        into.perhaps += total.perhaps
        into.failed += total.failed
        into.unchanged += total.unchanged
    return merged


def planned(steps: dict[str, Total]) -> list[str]:
    """Lines that say which steps would change something, and where."""
    lines = [
        f"{step}: {'; '.join(_hosts(total.changed) + [f'perhaps {one}' for one in _hosts(total.perhaps)])}"
        for step, total in steps.items()
        if total.changed or total.perhaps
    ]
    return [*lines, *nothing_to_do([step for step, total in steps.items() if not total.changed and not total.perhaps])]


def results(steps: dict[str, Total]) -> list[str]:
    """Lines that say which steps have changed something on how many hosts, and where one failed."""
    lines = []
    for step, total in steps.items():
        counts = [f"{len(total.changed)} changed"] if total.changed else []
        counts += [f"{total.unchanged} unchanged"] if total.unchanged else []
        counts += [f"{len(total.failed)} failed: {fold(total.failed)}"] if total.failed else []
        if total.changed or total.failed:
            lines.append(f"{step}: {', '.join(counts)}")
    return [*lines, *nothing_to_do([step for step, total in steps.items() if not total.changed and not total.failed])]


def nothing_to_do(steps: list[str]) -> list[str]:
    """A line that counts and names the steps that had nothing to do; none if there were none."""
    return [f"nothing to do: {'; '.join(steps)} ({_count(len(steps), 'step')})"] if steps else []


def _hosts(names: list[str]) -> list[str]:
    return [f"{_count(len(names), 'host')}: {fold(names).removesuffix(f' ({len(names)} hosts)')}"] if names else []


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
