"""The history on a host: the commands that write it, run in a shell, and what is read back."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import OperationError

from barewind import history, render
from barewind.errors import BarewindError
from barewind.facts.history import ReleaseHistory, ReleaseState
from barewind.history import Event, Record
from barewind.lock import Lock
from barewind.operations.history import begun, serves
from barewind.plan import plan_host
from tests.unit.conftest import Programs, Shell
from tests.unit.factories import DIGEST, engine_spec, plan
from tests.unit.test_operations import run

OLD, NEW = "0123456789ab", "ba9876543210"
BY = "ann@ws1"


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Programs) -> Path:
    """A directory of this test in place of /etc/barewind/releases."""
    monkeypatch.setattr(history, "DIRECTORY", str(tmp_path / "releases"))
    monkeypatch.setattr(history, "EVENTS_FILE", str(tmp_path / "releases" / "history.jsonl"))
    programs(chown="")  # needs root
    return tmp_path / "releases"


def record(**changes: Any) -> Record:
    made = plan(engine_spec(engine_env={"NCCL_DEBUG": "INFO", "HF_TOKEN": "hf_secret"}, **changes))
    return history.record(made, render.engine_unit(made))


def events(releases: Path) -> list[Event]:
    return history.read_events((releases / "history.jsonl").read_text().splitlines())


def event(kind: str, release: str = OLD, **changes: Any) -> Event:
    return Event("2026-11-22T09:00:00Z", release, kind, BY, **changes)


# --- Records -----------------------------------------------------------------------------------------------------------


def test_a_record_holds_all_that_is_needed_to_run_the_release_again() -> None:
    one = record()
    assert (one.path, one.port) == (f"/etc/barewind/releases/{one.release}.json", 8000)
    assert one.image.endswith(f"@{DIGEST}")
    assert one.unit.startswith("# Written by Barewind")
    assert set(one.weights) == set(plan().directories)
    assert one.draft is not None
    assert json.loads(one.text)["served_model_name"] == "mistralai/Mistral-Medium-3.5-128B"
    assert history.read_record(one.text) == one


def test_a_secret_is_recorded_by_its_hash() -> None:
    env = record().env
    assert env["NCCL_DEBUG"] == "INFO"
    assert env["HF_TOKEN"].startswith("sha256:")


def test_what_is_not_locked_has_no_record() -> None:
    with pytest.raises(BarewindError, match="run: barewind lock INVENTORY"):
        history.record(plan_host(engine_spec(), Lock()), "")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"release": "0123456789ab", "image": "x"}', '"x"'])
def test_what_is_no_whole_record_is_passed_over(text: str) -> None:
    assert history.read_record(text) is None


def test_a_record_is_written_whole_readable_by_root_alone_and_old_until_it_serves(shell: Shell, releases: Path) -> None:
    one = record()
    assert shell(one.write(), stdin=one.text).returncode == 0
    file = releases / f"{one.release}.json"
    assert file.read_text() == one.text
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_mtime == 0
    shell(history.serving(one.release, by=BY))
    served = file.stat().st_mtime
    assert served > 0
    os.utime(file, (1000, 1000))
    shell(one.write(), stdin=one.text)
    assert file.stat().st_mtime == 1000


def test_only_the_newest_records_are_kept(shell: Shell, releases: Path) -> None:
    releases.mkdir()
    for number in range(105):
        file = releases / f"{number:012x}.json"
        file.write_text("{}")
        os.utime(file, (number, number))
    shell(history.serving(f"{0:012x}", by=BY))
    left = sorted(int(file.stem, 16) for file in releases.glob("*.json"))
    assert left == [0, *range(6, 105)]


@pytest.mark.parametrize("release", ["", "../x", "a b", "x;reboot", "-rf"])
def test_what_is_no_id_reaches_no_shell(release: str) -> None:
    with pytest.raises(BarewindError, match="no id of a release"):
        history.failed(release)


# --- Events ------------------------------------------------------------------------------------------------------------


def test_events_are_added_one_per_line(shell: Shell, releases: Path) -> None:
    shell(history.started(OLD, by=BY, why='it\'s "new" \\ 100 % é\nsecond line'))
    shell(history.serving(OLD, by=BY))
    shell(history.failed(NEW, "out of memory", by=BY))
    shell(history.restored(OLD, by=BY, detail="after ba98"))
    shell(history.measured(OLD, {"tokens_per_second": 512.5}, by=BY))
    found = events(releases)
    assert [(one.release, one.event, one.detail) for one in found] == [
        (OLD, "started", None),
        (OLD, "serving", None),
        (NEW, "failed", "out of memory"),
        (OLD, "restored", "after ba98"),
        (OLD, "measured", None),
    ]
    assert found[0].why == 'it\'s "new" \\ 100 % é\nsecond line'
    assert found[-1].figures == {"tokens_per_second": 512.5}
    assert all(one.by == BY and one.at.endswith("Z") and len(one.at) == 20 for one in found)
    assert (releases / "history.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_failure_takes_its_reason_from_the_shell_it_is_noted_in(shell: Shell, releases: Path) -> None:
    why = 'Traceback:\n\t"x" is \\ not $HOME `id` 100% \x1b[31m'
    done = shell(f"why={shlex.quote(why)}; {history.failed(NEW, variable='why', by=BY)}; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    assert events(releases)[0].detail == 'Traceback:  "x" is \\ not $HOME `id` 100% [31m'


def test_a_failure_that_cannot_be_noted_says_nothing_and_stops_nothing(shell: Shell, releases: Path) -> None:
    releases.write_text("no directory")
    done = shell(f"{history.failed(NEW, 'x')}; echo goes on")
    assert (done.stdout, done.stderr) == ("goes on\n", "")


def test_any_other_event_that_cannot_be_noted_fails(shell: Shell, releases: Path) -> None:
    releases.write_text("no directory")
    assert shell(history.started(NEW)).returncode != 0


def test_a_line_that_a_power_cut_left_does_not_take_the_next_with_it(shell: Shell, releases: Path) -> None:
    releases.mkdir()
    (releases / "history.jsonl").write_text('{"at": "2026-11-22T09:0')
    shell(history.started(OLD, by=BY))
    assert [one.event for one in events(releases)] == ["started"]


def test_the_list_is_bounded(shell: Shell, releases: Path) -> None:
    releases.mkdir()
    (releases / "history.jsonl").write_text("{}\n" * 1000)
    shell(history.started(OLD, by=BY))
    lines = (releases / "history.jsonl").read_text().splitlines()
    assert len(lines) == 1000
    assert '"started"' in lines[-1]


def test_a_shell_variable_has_a_name() -> None:
    with pytest.raises(ValueError, match="no name"):
        history.failed(OLD, variable="x; reboot")


@pytest.mark.parametrize(
    ("events", "running", "serves", "before"),
    [
        ([], OLD, False, None),
        ([event("serving")], OLD, True, None),
        ([event("serving"), event("measured")], OLD, True, None),
        ([event("serving"), event("started", NEW)], OLD, False, None),
        ([event("serving"), event("started", NEW), event("serving", NEW)], NEW, False, OLD),
        ([event("serving"), event("started", NEW), event("failed", NEW)], NEW, False, OLD),
        ([event("serving"), event("failed", NEW), event("restored")], OLD, True, None),
        ([event("serving", NEW), event("serving"), event("serving", NEW), event("serving")], OLD, True, NEW),
        ([event("serving"), event("serving", NEW), event("restored")], OLD, True, None),  # its group went back
        ([event("serving", "z1"), event("serving"), event("serving", NEW), event("restored")], OLD, True, "z1"),
        ([event("restored")], OLD, True, None),
    ],
)
def test_what_the_events_say(events: list[Event], running: str, serves: bool, before: str | None) -> None:
    assert history.serves(events, OLD) is serves
    assert history.previous(events, running) == before


def test_the_last_figures_of_a_release() -> None:
    taken = [event("measured", figures={"x": 1.0}), event("measured", figures={"x": 2.0}), event("serving")]
    assert history.figures(taken, OLD) == {"x": 2.0}
    assert history.figures(taken, NEW) == {}


# --- Operations and facts ----------------------------------------------------------------------------------------------


def state(one: Record, *events: Event, **changes: Any) -> dict[str, Any]:
    """A host that runs a release, with it on record."""
    return {"sha256": one.sha256, "events": list(events), "active": True, "release": one.release} | changes


UNIT = {"unit": "e.service", "container": "c", "by": BY}


def begin(one: Record, facts: dict[str, Any]) -> list[str]:
    commands = run(begun, {"record": one, **UNIT}, "history.ReleaseState", facts)
    return ["record" if isinstance(each, dict) else "started" for each in commands]


def test_what_runs_and_is_on_record_begins_nothing() -> None:
    one = record()
    assert begin(one, state(one)) == []
    assert begin(one, state(one, sha256=None)) == ["record"]
    assert begin(one, state(one, sha256="0" * 64)) == ["record"]
    assert begin(one, state(one, active=False)) == ["started"]
    assert begin(one, state(one, release=OLD, sha256=None)) == ["record", "started"]


def test_that_a_release_serves_is_noted_once() -> None:
    one = record()

    def commands(*events: Event) -> list[Any]:
        return run(serves, {"release": one.release, **UNIT}, "history.ReleaseState", state(one, *events))

    assert commands(event("serving", one.release)) == []
    assert commands(event("restored", one.release)) == []
    (command,) = commands(event("serving", one.release), event("failed", one.release))
    assert '"event": "serving"' in command
    assert len(commands()) == 1


def test_a_history_that_cannot_be_read_ends_the_run() -> None:
    for operation, arguments in ((begun, {"record": record()}), (serves, {"release": OLD})):
        with pytest.raises(OperationError, match=r"^gpu-h1: the state of its history could not be read"):
            run(operation, arguments | UNIT, "history.ReleaseState", None)


def test_facts_read_what_the_commands_wrote(shell: Shell, releases: Path, programs: Programs, monkeypatch: Any) -> None:
    for name in ("DIRECTORY", "EVENTS_FILE"):
        monkeypatch.setattr(f"barewind.facts.history.{name}", getattr(history, name))
    programs(docker=f"echo {NEW}", systemctl="echo ActiveState=active")
    one = record()
    shell(one.write(), stdin=one.text)
    shell(history.serving(one.release, by=BY, why="first"))

    answer = shell(ReleaseHistory().command("e.service", "c")).stdout
    found = ReleaseHistory().process(answer.splitlines())
    assert found["records"] == {one.release: one}
    assert [(each.event, each.why) for each in found["events"]] == [("serving", "first")]
    assert (found["active"], found["release"]) == (True, NEW)

    path = str(releases / f"{one.release}.json")
    state = ReleaseState().process(shell(ReleaseState().command(path, "e.service", "c")).stdout.splitlines())
    assert (state["sha256"], len(state["events"])) == (one.sha256, 1)
    absent = ReleaseState().process(shell(ReleaseState().command("/nowhere", "e.service", "c")).stdout.splitlines())
    assert absent["sha256"] is None
