"""The history on a host: the commands that write it, run in a shell, and what is read back."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import OperationError

from barewind.engines import ENGINES
from barewind.errors import BarewindError
from barewind.hosts.file import HostFile
from barewind.lock.file import Lock
from barewind.plan.engine import plan_host
from barewind.release import history
from barewind.release.facts import ReleaseHistory, ReleaseState
from barewind.release.history import Event
from barewind.release.operations import confirmed, recorded
from barewind.release.record import Record, bench_path, read_record, record_of, whole_unit
from barewind.release.unit import engine_unit, systemd_quoted
from tests.support.factories import DIGEST, engine_spec, plan
from tests.support.operations import run
from tests.support.shell import Programs, Shell

pytestmark = pytest.mark.slow

OLD, NEW = "0123456789ab", "ba9876543210"
BY = "ann@ws1"


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Programs) -> Path:
    """A directory of this test in place of /etc/barewind/releases."""
    for module in ("record", "history"):
        monkeypatch.setattr(f"barewind.release.{module}.DIRECTORY", str(tmp_path / "releases"))
    monkeypatch.setattr(history, "EVENTS_FILE", str(tmp_path / "releases" / "history.jsonl"))
    programs(chown="")  # needs root
    return tmp_path / "releases"


def new_record(**changes: Any) -> Record:
    made = plan(engine_spec(engine_env={"NCCL_DEBUG": "INFO"}, **changes))
    return record_of(made, engine_unit(made))


def record_with_secret(value: str = "hf_secret") -> tuple[Record, str]:
    """A record whose environment has a secret, and the whole text of its unit."""
    made = plan(engine_spec(engine_env={"NCCL_DEBUG": "INFO", "HF_TOKEN": value}))
    unit = engine_unit(made)
    return record_of(made, unit), unit


def events(releases: Path) -> list[Event]:
    return history.read_events((releases / "history.jsonl").read_text().splitlines())


def event(kind: str, release: str = OLD, **changes: Any) -> Event:
    return Event("2026-11-22T09:00:00Z", release, kind, BY, **changes)


# --- Records -----------------------------------------------------------------------------------------------------------


def test_a_record_holds_all_that_is_needed_to_run_the_release_again() -> None:
    record = new_record()
    assert (record.path, record.port) == (f"/etc/barewind/releases/{record.release}.json", 8000)
    assert record.image.endswith(f"@{DIGEST}")
    assert record.unit.startswith("# Written by Barewind")
    assert set(record.weights) == set(plan().directories)
    assert record.draft is not None
    assert json.loads(record.text)["served_model_name"] == "mistralai/Mistral-Medium-3.5-128B"
    assert read_record(record.text) == record


@pytest.mark.parametrize("engine", ENGINES)
def test_a_record_of_before_engines_were_named_is_read(engine: str) -> None:
    made = new_record(engine=engine)
    older = json.loads(made.text)
    assert older.pop("engine") == engine
    assert read_record(json.dumps(older)) == made


@pytest.mark.parametrize("engine", ["nobodys", None, {}])
def test_a_record_of_an_engine_that_is_not_known_is_passed_over(engine: Any) -> None:
    assert read_record(json.dumps(json.loads(new_record().text) | {"engine": engine})) is None


@pytest.mark.parametrize("secret", ["hf_secret", "two words", "100%", "$HOME", 'a "quoted" \\ one', "é", "INFO "])
def test_a_secret_is_recorded_by_its_hash(secret: str) -> None:
    record, unit = record_with_secret(secret)
    hashed = f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}"
    assert (record.env["NCCL_DEBUG"], record.env["HF_TOKEN"]) == ("INFO", hashed)
    assert f"--env=HF_TOKEN={hashed}" in record.unit
    assert systemd_quoted(f"--env=HF_TOKEN={secret}") not in record.unit
    differing = [pair for pair in zip(unit.splitlines(), record.unit.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(differing) == 1
    assert read_record(record.text) == record


def test_a_record_holds_no_secret_but_a_whole_unit_is_kept_for_root_alone(shell: Shell, releases: Path) -> None:
    record, unit = record_with_secret()
    kept = whole_unit(record, unit)
    assert kept is not None
    for wanted in (kept, record.file):
        assert shell(wanted.write_command(), stdin=wanted.content).returncode == 0
    assert "hf_secret" not in (releases / f"{record.release}.json").read_text()
    file = releases / f"{record.release}.unit"
    assert file.read_text() == unit
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_rollback_has_the_whole_unit_again(shell: Shell, releases: Path, tmp_path: Path) -> None:
    record, unit = record_with_secret()
    kept = whole_unit(record, unit)
    assert kept is not None
    shell(kept.write_command(), stdin=kept.content)
    target = tmp_path / "system" / "engine.service"
    copy = record.unit_file(str(target))
    assert "hf_secret" not in copy.write_command()
    assert shell(copy.write_command()).returncode == 0
    assert target.read_text() == unit
    assert target.stat().st_mode & 0o777 == 0o644
    assert not copy.differs({str(target): {"mode": "644", "owner": "root", "group": "root", "sha256": copy.sha256}})

    (releases / f"{record.release}.unit").write_text("another")
    done = shell(copy.write_command())
    assert done.returncode == 1
    assert done.stderr == f"{releases}/{record.release}.unit: is not there any more, or was changed\n"
    assert target.read_text() == unit


def test_a_record_of_a_release_without_secrets_is_whole() -> None:
    keys = "accelerator argv draft engine env image model port release served_model_name unit weights"
    record = new_record()
    assert sorted(json.loads(record.text)) == keys.split()
    assert whole_unit(record, record.unit) is None
    file = record.unit_file("/etc/systemd/system/e.service")
    assert isinstance(file, HostFile)
    assert file.content == record.unit


def test_a_record_that_older_code_wrote_with_its_secret_is_still_run_as_it_is() -> None:
    concealing, unit = record_with_secret()
    old = replace(concealing, unit=unit, unit_sha256=None)
    read = read_record(old.text)
    assert read == old
    assert read.text == old.text
    assert read.unit_file("/e.service") == HostFile("/e.service", unit)


def test_older_code_takes_a_record_without_its_whole_unit_for_none() -> None:
    assert "unit" not in json.loads(record_with_secret()[0].text)  # a key that it must find


def test_what_is_not_locked_has_no_record() -> None:
    with pytest.raises(BarewindError, match="run: barewind lock INVENTORY"):
        record_of(plan_host(engine_spec(), Lock()), "")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"release": "0123456789ab", "image": "x"}', '"x"'])
def test_what_is_no_whole_record_is_passed_over(text: str) -> None:
    assert read_record(text) is None


def test_a_record_is_written_whole_readable_by_root_alone(shell: Shell, releases: Path) -> None:
    record = new_record()
    assert shell(record.file.write_command(), stdin=record.text).returncode == 0
    file = releases / f"{record.release}.json"
    assert file.read_text() == record.text
    assert file.stat().st_mode & 0o777 == 0o600


def identity(number: int) -> str:
    return f"{number:012x}"


def keep_records(releases: Path, numbers: Iterable[int]) -> None:
    """Records of these releases, each with a time of change that says nothing."""
    releases.mkdir()
    for number in numbers:
        file = releases / f"{identity(number)}.json"
        file.write_text("{}")
        os.utime(file, (number * 7919 % 1000,) * 2)
        file.with_suffix(".unit").write_text("[Unit]")


def left(releases: Path) -> list[int]:
    units = sorted(int(file.stem, 16) for file in releases.glob("*.unit"))
    records = sorted(int(file.stem, 16) for file in releases.glob("*.json"))
    assert units == records
    return records


def test_only_the_records_that_served_last_are_kept(shell: Shell, releases: Path) -> None:
    keep_records(releases, range(105))
    past = [asdict(event("serving", identity(number))) for number in range(105)]
    (releases / "history.jsonl").write_text("".join(f"{json.dumps(fields)}\n" for fields in past))
    assert shell(history.serving(identity(0), by=BY)).returncode == 0
    assert left(releases) == [0, *range(6, 105)]  # by the events, whatever the files' times of change


ORDERS = {
    "served again": (["serving 1", "serving 2", "serving 1"], [1, 2, 3]),
    "restored": (["serving 1", "serving 2", "failed 2", "restored 1"], [1, 2, 3]),
    "never served": (["serving 3", "started 2", "failed 2"], [3, 2, 1]),
    "figures are no service": (["serving 1", "serving 2", "measured 1"], [2, 1, 3]),
    "without any event": (["serving 3"], [3, 1, 2]),
    "no events at all": ([], [1, 2, 3]),
    "a release without a record": (["serving 1", "serving 9"], [1, 2, 3]),
}


@pytest.mark.parametrize("name", ORDERS)
def test_the_newest_release_is_the_one_that_served_last(name: str) -> None:
    words, order = ORDERS[name]
    past = [event(kind, identity(int(number))) for kind, _, number in (word.partition(" ") for word in words)]
    assert history.newest_first(past, [identity(number) for number in (2, 3, 1)]) == list(map(identity, order))


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("kept", [1, 2, 3])
def test_records_are_removed_in_the_same_order(
    shell: Shell, releases: Path, monkeypatch: pytest.MonkeyPatch, name: str, kept: int
) -> None:
    monkeypatch.setattr(history, "_RECORDS", kept)
    keep_records(releases, (1, 2, 3))
    words, order = ORDERS[name]
    for kind, _, number in (word.partition(" ") for word in words):
        why = '"release": "000000000003", "event": "serving"'  # words of a person, and no event
        shell(history._append(identity(int(number)), kind, by=BY, why=why))
    for number in (1, 2, 3):
        Path(bench_path(identity(number))).touch()
    assert shell(history._remove_old()).returncode == 0
    assert left(releases) == sorted(order[:kept])
    assert sorted(int(file.stem, 16) for file in releases.glob("*.bench")) == left(
        releases
    )  # of a release that is gone


def test_what_older_code_wrote_keeps_its_order(shell: Shell, releases: Path) -> None:
    """Its records and events, in its own words; it knew the order by the files' times of change."""
    keep_records(releases, (1, 2))
    line = '{"at": "2026-11-22T09:0%d:00Z", "release": "%s", "event": "serving", "by": "ann@ws1", "why": %s, "figures": null, '
    lines = [
        line % (at, identity(number), why) + '"detail": null}\n' for at, number, why in ((1, 2, "null"), (2, 1, '"x"'))
    ]
    (releases / "history.jsonl").write_text("".join(lines))
    assert history.newest_first(events(releases), [identity(2), identity(1)]) == [identity(1), identity(2)]


