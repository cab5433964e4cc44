"""Servers' states over reloads and starts of HAProxy: the program that saves them, alone and with a real HAProxy."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from barewind.balancer import commands as balancer
from barewind.balancer.commands import Rotation
from barewind.balancer.config import haproxy_state_program
from barewind.balancer.names import STATE_FILE
from tests.support.free_port import free_port
from tests.support.haproxy import HAProxy
from tests.support.haproxy_answers import DOWN, DRAINED, UNCHECKED, UP
from tests.support.haproxy_answers import state as state_of
from tests.support.shell import Programs, Shell

Save = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def save(shell: Shell, programs: Programs, tmp_path: Path) -> Save:
    """Run it with what HAProxy says: the lines of the file it wrote."""
    configured(tmp_path)
    program = haproxy_state_program()
    program = program.replace(STATE_FILE, str(tmp_path / "saved"))

    def run(what: str, said: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        (tmp_path / "said").write_text("\n".join(said or []) + "\n")
        programs(socat=f"cat {tmp_path}/said" if said is not None else "exit 1", sleep="")
        (tmp_path / "program").write_text(program)
        return shell(f"sh {tmp_path}/program {what}", CONFIG=str(tmp_path / "cfg"))

    return run


def configured(tmp_path: Path, gpu1: int = 100, gpu2: int = 100) -> None:
    """Have a configuration with these weights."""
    (tmp_path / "cfg").write_text(
        "frontend x\n    default-server weight 7\n    server gpu9 h:1 weight 8\nbackend engines\n"
        f"    default-server check inter 10s weight 100\n    server gpu1 192.0.2.1:8000 maxconn 9 weight {gpu1}\n"
        f"    server gpu2 fd00::2:8001{'' if gpu2 == 100 else f' weight {gpu2}'}\n"
    )


def saved(tmp_path: Path) -> list[list[str]]:
    version, *rows = (tmp_path / "saved").read_text().splitlines()
    assert version == "1"
    assert all(len(row.split(" ")) == 20 for row in rows if row)  # HAProxy wants so many
    return [[row.split(" ")[number] for number in (3, 4, 5, 6, 18)] for row in rows if row]


def test_before_a_reload_health_and_decisions_are_saved_with_the_ports_of_the_configuration(
    save: Save, tmp_path: Path
) -> None:
    assert save("save", state_of(gpu1="0 0 8 0", gpu2=DRAINED, gone=UP)).returncode == 0  # result 0: a check runs
    assert saved(tmp_path) == [["gpu1", "-", "0", "0", "8000"], ["gpu2", "-", "2", "8", "8001"]]


def test_a_health_that_no_check_has_found_is_not_saved(save: Save, tmp_path: Path) -> None:
    save("save", state_of(gpu1=UNCHECKED, gpu2="2 8 1 0"))
    assert saved(tmp_path) == [["gpu2", "-", "0", "8", "8001"]]


def test_before_a_start_only_decisions_remain(save: Save, tmp_path: Path) -> None:
    save("save", state_of(gpu1=DOWN, gpu2=DRAINED))
    assert save("cold").returncode == 0
    assert saved(tmp_path) == [["gpu2", "-", "0", "8", "8001"]]
    save("save", state_of(gpu1="0 1 15 3", gpu2=UP))
    save("cold")
    save("cold")
    assert saved(tmp_path) == [["gpu1", "-", "0", "1", "8000"]]


def test_weights_that_were_set_remain_and_make_nobody_wait_for_a_check(save: Save, tmp_path: Path) -> None:
    save("save", state_of(gpu1=f"{DOWN} 25", gpu2=f"{DRAINED} 0"))
    save("cold")
    rows = [row.split(" ") for row in (tmp_path / "saved").read_text().splitlines()[1:]]
    assert [[row[number] for number in (3, 5, 6, 7, 8)] for row in rows] == [
        ["gpu1", "1", "0", "25", "100"],
        ["gpu2", "0", "8", "0", "100"],
    ]


def test_while_it_does_not_run_servers_leave_and_return_and_keep_their_weights(save: Save, tmp_path: Path) -> None:
    assert save("out gpu1 unknown").returncode == 0
    assert saved(tmp_path) == [["gpu1", "-", "0", "8", "8000"]]
    save("cold")
    assert saved(tmp_path) == [["gpu1", "-", "0", "8", "8000"]]
    assert save("in gpu1").returncode == 0
    assert saved(tmp_path) == []
    save("save", state_of(gpu1=f"{UP} 25", gpu2=DRAINED))
    save("out gpu1")
    assert [row[:4] for row in saved(tmp_path)] == [["gpu2", "-", "0", "8"], ["gpu1", "-", "0", "8"]]
    save("in gpu1 gpu2")
    rows = [row.split(" ") for row in (tmp_path / "saved").read_text().splitlines()[1:]]
    assert [[row[number] for number in (3, 5, 6, 7, 8)] for row in rows] == [["gpu1", "1", "0", "25", "100"]]


@pytest.mark.parametrize(
    ("configured_before", "now", "configured_now", "then"),
    [
        (100, 100, 50, None),  # as configured before, as configured then
        (50, 50, 100, None),
        (100, 0, 50, 0),  # all of it was moved away
        (50, 0, 100, 0),
        (100, 33, 50, 17),
        (50, 49, 100, 98),
        (50, 200, 100, 256),
        (100, 1, 12, 1),
        (0, 100, 50, None),  # moved there; now it is permanent
        (0, 0, 50, None),
        (100, 0, 0, None),
        (50, 25, 0, None),
        (50, 25, 50, 25),
    ],
)
@pytest.mark.parametrize("what", ["save", "cold"])
def test_a_weight_that_was_set_stays_in_proportion_to_the_configured_one(
    save: Save, tmp_path: Path, what: str, configured_before: int, now: int, configured_now: int, then: int | None
) -> None:
    configured(tmp_path, gpu1=configured_before)
    states = [line.replace(f" {now} 100 7 ", f" {now} {configured_before} 7 ") for line in state_of(gpu1=f"{UP} {now}")]
    if what == "cold":
        assert save("save", states).returncode == 0
    configured(tmp_path, gpu1=configured_now)
    assert save(what, states).returncode == 0
    rows = [row.split(" ") for row in (tmp_path / "saved").read_text().splitlines()[1:]]
    weights = [row[7:9] for row in rows]
    if then is None:
        assert weights == ([[str(configured_now)] * 2] if what == "save" else [])
    else:
        assert weights == [[str(then), str(configured_now)]]


def test_a_drain_while_it_does_not_run_has_the_configured_weight(save: Save, tmp_path: Path) -> None:
    configured(tmp_path, gpu2=50)
    assert save("out gpu1 gpu2").returncode == 0
    rows = [row.split(" ") for row in (tmp_path / "saved").read_text().splitlines()[1:]]
    assert {row[3]: row[7:9] for row in rows} == {"gpu1": ["100", "100"], "gpu2": ["50", "50"]}
    assert save("in gpu1 gpu2").returncode == 0
    assert saved(tmp_path) == []


@pytest.mark.parametrize("before", [None, "", "garbage\n", "1\n3 engines 1 gpu1\n", "\0\0\0"])
def test_before_a_start_a_missing_or_broken_file_becomes_an_empty_one(
    save: Save, tmp_path: Path, before: str | None
) -> None:
    if before is not None:
        (tmp_path / "saved").write_text(before)
    assert save("cold").returncode == 0
    assert saved(tmp_path) == []


def test_a_haproxy_that_does_not_answer_keeps_the_file_and_stops_the_reload(save: Save, tmp_path: Path) -> None:
    save("save", state_of(gpu1=DRAINED))
    before = (tmp_path / "saved").read_text()
    for said in (None, ["Unknown command"], []):
        done = save("save", said)
        assert done.returncode == 1
        assert "does not tell the servers' state" in done.stderr
    assert (tmp_path / "saved").read_text() == before


# --- With a real HAProxy ----------------------------------------------------------------------------------------------


class _Engine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def engines() -> Iterator[list[int]]:
    """Ports of two engines that are well; the third has none."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _Engine) for _ in range(2)]
    for one in servers:
        threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield [one.server_address[1] for one in servers] + [free_port()]
    for one in servers:
        one.shutdown()
        one.server_close()


