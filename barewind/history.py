"""What a host has served: a record per release, and a list of events that is only ever added to.

Pure: plans in, files and shell commands out, what hosts tell read back. Commands note the host's own clock.

`/etc/barewind/releases/<release>.json` holds all that is needed to run a release again; its time of change is when the
release last began to serve, and long ago if it never did. `history.jsonl` beside it has one event per line.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import shlex
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from barewind.errors import BarewindError
from barewind.plan import EnginePlan

DIRECTORY = "/etc/barewind/releases"
EVENTS_FILE = f"{DIRECTORY}/history.jsonl"

# started: the engine is about to run it. serving: its gate has passed. failed: it has not, or it has served badly.
# restored: it serves again after another one failed. measured: figures of it were taken.
EVENTS = ("started", "serving", "failed", "restored", "measured")
_SERVES = ("serving", "restored")

_RECORDS = 100  # kept; as many as `keep_releases` may ask for
_LINES = 1000  # of events kept
_TEXT = 2000  # characters of a reason or a detail
_SECRET = re.compile(r"token|secret|passw|credential|key", re.IGNORECASE)
_RELEASE = re.compile(r"[A-Za-z0-9]\w{1,63}", re.ASCII)


@dataclass(frozen=True)
class Record:
    """One release as a host has run it. `model` and `draft` are repository@revision, `unit` is the unit's whole file."""

    release: str
    image: str  # by digest, as the host pulls it
    model: str
    draft: str | None
    served_model_name: str
    weights: tuple[str, ...]  # directories on the host
    argv: tuple[str, ...]
    env: Mapping[str, str]
    accelerator: str
    unit: str
    port: int

    @property
    def path(self) -> str:
        """Its file on the host."""
        return record_path(self.release)

    @property
    def text(self) -> str:
        """The content of its file."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @property
    def sha256(self) -> str:
        """SHA-256 of its file."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def write(self) -> str:
        """A command that writes it, given `text` on standard input: whole or not at all, its time of change kept."""
        path = shlex.quote(self.path)
        return (
            f"mkdir -p {DIRECTORY} && umask 077 && cat > {path}.new && chown root:root {path}.new && "
            f"if [ -e {path} ]; then touch -r {path} {path}.new; else touch -d @0 {path}.new; fi && mv -f {path}.new {path}"
        )


@dataclass(frozen=True)
class Event:
    """One thing that became of a release. `at` is ISO 8601, UTC, by the host's clock; `by` is user@controller."""

    at: str
    release: str
    event: str
    by: str
    why: str | None = None
    detail: str | None = None
    figures: Mapping[str, float] | None = None


def record(plan: EnginePlan, unit: str) -> Record:
    """The record of a plan; `unit` is the text of its unit file.

    Raises:
        BarewindError: the lock does not hold the plan completely.
    """
    if plan.release is None:
        raise BarewindError(f"{plan.spec.host}: its plan is not locked completely; run: barewind lock INVENTORY")
    names = [f"{model}@{revision}" for model, revision in plan.revisions]
    return Record(
        release=plan.release,
        image=plan.pinned_image,
        model=names[0],
        draft=names[1] if len(names) > 1 else None,
        served_model_name=plan.served_model_name,
        weights=plan.directories,
        argv=tuple(plan.command.argv),
        env={name: _concealed(name, value) for name, value in plan.command.env.items()},
        accelerator=plan.spec.accelerator,
        unit=unit,
        port=plan.spec.engine_port,
    )


def controller() -> str:
    """Who runs this, as events and locks name them: user@hostname."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def record_path(release: str) -> str:
    """Where a host keeps the record of a release.

    Raises:
        BarewindError: that is no release's id.
    """
    if not _RELEASE.fullmatch(release):
        raise BarewindError(
            f"'{release}': no id of a release; `barewind status INVENTORY` shows those that hosts serve"
        )
    return f"{DIRECTORY}/{release}.json"


def started(release: str, *, by: str | None = None, why: str | None = None) -> str:
    """A shell command that notes: the engine is about to run it."""
    return _append(release, "started", by=by, why=why)


def serving(release: str, *, by: str | None = None, why: str | None = None) -> str:
    """A shell command that notes that it serves from now on, and forgets the oldest records."""
    return f"{_append(release, 'serving', by=by, why=why)} && {_touch(release)} && {_forget()}"


def restored(release: str, *, by: str | None = None, why: str | None = None, detail: str | None = None) -> str:
    """A shell command that notes that it serves again because another release failed."""
    return f"{_append(release, 'restored', by=by, why=why, detail=detail)} && {_touch(release)}"


def failed(
    release: str, detail: str = "", *, variable: str | None = None, by: str | None = None, why: str | None = None
) -> str:
    """A shell command, fit for the inside of another, that notes a failure; it never fails itself and prints nothing.

    + detail: what is wrong, in plain words
    + variable: name of a shell variable that holds it at that time, instead of `detail`
    """
    noted = _append(release, "failed", by=by, why=why, detail=detail or None, variable=variable)
    return f"{{ {noted}; }} 2>/dev/null || :"


def measured(release: str, figures: Mapping[str, float], *, by: str | None = None) -> str:
    """A shell command that notes figures of a release, such as {"tokens_per_second": 512.0}."""
    return _append(release, "measured", by=by, figures=figures)


def read_record(text: str) -> Record | None:
    """The content of a record's file; None for what is none, or one that holds too little to run it again."""
    try:
        found = json.loads(text)
        known = {field.name: found[field.name] for field in fields(Record)}
        known |= {key: tuple(map(str, known[key])) for key in ("weights", "argv")}
        return Record(**known)
    except (ValueError, LookupError, TypeError):
        return None


