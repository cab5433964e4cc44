"""Which weights and compile caches a host may lose, and the commands that list and remove them."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

from barewind.hosts.script import FactProcessError, script, split
from barewind.plan.cache import KEY_LENGTH, PACKED
from barewind.plan.names import UNIT_FILES
from barewind.progress.meter import size
from barewind.release.history import EVENTS_FILE, Event, newest, read_events
from barewind.release.record import print_records
from barewind.weights.plan import UNIT, HostJob

_ENTRY = re.compile(r"[^/\s]+/([0-9a-f]{40}-[a-z]+)(\.partial|\.parts)?")
_CACHE = re.compile(
    rf"(?:{PACKED})?([0-9a-f]{{{KEY_LENGTH}}})"
)  # what an engine has compiled, by its key, and its packed file


@dataclass(frozen=True)
class Entry:
    """A file or directory that may be removed; `size` in bytes."""

    path: str
    size: int

    def __str__(self) -> str:
        return f"{self.path} ({size(self.size)})"


def show_entries(job: HostJob) -> str:
    """Shell command that prints a host's weights and compile caches, and what may need them."""
    sizes = """-printf '%P\\n' | while IFS= read -r e; do echo "$(du -sb "$e" | cut -f1) $e"; done"""
    return script(
        busy=f"systemctl is-active {UNIT}",
        entries=f"cd {shlex.quote(job.root)} && find . -mindepth 2 -maxdepth 2 \\( -type d -o -type f \\) {sizes}",
        caches=f"cd {shlex.quote(_caches(job))} && find . -mindepth 1 -maxdepth 1 -type d {sizes}",
        needed=f"cat {UNIT_FILES}",
        records=print_records(),
        events=f"cat {EVENTS_FILE}",
    )


def removable(job: HostJob, output: str, problem: str = "", *, keep: int) -> list[Entry]:
    """What `show_entries` printed, without what the plan, the unit that runs or the last `keep` releases need.

    Raises:
        ValueError: the answer cannot be relied on; the text says why.
    """
    if problem:
        raise ValueError(problem)
    try:
        sections = split(output.splitlines())
    except FactProcessError as error:
        raise ValueError(str(error)) from error
    if sections.get("busy") and sections["busy"][0] in ("active", "activating"):
        raise ValueError("weights are being copied; try again when that is done")
    events = read_events(sections.get("events", []))
    needed = "\n".join([*sections.get("needed", []), *_newest(sections.get("records", []), events, keep)])
    entries = []
    for line in sections.get("entries", []):
        amount, _, entry = line.partition(" ")
        match = _ENTRY.fullmatch(entry)
        if not match or not amount.isdigit():
            continue  # not ours
        directory = f"{job.root}/{entry.removesuffix(match[2] or '')}"
        revision = match[1].split("-")[0]
        if directory not in job.directories and directory not in needed and revision not in needed:
            entries.append(Entry(f"{job.root}/{entry}", int(amount)))
    for line in sections.get("caches", []):
        amount, _, name = line.partition(" ")
        match = _CACHE.fullmatch(name)
        if match and amount.isdigit() and f"/cache/{match[1]}:" not in needed:
            entries.append(Entry(f"{_caches(job)}/{name}", int(amount)))
    return sorted(entries, key=lambda entry: entry.path)


def _newest(records: list[str], events: list[Event], keep: int) -> list[str]:
    """The records of the newest releases, and those that cannot be read: what they name is not known to be useless."""
    texts, unknown = {}, []
    for text in records:
        try:
            texts[str(json.loads(text)["release"])] = text
        except (ValueError, LookupError, TypeError):
            unknown.append(text)
    return [texts[release] for release in newest(events, texts, keep)] + unknown


def remove(job: HostJob, entries: list[Entry]) -> str:
    """Shell command that removes entries of `removable`, and folders of models that are empty then."""
    paths = [entry.path for entry in entries]
    outside = [
        path
        for path in paths
        if not _ENTRY.fullmatch(path.removeprefix(f"{job.root}/"))
        and not _CACHE.fullmatch(path.removeprefix(f"{_caches(job)}/"))
    ]
    if outside:
        raise ValueError(f"{outside[0]}: not a directory of weights")
    words = shlex.join(paths)
    return (
        f'for p in {words}; do [ -L "$p" ] || [ -L "$(dirname "$p")" ] || rm -rf --one-file-system -- "$p" || exit 1; done; '
        f"find {shlex.quote(job.root)} -mindepth 1 -maxdepth 1 -type d -empty -delete"
    )


def _caches(job: HostJob) -> str:
    """The directory that holds every compile cache of a host."""
    return str(PurePosixPath(job.root).parent / "cache")
