"""What the doctor says of one thing that it has looked at. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from barewind.output.names import fold


class State(IntEnum):
    """How a thing is: as it should be, to be looked at, or wrong, so that a deploy would fail."""

    OK = 0
    LOOK = 1
    WRONG = 2


@dataclass(frozen=True)
class Finding:
    """What was found of a subject (a host, or a thing of the controller), and what to do where it is not as it should be."""

    subject: str
    state: State
    found: str
    remedy: str = ""

    @property
    def sentence(self) -> str:
        """What was found and what to do, without the subject."""
        return f"{self.found}; {self.remedy}" if self.remedy else self.found


def lines(findings: Iterable[Finding]) -> list[str]:
    """A line for each finding; subjects of which the same is to be said share one."""
    alike: dict[tuple[State, str], list[str]] = {}
    for finding in findings:
        alike.setdefault((finding.state, finding.sentence), []).append(finding.subject)
    return [f"{state.name.lower():<5} {fold(subjects)}: {sentence}" for (state, sentence), subjects in alike.items()]
