"""Keys of a deploy: a balancer that knows them is left alone, and the file is read when the balancer is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import OperationError, State
from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.util import FakeState, create_host

from barewind.hosts.operations import ManagedFile
from barewind.hosts.shell import Answer
from barewind.keys import commands, file, operations, plan, usage
from barewind.keys.commands import MODE, Known, Process
from barewind.keys.facts import KnownKeys
from barewind.keys.file import KeyFile
from barewind.keys.operations import counted, told
from tests.support.balancers import FakeHost
from tests.support.data_files import operation_tests, settled_tests
from tests.support.keys import key
from tests.support.operations import on_host

TestCounted = operation_tests(counted, Path(__file__).parent)

CONTENT = KeyFile(5, (key("alpha/ci"), key("beta")))
PROGRAM = usage.program(400)
FILES = [ManagedFile(each.path, each.content, each.mode) for each in (PROGRAM, *usage.units())]
SUMMING: dict[str, Any] = {"program": FILES[0], "units": FILES[1:], "timer": usage.TIMER}
TestSettledCounted = settled_tests(
    counted,
    SUMMING,
    "facts.UsageProgram",
    {"files": on_host(*FILES), "enabled": True, "running": True},
    subject="what sums usage",
)


@pytest.fixture
def keys(tmp_path: Path) -> str:
    file.write(CONTENT, tmp_path / "keys.yaml")
    return str(tmp_path / "keys.yaml")


def balancer(content: KeyFile | None = CONTENT, *, mode: str = MODE, running: KeyFile | None = None) -> Known:
    """What a balancer knows: of its file, and its process, where that is something else."""
    text = None if content is None else plan.map_text(content)
    now = plan.map_text(running or content) if running or content else ""
    return Known(None if text is None else (text, mode), (Process(12, True, plan.entries(now)),))


def commands_of(keys: str, known: Known | None) -> list[Any]:
    state = FakeState()
    host = create_host(state, facts={})
    host.name = "gpu-h1"
    host.get_fact = {KnownKeys: known}.__getitem__
    with ctx_state.use(state), ctx_host.use(host):
        commands = list(told._inner(keys=keys))
    assert bool(commands) != bool(host.noop_description)
    return commands


@pytest.mark.parametrize(
    "known",
    [
        balancer(None),
        balancer(KeyFile(4, CONTENT.keys)),
        balancer(KeyFile(5, CONTENT.keys[:1])),
        balancer(mode="644 root root"),
        balancer(running=KeyFile(5, CONTENT.keys[:1])),
        balancer(running=KeyFile(5, (*CONTENT.keys, key("mallory")))),
    ],
    ids=[
        "new",
        "an older file",
        "a key less",
        "another mode",
        "its process has a key less",
        "its process has a key more",
    ],
)
def test_a_balancer_that_differs_is_told(keys: str, known: Known) -> None:
    assert len(commands_of(keys, known)) == 1


def test_a_balancer_that_knows_them_is_left_alone(keys: str) -> None:
    assert commands_of(keys, balancer()) == []


def test_without_haproxy_the_file_is_enough(keys: str) -> None:
    assert commands_of(keys, Known((plan.map_text(CONTENT), MODE), ())) == []


def test_what_cannot_be_read_is_not_changed(keys: str) -> None:
    with pytest.raises(OperationError, match="the state of the keys could not be read"):
        commands_of(keys, None)


def test_an_older_file_makes_no_revoked_key_good_again(keys: str) -> None:
    with pytest.raises(
        OperationError, match=r"gpu-h1: has the keys of serial 6, the file here is of serial 5.*git pull"
    ):
        commands_of(keys, balancer(KeyFile(6, ())))


def test_a_file_that_is_not_right_is_told_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text("keys: 3\n")
    with pytest.raises(OperationError, match="write a list of entries"):
        commands_of(str(tmp_path / "keys.yaml"), balancer())


# --- Being told ---------------------------------------------------------------------------------------------------------


class Balancer:
    """A balancer that takes what it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Answer) -> None:
        self.texts: list[str] = []
        self.answers = list(answers)
        monkeypatch.setattr(operations, "run", self.run)

    def run(self, *where: object, stdin: str, timeout: int) -> Answer:
        assert timeout
        _, _, command = where
        assert command.startswith(commands.look().removesuffix("print"))
        self.texts.append(stdin)
        return self.answers.pop(0) if self.answers else knowing(stdin)


def knowing(text: str) -> Answer:
    """What a balancer without HAProxy answers that has this map."""
    return Answer(f"@@keys:file {MODE}\n{text}@@keys:end\n", "")


def tell(keys: str) -> bool:
    return operations._tell(State(), FakeHost("lb1"), keys)


def test_it_is_told_what_the_file_says_now(keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lb1 = Balancer(monkeypatch)
    file.write(KeyFile(6, CONTENT.keys[:1]), keys)
    assert tell(keys)
    assert lb1.texts == [plan.map_text(KeyFile(6, CONTENT.keys[:1]))]


def test_a_key_that_is_revoked_meanwhile_stays_out(keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`barewind keys revoke` tells the balancer first, and writes the file then."""
    revoked = KeyFile(6, CONTENT.keys[:1])
    lb1 = Balancer(monkeypatch, knowing(plan.map_text(revoked)))
    reading = [CONTENT, revoked, revoked, revoked]
    monkeypatch.setattr(operations.file, "read", lambda path: reading.pop(0) if path == keys else None)
    assert tell(keys)
    assert lb1.texts == [plan.map_text(CONTENT), plan.map_text(revoked)]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer("", "no route to host"), "lb1: cannot be told its keys (no route to host)"),
        (knowing(plan.map_text(KeyFile(6))), "lb1: has the keys of serial 6"),
        (
            knowing(""),
            "lb1: lacks alpha/ci (...a/ci), beta (...beta), although it was told",
        ),
    ],
)
def test_a_balancer_that_is_not_told_ends_the_run(
    keys: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, answer: Answer, problem: str
) -> None:
    Balancer(monkeypatch, answer)
    assert not tell(keys)
    assert problem in caplog.text