@pytest.mark.parametrize(
    ("why", "reason", "rollback"),
    [
        ("rollback\ntoo slow", "too slow", True),
        ("rollback\n", None, True),
        ("rollback", "rollback", False),
        ("too slow", "too slow", False),
        (None, None, False),
    ],
)
def test_a_rollback_that_older_code_told_by_its_reason(why: str | None, reason: str | None, rollback: bool) -> None:
    old = asdict(event("started")) | {"why": why}
    del old["rollback"]
    (read,) = history.read_events([json.dumps(old)])
    assert (read.why, read.rollback) == (reason, rollback)


def test_a_rollback_is_told_by_a_field(shell: Shell, releases: Path) -> None:
    shell(history.started(OLD, by=BY, why="too slow", rollback=True))
    shell(history.serving(OLD, by=BY, rollback=True))
    shell(history.failed(OLD, "x", by=BY, rollback=True))
    shell(history.started(NEW, by=BY, why="nightly"))
    assert [(event.event, event.why, event.rollback) for event in events(releases)] == [
        ("started", "too slow", True),
        ("serving", None, True),
        ("failed", None, True),
        ("started", "nightly", False),
    ]
    lines = (releases / "history.jsonl").read_text().splitlines()
    assert ["rollback" in line for line in lines] == [True, True, True, False]  # a deploy's are what they always were


