"""The account of a run: what pyinfra tells of its operations goes in, lines for a person come out. Pure.

A step that changes nothing has no line of its own; its name comes with the first command that it gives to a host. In a batch
the hosts are told once, at its end, with all that has changed on them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from barewind.output.names import fold
from barewind.output.steps import StepName, nothing_to_do
from barewind.progress.meter import duration

_FIRST_TICK = 60.0  # seconds; a step that takes long says how far it is after 1, 2, 4, 8, 16, 32 ... minutes
_LONGEST = 16 * 60.0  # seconds between two such lines at most
STARTS = "Starting operation: "


@dataclass
class Work:
    """What one host is at."""

    step: str
    since: float  # seconds
    detail: str = ""  # how far it is: "3 requests in flight"


@dataclass
class _Batch:
    number: int
    of: int
    hosts: tuple[str, ...]
    begun: float
    changed: dict[str, list[str]] = field(default_factory=dict)
    unchanged: dict[str, int] = field(default_factory=dict)
    failed: bool = False


@dataclass(frozen=True)
class Line:
    """One line: a heading of pyinfra's kind (`--> ...`), or what stands below it. `good`: something has gone well."""

    text: str
    heading: bool = False
    good: bool = False


class Account:
    """Of one run. Times are seconds of any clock that goes on; each method returns the lines that are due."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self.step = ""  # under way; "" between two
        self.hosts: tuple[str, ...] = ()  # that it is for
        self.at_work: dict[str, Work] = {}
        self.batch: _Batch | None = None
        self._name = ""  # of the operation
        self._headed = False
        self._changed: list[str] = []
        self._unchanged: list[str] = []
        self._idle: dict[str, None] = {}  # steps with nothing to do that have not been told
        self._acting: set[str] = set()
        self._failed: set[str] = set()
        self._durations: list[float] = []  # of the batches that are done
        self._next_tick = 0.0
        self._tick_interval = 0.0

    @property
    def done(self) -> int:
        """How many hosts have come to the end of the step under way."""
        return len(self.hosts) - len(self.at_work)

    def begin(self, name: str, hosts: Iterable[str], now: float) -> list[Line]:
        """An operation begins on hosts."""
        step = StepName.read(name)
        self.hosts = tuple(hosts)
        lines = []
        if self.batch is not None and not self._goes_on(self.batch, step):
            lines = self._end_batch(self.batch, now)
        if step.batch and self.batch is None:
            lines += self._tell_idle() if not self._durations else []
            self.batch = _Batch(step.batch, step.of, self.hosts, now)
        self.step, self._name, self._headed = step.step, name, False
        self.at_work = {host: Work(step.step, now) for host in self.hosts}
        self._changed, self._unchanged, self._acting, self._failed = [], [], set(), set()
        self._tick_interval, self._next_tick = _FIRST_TICK, now + _FIRST_TICK
        return lines

    def acts(self, host: str) -> list[Line]:
        """A host is given the first command of the step: there is something to do."""
        self._acting.add(host)
        return self.heading()

    def heading(self) -> list[Line]:
        """The name of the step under way, before the first line about it."""
        if not self._name or self._headed:
            return []
        self._headed = True
        return [*(self._tell_idle() if self.batch is None else []), Line(STARTS + self._name, heading=True)]

    def ends(self, host: str, *, failed: bool = False) -> None:
        """A host has come to the end of the step."""
        self.at_work.pop(host, None)
        if failed:
            self._failed.add(host)
        else:
            (self._changed if host in self._acting else self._unchanged).append(host)

    def end(self) -> list[Line]:
        """The step has ended on every host."""
        lines: list[Line] = []
        if self.batch is not None:
            for host in self._changed:
                self.batch.changed.setdefault(host, []).append(self.step)
            for host in self._unchanged:
                self.batch.unchanged[host] = self.batch.unchanged.get(host, 0) + 1
            self.batch.failed |= bool(self._failed)
        elif self._changed:
            unchanged = len(self._unchanged)
            also = f"; nothing to do on {unchanged} host{'' if unchanged == 1 else 's'}" if unchanged else ""
            lines.append(Line(f"[{fold(self._in_order(self._changed))}] Success{also}", good=True))
        elif self.step and not self._failed:
            self._idle[self.step] = None
        self.step, self._name, self.at_work = "", "", {}
        self._changed, self._unchanged = [], []
        return lines

    def finish(self, now: float) -> list[Line]:
        """The run has ended, well or not; if a step is under way still, its batch has not been done."""
        if self.batch is not None and self.step:
            self.batch.failed = True
        return [*self.end(), *(self._end_batch(self.batch, now) if self.batch else []), *self._tell_idle()]

    def tick(self, text: str, now: float) -> list[Line]:
        """How far a host is, as a line if one is due: for all hosts together, ever more rarely."""
        if not self._name or now < self._next_tick:
            return []
        self._tick_interval = min(2 * self._tick_interval, _LONGEST)
        self._next_tick = now + self._tick_interval
        others = len(self.at_work) - 1
        also = f" (and {others} more host{'' if others == 1 else 's'})" if others > 0 else ""
        return [*self.heading(), Line(text + also)]

    def detail(self, host: str, text: str) -> None:
        """How far a host is, for the live view."""
        if host in self.at_work:
            self.at_work[host].detail = text

    def left(self, now: float) -> float | None:
        """Seconds until the last batch will be done, by those that are; None as long as that is not known."""
        if not self._durations or self.batch is None:
            return None
        each = sum(self._durations) / len(self._durations)
        return max(0.0, each * (self.batch.of - self.batch.number + 1) - (now - self.batch.begun))

    def time_left(self, now: float) -> str:
        """The time left as a person would say it."""
        left = self.left(now)
        return "unknown" if left is None else f"about {duration(left)}"

    def _goes_on(self, batch: _Batch, step: StepName) -> bool:
        """Whether a step belongs to the batch under way."""
        if step.batch:
            return step.batch == batch.number
        return bool(self.hosts) and set(batch.hosts).issuperset(self.hosts)

    def _end_batch(self, batch: _Batch, now: float) -> list[Line]:
        alike: dict[tuple[tuple[str, ...], int], list[str]] = {}
        for host in (host for host in batch.hosts if host in batch.changed or host in batch.unchanged):
            key = (tuple(batch.changed.get(host, ())), batch.unchanged.get(host, 0))
            alike.setdefault(key, []).append(host)
        lines = []
        for (changed, unchanged), hosts in alike.items():
            parts = [f"Success: {'; '.join(changed)}"] if changed else []
            parts += [f"nothing to do: {unchanged} step{'' if unchanged == 1 else 's'}"] if unchanged else []
            lines.append(Line(f"[{fold(hosts)}] {'; '.join(parts)}", good=bool(changed)))
        if not batch.failed:
            self._durations.append(now - batch.begun)
            last = batch.number >= batch.of
            each = sum(self._durations) / len(self._durations)
            left = "" if last else f"; time left: about {duration(each * (batch.of - batch.number))}"
            took = duration(now - batch.begun)
            lines.append(Line(f"batch {batch.number} of {batch.of} is done after {took}{left}"))
        self.batch = None
        return lines

    def _tell_idle(self) -> list[Line]:
        idle, self._idle = list(self._idle), {}
        return [Line(text) for text in nothing_to_do(idle)]

    def _in_order(self, hosts: Collection[str]) -> list[str]:
        wanted = set(hosts)
        return [host for host in self.hosts if host in wanted]
