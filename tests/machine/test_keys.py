"""Keys on two real HAProxies: let in and refused at once, on every process, and as they were after reloads and restarts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from barewind.keys import commands, file, plan, text
from barewind.keys.file import KeyFile
from barewind.keys.probe import HEADER, with_probe
from lab import wait
from tests.support.keyed import Keyed, Site, site, stream
from tests.support.keys import key

REFUSED, LET_IN = [401, 401], [200, 200]


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.chdir(tmp_path)
    with site(tmp_path, monkeypatch, "lb1", "lb2") as made:
        yield made


def test_a_key_is_shown_once_and_good_at_once(fleet: Site) -> None:
    pids = [lb.current() for lb in fleet.balancers.values()]
    done = fleet.keys("add", "alpha/ci", "--rpm", "600", "--expires", "90d")
    assert done.exit_code == 0
    assert text.is_key(done.stdout.removesuffix("\n"))
    made = done.stdout.strip()
    assert fleet.statuses(made) == LET_IN
    assert made not in done.stderr
    assert not [one for one in fleet.folder.rglob("*") if one.is_file() and made in one.read_text()]
    assert [lb.current() for lb in fleet.balancers.values()] == pids  # no reload


def test_a_revoked_key_is_refused_at_once_and_its_answer_under_way_ends_whole(fleet: Site) -> None:
    fleet.engine.seconds, fleet.engine.tokens = 2.0, 20
    good, leaked = fleet.add("alpha/ci"), fleet.add("beta")
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(stream, lb, leaked) for lb in fleet.balancers.values()]
        wait.until(lambda: len(fleet.engine.requests) == 2, 60, "no request arrives")
        done = fleet.keys("revoke", "beta")
        assert done.exit_code == 0, done.output
        assert fleet.engine.whole == 0  # both streams are still running
        fleet.engine.seconds, fleet.engine.tokens = 0, 1
        assert (fleet.statuses(leaked), fleet.statuses(good)) == (REFUSED, LET_IN)
        assert [answer.result().body.count("data: ") for answer in running] == [20, 20]
    assert file.read("keys.yaml").keys[1].revoked is not None


def test_a_process_that_a_reload_has_left_is_told_too(fleet: Site) -> None:
    lb1 = fleet.balancers["lb1"]
    fleet.engine.seconds, fleet.engine.tokens = 3.0, 30
    good, leaked = fleet.add("alpha/ci"), fleet.add("beta")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(stream, lb1, good)
        wait.until(lambda: len(fleet.engine.requests) == 1, 60, "no request arrives")
        lb1.reload()
        assert fleet.keys("revoke", "beta").exit_code == 0
        entries = [one.entries for one in lb1.known().processes]
        assert [[value.split(":")[0] for value in (each or {}).values()] for each in entries] == [["alpha/ci"]] * 2
        assert running.result().body.count("data: ") == 30
    assert fleet.statuses(leaked) == REFUSED


@pytest.mark.parametrize("how", ["reload", "restart", "crash"])
def test_keys_are_what_they_were_afterwards(fleet: Site, how: str) -> None:
    good, leaked = fleet.add("alpha/ci"), fleet.add("beta")
    assert fleet.keys("revoke", "beta").exit_code == 0
    for lb in fleet.balancers.values():
        {"reload": lb.reload, "restart": lb.restart, "crash": lambda lb=lb: lb.restart(signal.SIGKILL)}[how]()
    assert (fleet.statuses(leaked), fleet.statuses(good)) == (REFUSED, LET_IN)
    assert fleet.keys("list").exit_code == 0


def test_a_reload_while_a_balancer_is_told_changes_nothing_of_it(fleet: Site) -> None:
    lb1 = fleet.balancers["lb1"]
    for number in range(4):
        with ThreadPoolExecutor() as pool:
            reloading = pool.submit(lb1.hook, "ExecReload")
            made = fleet.add(f"team{number}")
            reloading.result()
        wait.until(lambda: sum(one.current for one in lb1.known().processes) == 1, 60, "it does not reload")
        assert fleet.statuses(made) == LET_IN
    assert list(lb1.known().problems(plan.map_text(file.read("keys.yaml")), {})) == []


def test_a_rotated_key_goes_on_until_it_ends(fleet: Site) -> None:
    old = fleet.add("alpha/ci", "--parallel", "5")
    done = fleet.keys("rotate", "alpha/ci", "--keep", "24h")
    assert done.exit_code == 0, done.output
    assert (fleet.statuses(old), fleet.statuses(done.stdout.strip())) == (LET_IN, LET_IN)
    before, after = file.read("keys.yaml").keys
    assert before.expires is not None
    assert (after.parallel, after.expires) == (5, None)
    ends = int(before.expires.timestamp())
    for lb in fleet.balancers.values():
        assert f"alpha/ci:0:5:0:0:{ends}" in (lb.path / "keys.map").read_text()
        assert f"alpha/ci:0:5:0:0:{ends}" in (lb.known().processes[0].entries or {}).values()


def test_a_balancer_that_does_not_answer_is_told_of_loudly_and_mended_by_sync(fleet: Site) -> None:
    leaked = fleet.add("alpha/ci")
    fleet.silent.add("lb2")
    done = fleet.keys("revoke", "alpha/ci")
    assert done.exit_code == 1
    assert "lb2: does not answer (no route to host). It still lets in whom it did" in done.stderr
    assert "barewind keys sync INVENTORY" in done.stderr
    assert fleet.statuses(leaked) == [401, 200]
    assert fleet.keys("list").exit_code == 2
    fleet.silent.clear()
    listed = fleet.keys("list")
    assert listed.exit_code == 1
    assert f"lb2: still lets in alpha/ci (...{leaked[-4:]})" in listed.stderr
    assert "barewind keys sync site.py" in listed.stderr
    assert fleet.keys("sync").exit_code == 0
    assert fleet.statuses(leaked) == REFUSED
    assert fleet.keys("list").exit_code == 0


def test_a_file_that_was_edited_by_hand_is_brought_to_balancers(fleet: Site) -> None:
    made = fleet.add("alpha/ci", "--rpm", "600")
    path = fleet.folder / "keys.yaml"
    path.write_text(path.read_text().replace("requests_per_minute: 600", "requests_per_minute: 0\n  parallel: -1"))
    done = fleet.keys("sync")
    assert done.exit_code == 1
    assert "entry 1 (alpha/ci): key 'requests_per_minute': found 0; write a number from 1 on" in done.stderr
    assert "entry 1 (alpha/ci): key 'parallel': found -1; write a number from 1 on" in done.stderr
    path.write_text(path.read_text().replace("requests_per_minute: 0\n  parallel: -1", "parallel: 7"))
    assert fleet.keys("sync").exit_code == 0
    for lb in fleet.balancers.values():
        assert list((lb.known().processes[0].entries or {}).values()) == ["alpha/ci:0:7:0:0:0"]
    assert fleet.statuses(made) == LET_IN


def test_an_older_file_makes_no_revoked_key_good_again(fleet: Site) -> None:
    leaked = fleet.add("alpha/ci")
    older = (fleet.folder / "keys.yaml").read_text()
    assert fleet.keys("revoke", "alpha/ci").exit_code == 0
    (fleet.folder / "keys.yaml").write_text(older)
    for words in (("sync",), ("add", "beta"), ("rotate", "alpha/ci")):
        done = fleet.keys(*words)
        assert done.exit_code == 1
        assert "lb1: has the keys of serial 2, the file here is of serial 1" in done.stderr
        assert "git pull" in done.stderr
        assert done.stdout == ""
    assert fleet.statuses(leaked) == REFUSED
    assert fleet.keys("sync", "--overwrite").exit_code == 0
    assert fleet.statuses(leaked) == LET_IN


def test_two_copies_of_a_file_are_not_taken_for_each_other(fleet: Site) -> None:
    """Both are changed from the same state on: the second must not undo what the first has done."""
    leaked, other = fleet.add("alpha/ci"), fleet.add("beta")
    copy = (fleet.folder / "keys.yaml").read_text()
    assert fleet.keys("revoke", "alpha/ci").exit_code == 0
    (fleet.folder / "keys.yaml").write_text(copy)
    done = fleet.keys("revoke", "beta")
    assert done.exit_code == 1
    assert "lb2: has the keys of serial 3, the file here is of serial 2" in done.stderr
    assert "It still lets in whom it did" in done.stderr
    assert (fleet.statuses(leaked), fleet.statuses(other)) == (REFUSED, LET_IN)


def test_what_breaks_off_on_its_way_is_not_taken(fleet: Site) -> None:
    lb1, made = fleet.balancers["lb1"], fleet.add("alpha/ci")
    before = (lb1.path / "keys.map").read_text()
    cut = plan.map_text(KeyFile(9, tuple(key(f"team{number}") for number in range(9))))[:-20]
    done = lb1.shell(lb1.here(commands.tell(9)), cut)
    assert (done.returncode, done.stderr) == (1, "what it was told breaks off\n")
    assert (lb1.path / "keys.map").read_text() == before
    assert lb1.status(made) == 200


def test_commands_at_the_same_time_lose_no_key(fleet: Site) -> None:
    """As many processes as people: each waits for the one before, and every balancer has all of them at the end."""
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n" + _ADD
    added = [
        subprocess.Popen(
            [sys.executable, "-c", program, f"team{n}"], cwd=fleet.folder, stdout=subprocess.PIPE, text=True
        )
        for n in range(4)
    ]
    made = [one.communicate(timeout=120)[0].strip() for one in added]
    assert [one.returncode for one in added] == [0] * 4
    assert {one.id for one in file.read("keys.yaml").keys} == {f"team{n}" for n in range(4)}
    assert fleet.keys("sync").exit_code == 0
    assert [fleet.statuses(one) for one in made] == [LET_IN] * 4


# What `barewind keys add` does, without balancers: those are this test's own.
_ADD = """
from barewind.keys import file, plan, text
from tests.support.keys import key
made = text.new()
with file.locked("keys.yaml", [].append):
    file.write(plan.added(file.read("keys.yaml"), key(sys.argv[1], made)), "keys.yaml")
