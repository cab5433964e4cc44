"""Streaming load on the lab's endpoints, many streams at once, and a look at who is in rotation meanwhile.

Lengths are lognormal and always the same for a stream's place and turn. Half of the streams keep their connection, half make
a new one for each request. Anything but a whole answer is a lost request: refused, an error, cut off, or ended early.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab import topology
from tests.support.lab import SERVERS

STREAMS = 30
MEDIAN, SIGMA, LONGEST = 14, 0.8, 80  # tokens
_LIMIT = 600  # seconds of load
_ANSWER = 90  # seconds for an answer; one long stream has half a second more for each token
_PORT = topology.HTTP_PORT_INSIDE
Endpoint = tuple[str, int]  # address and port
# Every 0.3 s, until its standard input is closed.
_LOOKS = f"""while :; do
  {SERVERS}; echo
  read -t 0.3; [ $? -gt 128 ] || exit 0
done"""


@dataclass(frozen=True)
class Change:
    """When (monotonic clock) a balancer was first seen to do something else with a server."""

    at: float
    balancer: str
    server: str
    state: str


@dataclass
class Load:
    """What became of the requests. Times in seconds."""

    answered: int = 0
    lost: list[str] = field(default_factory=list)
    first: list[float] = field(default_factory=list)  # until the first token
    whole: list[float] = field(default_factory=list)
    fewest: dict[str, int] = field(default_factory=dict)  # hosts in rotation, by balancer
    changes: list[Change] = field(default_factory=list)

    @property
    def asked(self) -> int:
        """Requests that have ended somehow."""
        return self.answered + len(self.lost)

    def __str__(self) -> str:
        return (
            f"{self.asked} requests, {len(self.lost)} lost, p99 {p99(self.first):.3f} s to the first token and "
            f"{p99(self.whole):.2f} s to the last; fewest in rotation {self.fewest}"
        )


def p99(times: Sequence[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(times, n=100)[98] if len(times) > 1 else 0.0


@contextmanager
def under_load(
    *, least: int = 600, streams: int = STREAMS, balancers: Sequence[str] = ("lb1", "lb2"), exact: bool = True
) -> Iterator[Load]:
    """Requests all the time until the block has ended, and `least` in all; shorter if it fails.

    `exact`: an answer has the tokens that were asked for, an event each, as the stand-in engine's has. The real one puts several
    tokens of its draft into an event, and may end before.
    """
    load, done = Load(), threading.Event()
    endpoints = [(topology.find(name).address, _PORT) for name in balancers]
    asking = threading.Thread(target=lambda: asyncio.run(_keep_asking(load, done, endpoints, streams, exact)))
    watches = [_Watch(load, name) for name in balancers]
    asking.start()
    try:
        yield load
        end = time.monotonic() + _LIMIT
        while load.asked < least and time.monotonic() < end and asking.is_alive():
            time.sleep(0.2)
        assert load.asked >= least, f"only {load}"
    finally:
        done.set()
        asking.join()
        for watch in watches:
            watch.end()
        print(load)


class Stream:
    """One long request in the background."""

    def __init__(self, balancer: str, tokens: int) -> None:
        self._load = Load()
        endpoint = (topology.find(balancer).address, _PORT)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask(endpoint, tokens)))
        self._thread.start()

    def whole(self) -> bool:
        """Wait for its end; whether the whole answer came."""
        self._thread.join()
        return self._load.answered == 1

    async def _ask(self, endpoint: Endpoint, tokens: int) -> None:
        await _Client(endpoint, keep=False).ask(self._load, tokens, limit=_ANSWER + tokens / 2)


async def _keep_asking(
    load: Load, done: threading.Event, endpoints: Sequence[Endpoint], streams: int, exact: bool
) -> None:
    until = time.monotonic() + _LIMIT

    async def stream(place: int) -> None:
        lengths = random.Random(place)  # noqa: S311 - the same each time
        client = _Client(endpoints[place % len(endpoints)], keep=place % 4 < 2, exact=exact)
        while not done.is_set() and time.monotonic() < until:
            lost = len(load.lost)
            await client.ask(load, max(1, min(LONGEST, round(lengths.lognormvariate(0, SIGMA) * MEDIAN))))
            if len(load.lost) > lost:
                await asyncio.sleep(0.1)  # an endpoint that refuses is not asked faster than it can refuse
        client.close()

    await asyncio.gather(*(stream(place) for place in range(streams)))


class _Cut(Exception):
    """An answer that is not whole."""


class _Client:
    """As much of HTTP/1.1 as an endpoint's streams need."""

    def __init__(self, endpoint: Endpoint, *, keep: bool, exact: bool = True) -> None:
        self._endpoint = endpoint
        self._keep = keep
        self._exact = exact
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, load: Load, tokens: int, *, limit: float = _ANSWER) -> None:
        begun = time.monotonic()
        used = self._open is not None
        try:
            first = await asyncio.wait_for(self._ask(tokens), limit)
        except (OSError, EOFError, _Cut, ValueError, TimeoutError) as error:
            self.close()
            where = f"{self._endpoint[0]}{', connection used before' if used else ''}"
            load.lost.append(f"{time.strftime('%T')} {where}: {type(error).__name__} {str(error)[:200]}")
            return
        load.answered += 1
        load.first.append(first - begun)
        load.whole.append(time.monotonic() - begun)

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    async def _ask(self, tokens: int) -> float:
        """When the first token came."""
        if self._open is not None and self._open[0].at_eof():  # as every client looks before it uses one again
            self.close()
        if self._open is None:
            self._open = await asyncio.open_connection(*self._endpoint)
        reader, writer = self._open
        messages = [{"role": "user", "content": "Count."}]
        body = json.dumps(
            {"model": topology.MODEL, "max_tokens": tokens, "stream": True, "messages": messages}
        ).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self._endpoint[0]}\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\n" + ("" if self._keep else "Connection: close\r\n") + "\r\n"
        writer.write(head.encode() + body)
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if status.split(" ")[1] != "200":
            raise _Cut(f"{status} {await reader.read(200)!r}")
        first, answer = 0.0, b""
        while size := int((await reader.readline()) or b"x", 16):
            answer += (await reader.readexactly(size + 2))[:-2]
            if not first and answer.count(b"data: ") > 1:  # the first event comes before any token
                first = time.monotonic()
        await reader.readline()
        events = answer.count(b"data: ")
        short = self._exact and (b'"finish_reason":"length"' not in answer or events < tokens + 1)
        if short or not answer.endswith(b"data: [DONE]\n\n"):
            raise _Cut(f"{events} events of {tokens} tokens, the end is {answer[-120:]!r}")
        if not self._keep or headers.get("connection", "").lower() == "close":
            self.close()
        return first


class _Watch:
    """What one balancer's current process does with its servers, several times a second."""

    def __init__(self, load: Load, balancer: str) -> None:
        self._load, self._balancer = load, balancer
        container = topology.find(balancer).container
        self._process = subprocess.Popen(
            ["docker", "exec", "-i", container, "bash", "-c", _LOOKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def end(self) -> None:
        """Look no more."""
        if self._process.stdin:
            self._process.stdin.close()
        self._thread.join()
        self._process.wait()

    def _read(self) -> None:
        seen: dict[str, str] = {}
        known: dict[str, str] = {}
        for line in self._process.stdout or ():
            fields = line.split(",")
            if len(fields) > 18 and fields[0] == "engines":
                seen[fields[1]] = fields[17].split(" ")[0]  # "UP 1/3" is up too
            elif not line.strip() and seen.keys() >= known.keys() and seen:
                now = time.monotonic()
                up = sum(state == "UP" for state in seen.values())
                self._load.fewest[self._balancer] = min(up, self._load.fewest.get(self._balancer, up))
                self._load.changes += [
                    Change(now, self._balancer, name, state) for name, state in seen.items() if known.get(name) != state
                ]
                known, seen = seen, {}