def states(found: Rotation) -> dict[str, str]:
    return {name: f"{one.admin} {one.health}" for name, one in found.servers.items()}


def test_a_drain_outlives_reloads_and_starts_and_health_only_reloads(haproxy: HAProxy, engines: list[int]) -> None:
    assert not haproxy.look().running
    haproxy.configure(gpu1=engines[0], gpu2=engines[1], gpu3=engines[2])
    haproxy.start()
    assert states(haproxy.until(balancer.wait_checked)) == {
        "gpu1": "ready up",
        "gpu2": "ready up",
        "gpu3": "ready down",
    }

    haproxy.drain("gpu1")
    haproxy.hook("ExecReload")
    assert states(haproxy.look()) == {"gpu1": "drain up", "gpu2": "ready up", "gpu3": "ready down"}

    for how in (signal.SIGTERM, signal.SIGKILL):
        haproxy.stop(how)
        haproxy.start()
        assert "gpu3" not in (haproxy.path / "state").read_text()
        assert {name: state.split()[0] for name, state in states(haproxy.look()).items()} == {
            "gpu1": "drain",
            "gpu2": "ready",
            "gpu3": "ready",
        }
        haproxy.until(balancer.wait_checked)

    haproxy.undrain("gpu1")
    haproxy.until(lambda now, **limits: balancer.wait_undrained(now, "gpu1", **limits))
    haproxy.stop(signal.SIGKILL)
    haproxy.start()
    assert all(state.startswith("ready") for state in states(haproxy.look()).values())


