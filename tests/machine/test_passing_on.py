"""Hosts that pass weights on: several of them on addresses of this machine, with the hub's real client and real sockets."""

from __future__ import annotations

import contextlib
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

from barewind.weights.agent.agent import FAILED, Agent
from barewind.weights.agent.job import Part, read_job
from barewind.weights.agent.progress import Progress
from barewind.weights.agent.store import Store
from tests.support.free_port import free_port
from tests.support.hub import COMMIT, FILES, REPOSITORY, LocalHub

BIG = "consolidated.safetensors"
PART = 4096  # bytes: the big file has 16 parts
PARTS = 17
# Where none is absent or dies, a busy machine makes none look so; and where some are, no others.
ALIVE = {"grace": 20.0, "dead": 10.0, "stalled": 10.0, "patience": 60.0, "linger": 60.0}
ONE_DIES = {"grace": 20.0, "dead": 2.5, "stalled": 2.5, "patience": 30.0, "linger": 4.0}
ALONE = {"grace": 0.5, "dead": 0.6, "stalled": 0.3, "patience": 30.0, "linger": 1.5}
NAMES = ("a", "b", "c")


class Hosts:
    """Hosts a, b, c at 127.0.0.2 and on, each with a directory of its own."""

    def __init__(self, hub: LocalHub, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        self.agents: dict[str, Agent] = {}
        self.codes: dict[str, int] = {}
        self._threads: list[threading.Thread] = []
        self.port = free_port(address("a"))

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
            "limits": ALIVE,
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
            job = read_job(json.dumps(self.job(name, **more)))
            self.agents[name] = agent = Agent(job, Progress(job, self.folder / name / "status.json"))

            def run(agent: Agent = agent, name: str = name) -> None:
                self.codes[name] = agent.run()

            self._threads.append(threading.Thread(target=run, daemon=True))
            self._threads[-1].start()

    def wait(self, happened: Any, seconds: float = 120) -> None:
        with gevent.Timeout(seconds):
            while not happened():
                gevent.sleep(0.01)

    def wait_for_end(self) -> None:
        self.wait(lambda: len(self.codes) == len(self.agents))

    def have(self, name: str) -> int:
        return len(self.agents[name].state.have)

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
        for agent in self.agents.values():  # a late request would meet the faults that the next test sets
            for thread in agent.threads:
                thread.join(60)


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

    hosts.start("b", "c", endpoint=None, expected=["b", "c"])
    hosts.wait_for_end()

    assert hosts.complete("c")


def test_when_the_first_host_dies_the_next_one_asks_the_hub(hosts: Hosts, hub: LocalHub) -> None:
    hosts.start(*NAMES, rate_limit=40_000, limits=ONE_DIES)
    hosts.wait(lambda: hosts.have("b") >= 3)
    hosts.kill("a")
    hosts.wait_for_end()

    assert hosts.codes == {"a": FAILED, "b": 0, "c": 0}
    assert hosts.complete("b")
    assert hosts.complete("c")
    assert PARTS < asked(hub) <= PARTS + 2 + 6  # what was under way, and what nobody had yet from the dead host
    assert hosts.agents["b"].state.received_from_endpoint > 0
    assert hosts.agents["c"].state.received_from_endpoint == 0


def test_when_one_in_the_middle_dies_the_others_close_the_gap(hosts: Hosts, hub: LocalHub) -> None:
    hosts.start(*NAMES, rate_limit=40_000, limits=ONE_DIES)
    hosts.wait(lambda: hosts.have("b") >= 3)
    hosts.kill("b")
    hosts.wait_for_end()

    assert hosts.complete("a")
    assert hosts.complete("c")
    assert asked(hub) == PARTS


def test_a_host_that_comes_back_goes_on_where_it_was(hosts: Hosts, hub: LocalHub) -> None:
    hosts.start(*NAMES, rate_limit=40_000, limits=ONE_DIES)
    hosts.wait(lambda: hosts.have("c") >= 3)
    hosts.kill("c")
    had = hosts.have("c")
    del hosts.codes["c"]
    hosts.start("c", limits=ONE_DIES)
    hosts.wait_for_end()

    assert all(hosts.complete(name) for name in NAMES)
    assert hosts.agents["c"].state.received <= hosts.told("c")["total"] - had * PART + 2 * PART


def test_a_host_that_comes_late_gets_all(hosts: Hosts, hub: LocalHub) -> None:
    hosts.start("a", "b", limits=ALIVE | {"grace": 2.0})
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
    monkeypatch.setattr("lab.services.hub.GATED", (REPOSITORY,))
    hosts.start("a")
    hosts.start("b", "c", token="hf_right")
    hosts.wait_for_end()
    assert all(hosts.complete(name) for name in NAMES)
    assert hosts.agents["a"].state.received_from_endpoint == 0


def test_what_the_hub_sent_wrong_is_found_and_mended_everywhere(hosts: Hosts, hub: LocalHub) -> None:
    hub.fault(f"*/resolve/*/{BIG}", "corrupt", times=3)
    hosts.start(*NAMES)
    hosts.wait_for_end()

    assert hosts.codes == dict.fromkeys(NAMES, 0)
    assert all(hosts.complete(name) for name in NAMES)
    assert asked(hub) <= 2 * PARTS
    # Only parts that turned out to be others went over the hosts' network again.
    assert hosts.agents["c"].state.received <= hosts.told("c")["total"] + 4 * PART


def test_what_is_wrong_for_good_is_served_nowhere(hosts: Hosts, hub: LocalHub) -> None:
    hub.fault(f"*/resolve/*/{BIG}", "corrupt", times=1000)
    hosts.start(*NAMES, limits=ONE_DIES)
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


@pytest.fixture
def giving(hosts: Hosts) -> Hosts:
    """Host a has everything, and gives it to b and c, which are not there."""
    hosts.start("a", limits=ALONE | {"linger": 600.0})
    hosts.wait(lambda: hosts.agents["a"].server is not None and hosts.have("a") == PARTS)
    return hosts


@pytest.mark.parametrize("path", ["/news", f"/files/m@r-mistral/{BIG}", "/"])
def test_an_address_that_is_not_in_the_job_gets_nothing(giving: Hosts, path: str) -> None:
    assert ask(giving, path, source="127.0.0.99") is None
    assert raw(giving, b"", source="127.0.0.99") == b""


@pytest.mark.parametrize(
    "path",
    [
        "/files/m@r-mistral/../../etc/passwd",
        "/files/m@r-mistral/..%2f..%2f..%2fetc%2fpasswd",
        "/files/m@r-mistral//etc/passwd",
        "/files/m@r-mistral/../weights.parts",
        "/files/m@r-mistral/tekken.json",  # of the repository, not of the job
        f"/files/other@set-mistral/{BIG}",
        f"/files/../{BIG}",
        f"/FILES/m@r-mistral/{BIG}",
        f"http://127.0.0.3/files/m@r-mistral/{BIG}/x",
        f"/files/m@r-mistral/{BIG}%00.txt",
        "/status.json",
        "/",
    ],
)
def test_a_host_of_the_job_reads_nothing_but_the_jobs_files(giving: Hosts, path: str) -> None:
    assert ask(giving, f"/files/m@r-mistral/{BIG}", source=address("b")) == 206
    assert ask(giving, path, source=address("b")) == 404


@pytest.mark.parametrize(
    "span",
    [
        "",
        "bytes=0-",
        "bytes=-1",
        "bytes=0-4096",
        "bytes=1-4095",
        "bytes=4096-0",
        "bytes=0-1,2-3",
        "bytes=0-99999999999999999999",
        f"bytes={len(FILES[BIG])}-{len(FILES[BIG]) + PART - 1}",
        "lines=0-4095",
    ],
)
def test_a_range_that_is_no_part_is_refused(giving: Hosts, span: str) -> None:
    assert ask(giving, f"/files/m@r-mistral/{BIG}", source=address("b"), span=span) == 404


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"POST /news HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"501"),
        (b"PUT /files/m@r-mistral/params.json HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"501"),
        (b"DELETE /files/m@r-mistral/params.json HTTP/1.1\r\n\r\n", b"501"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /news HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET /news HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", b"431"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /news?run=x&since=evil&state=evil HTTP/1.1\r\nConnection: close\r\n\r\n", b"200"),  # another run's
    ],
    ids=["POST", "PUT", "DELETE", "long path", "long header", "many headers", "nonsense", "another run's numbers"],
)
def test_what_is_no_request_of_ours_changes_nothing(giving: Hosts, request_head: bytes, status: bytes) -> None:
    assert status in raw(giving, request_head, source=address("b")).partition(b"\r\n")[0]
    assert ask(giving, f"/files/m@r-mistral/{BIG}", source=address("b")) == 206
    assert giving.have("a") == PARTS


