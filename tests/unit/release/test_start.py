"""The start of an engine: what a host tells of it, and what is noted and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import FunctionCommand
from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.util import FakeState, create_host

from barewind.engines import ENGINES
from barewind.hosts.shell import Answer
from barewind.release import history, operations
from barewind.release.facts import EngineStart
from barewind.release.history import Event
from tests.support.any_arguments import AnyArguments
from tests.support.data_files import fact_tests
from tests.support.operations import run
from tests.support.shell import Programs, Shell, printed

RELEASE = "0123456789ab"
STARTED = 1796029275.9  # 2026-11-30T09:01:15Z
LINES = [
    {"at": STARTED + 10.1, "text": "(APIServer pid=1) INFO 11-30 09:01:26 [api_utils.py:347]"},
    {
        "at": STARTED + 40.0,
        "text": "(Worker pid=30) INFO 11-30 09:01:56 [default_loader.py:501] Loading weights took 25.0 seconds",
    },
    {"at": STARTED + 60.0, "text": "(APIServer pid=1) INFO:     Application startup complete."},
]
PHASES = {"first_line": 10.1, "weights": 25.0, "ready": 60.0}
ASKED = {
    "release": RELEASE,
    "engine": "vllm",
    "unit": "barewind-engine.service",
    "container": "barewind-engine",
    "by": "ann@ws1",
}
TestEngineStart = fact_tests(EngineStart, Path(__file__).parent)


def event(at: str, replica: int | None = None, **phases: float) -> Event:
    return Event(at, RELEASE, "measured", "ann@ws1", phases=phases, replica=replica)


def facts(*events: Event, at: float | None = STARTED, lines: Any = LINES) -> dict[str, Any]:
    return {"at": at, "lines": lines, "events": list(events)}


def commands(value: Any, **changes: Any) -> list[FunctionCommand]:
    """What the operation has done on a host with these facts."""
    state = FakeState()
    host = create_host(state, facts={"facts.EngineStart": {}})
    host.fact.facts["facts.EngineStart"].data = AnyArguments(value)
    with ctx_state.use(state), ctx_host.use(host):
        return list(operations.timed._inner(**ASKED | changes))


@pytest.mark.parametrize(
    ("value", "before"),
    [
        (facts(), {}),
        (facts(event("2026-11-30T08:00:00Z", weights=9.0)), {"weights": 9.0}),
        (facts(event("2026-11-30T09:02:30Z", replica=1, weights=9.0)), {}),  # of another engine of the host
    ],
)
def test_a_start_is_noted_with_the_one_before_it(value: Any, before: dict[str, float]) -> None:
    (command,) = commands(value)
    assert command.kwargs["phases"] == pytest.approx(PHASES)
    assert command.kwargs["before"] == before
    assert '"event": "measured"' in command.kwargs["note"]


@pytest.mark.parametrize(
    "value",
    [
        facts(event("2026-11-30T09:02:30Z", weights=25.0)),  # noted already
        facts(at=None, lines=[]),  # no container
        facts(lines=[]),  # no journal
        facts(lines=LINES[:1]),  # an engine that tells nothing
        None,  # a host that does not answer
    ],
)
def test_nothing_is_noted_and_nothing_fails(value: Any) -> None:
    assert run(operations.timed, ASKED, "facts.EngineStart", value, says_why=True) == []


class Host:
    name, print_prefix = "gpu1", "[gpu1] "

    def __init__(self) -> None:
        self.told: list[str] = []

    def log(self, text: str) -> None:
        self.told.append(text)


@pytest.mark.parametrize(
    ("before", "problem", "warned"),
    [
        ({"weights": 20.0, "ready": 55.0}, "", []),
        (
            {"weights": 2.0, "ready": 20.0},
            "",
            [
                "[gpu1] gpu1: the start took 60 s to be ready, the start before it 20 s: weights grew most, from 2.0 s to 25 s"
            ],
        ),
        ({}, "disk full", ["[gpu1] gpu1: the phases of its start cannot be noted: disk full"]),
    ],
)
def test_what_is_said(
    before: dict[str, float], problem: str, warned: list[str], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(operations, "run", lambda *_: Answer("", problem))
    said: list[str] = []
    monkeypatch.setattr(operations.logger, "warning", said.append)
    host = Host()
    assert operations._note_start(None, host, PHASES, before, "note")
    assert host.told == ["start: 60 s: first line 10 s, weights 25 s"]
    assert said == warned


def test_what_is_noted_is_read_back_and_an_older_barewind_passes_over_it() -> None:
    line = {"at": "2026-11-30T09:02:30Z", "release": RELEASE, "event": "measured", "by": "ann@ws1", "phases": PHASES}
    read = history.read_events([json.dumps(line), json.dumps(line | {"phases": ["no", "numbers"]})])
    assert [one.phases for one in read] == [PHASES, None]
    serving = Event("2026-11-30T09:02:00Z", RELEASE, "serving", "ann@ws1")
    assert history.serves([serving, *read], RELEASE)
    assert history.figures([serving, *read], RELEASE) == {}
    assert history.last_start(read) == read[0]


@pytest.mark.slow
def test_the_phases_are_written_as_a_line_of_the_history(shell: Shell, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(history, "DIRECTORY", str(tmp_path))
    monkeypatch.setattr(history, "EVENTS_FILE", str(tmp_path / "history.jsonl"))
    shell(history.timed(RELEASE, PHASES, by="ann@ws1", replica=1))
    (noted,) = history.read_events((tmp_path / "history.jsonl").read_text().splitlines())
    assert (noted.event, noted.phases, noted.replica, noted.figures) == ("measured", PHASES, 1, None)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_host_tells_of_the_start(shell: Shell, programs: Programs, engine: str) -> None:
    """The first lines, and of the others those that tell of a phase."""
    chatter = [{"at": STARTED + 11, "text": f"a line of many, the {number}th"} for number in range(40)]
    lines = [LINES[0], *chatter, {"at": STARTED + 60, "text": "INFO:     Application startup complete."}]
    journal = "\\n".join(f"{line['at']} gpu1 docker[7]: {line['text']}" for line in lines)
    programs(
        docker="echo 2026-11-30T09:01:15.9Z",
        systemctl="echo 0123",
        journalctl=f"case $1 in *INVOCATION_ID=0123) printf '{journal}\\n';; esac",
    )
    command = EngineStart().command(engine=engine, unit="barewind-engine.service", container="barewind-engine")
    told = EngineStart().process(printed(shell, command))
    assert (told["at"], told["events"]) == (STARTED, [])
    assert told["lines"] == [*lines[:20], lines[-1]]