print(made)
"""


def test_what_keys_do_is_listed(fleet: Site) -> None:
    fleet.engine.held = True
    made = fleet.add("alpha/ci", "--priority", "batch")
    lb1 = fleet.balancers["lb1"]
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(stream, lb1, made) for _ in range(3)]
        wait.until(lambda: len(fleet.engine.requests) == 3, 60, "no request arrives")
        done = fleet.keys("list", "--json")
        fleet.engine.held = False
        assert [answer.result().status for answer in running] == [200] * 3
    (row,) = json.loads(done.stdout)["keys"]
    assert (row["id"], row["priority"], row["requests_last_minute"], row["requests_now"]) == ("alpha/ci", "batch", 3, 3)


def test_a_command_has_a_key_for_as_long_as_it_runs(fleet: Site) -> None:
    seen = fleet.folder / "seen"
    done = fleet.keys(
        "session",
        "--",
        "sh",
        "-c",
        f'printf "%s %s" "$OPENAI_API_KEY" "$OPENAI_BASE_URL" > {seen}; cp keys.yaml during',
    )
    assert done.exit_code == 0, done.output
    made, url = seen.read_text().split()
    assert url == "http://10.0.0.8:8000/v1"
    assert text.is_key(made)
    (during,) = file.read("during").keys
    assert (during.id, during.sha256) == ("barewind/session", text.sha256(made))
    assert fleet.statuses(made) == REFUSED
    assert file.read("keys.yaml").keys == ()
    assert fleet.keys("session", "--", "sh", "-c", "exit 7").exit_code == 7
    lost = fleet.keys("session", "--", "no-such-program")
    assert lost.exit_code == 1
    assert "no-such-program: cannot be run (No such file or directory)" in lost.stderr
    assert file.read("keys.yaml").keys == ()


def test_many_keys(fleet: Site) -> None:
    """More than HAProxy's master takes in one line, and than a command line of a host holds."""
    content = KeyFile(5, tuple(key(f"team{number}", parallel=number + 1) for number in range(2000)))
    file.write(content, "keys.yaml")
    assert fleet.keys("sync").exit_code == 0
    for lb in fleet.balancers.values():
        assert len(lb.known().processes[0].entries or {}) == 2000
    assert fleet.keys("revoke", "team1999").exit_code == 0
    assert fleet.keys("list").exit_code == 0


