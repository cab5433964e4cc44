"""Several hosts asked at the same time: answers and errors by host, and never too many at once."""

from __future__ import annotations

import gevent
import pytest

from barewind.errors import BarewindError
from barewind.hosts.ask import Answers, ask


def release(host: str) -> str:
    if host.startswith("silent"):
        raise BarewindError(f"{host}: does not answer")
    return f"release of {host}"


@pytest.mark.parametrize(
    ("hosts", "answers", "errors"),
    [
        ([], {}, {}),
        (["b", "a"], {"b": "release of b", "a": "release of a"}, {}),
        (
            ["silent2", "a", "silent1"],
            {"a": "release of a"},
            {"silent2": "silent2: does not answer", "silent1": "silent1: does not answer"},
        ),
    ],
)
def test_answers_and_errors_by_host(hosts: list[str], answers: dict[str, str], errors: dict[str, str]) -> None:
    outcome = ask(hosts, release)
    assert list(outcome.answers.items()) == list(answers.items()), "in the order of the question"
    assert list(outcome.errors.items()) == list(errors.items())


def test_all_answers_or_every_error_at_once() -> None:
    assert ask(["a", "b"], release).all() == {"a": "release of a", "b": "release of b"}
    with pytest.raises(BarewindError, match=r"^silent1: does not answer; silent2: does not answer$"):
        ask(["silent1", "a", "silent2"], release).all()
    with pytest.raises(BarewindError, match=r"^one\ntwo$"):
        Answers[str]({}, {"a": "one", "b": "two"}).all(joint="\n")


@pytest.mark.parametrize(("number", "at_a_time", "most"), [(5, 2, 2), (5, 100, 5), (1000, None, 1000)])
def test_they_are_asked_at_the_same_time_within_bounds(number: int, at_a_time: int | None, most: int) -> None:
    asked, together = set[str](), list[int]()

    def question(host: str) -> None:
        asked.add(host)
        together.append(len(asked))
        gevent.sleep(0)  # let the others have their turn
        asked.remove(host)

    ask([f"host{n}" for n in range(number)], question, at_a_time=at_a_time)
    assert max(together) == most


def test_a_mistake_of_ours_is_no_answer() -> None:
    with pytest.raises(ZeroDivisionError):
        ask(["a"], lambda _: 1 / 0)
