"""Keys as a person looks at them: what each may, what it does at this moment, and which balancers have others. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from barewind.keys import plan
from barewind.keys.commands import Known, Use
from barewind.keys.entry import Key
from barewind.keys.file import KeyFile
from barewind.keys.times import written

COLUMNS = ("id", "hint", "state", "until", "requests/min", "tokens/min", "at a time", "priority", "last minute", "now")


@dataclass(frozen=True)
class Row:
    """A key; `use` is that of its id, None where no balancer could be asked."""

    key: Key
    state: str
    use: Use | None

    @property
    def line(self) -> tuple[str, ...]:
        """Its cells."""
        key = self.key
        limits = (key.requests_per_minute, key.tokens_per_minute, key.parallel)
        use = ("-", "-") if self.use is None else (str(self.use.rate), str(self.use.parallel))
        until = "-" if key.expires is None else written(key.expires)
        return (
            key.id,
            f"...{key.hint}",
            self.state,
            until,
            *("-" if limit is None else str(limit) for limit in limits),
            key.priority,
            *use,
        )

    def as_json(self) -> dict[str, Any]:
        """Its fields; the SHA-256 is in the file."""
        key = self.key
        return {
            "id": key.id,
            "hint": key.hint,
            "state": self.state.partition(" ")[0],
            "created": written(key.created),
            "by": key.by,
            "expires": None if key.expires is None else written(key.expires),
            "revoked": None if key.revoked is None else written(key.revoked),
            "requests_per_minute": key.requests_per_minute,
            "tokens_per_minute": key.tokens_per_minute,
            "parallel": key.parallel,
            "priority": key.priority,
            "requests_last_minute": None if self.use is None else self.use.rate,
            "requests_now": None if self.use is None else self.use.parallel,
        }


@dataclass(frozen=True)
class Listing:
    """Every key, and how each balancer differs from the file."""

    rows: tuple[Row, ...]
    differences: Mapping[str, tuple[str, ...]]

    @property
    def differ(self) -> bool:
        """Whether a balancer has other keys than the file."""
        return any(self.differences.values())

    def lines(self, *, every: bool) -> list[tuple[str, ...]]:
        """Rows of a table; those of keys that let nobody in only if `every`."""
        return [row.line for row in self.rows if every or row.state == "good"]

    def remarks(self, inventory_file: str) -> list[str]:
        """What is to be put right, and how."""
        lines = [f"{name}: {'; '.join(found)}" for name, found in self.differences.items() if found]
        return [*lines, f"To bring every balancer to the file: barewind keys sync {inventory_file}"] if lines else []

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "keys": [row.as_json() for row in self.rows],
            "differences": {name: list(found) for name, found in self.differences.items()},
        }


def listing(content: KeyFile, known: Mapping[str, Known], now: datetime) -> Listing:
    """The keys of a file, beside what balancers know.

    + known: of each balancer that could be asked
    """
    wanted, names = plan.map_text(content), plan.names(content)
    rows = [Row(key, plan.state(key, now), _use(key.id, known) if known else None) for key in content.keys]
    return Listing(
        tuple(sorted(rows, key=lambda row: (row.key.id, row.key.created))),
        {name: tuple(answer.problems(wanted, names)) for name, answer in known.items()},
    )


def _use(id: str, known: Mapping[str, Known]) -> Use:
    """The requests of an id on every balancer, each of which tells its own."""
    uses = [answer.uses.get(id, Use()) for answer in known.values()]
    return Use(sum(use.rate for use in uses), sum(use.parallel for use in uses))
