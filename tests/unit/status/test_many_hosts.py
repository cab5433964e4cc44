"""Commands over thirty hosts: alike answers in one line that names the hosts, what differs in its own, `--all` for each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from barewind.cli.main import main
from barewind.lock import file as lock
from barewind.plan.engine import plan_host
from barewind.weights.plan import HostJob, host_jobs
from tests.support.factories import engine_spec, locked
from tests.support.fake_fleet import sections
from tests.support.status import HELD, ONE, SERVED, Answers, balancer, engine, hosts

pytestmark = pytest.mark.slow


NAMES = [f"gpu{number}" for number in range(1, 31)]
ALL = "gpu1 to gpu30 (30 hosts)"
BUT_7 = "gpu1 to gpu6, gpu8 to gpu30 (29 hosts)"
SILENT = ("", "no route to host")
RUNS = " since 2026-11-22T09:00:00Z (nightly), process 4711: pyinfra site.py deploy.py"

Barewind = Callable[..., Result]


@pytest.fixture
def answers() -> Answers:
    return dict.fromkeys(NAMES, engine()) | {"lb1": balancer(*NAMES)}


@pytest.fixture
def barewind(answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Barewind:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "many.py").write_text(  # a name of its own: pyinfra keeps the code of each
        'data = {"accelerator": "h200", "accelerator_count": 8}\n'
        'engines = [(f"gpu{n}", data | {"address": f"10.0.0.{n}"}) for n in range(1, 31)]\n'
        "balancers = [('lb1', {'address': '192.0.2.2'})]\n"
    )
    lock.write(locked(ONE), tmp_path / "barewind.lock.yaml")
    monkeypatch.setattr("barewind.hosts.reach.Hosts", hosts(answers))

    return lambda *arguments: CliRunner(env={"COLUMNS": "200"}).invoke(main, arguments)


def test_status_names_what_differs_and_sums_up_what_is_alike(barewind: Barewind, answers: Answers) -> None:
    answers["gpu7"] = SILENT
    done = barewind("status", "many.py")
    assert done.exit_code == 2
    rows = done.output.splitlines()
    assert len(rows) == 6
    assert rows[1].split("  ")[0].strip() == BUT_7
    assert (
        rows[1].split()[-6:-1] == ["%", str(29 * 5), str(29 * 7), "2026-11-22T08:59:00Z", "-"][-6:-1]
        or str(29 * 5) in rows[1].split()
    )
    assert rows[2].split() == ["gpu7", *"????????"]
    assert rows[-1] == "gpu7: does not answer: no route to host"
    each = barewind("status", "many.py", "--all").output
    assert [line.split()[0] for line in each.splitlines()[1:31]] == NAMES


def test_many_with_the_same_problem_are_all_named(barewind: Barewind, answers: Answers) -> None:
    answers |= dict.fromkeys(NAMES[4:], SILENT)
    output = barewind("status", "many.py").output
    assert "gpu5 to gpu30 (26 hosts): does not answer: no route to host" in output
    each = barewind("status", "many.py", "--all").output
    assert "gpu5: does not answer: no route to host\ngpu6: does not answer" in each
    answers |= {name: ("", f"Unable to connect to port 22 on 10.0.0.{n}") for n, name in enumerate(NAMES[4:], 5)}
    lines = barewind("status", "many.py").output.splitlines()
    assert lines[-1] == "gpu5 to gpu30 (26 hosts): does not answer: Unable to connect to port 22 on its address"
    assert [line.split("  ")[0].strip() for line in lines[1:3]] == [
        "gpu1, gpu2, gpu3, gpu4",
        "gpu5 to gpu30 (26 hosts)",
    ]


def test_history_tells_what_happened_to_many_hosts_once(barewind: Barewind, answers: Answers) -> None:
    """At times that differ a little; to one host something else happened between."""

    def event(at: str, **changes: str) -> str:
        return json.dumps(json.loads(SERVED) | {"at": f"2026-11-22T{at}Z"} | changes)

    for number, name in enumerate(NAMES):
        answers[name] = engine(events=[event(f"09:00:{number:02}"), event(f"11:00:{number:02}")])
    answers["gpu7"] = engine(
        events=[event("09:00:06"), event("10:00:00", event="failed", detail="no memory"), event("11:00:06")]
    )
    rows = [line.split("  ") for line in barewind("status", "many.py", "--history").output.splitlines()[-3:]]
    assert [[cell.strip() for cell in row if cell.strip()][:2] for row in rows] == [
        [ALL, "2026-11-22T09:00:00Z to 2026-11-22T09:00:29Z"],
        ["gpu7", "2026-11-22T10:00:00Z"],
        [ALL, "2026-11-22T11:00:00Z to 2026-11-22T11:00:29Z"],
    ]
    each = barewind("status", "many.py", "--history", "--all").output.splitlines()
    assert len([line for line in each if " serving " in line and "nightly" in line]) == 60


def test_history_tells_the_phases_of_starts(barewind: Barewind, answers: Answers) -> None:
    """Of one host its own, of many the longest; each in --json, where an event without them has none."""
    for number, name in enumerate(NAMES):
        phases = {"first_line": 4.0, "weights": 20.0 + number, "ready": 60.0 + number}
        timed = json.loads(SERVED) | {"event": "measured", "at": f"2026-11-22T09:00:{number:02}Z", "phases": phases}
        answers[name] = engine(events=[SERVED, json.dumps(timed)])
    shown = barewind("status", "many.py", "--history").output.splitlines()[-1]
    assert shown.strip().startswith(ALL)
    assert f"start: 89 s: first line 4.0 s, weights 49 s (the longest, {NAMES[-1]})" in shown
    each = barewind("status", "many.py", "--history", "--all").output
    assert "start: 60 s: first line 4.0 s, weights 20 s" in each
    rows = json.loads(barewind("status", "many.py", "--json").output)["engines"]
    assert [event["phases"] for event in rows[0]["events"]] == [
        None,
        {"first_line": 4.0, "weights": 20.0, "ready": 60.0},
    ]


def test_a_lease_on_many_hosts_is_one_line(barewind: Barewind, answers: Answers) -> None:
    for number, name in enumerate(NAMES):
        answers[name] = (HELD.replace("held 3 ", f"held {number} ").replace("09:00:00Z", f"09:00:{number:02}Z"), "")
    answers["gpu7"] = SILENT
    answers["lb1"] = ("@@lease free", "")
    done = barewind("lease", "many.py")
    assert done.exit_code == 2
    assert done.stdout == f"{BUT_7}: ann@ws1{RUNS}; last heard of 0 to 29 s ago\n"
    assert done.stderr == "gpu7: cannot be asked (no route to host)\n"
    assert len(barewind("lease", "many.py", "--all").stdout.splitlines()) == 29
    answers |= dict.fromkeys(NAMES, ("login banner", ""))
    assert f"{ALL}: cannot be asked (the lease is not understood" in barewind("lease", "many.py").stderr
    answers |= dict.fromkeys(NAMES, SILENT)
    assert barewind("lease", "many.py").stderr == f"{ALL}: cannot be asked (no route to host)\n"


def test_status_shows_one_lease_once(barewind: Barewind, answers: Answers) -> None:
    for number, name in enumerate(NAMES):
        answers[name] = engine(lease=[HELD.replace("held 3 ", f"held {number} ")])
    (line,) = [line for line in barewind("status", "many.py").output.splitlines() if line.startswith("lease")]
    assert line == f"lease: ann@ws1{RUNS}, last heard of 0 to 29 s ago (on {ALL})"


def job() -> HostJob:
    spec = engine_spec()
    return host_jobs({"gpu1": plan_host(spec, locked(spec))})["gpu1"]


def test_weights_of_many_hosts(barewind: Barewind, answers: Answers) -> None:
    model, draft = job().directories
    sums = job().directories
    intact = "".join(f"@sums {sums[directory]} {directory}\n" for directory in (model, draft))
    answers |= dict.fromkeys(NAMES, (f"{intact}@end", ""))
    done = barewind("weights", "verify", "many.py")
    assert (done.exit_code, done.output) == (0, f"{ALL}: intact {model}\n{ALL}: intact {draft}\n")
    answers["gpu7"] = (f"@absent {model}\n@sums {sums[draft]} {draft}\n@end", "")
    done = barewind("weights", "verify", "many.py")
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        f"{BUT_7}: intact {model}",
        f"{ALL}: intact {draft}",
        f"gpu7: absent {model}: is not there. Next: deploy",
    ]
    assert len(barewind("weights", "verify", "many.py", "--all").output.splitlines()) == 60


def test_weights_that_many_hosts_do_not_need(barewind: Barewind, answers: Answers) -> None:
    entry = f"mistralai--Old/{'e' * 40}-mistral"
    old = "\n".join(sections(entries=[f"1024 {entry}"], caches=[], busy=[], needed=[], records=[], events=[]))
    answers |= dict.fromkeys(NAMES, (old, ""))
    answers["gpu7"] = SILENT
    done = barewind("weights", "prune", "many.py", "--yes")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [f"{BUT_7}: {job().root}/{entry} (1.0 KiB)", f"{BUT_7}: removed"]
    assert done.stderr == "gpu7: left alone: no route to host\n"