# --- Usage --------------------------------------------------------------------------------------------------------------------


def test_usage_is_what_both_balancers_have_answered(fleet: Site) -> None:
    """The program of a balancer over the lines of its own HAProxy; what is in the way of a key's name counts for nobody."""
    good, leaked = fleet.add("alpha/ci"), fleet.add("beta")
    assert fleet.keys("revoke", "beta").exit_code == 0
    since = datetime.now(UTC).date()
    for lb in fleet.balancers.values():
        before = len(lb.lines())
        for _ in range(3):
            assert lb.status(good) == 200
        assert lb.status(leaked) == 401
        assert lb.request(good, '/v1/models?x","key":"beta').status == 200
        assert lb.request(good, "/x%22,%22key%22:%22beta%22", method=["POST"], body="{}").status == 404
        wait.until(lambda lb=lb, before=before: len(lb.lines()) == before + 6, 60, "a request is not logged")
        lb.journal()
    done = fleet.keys("usage", "--since", f"{since:%Y-%m-%d}", "--by", "id", "--json")
    assert done.exit_code == 0, done.output
    found = {row["id"]: (row["requests"], row["refused"], row["failed"]) for row in json.loads(done.stdout)}
    assert found["alpha/ci"] == (8, 0, 0)
    assert set(found) == {"alpha/ci", "-"}
    assert found["-"] == (len(fleet.lines()) - 8, found["-"][1], 0)


