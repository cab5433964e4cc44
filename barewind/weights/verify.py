"""Every byte of the weights on hosts against the lock: shell commands that read them, and what their output means."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from barewind.checksums import SUMS, VERIFIED
from barewind.weights.plan import HostJob


@dataclass(frozen=True)
class Finding:
    """One directory of one host. `state`: intact | absent | wrong | unknown (the host did not answer)."""

    host: str
    directory: str
    state: str
    detail: str = ""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return {
            "absent": "deploy",
            "wrong": "barewind weights verify --repair, then deploy: only what is wrong is fetched again",
            "unknown": "log in, mend it, ask again",
        }.get(self.state, "")

    def __str__(self) -> str:
        rest = f": {self.detail}. Next: {self.remedy}" if self.detail else ""
        return f"{self.state} {self.directory}{rest}"

    def as_json(self) -> dict[str, Any]:
        """The finding as `barewind weights verify --json` prints it."""
        return asdict(self) | {"remedy": self.remedy}


def print_differences(job: HostJob) -> str:
    """Shell command that reads every file of a job, several at a time, and prints which are not as their SHA256SUMS."""
    check = (
        f'cd "$0" || exit; echo "@sums $(sha256sum < {SUMS} | cut -d" " -f1) $0"; '
        f'tr "\\n" "\\0" < {SUMS} | xargs -0 -P 8 -I{{}} sh -c \'echo "$1" | sha256sum --quiet --check 2>/dev/null | '
        'sed "s|^|@wrong |"\' sh {}'
    )
    each = "; ".join(
        f"if [ -f {shlex.quote(f'{directory}/{SUMS}')} ]; then sh -c {shlex.quote(check)} {shlex.quote(directory)}; "
        f"else echo {shlex.quote(f'@absent {directory}')}; fi"
        for directory in job.directories
    )
    return f"{each}; echo @end"


def read_findings(job: HostJob, output: str, problem: str = "") -> list[Finding]:
    """A finding for each directory, from the output of `print_differences`; `problem`: why the host did not answer."""
    lines = output.splitlines()
    if problem or lines[-1:] != ["@end"]:
        why = problem or "its answer breaks off"
        return [Finding(job.host, directory, "unknown", why) for directory in job.directories]
    findings: dict[str, Finding] = {}
    current = ""
    for line in lines[:-1]:
        kind, _, rest = line.partition(" ")
        if kind == "@absent":
            findings[rest] = Finding(job.host, rest, "absent", "is not there")
        elif kind == "@sums":
            sums, _, current = rest.partition(" ")
            right = sums == job.directories.get(current)
            findings[current] = Finding(
                job.host, current, *(("intact",) if right else ("wrong", "holds other files than the lock"))
            )
        elif kind == "@wrong" and current:
            name = rest.rpartition(":")[0]
            before = findings[current].detail
            findings[current] = Finding(
                job.host, current, "wrong", f"{before}, {name}" if before else f"other SHA-256: {name}"
            )
    return [
        findings.get(directory, Finding(job.host, directory, "unknown", "not said")) for directory in job.directories
    ]


def distrust(findings: Mapping[str, list[Finding]]) -> dict[str, str]:
    """By host, a shell command that makes it forget that wrong directories were right once: no engine starts on them."""
    wrong = {
        host: [finding.directory for finding in of_host if finding.state == "wrong"]
        for host, of_host in findings.items()
    }
    return {
        host: f"rm -f {shlex.join(f'{directory}/{VERIFIED}' for directory in directories)}"
        for host, directories in wrong.items()
        if directories
    }


def exit_status(findings: Mapping[str, list[Finding]]) -> int:
    """Exit status of `barewind weights verify`: 0 all is intact, 1 something is not, 2 a host could not be asked."""
    states = {finding.state for of_host in findings.values() for finding in of_host}
    if "unknown" in states:
        return 2
    return 1 if states - {"intact"} else 0