def test_a_drain_while_it_does_not_run_holds_from_its_first_moment(haproxy: HAProxy, engines: list[int]) -> None:
    haproxy.configure(gpu1=engines[0], gpu2=engines[1])
    for moved in ({}, {"gpu1": 25}):
        haproxy.start()
        haproxy.until(balancer.wait_checked)
        haproxy.ask(balancer.weigh(moved))
        haproxy.stop()
        assert not haproxy.drain("gpu1").running
        haproxy.start()
        assert [state.split()[0] for state in states(haproxy.look()).values()] == ["drain", "ready"]
        haproxy.stop()
        haproxy.ask(balancer.undrain("gpu1"))
        haproxy.start()
        assert states(haproxy.until(balancer.wait_checked)) == {"gpu1": "ready up", "gpu2": "ready up"}
        assert weights(haproxy.look()) == {"gpu1": 100, "gpu2": 100} | moved
        haproxy.stop()


def test_a_reload_takes_new_ports_and_servers_from_the_configuration(haproxy: HAProxy, engines: list[int]) -> None:
    haproxy.configure(gpu1=engines[2], gpu2=engines[1])
    haproxy.start()
    assert states(haproxy.until(balancer.wait_checked))["gpu1"] == "ready down"
    haproxy.ask(balancer.drain("gpu2"))

    haproxy.configure(gpu0=engines[1], gpu1=engines[0], gpu2=engines[1])
    haproxy.hook("ExecReload")

    haproxy.until(lambda now, **limits: balancer.wait_undrained(now, "gpu1", **limits))
    assert states(haproxy.until(balancer.wait_checked)) == {"gpu0": "ready up", "gpu1": "ready up", "gpu2": "drain up"}


def weights(found: Rotation) -> dict[str, int]:
    return {name: one.weight for name, one in found.servers.items()}