@pytest.mark.parametrize("release", ["", "../x", "a b", "x;reboot", "-rf"])
def test_what_is_no_id_reaches_no_shell(release: str) -> None:
    with pytest.raises(BarewindError, match="no id of a release"):
        history.failed(release)


# --- Events ------------------------------------------------------------------------------------------------------------


def test_events_are_added_one_per_line(shell: Shell, releases: Path) -> None:
    shell(history.started(OLD, by=BY, why='it\'s "new" \\ 100 % é\nsecond line'))
    shell(history.serving(OLD, by=BY))
    shell(history.failed(NEW, "out of memory", by=BY))
    shell(history.rolled_back(OLD, by=BY, detail="after ba98"))
    shell(history.measured(OLD, {"tokens_per_second": 512.5}, by=BY))
    noted = events(releases)
    assert [(event.release, event.event, event.detail) for event in noted] == [
        (OLD, "started", None),
        (OLD, "serving", None),
        (NEW, "failed", "out of memory"),
        (OLD, "restored", "after ba98"),
        (OLD, "measured", None),
    ]
    assert noted[0].why == 'it\'s "new" \\ 100 % é\nsecond line'
    assert noted[-1].figures == {"tokens_per_second": 512.5}
    assert all(event.by == BY and event.at.endswith("Z") and len(event.at) == 20 for event in noted)
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
    assert [event.event for event in events(releases)] == ["started"]


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
        ([event("serving"), event("packed")], OLD, True, None),
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


