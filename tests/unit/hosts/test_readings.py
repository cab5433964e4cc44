"""Facts of a host that its next operations go by are read together: counted on a host that runs real commands."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from pyinfra import host as current
from pyinfra.api import Config, FactBase, Host, Inventory, State, StringCommand, facts, operation
from pyinfra.api.connect import connect_all
from pyinfra.api.operation import add_op
from pyinfra.api.operations import run_ops
from pyinfra.api.state import StateStage
from pyinfra.context import ctx_state

from barewind.hosts import readings

pytestmark = pytest.mark.slow


class Text(FactBase[str]):
    """What is in a file."""

    abstract = False

    def command(self, path: str) -> str:
        return f"cat {path}"


class Now(Text):
    """What is in it at this very moment."""

    fresh = True


@operation()
def holding(path: str, text: str, fact: type[Text] = Text) -> Generator[StringCommand, None, None]:
    """Have a text in a file."""
    if current.get_fact(fact, path=path) == text:
        current.noop("it is there already")
        return
    yield StringCommand(f"printf %s {text} > {path}")


@operation()
def stirred(path: str) -> Generator[StringCommand, None, None]:
    """Do something to a file without a look at it."""
    yield StringCommand(f"printf %s stirred > {path}")


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Commands that reach the host, in order; pyinfra is as it was afterwards."""
    commands: list[str] = []
    own: Any = Host.run_shell_command

    def note(self: Host, command: Any, *args: Any, **kwargs: Any) -> Any:
        commands.append(str(command))
        return own(self, command, *args, **kwargs)

    for name in ("put_file", "disconnect", "noop"):
        monkeypatch.setattr(Host, name, getattr(Host, name))
    monkeypatch.setattr(facts, "_get_fact", facts._get_fact)
    monkeypatch.setattr(Host, "run_shell_command", note)
    readings.install()
    return commands


@pytest.fixture
def state() -> State:
    state = State(Inventory((["@local"], {})), Config())
    state.current_stage = StateStage.Prepare
    connect_all(state)
    return state


def files(folder: Path, *texts: str) -> list[str]:
    paths = [folder / str(number) for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return [str(path) for path in paths]


def run(state: State, ran: list[str]) -> list[str]:
    """What the operations run on the host; without what pyinfra asked to see what there is to do."""
    ran.clear()
    state.current_stage = StateStage.Execute
    with ctx_state.use(state):
        run_ops(state)
    return list(ran)


def test_a_run_with_nothing_to_change_asks_once(state: State, ran: list[str], tmp_path: Path) -> None:
    paths = files(tmp_path, "a", "b", "it's\nc")
    for path, text in zip(paths, ("a", "b", "it's\nc"), strict=True):
        add_op(state, holding, path=path, text=text)
    assert len(run(state, ran)) == 1


def test_what_is_changed_is_looked_at_anew(state: State, ran: list[str], tmp_path: Path) -> None:
    (path,) = files(tmp_path, "old")
    add_op(state, holding, path=path, text="old")
    add_op(state, stirred, path=path)
    add_op(state, holding, path=path, text="old")
    commands = run(state, ran)
    assert Path(path).read_text() == "old"
    assert commands[1:] == [f"printf %s stirred > {path}", f"cat {path}", f"printf %s old > {path}"]


def test_an_old_reading_stands_for_nothing(
    state: State, ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "AGE", -1.0)
    paths = files(tmp_path, "a", "b")
    for path, text in zip(paths, ("a", "b"), strict=True):
        add_op(state, holding, path=path, text=text)
    assert f"cat {paths[1]}" in run(state, ran)


def test_what_must_be_of_this_moment_is_asked_at_this_moment(state: State, ran: list[str], tmp_path: Path) -> None:
    paths = files(tmp_path, "a", "b", "c")
    add_op(state, holding, path=paths[0], text="a")
    add_op(state, holding, path=paths[1], text="b", fact=Now)
    add_op(state, holding, path=paths[2], text="c")
    commands = run(state, ran)
    assert len(commands) == 2
    assert commands[1] == f"cat {paths[1]}"


def test_a_fact_that_cannot_be_read_fails_by_itself(state: State, ran: list[str], tmp_path: Path) -> None:
    paths = files(tmp_path, "a", "b")
    missing = str(tmp_path / "missing" / "file")
    add_op(state, holding, path=paths[0], text="a")
    add_op(state, holding, path=missing, text="x", _ignore_errors=True)
    add_op(state, holding, path=paths[1], text="b")
    commands = run(state, ran)
    assert commands[1] == f"cat {missing}"
    assert f"cat {paths[1]}" not in commands[:2]


def test_what_runs_beside_leaves_a_reading_as_it_is(state: State, ran: list[str], tmp_path: Path) -> None:
    paths = files(tmp_path, "a", "b")

    @operation()
    def looked_beside() -> Generator[StringCommand, None, None]:
        with readings.beside():
            current.run_shell_command("true")
        current.noop("nothing")
        return
        yield

    add_op(state, holding, path=paths[0], text="a")
    add_op(state, looked_beside)
    add_op(state, holding, path=paths[1], text="b")
    commands = run(state, ran)
    assert f"cat {paths[1]}" not in commands


def test_output_is_told_apart_by_a_token_and_status() -> None:
    lines = ["a", "@@reading other 1 0", "b@@reading t 0 0", "", "@@reading t 1 1", "c", "@@reading t 2 0"]
    assert readings.split(lines, "t") == {0: ["a", "@@reading other 1 0", "b"], 2: ["c"]}