def read_events(lines: Iterable[str]) -> list[Event]:
    """The lines of the list of events, oldest first. What a power cut has left half-written is passed over."""
    events = []
    for line in lines:
        try:
            found = json.loads(line)
            known = {key: str(found[key]) for key in ("at", "release", "event", "by")}
            events.append(Event(**known | {key: found.get(key) for key in ("why", "detail", "figures")}))
        except (ValueError, LookupError, TypeError, AttributeError):
            continue
    return events


def last(events: Iterable[Event]) -> Event | None:
    """The event that says how the host stands; figures say nothing about that."""
    return next((one for one in reversed(list(events)) if one.event != "measured"), None)


def serves(events: Iterable[Event], release: str) -> bool:
    """Whether a release is the one that the host was last seen to serve, with nothing begun since."""
    now = last(events)
    return now is not None and now.release == release and now.event in _SERVES


def previous(events: Iterable[Event], running: str | None) -> str | None:
    """The release that served last before the one that runs now; None if the history knows no other.

    One that was undone because it or its group failed does not count: nobody wants to go back to that.
    """
    served: list[str] = []
    for one in events:
        if one.event == "restored" and one.release in served:
            while served[-1] != one.release:
                served.pop()
        elif one.event in _SERVES:
            served.append(one.release)
    return next((release for release in reversed(served) if release != running), None)


def figures(events: Iterable[Event], release: str) -> Mapping[str, float]:
    """What was last measured of a release; empty if nothing was."""
    found = (one.figures for one in reversed(list(events)) if one.event == "measured" and one.release == release)
    return next((one for one in found if one), {})


def _append(
    release: str,
    event: str,
    *,
    by: str | None,
    why: str | None = None,
    detail: str | None = None,
    variable: str | None = None,
    figures: Mapping[str, float] | None = None,
) -> str:
    record_path(release)  # refuses what is no id
    rest: dict[str, Any] = {"release": release, "event": event, "by": by or controller(), "why": why and why[:_TEXT]}
    rest["figures"] = dict(figures) if figures else None
    head, values = '{"at": "%s"', '"$(date -u +%Y-%m-%dT%H:%M:%SZ)"'
    if variable is None:
        rest["detail"] = detail and detail[:_TEXT]
    else:
        if not re.fullmatch(r"[A-Za-z_]\w*", variable):
            raise ValueError(f"'{variable}' is no name of a shell variable")
        head += ', "detail": "%s"'
        values += f' "$({_escaped(variable)})"'
    body = shlex.quote(json.dumps(rest)[1:])
    return (
        f"( umask 077; export LC_ALL=C; mkdir -p {DIRECTORY} && f={EVENTS_FILE} && touch $f && "
        # a line that a power cut left half-written must not take the next one with it
        f'{{ [ -z "$(tail -c 1 $f)" ] || echo >> $f; }} && '
        f"printf {shlex.quote(head + ', %s' + chr(92) + 'n')} {values} {body} >> $f && "
        f'if [ "$(wc -l < $f)" -gt {_LINES} ]; then tail -n {_LINES} $f > $f.new && mv -f $f.new $f; fi )'
    )


def _escaped(variable: str) -> str:
    """Text of a shell variable as the inside of a JSON string, in one line."""
    return f"printf %s \"${variable}\" | head -c {_TEXT} | tr '\\n\\t' '  ' | tr -d '\\000-\\037\\177' | sed 's/[\\\\\"]/\\\\&/g'"


def _touch(release: str) -> str:
    path = record_path(release)
    return f"{{ [ ! -e {path} ] || touch {path}; }}"


def _forget() -> str:
    return f"ls -t {DIRECTORY}/*.json 2>/dev/null | tail -n +{_RECORDS + 1} | xargs -r rm -f"


def _concealed(name: str, value: str) -> str:
    """A value as the record may show it: enough to see whether it changed."""
    return f"sha256:{hashlib.sha256(value.encode()).hexdigest()}" if _SECRET.search(name) else value