def state(record: Record, *events: Event, **changes: Any) -> dict[str, Any]:
    """A host that runs a release, with it on record."""
    facts = {"sha256": record.file.sha256, "unit_sha256": record.unit_sha256, "active": True, "release": record.release}
    return facts | {"events": list(events)} | changes


UNIT = {"unit": "e.service", "container": "c", "by": BY}


def put_on_record(record: Record, facts: dict[str, Any], whole_unit: HostFile | None = None) -> list[str]:
    commands = run(recorded, {"record": record, "whole_unit": whole_unit, **UNIT}, "facts.ReleaseState", facts)
    names = {record.text: "record", whole_unit and whole_unit.content: "unit"}
    return [names[command["_stdin"]] if isinstance(command, dict) else "started" for command in commands]


def test_what_runs_and_is_on_record_is_left_as_it_is() -> None:
    record = new_record()
    assert put_on_record(record, state(record)) == []
    assert put_on_record(record, state(record, sha256=None)) == ["record"]
    assert put_on_record(record, state(record, sha256="0" * 64)) == ["record"]
    assert put_on_record(record, state(record, active=False)) == ["started"]
    assert put_on_record(record, state(record, release=OLD, sha256=None)) == ["record", "started"]


def test_a_whole_unit_is_kept_before_the_record_that_lacks_it() -> None:
    record, unit = record_with_secret()
    whole = whole_unit(record, unit)
    assert put_on_record(record, state(record), whole) == []
    assert put_on_record(record, state(record, unit_sha256=None), whole) == ["unit"]
    assert put_on_record(record, state(record, sha256=None, unit_sha256="0" * 64, release=OLD), whole) == [
        "unit",
        "record",
        "started",
    ]
    assert put_on_record(record, state(record, release=OLD)) == ["started"]  # a rollback: it is there


def test_that_a_release_serves_is_noted_once() -> None:
    record = new_record()

    def commands(*events: Event) -> list[Any]:
        return run(confirmed, {"release": record.release, **UNIT}, "facts.ReleaseState", state(record, *events))

    assert commands(event("serving", record.release)) == []
    assert commands(event("restored", record.release)) == []
    (command,) = commands(event("serving", record.release), event("failed", record.release))
    assert '"event": "serving"' in command
    assert '"rollback"' not in command
    assert len(commands()) == 1


def test_a_rollback_is_noted_as_one() -> None:
    record = new_record()
    arguments = {"release": record.release, "rollback": True, **UNIT}
    (serving,) = run(confirmed, arguments, "facts.ReleaseState", state(record))
    (started,) = run(
        recorded, {"record": record, "rollback": True, **UNIT}, "facts.ReleaseState", state(record, active=False)
    )
    assert '"event": "serving"' in serving
    assert '"event": "started"' in started
    assert all('"rollback": true' in command for command in (serving, started))


def test_a_history_that_cannot_be_read_ends_the_run() -> None:
    for operation, arguments in ((recorded, {"record": new_record()}), (confirmed, {"release": OLD})):
        with pytest.raises(OperationError, match=r"^gpu-h1: the state of its history could not be read"):
            run(operation, arguments | UNIT, "facts.ReleaseState", None)


def test_facts_read_what_the_commands_wrote(shell: Shell, releases: Path, programs: Programs, monkeypatch: Any) -> None:
    monkeypatch.setattr("barewind.release.facts.EVENTS_FILE", history.EVENTS_FILE)
    programs(docker=f"echo {NEW}", systemctl="echo ActiveState=active")
    record = new_record()
    shell(record.file.write_command(), stdin=record.text)
    shell(history.serving(record.release, by=BY, why="first"))

    answer = shell(ReleaseHistory().command("e.service", "c")).stdout
    facts = ReleaseHistory().process(answer.splitlines())
    assert facts["records"] == {record.release: record}
    assert [(event.event, event.why) for event in facts["events"]] == [("serving", "first")]
    assert (facts["active"], facts["release"]) == (True, NEW)

    def state(release: str) -> dict[str, Any]:
        return ReleaseState().process(shell(ReleaseState().command(release, "e.service", "c")).stdout.splitlines())

    facts = state(record.release)
    assert (facts["sha256"], facts["unit_sha256"], len(facts["events"])) == (record.file.sha256, None, 1)
    assert state(NEW)["sha256"] is None

    secret, unit = record_with_secret()
    whole = whole_unit(secret, unit)
    assert whole is not None
    shell(whole.write_command(), stdin=unit)
    assert state(secret.release)["unit_sha256"] == secret.unit_sha256
