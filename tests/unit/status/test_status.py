"""What `barewind status` tells of a fleet, and `barewind lease`: answers of hosts in, rows, remarks and exit status out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from barewind.cli.main import main
from barewind.lock import file as lock
from barewind.plan.engine import EnginePlan, plan_site
from barewind.release import history
from barewind.status import commands
from barewind.status.rows import Status
from tests.support.clock import keep_time
from tests.support.factories import locked
from tests.support.fake_fleet import sections
from tests.support.shell import Programs, Shell
from tests.support.status import HELD, ONE, PLANS, RELEASE, SERVED, SITE, TWO, Answers, balancer, engine, hosts


def fleet(**changes: tuple[str, str]) -> Answers:
    return {"gpu1": engine(), "gpu2": engine(), "lb1": balancer("gpu1", "gpu2")} | changes


def read(answers: Answers, plans: Mapping[str, EnginePlan] = PLANS) -> Status:
    return commands.read(SITE, plans, answers)


@pytest.mark.parametrize(
    ("days", "finding"),
    [
        (60.5, None),
        (9.5, r"its certificate expires on .* UTC, in 9 days; renew it, and deploy"),
        (-1, r"its certificate has expired on .* UTC: clients refuse it; renew it, and deploy"),
    ],
)
def test_a_certificate_that_ends_is_told_of_before_clients_tell(days: float, finding: str | None) -> None:
    expires = (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)
    begins = expires - timedelta(days=90)
    times = [f"{name}: {at:%b %d %H:%M:%S %Y} GMT" for name, at in (("notBefore", begins), ("notAfter", expires))]
    found = read(fleet(lb1=balancer("gpu1", "gpu2", certificate=[*times, f"SHA1 FingerPrint: {'0' * 40}"])))
    (row,) = found.balancers
    assert len(row.findings) == found.exit_status == (finding is not None)
    assert finding is None or re.fullmatch(finding, row.findings[0])
    assert row.as_json()["certificate_expires"] == f"{expires:%Y-%m-%dT%H:%M:%SZ}"


def test_a_balancer_of_plain_http_shows_no_certificate() -> None:
    assert read(fleet()).balancers[0].as_json()["certificate_expires"] is None


def test_a_fleet_that_serves_what_is_planned() -> None:
    found = read(fleet())
    assert found.exit_status == 0
    assert [row.findings for row in found.rows] == [[], [], []]
    row = found.engines[0]
    assert (row.release, row.running, row.queued, row.since) == (RELEASE, 5, 7, "2026-11-22T08:59:00Z")
    assert row.rotation == {"lb1": "in rotation"}
    assert row.event is not None
    assert (row.event.event, row.event.by, row.event.why) == ("serving", "ann@ws1", "nightly")
    assert found.leases == {}


STOPPED = ["ActiveState=failed", "NeedDaemonReload=no", "UnitFileState=enabled"]
MARK = '{"at": "2026-11-22T09:00:00Z", "by": "ann@ws1", "why": "a new fan"}'


@pytest.mark.parametrize(
    ("changes", "host", "finding", "exit_status"),
    [
        ({"gpu1": engine(state=STOPPED)}, "gpu1", "its unit does not run", 1),
        ({"gpu1": engine(health=["503"])}, "gpu1", "its engine is not healthy", 1),
        (
            {"gpu1": engine(health=["000"], restarts=["4"])},
            "gpu1",
            "its engine is not healthy and has ended by itself 4 times: journalctl -u barewind-engine.service",
            1,
        ),
        ({"gpu1": engine(health=["000"], metrics=[])}, "gpu1", "its engine is not healthy", 1),
        ({"gpu1": engine(release=["0123456789ab"])}, "gpu1", f"shall run {RELEASE}: deploy", 1),
        (
            {"gpu1": engine(drained=[MARK]), "lb1": balancer("gpu1", "gpu2", admin="drain")},
            "gpu1",
            "in maintenance by ann@ws1 since 2026-11-22T09:00:00Z: a new fan; to undrain it: tasks/undrain.py",
            1,
        ),
        ({"lb1": balancer("gpu1", "gpu2", admin="drain")}, "gpu1", "DRAIN on lb1", 1),
        ({"lb1": balancer("gpu1", "gpu2", health="down")}, "lb1", "no engine is in rotation", 1),
        ({"lb1": balancer("gpu2")}, "gpu1", "not a server on lb1", 1),
        (
            {"lb1": ("\n".join(sections(rotation=["@@balancer:absent", "@@balancer:end"], lease=[])), "")},
            "lb1",
            "HAProxy does not run: systemctl status haproxy",
            1,
        ),
        ({"gpu1": ("", "no route to host")}, "gpu1", "does not answer: no route to host", 2),
        ({"gpu1": (engine()[0][:-20], "")}, "gpu1", "does not answer: the host's answer breaks off", 2),
        ({"lb1": ("", "banner\nPermission denied")}, "lb1", "does not answer: Permission denied", 2),
    ],
)
def test_what_differs_is_said(changes: Answers, host: str, finding: str, exit_status: int) -> None:
    found = read(fleet(**changes))
    (row,) = [row for row in found.rows if row.host == host]
    assert any(said.startswith(finding) for said in row.findings), row.findings
    assert found.exit_status == exit_status


def test_who_gets_how_much_and_one_that_stands_by_is_well() -> None:
    for weights, share in (({"gpu1": 0}, (0, 100)), ({"gpu1": 50}, (33.3, 66.7)), ({"gpu1": 0, "gpu2": 0}, (0, 0))):
        found = read(fleet(lb1=balancer("gpu1", "gpu2", weights=weights)))
        assert [row.share for row in found.engines] == [{"lb1": one} for one in share]
        assert not any(row.findings for row in found.engines)
        assert found.exit_status == (1 if not any(share) else 0)
    assert found.engines[0].rotation == {"lb1": "STANDBY"}


def test_a_balancer_that_says_nonsense_is_one_that_does_not_answer() -> None:
    found = read(fleet(lb1=("\n".join(sections(rotation=["permission denied"], lease=[])), "")))
    assert found.balancers[0].problem.startswith("HAProxy's answer is not what was expected")
    assert found.engines[0].rotation == {}
    assert found.exit_status == 2


def test_without_a_lock_file_the_plan_is_unknown_and_the_rest_is_told() -> None:
    found = read(fleet(), plan_site(SITE, lock.Lock()))
    assert found.engines[0].release == RELEASE
    assert found.engines[0].findings == ["what it shall run is not locked: barewind lock INVENTORY"]


def test_an_engine_that_counts_nothing_shows_no_figures() -> None:
    assert read(fleet(gpu1=engine(metrics=[]))).engines[0].running is None
    sglang = ['sglang:num_running_reqs{model_name="m"} 4.0', 'sglang:num_queue_reqs{model_name="m"} 1.0']
    row = read(fleet(gpu1=engine(metrics=sglang))).engines[0]
    assert (row.running, row.queued) == (4, 1)


def test_who_deploys_is_told() -> None:
    found = read(fleet(gpu1=engine(lease=[HELD]), gpu2=engine(lease=["sudo: what?"])))
    assert list(found.leases) == ["gpu1"]
    assert found.as_json()["lock"] == found.as_json()["lease"], "scripts read the former name"
    assert found.as_json()["lease"]["gpu1"] == {
        "since": "2026-11-22T09:00:00Z",
        "by": "ann@ws1",
        "why": "nightly",
        "command": "pyinfra site.py deploy.py",
        "pid": 4711,
        "heard_of": 3,
    }


def test_the_commands_read_a_host_in_one_go(
    shell: Shell, programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "EVENTS_FILE", str(tmp_path / "history.jsonl"))
    (tmp_path / "history.jsonl").write_text(f"{SERVED}\n")
    programs(
        docker=f"echo {RELEASE}",
        systemctl='case "$*" in *Timestamp*) echo "Sun 2026-11-22 08:59:00 UTC";; *) echo ActiveState=active;; esac',
        curl='case "$*" in */health) printf 200;; *) printf "# HELP x\\nvllm:num_requests_running{a=\\"b\\"} 2.0\\n'
        'vllm:num_requests_running_total 9\\n";; esac',
    )
    command = commands.looks(SITE, PLANS)["gpu1"].replace("/run/barewind", str(tmp_path / "run"))
    done = shell(command)
    assert done.returncode == 0
    row = read(fleet(gpu1=(done.stdout, ""))).engines[0]
    assert row.findings == []
    assert (row.since, row.running, row.queued) == ("2026-11-22T08:59:00Z", 2, None)
    assert row.events == tuple(history.read_events([SERVED]))

    programs(systemctl="echo inactive")
    done = shell(commands.looks(SITE, PLANS)["lb1"].replace("/run/barewind", str(tmp_path / "run")))
    assert read(fleet(lb1=(done.stdout, ""))).balancers[0].findings == [
        "HAProxy does not run: systemctl status haproxy"
    ]


# --- The commands ------------------------------------------------------------------------------------------------------

Barewind = Callable[..., Result]


@pytest.fixture
def answers() -> Answers:
    return fleet()


@pytest.fixture
def barewind(answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Barewind:
    """The command over an inventory whose hosts answer what the test says."""
    monkeypatch.chdir(tmp_path)
    engines = {
        name: {"address": spec.address, "accelerator": "h200", "accelerator_count": 8}
        for name, spec in SITE.engines.items()
    }
    (tmp_path / "site.py").write_text(
        f"engines = {list(engines.items())!r}\nbalancers = [('lb1', {{'address': '192.0.2.2'}})]\n"
    )
    lock.write(locked(ONE, TWO), tmp_path / "barewind.lock.yaml")

    monkeypatch.setattr("barewind.hosts.reach.Hosts", hosts(answers))
    return lambda *arguments, **more: CliRunner().invoke(main, arguments, **more)


def test_status_for_a_person(barewind: Barewind, answers: Answers) -> None:
    answers |= {"gpu1": engine(release=["0123456789ab"], lease=[HELD]), "gpu2": ("", "no route to host")}
    done = barewind("status", "site.py", "--history")
    assert done.exit_code == 2
    rows = [line.split() for line in done.output.splitlines()]
    assert rows[1][:7] == ["gpu1", "0123456789ab", "->", RELEASE, "healthy", "1", "of"]
    assert rows[1][8:10] == ["50", "%"]
    assert rows[2] == ["gpu2", *"????????"]
    assert ["lb1", "2", "of", "2", "in", "rotation", "0", "0"] in rows
    assert f"gpu1: shall run {RELEASE}: deploy" in done.output
    assert "gpu2: does not answer: no route to host" in done.output
    assert "lease: ann@ws1 since 2026-11-22T09:00:00Z (nightly), process 4711" in done.output
    assert rows[-1] == ["gpu1", "2026-11-22T09:00:00Z", RELEASE, "serving", "ann@ws1", "nightly"]


@pytest.mark.parametrize(
    ("told", "reason", "why"),
    [
        ({"why": "too slow", "rollback": True}, "rollback: too slow", "too slow"),
        ({"why": None, "rollback": True}, "rollback", None),
        ({"why": "rollback\ntoo slow"}, "rollback: too slow", "too slow"),  # as older code told it
        ({"why": "rollback of the kernel"}, "rollback of the kernel", "rollback of the kernel"),
    ],
)
def test_status_says_what_was_a_rollback(
    barewind: Barewind, answers: Answers, told: dict[str, Any], reason: str, why: str | None
) -> None:
    event = json.dumps(json.loads(SERVED) | told)
    answers |= {"gpu1": engine(events=[event]), "gpu2": engine(events=[])}
    shown = barewind("status", "site.py", "--history").output.splitlines()[-1]
    assert shown.partition("ann@ws1")[2].strip() == reason
    (found,) = json.loads(barewind("status", "site.py", "--json").stdout)["engines"][0]["events"]
    assert (found["why"], found["rollback"]) == (why, reason.startswith("rollback") and reason != why)


def test_status_when_all_is_well(barewind: Barewind) -> None:
    done = barewind("status", "site.py")
    assert done.exit_code == 0
    assert "Every host serves the planned release." in done.output


def test_status_for_a_program(barewind: Barewind) -> None:
    found = json.loads(barewind("status", "site.py", "--json").stdout)
    assert found["exit_status"] == 0
    assert found["engines"][1]["rotation"] == {"lb1": "in rotation"}
    assert found["engines"][1]["events"][0]["event"] == "serving"
    assert found["balancers"][0]["servers"]["gpu1"] == {
        "state": "in rotation",
        "weight": 100,
        "requests": 0,
        "queued": 0,
    }


def test_a_watch_looks_again_until_it_is_interrupted(barewind: Barewind, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise KeyboardInterrupt

    keep_time(monkeypatch, lambda: sum(waits), sleep)
    done = barewind("status", "site.py", "--json", "--watch", "2")
    assert done.exit_code == 0
    assert waits == [2, 2, 2]
    assert [json.loads(line)["exit_status"] for line in done.stdout.splitlines()] == [0, 0, 0]


def test_the_lease_is_shown(barewind: Barewind, answers: Answers) -> None:
    answers |= {"gpu1": (HELD, ""), "gpu2": ("@@lease free", ""), "lb1": (HELD, "")}
    done = barewind("lease", "site.py")
    assert (done.exit_code, done.stderr) == (1, "")
    assert [line.partition(" since ")[0] for line in done.stdout.splitlines()] == ["lb1: ann@ws1", "gpu1: ann@ws1"]
    assert "(nightly), process 4711: pyinfra site.py deploy.py; last heard of 3 s ago" in done.stdout
    for same in (["show", "site.py"], ["--data", "engine_port=8100", "site.py"]):
        assert barewind("lease", *same).stdout == done.stdout
    answers |= dict.fromkeys(answers, ("@@lease free", ""))
    done = barewind("lease", "site.py")
    assert (done.exit_code, done.output) == (0, "No run holds the lease.\n")


# The name of before goes on working, with the same options.
RELEASE_COMMANDS = pytest.mark.parametrize(
    "command", [["lease", "release"], ["unlock"]], ids=["lease-release", "unlock"]
)
RENAMED = "`barewind unlock` is now called `barewind lease release`."


@RELEASE_COMMANDS
def test_the_lease_is_removed_after_a_question(barewind: Barewind, answers: Answers, command: list[str]) -> None:
    answers |= {"gpu1": (HELD, ""), "gpu2": ("@@lease free", ""), "lb1": (HELD, "")}
    refused = barewind(*command, "site.py", input="n\n")
    assert refused.exit_code == 1
    assert (
        "gpu1: ann@ws1 since 2026-11-22T09:00:00Z (nightly), process 4711: pyinfra site.py deploy.py" in refused.output
    )
    done = barewind(*command, "site.py", "--yes", "--data", "engine_port=8100")
    assert done.exit_code == 0
    assert "Removed on 2 host(s)." in done.stdout
    assert (done.stderr == f"{RENAMED}\n") is (command == ["unlock"])


@RELEASE_COMMANDS
def test_a_lease_that_nobody_holds_and_a_silent_host(barewind: Barewind, answers: Answers, command: list[str]) -> None:
    answers |= dict.fromkeys(answers, ("@@lease free", ""))
    done = barewind(*command, "site.py")
    assert (done.exit_code, done.stdout) == (0, "No run holds the lease.\n")
    answers["gpu2"] = ("", "no route to host")
    done = barewind(*command, "site.py", "--yes")
    assert (done.exit_code, done.stdout) == (2, "No run holds the lease on the hosts that answer.\n")
    assert "gpu2: cannot be asked (no route to host)" in done.stderr
    assert barewind("lease", "site.py").exit_code == 2


def test_the_former_name_is_not_offered(barewind: Barewind) -> None:
    offered = barewind("--help").output
    assert "unlock" not in offered
    assert "  lease " in offered