# --- Probes -----------------------------------------------------------------------------------------------------------------


def probe(lb: Keyed, command: str) -> str:
    return lb.ask(with_probe(command))


def test_a_probe_is_let_in_while_it_looks_and_leaves_nothing(fleet: Site) -> None:
    lb1 = fleet.balancers["lb1"]
    good = fleet.add("alpha/ci")
    look = f"{HEADER} | curl -s -o /dev/null -w '%{{http_code}}' -H @- http://127.0.0.1:{lb1.port}/v1/models"
    assert probe(lb1, look) == "200"
    assert lb1.known().problems(plan.map_text(file.read("keys.yaml")), {})
    assert len(lb1.known().processes[0].entries or {}) == 1
    assert lb1.status(good) == 200


def test_a_probe_outlives_a_change_of_keys(fleet: Site) -> None:
    lb1 = fleet.balancers["lb1"]
    content = KeyFile(9, (key("beta"),))
    told = f"sh {lb1.path}/tell < {lb1.path}/map"
    (lb1.path / "tell").write_text(lb1.here(commands.tell(content.serial)))
    (lb1.path / "map").write_text(plan.map_text(content))
    look = f"{told} > /dev/null; {HEADER} | curl -s -o /dev/null -w '%{{http_code}}' -H @- http://127.0.0.1:{lb1.port}/v1/models"
    assert probe(lb1, look) == "200"
    assert list((lb1.known().processes[0].entries or {}).values()) == ["beta:0:0:0:0:0"]


def test_what_a_probe_has_left_behind_is_forgotten_when_it_has_expired(fleet: Site) -> None:
    lb1 = fleet.balancers["lb1"]
    lb1.ask(
        f"echo '@1 add map {lb1.path}/keys.map {'a' * 64} barewind/probe:0:0:0:0:1' | socat - UNIX-CONNECT:{lb1.path}/master.sock"
    )
    assert len(lb1.known().processes[0].entries or {}) == 1
    assert fleet.keys("sync").exit_code == 0
    assert lb1.known().processes[0].entries == {}


def test_where_no_keys_are_asked_for_a_probe_shows_none(fleet: Site) -> None:
    lb1 = fleet.balancers["lb1"]
    config = lb1.path / "cfg"
    config.write_text("".join(line for line in config.read_text().splitlines(True) if "txn." not in line))
    lb1.stop()
    lb1.start()
    wait.until(lambda: lb1.status("nobody's") == 200, 60, "it does not start")
    assert probe(lb1, f"{HEADER}; echo end") == "end\n"
