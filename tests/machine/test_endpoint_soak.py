"""HAProxy's program of tokens for minutes, on two threads, beside clients that leave and clients that are refused."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import pytest

from barewind.balancer import commands as balancer
from lab import wait
from tests.support.endpoint_answers import ANSWERS, cut
from tests.support.endpoint_client import CHAT, ask
from tests.support.endpoint_engine import FakeEngine
from tests.support.endpoint_keys import chat, configure, key, lines, text_of
from tests.support.haproxy import HAProxy

SECONDS = 180  # HAProxy 2.6 with `lua-load` ends within 20
GROWTH = 32  # MiB, after the first requests
KEYS = (key("whole"), key("leaves"), key("few", requests_per_minute=1), key("short", tokens_per_minute=1))


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine(seconds=0.05) as running:
        yield running


def whole(port: int, number: int) -> str:
    """Take all of an answer."""
    return str(chat(port, "whole").status)


def leave(port: int, number: int) -> str:
    """Take the beginning of an answer and go."""
    head = f"POST {CHAT} HTTP/1.1\r\nHost: lb\r\nConnection: close\r\nX-Api-Key: {text_of('leaves')}\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
        begun = b""
        while len(begun) < 300 * (number % 4 + 1) and (piece := client.recv(200)):
            begun += piece
    return begun.split(b" ", 2)[1].decode()


def refused(port: int, number: int) -> str:
    """Ask for what is not given."""
    time.sleep(0.005)
    if number % 4 == 0:
        return str(ask(port, CHAT, "POST", body="{}").status)
    if number % 4 == 1:
        return str(ask(port, "/metrics").status)
    return str(chat(port, ("few", "short")[number % 2]).status)


class Clients:
    """Many clients at a time, until they are stopped: what each kind was answered, and what went wrong."""

    def __init__(self, port: int, **kinds: tuple[Callable[[int, int], str], int]) -> None:
        self.answered: dict[str, Counter[str]] = {name: Counter() for name in kinds}
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(port, name, kind))
            for name, (kind, count) in kinds.items()
            for _ in range(count)
        ]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self, port: int, name: str, kind: Callable[[int, int], str]) -> None:
        for number in cycle(range(1000)):
            if self._end.is_set():
                return
            try:
                answer = kind(port, number)
            except OSError as error:
                answer = repr(error)
            self.answered[name][answer] += 1


def memory(pid: int) -> float:
    """MiB that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.full
def test_for_minutes_no_lua_error_no_exit_and_every_whole_answer_counted(haproxy: HAProxy, engine: FakeEngine) -> None:
    port = configure(haproxy, engine, *KEYS, slots=256, trusted_clients=["127.0.0.1"])
    config = haproxy.path / "cfg"
    config.write_text(config.read_text().replace("global\n", "global\n    nbthread 2\n", 1))
    haproxy.start()
    haproxy.until(balancer.wait_checked)
    answers = cycle((body, size) for _, body, _ in ANSWERS.values() for size in (5, 50, 500, 5000))
    engine.pieces = cut(*next(answers))
    pid, begun, first = haproxy.look().workers[0].pid, time.monotonic(), 0.0
    with Clients(port, whole=(whole, 6), leaves=(leave, 4), refused=(refused, 2)) as clients:
        while (passed := time.monotonic() - begun) < SECONDS:
            engine.pieces = cut(*next(answers))
            time.sleep(0.02)
            if not first and passed > SECONDS / 4:
                first = memory(pid)
            assert Path(f"/proc/{pid}").exists(), haproxy.log()[-5:]
    answered = clients.answered
    print(f"\n{answered}, MiB: {first:.1f}, then {memory(pid):.1f}")  # what `pytest -s` shows
    assert [worker.pid for worker in haproxy.look().workers] == [pid]
    assert [line for line in haproxy.log() if "lua" in line.lower()] == []
    assert memory(pid) < first + GROWTH
    assert set(answered["whole"]) == set(answered["leaves"]) == {"200"}
    assert set(answered["refused"]) == {"200", "401", "404", "429"}  # 200: the first of each minute
    wait.until(lambda: logged(haproxy, "whole") == answered["whole"]["200"], 60, "answers are not logged")
    counted = Counter((line["in"], line["out"]) for line in lines(haproxy) if line["key"] == "whole")
    assert counted == {("30", "20"): answered["whole"]["200"]}


def logged(haproxy: HAProxy, id: str) -> int:
    """How many requests of an id are in the log."""
    return sum(line["key"] == id for line in lines(haproxy))