def test_weights_outlive_reloads_and_starts_until_the_configured_ones_change(
    haproxy: HAProxy, engines: list[int]
) -> None:
    ports = {"gpu1": engines[0], "gpu2": engines[1]}
    haproxy.configure("gpu2", **ports)
    haproxy.start()
    haproxy.until(balancer.wait_checked)
    assert weights(haproxy.look()) == {"gpu1": 100, "gpu2": 0}
    assert [haproxy.look().servers[name].state for name in ports] == ["UP", "STANDBY"]

    for moved in ({"gpu1": 75, "gpu2": 25}, {"gpu1": 0, "gpu2": 100}):
        found = balancer.read_weighed(haproxy.ask(balancer.weigh(moved)), "lb1", moved)
        assert weights(found) == moved
        haproxy.hook("ExecReload")
        assert weights(haproxy.look()) == moved
        assert set(states(haproxy.look()).values()) == {"ready up"}
        for how in (signal.SIGTERM, signal.SIGKILL):
            haproxy.stop(how)
            haproxy.start()
            assert weights(haproxy.look()) == moved
            assert all(one.available for one in haproxy.look().servers.values())  # nobody waits for a check
            haproxy.until(balancer.wait_checked)
            assert set(states(haproxy.look()).values()) == {"ready up"}

    haproxy.ask(balancer.drain("gpu1"))  # beside a weight
    haproxy.stop(signal.SIGKILL)
    haproxy.start()
    assert weights(haproxy.look()) == moved
    assert [one.admin for one in haproxy.look().servers.values()] == ["drain", "ready"]

    haproxy.configure("gpu1", **ports)  # made permanent: the configured weights are those of now
    haproxy.hook("ExecReload")
    assert weights(haproxy.look()) == {"gpu1": 0, "gpu2": 100}
    haproxy.configure("gpu2", **ports)  # and back, without tasks/traffic.py
    haproxy.hook("ExecReload")
    assert weights(haproxy.look()) == {"gpu1": 100, "gpu2": 0}


def test_a_look_that_finds_nothing_new_is_one_line_whatever_the_servers_do(
    haproxy: HAProxy, engines: list[int]
) -> None:
    haproxy.configure("gpu2", gpu1=engines[0], gpu2=engines[1], gpu3=engines[2])
    haproxy.start()
    first = haproxy.until(balancer.wait_checked)
    look = balancer.show_servers(first.fingerprint)
    for _ in range(3):
        assert haproxy.ask(look).splitlines() == ["@@balancer:unchanged", "@@balancer:end"]

    def again() -> dict[str, str]:
        return states(balancer.read(haproxy.ask(look), "lb1", first))

    haproxy.drain("gpu1")
    assert again() == {"gpu1": "drain up", "gpu2": "ready up", "gpu3": "ready down"}
    haproxy.undrain("gpu1")
    haproxy.until(lambda now, **limits: balancer.wait_undrained(now, "gpu1", **limits))
    assert haproxy.ask(look).splitlines() == ["@@balancer:unchanged", "@@balancer:end"]
    haproxy.ask(balancer.weigh({"gpu2": 1}))
    assert balancer.read(haproxy.ask(look), "lb1", first).servers["gpu2"].weight == 1
    haproxy.ask(balancer.weigh({"gpu2": 0}))
    haproxy.hook("ExecReload")
    assert balancer.read(haproxy.ask(look), "lb1", first).workers[0].pid != first.workers[0].pid
    haproxy.stop()
    assert not balancer.read(haproxy.ask(look), "lb1", first).running


def test_a_server_whose_weight_was_set_is_checked_after_a_start_as_any_other(
    haproxy: HAProxy, engines: list[int]
) -> None:
    haproxy.configure("gpu2", gpu1=engines[0], gpu2=engines[2])
    haproxy.start()
    assert states(haproxy.until(balancer.wait_checked))["gpu2"] == "ready down"
    haproxy.ask(balancer.weigh({"gpu2": 50}))
    haproxy.stop(signal.SIGKILL)
    haproxy.start()
    assert states(haproxy.until(balancer.wait_checked))["gpu2"] == "ready down"
