"""What a host knows of another one: of each its row, of those that it follows every part."""

from __future__ import annotations

from dataclasses import dataclass, field

from barewind.weights.agent.job import FileId, PartId
from barewind.weights.agent.rows import Row


@dataclass(slots=True)
class Link:
    """What a host that is followed tells in detail, as long as it is."""

    heard: bool = False  # whether it has told anything yet
    have: dict[PartId, tuple[int, str]] = field(default_factory=dict)  # part -> round, SHA-256
    proven: set[FileId] = field(default_factory=set)  # files whose parts are in State.proven
    bits: dict[str, int] = field(default_factory=dict)  # key of a set -> parts that are there


@dataclass(slots=True)
class OtherHost:
    """Times are those of time.monotonic()."""

    row: Row | None = None
    beat: int = 0  # grows as long as the host lives
    heard_at: float | None = None  # when it last gave a sign of life, to whomever
    gained_at: float = 0.0  # when it last had more than before
    completed_at: float = 0.0  # when it was heard that it is complete
    failed_at: float | None = None  # when it did not answer this host; None once it did
    scouted_at: float = 0.0  # when it was last tried whether it is there
    row_changed: int = 0  # State.version in which the row came
    beat_changed: int = 0
    useless: dict[str, int] | None = None  # key of a set -> parts that it has otherwise than this host needs them
    link: Link | None = None  # while it is followed

    @property
    def can_ask(self) -> bool:
        """Whether it may ask the endpoint, as far as is known."""
        return self.row is None or self.row.able

    @property
    def complete(self) -> bool:
        """Whether it has all that it wants."""
        return self.row is not None and self.row.complete

    @property
    def fetching(self) -> tuple[PartId, ...]:
        """Parts that it fetches from the endpoint."""
        return self.row.fetching if self.row else ()

    @property
    def detailed(self) -> bool:
        """Whether its parts are known one by one."""
        return self.link is not None and self.link.heard

    def count(self, key: str) -> int:
        """Parts of a set that it has."""
        told = self.row.have.get(key, 0).bit_count() if self.row else 0
        return max(told, self.link.bits.get(key, 0).bit_count()) if self.link else told
