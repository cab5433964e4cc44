"""Asking several hosts at the same time, and what each of them answered."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from gevent.pool import Pool

from barewind.errors import BarewindError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Answers(Generic[Result]):
    """Answers and errors by host, each in the order in which the hosts were named."""

    answers: dict[str, Result]
    errors: dict[str, str]

    def all(self, *, joint: str = "; ") -> dict[str, Result]:
        """The answers, if every host has answered.

        Raises:
            BarewindError: every error there is, with `joint` between them.
        """
        if self.errors:
            raise BarewindError(joint.join(self.errors.values()))
        return self.answers


def ask(hosts: Collection[str], question: Callable[[str], Result], *, at_a_time: int | None = None) -> Answers[Result]:
    """Put a question to each host, all at the same time, so that many silent ones take no longer than one; with `at_a_time`
    never to more than that.

    Each costs an open connection: `hosts.files_limit` sees to it that they may be opened, `hosts.connection` that not all shake
    hands at once.

    A host whose question raises a BarewindError has that error, which names the host; the others are asked all the same.
    """

    def outcome(host: str) -> tuple[str, Result | BarewindError]:
        try:
            return host, question(host)
        except BarewindError as error:
            return host, error

    outcomes = Pool(max(1, min(len(hosts), at_a_time or len(hosts)))).map(outcome, hosts)
    return Answers(
        {host: result for host, result in outcomes if not isinstance(result, BarewindError)},
        {host: str(result) for host, result in outcomes if isinstance(result, BarewindError)},
    )