def test_slow_requests_of_a_host_hold_a_few_threads_and_cost_the_others_nothing(giving: Hosts) -> None:
    """Each sends a byte and then nothing, as a program on a host of the fleet that was broken into might."""
    before = threading.active_count()
    held = [slow(giving, address("b")) for _ in range(200)]
    try:
        giving.wait(lambda: threading.active_count() - before >= 5)
        for _ in range(3):  # at once, unless the end of the request before has not been noticed yet
            giving.wait(lambda: ask(giving, f"/files/m@r-mistral/{BIG}", source=address("c")) == 206)
        assert threading.active_count() - before <= 5 + 2
    finally:
        for connection in held:
            connection.close()
    giving.wait(lambda: ask(giving, f"/files/m@r-mistral/{BIG}", source=address("b")) == 206)


def slow(hosts: Hosts, source: str) -> socket.socket:
    """A connection to host a with a request that has begun."""
    connection = connect(hosts, source)
    with contextlib.suppress(OSError):  # refused: it is closed at once
        connection.sendall(b"G")
    return connection


def raw(hosts: Hosts, sent: bytes, *, source: str) -> bytes:
    """The beginning of what host a answers to some bytes; nothing where it closes the connection."""
    with contextlib.suppress(OSError), connect(hosts, source) as connection:
        with contextlib.suppress(OSError):  # answered and closed before all of it was sent
            connection.sendall(sent)
        return connection.recv(4096)
    return b""


def connect(hosts: Hosts, source: str) -> socket.socket:
    return socket.create_connection((address("a"), hosts.port), timeout=60, source_address=(source, 0))


def ask(hosts: Hosts, path: str, *, source: str, span: str = "bytes=0-4095") -> int | None:
    """Status that host a answers with; None when it does not."""
    connection = http.client.HTTPConnection(address("a"), hosts.port, timeout=60, source_address=(source, 0))
    try:
        connection.request("GET", path, headers={"Range": span})
        answer = connection.getresponse()
        answer.read()
    except (http.client.HTTPException, OSError):
        return None
    finally:
        connection.close()
    return answer.status


def test_when_the_hub_is_gone_what_is_missing_is_said(hosts: Hosts, unused_url: str) -> None:
    hosts.start(*NAMES, endpoint=unused_url, limits=ALIVE | {"patience": 3.0})
    hosts.wait_for_end()
    assert set(hosts.codes.values()) == {FAILED}
    assert f"cannot be fetched from {unused_url}" in hosts.told("a")["error"]
    assert all(hosts.told(name)["error"].startswith("weights ") for name in NAMES[:1])
