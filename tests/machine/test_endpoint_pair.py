"""Two real HAProxies at two addresses of this machine: limits of a key hold over both, and each goes on without the other."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from barewind.balancer import commands as balancer
from barewind.keys import commands as keys
from barewind.keys.entry import Key, map_line
from lab import wait
from tests.support.endpoint_client import CHAT, Answer, ask
from tests.support.endpoint_engine import FakeEngine
from tests.support.factories import balancer_spec
from tests.support.free_port import free_port
from tests.support.haproxy import HAProxy, engine_at
from tests.support.shell import programs_in, shell_in

ADDRESSES = {"lb1": "127.0.0.8", "lb2": "127.0.0.9"}


class Pair:
    """Two balancers before one engine, whose key `alpha` may ask ten times a minute."""

    def __init__(self, folder: Path, engine: FakeEngine) -> None:
        port = free_port()
        specs = [
            balancer_spec(host=name, address=address, peers_port=port, endpoint_open=False)
            for name, address in ADDRESSES.items()
        ]
        limited = Key("alpha", sha256(b"sk-alpha").hexdigest(), "", datetime.now(UTC), "", requests_per_minute=10)
        free = Key("beta", sha256(b"sk-beta").hexdigest(), "", datetime.now(UTC), "")
        self.balancers: dict[str, HAProxy] = {}
        for name, address in ADDRESSES.items():
            path = folder / name
            (path / "bin").mkdir(parents=True)
            made = HAProxy(path, shell_in(path, path / "bin"), programs_in(path / "bin"))
            one = {"host": name, "address": address, "peers_port": port, "endpoint_open": False}
            made.use([engine_at("gpu1", engine.port)], balancers=specs, **one)
            (path / "keys.map").write_text("".join(f"{map_line(key)}\n" for key in (limited, free)))
            self.balancers[name] = made

    def start(self, *names: str) -> None:
        for name in names:
            self.balancers[name].start()
            self.balancers[name].until(balancer.wait_checked)

    def chat(self, name: str, id: str = "alpha", target: str = CHAT) -> Answer:
        return ask(self.balancers[name].port, target, "POST", f"X-Api-Key: sk-{id}", body="{}")

    def told(self, name: str, other: str, id: str = "alpha") -> int:
        """What a balancer knows of the other's requests."""
        table = f"echo 'show table keys.{other}' | socat - UNIX-CONNECT:/run/haproxy/barewind.sock"
        found = [line for line in self.balancers[name].ask(table).splitlines() if f"key={id} " in line]
        return int(found[0].partition("http_req_rate(60000)=")[2].split()[0]) if found else 0

    def until_told(self, name: str, other: str, count: int) -> None:
        wait.until(lambda: self.told(name, other) == count, 60, f"{name} does not know what {other} was asked")

    def connected(self) -> None:
        """Wait until each tells the other."""
        for name, other in (("lb1", "lb2"), ("lb2", "lb1")):
            before = self.told(name, other, "beta")
            wait.until(
                lambda name=name, other=other, before=before: (
                    self.chat(other, "beta").status == 200 and self.told(name, other, "beta") > before
                ),
                60,
                "they are not connected",
            )


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as running:
        yield running


@pytest.fixture
def pair(tmp_path: Path, engine: FakeEngine) -> Iterator[Pair]:
    with ExitStack() as stack:
        made = Pair(tmp_path, engine)
        for one in made.balancers.values():
            stack.callback(one.stop)
        made.start(*ADDRESSES)
        made.connected()
        yield made


def test_a_keys_requests_count_together_and_each_is_counted_once(pair: Pair) -> None:
    with ThreadPoolExecutor(8) as pool:  # at the same time: none is lost
        assert {one.status for one in pool.map(pair.chat, ["lb1", "lb2"] * 4)} == {200}
    pair.until_told("lb1", "lb2", 4)
    pair.until_told("lb2", "lb1", 4)
    answers = [pair.chat("lb1"), pair.chat("lb1")]
    pair.until_told("lb2", "lb1", 6)
    answers.append(pair.chat("lb2"))
    assert [one.status for one in answers] == [200, 200, 429]
    assert [one.headers["x-ratelimit-remaining-requests"] for one in answers] == ["1", "0", "0"]
    assert pair.chat("lb2", "beta").status == 200
    known = {name: keys.read(one.ask(keys.look(f"keys.{name}")), name).uses for name, one in pair.balancers.items()}
    assert [known[name]["alpha"].rate for name in ADDRESSES] == [6, 5]  # each tells its own, so that they add up


def test_who_makes_engines_fail_waits_on_both(pair: Pair) -> None:
    assert [pair.chat("lb1", target=f"{CHAT}?fail").status for _ in range(5)] == [500] * 5
    pair.until_told("lb2", "lb1", 5)
    wait.until(lambda: pair.chat("lb2").code == "too_many_failures", 9, "it may go on there")
    assert pair.chat("lb2", "beta").status == 200


def test_one_goes_on_without_the_other_which_learns_at_its_start_what_it_has_missed(pair: Pair) -> None:
    assert [pair.chat(name).status for name in ("lb1", "lb1", "lb2", "lb2")] == [200] * 4
    pair.until_told("lb2", "lb1", 2)
    pair.balancers["lb1"].stop(signal.SIGKILL)
    assert [pair.chat("lb2").status for _ in range(5)] == [200] * 5  # what lb1 was asked still counts
    pair.start("lb1")
    pair.until_told("lb1", "lb2", 7)
    pair.until_told("lb1", "lb1", 2)
    assert [pair.chat("lb1").status for _ in range(2)] == [200, 429]


def test_both_keep_what_was_asked_over_a_reload(pair: Pair) -> None:
    assert [pair.chat(name).status for name in ("lb1", "lb1", "lb1", "lb2", "lb2")] == [200] * 5
    one = pair.balancers["lb1"]
    before = {worker.pid for worker in one.look().workers}
    one.hook("ExecReload")
    wait.until(lambda: any(each.current and each.pid not in before for each in one.look().workers), 60, "no reload")
    pair.until_told("lb1", "lb1", 3)
    pair.until_told("lb1", "lb2", 2)
    pair.connected()
    assert pair.chat("lb1").headers["x-ratelimit-remaining-requests"] == "4"
