"""Hosts that pass weights on: several of them on addresses of this machine, with the hub's real client and real sockets."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from barewind.remote import job as jobs
from barewind.remote.agent import FAILED, Agent
from barewind.remote.job import Part
from barewind.remote.progress import Progress
from barewind.remote.store import Store
from tests.unit.conftest import COMMIT, FILES, REPOSITORY, LocalHub

BIG = "consolidated.safetensors"
PART = 4096  # bytes: the big file has 16 parts
PARTS = 17
QUICK = {"grace": 0.5, "dead": 0.6, "stalled": 0.3, "patience": 2.0, "linger": 1.5}
NAMES = ("a", "b", "c")


class Hosts:
    """Hosts a, b, c at 127.0.0.2 and on, each with a directory of its own."""

    def __init__(self, hub: LocalHub, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        self.agents: dict[str, Agent] = {}
        self.codes: dict[str, int] = {}
        self._threads: list[threading.Thread] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.2", 0))
            self.port = probe.getsockname()[1]

    def job(self, name: str, **more: Any) -> dict[str, Any]:
        wanted = (BIG, "params.json")
        files = {one: {"size": len(FILES[one]), "sha256": hashlib.sha256(FILES[one]).hexdigest()} for one in wanted}
        return {
            "id": "0123456789ab",
            "host": name,
            "peers": [{"name": one, "address": address(one), "port": self.port} for one in NAMES],
            "expected": list(NAMES),
            "endpoint": self.hub.url,
            "connections": 2,
            "part_size": PART,
            "limits": QUICK,
            "sets": [
                {
                    "key": "m@r-mistral",
                    "model": REPOSITORY,
                    "revision": COMMIT,
                    "directory": str(self.directory(name)),
                    "files": files,
                    "ring": list(NAMES),
                }
            ],
            **more,
        }

    def directory(self, name: str) -> Path:
        return self.folder / name / "weights"

    def start(self, *names: str, **more: Any) -> None:
        for name in names:
            job = jobs.read(json.dumps(self.job(name, **more)))
            self.agents[name] = agent = Agent(job, Progress(job, self.folder / name / "status.json"))

            def run(agent: Agent = agent, name: str = name) -> None:
                self.codes[name] = agent.run()

            self._threads.append(threading.Thread(target=run, daemon=True))
            self._threads[-1].start()

    def wait(self, happened: Any, seconds: float = 20) -> None:
        with gevent.Timeout(seconds):
            while not happened():
                gevent.sleep(0.01)

    def wait_for_end(self) -> None:
        self.wait(lambda: len(self.codes) == len(self.agents))

    def have(self, name: str) -> int:
        return len(self.agents[name].swarm.have)

    def complete(self, name: str) -> bool:
        there = self.directory(name)
        return there.is_dir() and all((there / one).read_bytes() == FILES[one] for one in (BIG, "params.json"))

    def told(self, name: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.folder / name / "status.json").read_text())
        return told

    def kill(self, name: str) -> None:
        self.agents[name]._give_up("killed")
        self.wait(lambda: name in self.codes)

    def stop(self) -> None:
        for name in self.agents:
            if name not in self.codes:
                self.kill(name)


def address(name: str) -> str:
    return f"127.0.0.{2 + NAMES.index(name)}"


@pytest.fixture
def hosts(hub: LocalHub, tmp_path: Path) -> Iterator[Hosts]:
    made = Hosts(hub, tmp_path)
    yield made
    made.stop()


def asked(hub: LocalHub) -> int:
    """Parts that the hub has sent."""
    return sum(one["method"] == "GET" and one["status"] == 206 for one in hub.server.requests)


def test_every_part_leaves_the_hub_once(hosts: Hosts, hub: LocalHub) -> None:
    hosts.start(*NAMES)
    hosts.wait_for_end()

    assert hosts.codes == dict.fromkeys(NAMES, 0)
    assert all(hosts.complete(name) for name in NAMES)
    assert asked(hub) == PARTS
    told = [hosts.told(name) for name in NAMES]
    assert [one["phase"] for one in told] == ["done"] * 3
    assert [one["from_endpoint"] for one in told] == [one["total"] if one is told[0] else 0 for one in told]


def test_the_hub_is_not_asked_for_what_a_host_has(hosts: Hosts, hub: LocalHub) -> None:
    hosts.start("b", expected=["b"])
    hosts.wait_for_end()
    hub.server.requests.clear()
    hosts.codes.clear()

    hosts.start(*NAMES)
    hosts.wait_for_end()

    assert all(hosts.complete(name) for name in NAMES)
    assert hub.server.requests == []


def test_a_complete_host_whose_journal_is_gone_still_gives(hosts: Hosts, hub: LocalHub) -> None:
    hosts.start("b", expected=["b"])
    hosts.wait_for_end()
    (hosts.directory("b").with_name("weights.parts")).unlink()
    hub.server.requests.clear()
    hosts.codes.clear()

    hosts.start("b", endpoint=None)
    hosts.start("c", endpoint=None)
    hosts.wait_for_end()

    assert hosts.complete("c")


def test_when_the_first_host_dies_the_next_one_asks_the_hub(hosts: Hosts, hub: LocalHub) -> None:
    hosts.start(*NAMES, rate_limit=40_000)
    hosts.wait(lambda: hosts.have("b") >= 3)
    hosts.kill("a")
    hosts.wait_for_end()

    assert hosts.codes == {"a": FAILED, "b": 0, "c": 0}
    assert hosts.complete("b")
    assert hosts.complete("c")
    assert PARTS < asked(hub) <= PARTS + 2 + 2  # what was under way, and what nobody had yet from the dead host
    assert hosts.agents["b"].swarm.from_endpoint > 0
    assert hosts.agents["c"].swarm.from_endpoint == 0


def test_when_one_in_the_middle_dies_the_others_close_the_gap(hosts: Hosts, hub: LocalHub) -> None:
    hosts.start(*NAMES, rate_limit=40_000)
    hosts.wait(lambda: hosts.have("b") >= 3)
    hosts.kill("b")
    hosts.wait_for_end()

    assert hosts.complete("a")
    assert hosts.complete("c")
    assert asked(hub) == PARTS


def test_a_host_that_comes_back_goes_on_where_it_was(hosts: Hosts, hub: LocalHub) -> None:
    hosts.start(*NAMES, rate_limit=40_000)
    hosts.wait(lambda: hosts.have("c") >= 3)
    hosts.kill("c")
    had = hosts.have("c")
    del hosts.codes["c"]
    hosts.start("c")
    hosts.wait_for_end()

    assert all(hosts.complete(name) for name in NAMES)
    assert hosts.agents["c"].swarm.received <= hosts.told("c")["total"] - had * PART + 2 * PART


def test_a_host_that_comes_late_gets_all(hosts: Hosts, hub: LocalHub) -> None:
    hosts.start("a", "b", limits=QUICK | {"linger": 20.0})
    hosts.wait(lambda: hosts.complete("a") and hosts.complete("b"))
    assert hosts.codes == {}  # they wait for the one that is expected
    hosts.start("c")
    hosts.wait_for_end()
    assert hosts.complete("c")
    assert asked(hub) == PARTS


def test_a_host_without_the_token_leaves_the_hub_to_the_next(
    hosts: Hosts, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.server, "token", "hf_right")
    monkeypatch.setattr("lab.hub.GATED", (REPOSITORY,))
    hosts.start("a")
    hosts.start("b", "c", token="hf_right")
    hosts.wait_for_end()
    assert all(hosts.complete(name) for name in NAMES)
    assert hosts.agents["a"].swarm.from_endpoint == 0


def test_what_the_hub_sent_wrong_is_found_and_mended_everywhere(hosts: Hosts, hub: LocalHub) -> None:
    hub.fault(f"*/resolve/*/{BIG}", "corrupt", times=3)
    hosts.start(*NAMES)
    hosts.wait_for_end()

    assert hosts.codes == dict.fromkeys(NAMES, 0)
    assert all(hosts.complete(name) for name in NAMES)
    assert asked(hub) <= 2 * PARTS
    # Only parts that turned out to be others went over the hosts' network again.
    assert hosts.agents["c"].swarm.received <= hosts.told("c")["total"] + 4 * PART


def test_what_is_wrong_for_good_is_served_nowhere(hosts: Hosts, hub: LocalHub) -> None:
    hub.fault(f"*/resolve/*/{BIG}", "corrupt", times=1000)
    hosts.start(*NAMES)
    hosts.wait_for_end()
    assert set(hosts.codes.values()) == {FAILED}
    assert not any(hosts.directory(name).exists() for name in NAMES)
    assert all("wrong twice" in hosts.told(name)["error"] for name in NAMES)


def test_a_part_that_rots_on_a_disk_is_fetched_again(
    hosts: Hosts, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Store.write

    def rotten(self: Store, part: Part, offset: int, data: memoryview) -> None:
        real(self, part, offset, data)
        if self.final.parent.name == "b" and part.start == 5 * PART and part.file == BIG and not rotted:
            rotted.append(part)
            real(self, part, 0, memoryview(b"rot"))

    rotted: list[Part] = []
    monkeypatch.setattr(Store, "write", rotten)
    hosts.start(*NAMES)
    hosts.wait_for_end()

    assert all(hosts.complete(name) for name in NAMES)
    assert rotted
    assert asked(hub) == PARTS


def test_a_host_that_sends_other_bytes_than_it_says_is_not_asked_again(
    hosts: Hosts, hub: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts.start("b", expected=["b"])
    hosts.wait_for_end()
    hosts.codes.clear()
    file = hosts.directory("b") / BIG
    times = file.stat()
    file.chmod(0o644)
    file.write_bytes(b"rot" + FILES[BIG][3:])
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a failing disk would: nobody notices
    hub.server.requests.clear()

    hosts.start("b", "c", expected=["b", "c"])
    hosts.wait(lambda: hosts.complete("c"))

    assert asked(hub) == 1  # the part that nobody else has
    assert "sent other bytes than it has; they were thrown away" in capsys.readouterr().err


def test_nobody_else_is_served(hosts: Hosts) -> None:
    hosts.start("a", limits=QUICK | {"linger": 60.0})
    hosts.wait(lambda: hosts.agents["a"].server is not None)

    assert ask(hosts, "/news", source=address("b")) == 200
    assert ask(hosts, "/files/m@r-mistral/../../etc/passwd", source=address("b")) == 404
    assert ask(hosts, "/news", source="127.0.0.99") is None


def ask(hosts: Hosts, path: str, *, source: str) -> int | None:
    """Status that host a answers with; None when it does not."""
    connection = http.client.HTTPConnection(address("a"), hosts.port, timeout=5, source_address=(source, 0))
    try:
        connection.request("GET", path, headers={"Range": "bytes=0-4095"})
        answer = connection.getresponse()
        answer.read()
    except (http.client.HTTPException, OSError):
        return None
    finally:
        connection.close()
    return answer.status


def test_when_the_hub_is_gone_what_is_missing_is_said(hosts: Hosts, unused_url: str) -> None:
    hosts.start(*NAMES, endpoint=unused_url)
    hosts.wait_for_end()
    assert set(hosts.codes.values()) == {FAILED}
    assert f"cannot be fetched from {unused_url}" in hosts.told("a")["error"]
    assert all(hosts.told(name)["error"].startswith("weights ") for name in NAMES[:1])
