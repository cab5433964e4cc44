"""Weights on hosts looked at by a person: is every byte as locked, and which directories does nobody need. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from pyinfra.api.exceptions import FactProcessError

from barewind.facts import script, split
from barewind.facts.image import HISTORY
from barewind.meter import size
from barewind.swarm import UNIT, HostJob

_ENGINE_UNIT = "/etc/systemd/system/barewind-engine.service"
_ENTRY = re.compile(r"[^/\s]+/([0-9a-f]{40}-[a-z]+)(\.partial|\.parts)?")
_CACHE = re.compile(r"[0-9a-f]{12}")  # what an engine has compiled: barewind/compile_cache.py


@dataclass(frozen=True)
class Finding:
    """One directory of one host. `state`: intact | absent | wrong | unknown (the host did not answer)."""

    host: str
    directory: str
    state: str
    detail: str = ""

    @property
    def remedy(self) -> str:
        """What to do."""
        return {
            "absent": "deploy",
            "wrong": "barewind weights verify --repair, then deploy: only what is wrong is fetched again",
            "unknown": "log in, mend it, ask again",
        }.get(self.state, "")

    def as_json(self) -> dict[str, Any]:
        """As `barewind weights verify --json` prints it."""
        return asdict(self) | {"remedy": self.remedy}


@dataclass(frozen=True)
class Entry:
    """What may be removed: a path under the directory of weights; `size` in bytes."""

    path: str
    size: int

    def __str__(self) -> str:
        return f"{self.path} ({size(self.size)})"


def verify(job: HostJob) -> str:
    """A command that reads every file of a host and says which are not as their SHA256SUMS, several at a time."""
    check = (
        'cd "$0" || exit; echo "@sums $(sha256sum < SHA256SUMS | cut -d" " -f1) $0"; '
        'tr "\\n" "\\0" < SHA256SUMS | xargs -0 -P 8 -I{} sh -c \'echo "$1" | sha256sum --quiet --check 2>/dev/null | '
        'sed "s|^|@wrong |"\' sh {}'
    )
    each = "; ".join(
        f"if [ -f {shlex.quote(f'{one}/SHA256SUMS')} ]; then sh -c {shlex.quote(check)} {shlex.quote(one)}; "
        f"else echo {shlex.quote(f'@absent {one}')}; fi"
        for one in job.directories
    )
    return f"{each}; echo @end"


def findings(job: HostJob, output: str, problem: str = "") -> list[Finding]:
    """What `verify` showed of each directory; `problem`: why the host did not answer."""
    lines = output.splitlines()
    if problem or lines[-1:] != ["@end"]:
        why = problem or "its answer breaks off"
        return [Finding(job.host, directory, "unknown", why) for directory in job.directories]
    found: dict[str, Finding] = {}
    current = ""
    for line in lines[:-1]:
        kind, _, rest = line.partition(" ")
        if kind == "@absent":
            found[rest] = Finding(job.host, rest, "absent", "is not there")
        elif kind == "@sums":
            sums, _, current = rest.partition(" ")
            right = sums == job.directories.get(current)
            found[current] = Finding(
                job.host, current, *(("intact",) if right else ("wrong", "holds other files than the lock"))
            )
        elif kind == "@wrong" and current:
            name = rest.rpartition(":")[0]
            before = found[current].detail
            found[current] = Finding(
                job.host, current, "wrong", f"{before}, {name}" if before else f"other SHA-256: {name}"
            )
    return [found.get(one, Finding(job.host, one, "unknown", "not said")) for one in job.directories]


def distrust(found: Mapping[str, list[Finding]]) -> dict[str, str]:
    """Commands that make hosts forget that wrong directories were right once: engines do not start on them any more."""
    wrong = {name: [one.directory for one in each if one.state == "wrong"] for name, each in found.items()}
    return {
        name: f"rm -f {shlex.join(f'{one}/.verified' for one in directories)}"
        for name, directories in wrong.items()
        if directories
    }


def survey(job: HostJob, keep: int) -> str:
    """A command that shows a host's directories of weights, and who may need them."""
    sizes = """-printf '%P\\n' | while IFS= read -r e; do echo "$(du -sb "$e" | cut -f1) $e"; done"""
    return script(
        busy=f"systemctl is-active {UNIT}",
        entries=f"cd {shlex.quote(job.root)} && find . -mindepth 2 -maxdepth 2 \\( -type d -o -type f \\) {sizes}",
        caches=f"cd {shlex.quote(_caches(job))} && find . -mindepth 1 -maxdepth 1 -type d {sizes}",
        needed=f'cat {_ENGINE_UNIT}; for f in $(ls -t {HISTORY}/*.json | head -n {keep}); do cat "$f"; done',
    )


def removable(job: HostJob, output: str, problem: str = "") -> list[Entry]:
    """What nobody needs of what `survey` showed: not the plan, not the unit that runs, not the releases to go back to.

    Raises:
        ValueError: the answer cannot be relied on; the text says why.
    """
    if problem:
        raise ValueError(problem)
    try:
        found = split(output.splitlines())
    except FactProcessError as error:
        raise ValueError(str(error)) from error
    if found.get("busy") and found["busy"][0] in ("active", "activating"):
        raise ValueError("weights are being copied; try again when that is done")
    needed = "\n".join(found.get("needed", []))
    entries = []
    for line in found.get("entries", []):
        amount, _, entry = line.partition(" ")
        known = _ENTRY.fullmatch(entry)
        if not known or not amount.isdigit():
            continue  # not ours
        directory = f"{job.root}/{entry.removesuffix(known[2] or '')}"
        revision = known[1].split("-")[0]
        if directory not in job.directories and directory not in needed and revision not in needed:
            entries.append(Entry(f"{job.root}/{entry}", int(amount)))
    for line in found.get("caches", []):
        amount, _, key = line.partition(" ")
        if _CACHE.fullmatch(key) and amount.isdigit() and f"/cache/{key}:" not in needed:
            entries.append(Entry(f"{_caches(job)}/{key}", int(amount)))
    return sorted(entries, key=lambda one: one.path)


def remove(job: HostJob, entries: list[Entry]) -> str:
    """A command that removes entries of `removable`, and folders of models that are empty then."""
    paths = [one.path for one in entries]
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
    return str(PurePosixPath(job.root).parent / "cache")


def summary(found: Mapping[str, list[Finding]]) -> int:
    """Exit status of `verify`: 0 all is intact, 1 something is not, 2 a host could not be asked."""
    states = {one.state for each in found.values() for one in each}
    if "unknown" in states:
        return 2
    return 1 if states - {"intact"} else 0
