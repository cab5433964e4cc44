"""News from host to host: what the hosts that follow this one are told, and what is taken in from those that it follows.

News are of two kinds. Of itself a host tells every part that comes or goes, to those that follow it. Of every host, itself
included, it tells the row and how lately it was heard of; those travel from link to link until everybody has them.
Hold `state.changed`.
"""

from __future__ import annotations

from typing import Any

from barewind.weights.agent.job import FileId
from barewind.weights.agent.others import OtherHost
from barewind.weights.agent.rows import Row, read_row
from barewind.weights.agent.state import State

VERSION = 2  # of the news that hosts exchange; a host that speaks another one counts as absent
_ROWS = (
    200  # per second that reach a host over a link, at most about: with more hosts, each tells less often what it has
)
_STEPS = 16  # rows at least from the first part to the last one

Json = dict[str, Any]


def tell(state: State, since: int, version: int, now: float) -> Json:
    """What a host that follows this one is told; it knows `since` events already, and what there was in `version`."""
    row = own_row(state, now)
    rows = {state.job.host: row} if state.row_changed > version else {}
    beats = {state.job.host: (beat(state, now), 0.0)}
    for name in reversed(state.recent):
        other = state.others[name]
        if max(other.row_changed, other.beat_changed) <= version:
            break
        if other.row is not None and other.row_changed > version:
            rows[name] = other.row
        if other.heard_at is not None:
            beats[name] = (other.beat, round(now - other.heard_at, 3))
    return {
        "version": VERSION,
        "state": state.version,
        "count": len(state.events),
        "events": state.events[since:],
        "rows": rows,
        "beats": beats,
    }


def plain(news: Json) -> Json:
    """News as they travel."""
    return news | {"rows": {name: row.plain() for name, row in news["rows"].items()}}


def read_news(document: Json) -> Json:
    """News from what `plain` returned.

    Raises:
        ValueError: they are none, or of another version.
    """
    if document.get("version") != VERSION:
        raise ValueError(f"it speaks version {document.get('version')}, not {VERSION}")
    rows = {str(name): read_row(row) for name, row in document["rows"].items()}
    return document | {"rows": rows, "beats": {str(name): pair for name, pair in document["beats"].items()}}


def beat(state: State, now: float) -> int:
    """A number that grows as long as this host lives, over restarts too; by steps, each of which travels to all hosts."""
    step = state.job.limits.dead / 4
    return state.run + int((now - state.started_at) / step) * int(step * 1000)


def pace(state: State) -> float:
    """Seconds between two rows that tell nothing but how many parts are there."""
    return max(state.job.limits.dead / 4, len(state.others) / _ROWS)


def own_row(state: State, now: float) -> Row:
    """What this host tells of itself: what others decide by at once, what only grows now and then."""
    last = state.row
    urgent = (
        state.run,
        state.can_ask,
        state.complete,
        _verified(state),
        tuple((*_numbered(state, file), round_) for file, round_ in state.rounds.items() if round_),
        tuple(sorted(state.fetching)),
    )
    if last is not None:
        same = urgent == (last.run, last.able, last.complete, last.verified, last.rounds, last.fetching)
        grown = last.received != state.received or last.have != state.bits
        due = now - state.row_at >= pace(state) or _grown_much(state, last)
        if same and not (grown and due):
            return last
    run, able, complete, verified, rounds, fetching = urgent
    seq = last.seq + 1 if last else 0
    state.row = Row(run, seq, able, complete, state.received, dict(state.bits), verified, rounds, fetching)
    state.row_at = now
    state.version += 1
    state.row_changed = state.version
    return state.row


def _grown_much(state: State, last: Row) -> bool:
    return any(
        _STEPS * (bits.bit_count() - last.have.get(key, 0).bit_count()) > len(state.parts_of_set[key])
        for key, bits in state.bits.items()
    )


def take_news(state: State, name: str, news: Json, now: float) -> None:
    """Take in what a host that is followed tells."""
    other = state.others[name]
    other.failed_at = None
    _take_events(state, other, news["events"], now)
    _take_table(state, news, now)
    other.heard_at = now
    _learn_proven(state, other)
    state.changed.notify_all()


def take_request(state: State, name: str, news: Json, now: float) -> None:
    """Take in what a host that follows this one tells of itself."""
    _take_table(state, news, now)
    state.others[name].heard_at = now


def _take_table(state: State, news: Json, now: float) -> None:
    version = state.version + 1
    changed = False
    for name, row in news["rows"].items():
        other = state.others.get(name)
        if other is not None and _take_row(state, other, row, now):
            other.row_changed = version
            changed = _renew(state, name)
    for name, (number, age) in news["beats"].items():
        other = state.others.get(name)
        if name == state.job.host and number > beat(state, now):
            state.run += number - beat(state, now)  # this host's clock was put back since its last life
        if other is not None and number > other.beat:
            heard = now - age
            other.beat, other.beat_changed = number, version
            other.heard_at = heard if other.heard_at is None else max(heard, other.heard_at)
            changed = _renew(state, name)
    if changed:
        state.version = version
        state.told.notify_all()


def _renew(state: State, name: str) -> bool:
    state.recent.pop(name, None)
    state.recent[name] = None
    return True


def _take_row(state: State, other: OtherHost, row: Row, now: float) -> bool:
    last = other.row
    if last is not None and row.order <= last.order:
        return False
    for key, parts in state.parts_of_set.items():
        if row.have.get(key, 0).bit_length() > len(parts):
            return False  # other parts than this host's
    if last is None or row.received != last.received or row.have != last.have:
        other.gained_at = now
    if last is None or row.have != last.have or row.rounds != last.rounds:
        other.useless = None
    if row.complete and not other.complete:
        other.completed_at = now
    other.row = row
    for key, number, round_ in row.rounds:
        file = state.file_ids.get((key, number))
        if file is not None and round_ > state.rounds[file]:
            state.begin_round(file, round_)
    return True


def _take_events(state: State, other: OtherHost, events: list[list[Any]], now: float) -> None:
    link = other.link
    if link is None:
        return
    link.heard = True
    if not events:
        return
    other.gained_at = now
    for key, number, round_, digest in events:
        part = state.parts.get((key, number))
        if part is None:
            continue
        if digest is None:
            link.have.pop(part.id, None)
            link.bits[key] = link.bits.get(key, 0) & ~(1 << number)
            continue
        link.bits[key] = link.bits.get(key, 0) | 1 << number
        link.have[part.id] = (round_, digest)
        if round_ > state.rounds[part.file_id]:
            state.begin_round(part.file_id, round_)
        state.keep_if_confirmed(part)


def _learn_proven(state: State, other: OtherHost) -> None:
    """Parts of a file that is right as a whole are right."""
    link = other.link
    if link is None or other.row is None:
        return
    for file, parts in state.parts_of_file.items():
        if file in link.proven or not state.verified_on(other, file):
            continue
        if all(part.id in link.have for part in parts):
            state.proven |= {part.id: link.have[part.id][1] for part in parts}
            link.proven.add(file)


def _verified(state: State) -> dict[str, int]:
    bits = dict.fromkeys(state.parts_of_set, 0)
    for file in state.verified:
        key, number = _numbered(state, file)
        bits[key] |= 1 << number
    return bits


def _numbered(state: State, file: FileId) -> tuple[str, int]:
    return (file[0], state.file_numbers[file])
