"""Clients that mean the lab's endpoints no good, on hosts of the lab other than those that ask for streams.

One makes engines answer 500 as often as took a whole fleet out of rotation once (12 requests a second), and knocks at paths that
are no client's; the other holds connections with bodies that hardly come.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab import topology

_FAILING = json.dumps(
    {"model": topology.MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": 1, "top_k": 10**30}
)
_PATHS = ("/metrics", "/flush_cache", "/scale_elastic_ep", "/v1//models", "/health/../metrics")
# Both end with their standard input, and print how often each status came.
_COMMON = """
import collections, http.client, json, socket, sys, threading, time
addresses, port, body, paths = json.loads(sys.argv[1])
counts, ended = collections.Counter(), threading.Event()
def until_the_end(one, pause):
    def go():
        at = 0
        while not ended.is_set():
            try:
                counts[str(one(addresses[at % len(addresses)], at))] += 1
            except (OSError, http.client.HTTPException) as error:
                counts[type(error).__name__] += 1
            at += 1
            ended.wait(pause)
    return threading.Thread(target=go, daemon=True)
def run(threads):
    for thread in threads: thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads: thread.join(5)
    print(json.dumps(counts))
"""
_ERRORS = f"""{_COMMON}
def ask(method, address, path, body=None):
    connection = http.client.HTTPConnection(address, port, timeout=30)
    try:
        connection.request(method, path, body, {{"Content-Type": "application/json"}} if body else {{}})
        return connection.getresponse().status
    finally:
        connection.close()
run([until_the_end(lambda address, _: ask("POST", address, "/v1/chat/completions", body), 0.25) for _ in range(3)]
    + [until_the_end(lambda address, at: "path " + str(ask("GET", address, paths[at % len(paths)])), 0.5)])
"""
_SLOW = f"""{_COMMON}
def trickle(size):
    def go(address, _):
        with socket.create_connection((address, port), timeout=1) as connection:
            head = "POST /v1/chat/completions HTTP/1.1\\r\\nHost: x\\r\\nContent-Type: application/json\\r\\n"
            connection.sendall((head + "Content-Length: " + str(size) + "\\r\\n\\r\\n" + "x" * min(size // 2, 60000)).encode())
            while not ended.is_set():
                try:
                    answer = connection.recv(4096)
                    return "cut" if not answer else int(answer.split(b" ")[1])
                except TimeoutError:
                    connection.sendall(b"x")
            return "ended"
    return go
run([until_the_end(trickle(size), 1) for size in (1000, 20_000, 100_000, 1_000_000) for _ in range(5)])
"""


@dataclass
class Abuse:
    """What came of it: how often each status, or each way to be cut off."""

    errors: dict[str, int] = field(default_factory=dict)
    slow: dict[str, int] = field(default_factory=dict)


@contextmanager
def abused(balancers: tuple[str, ...] = ("lb1", "lb2")) -> Iterator[Abuse]:
    """Two abusive clients until the block has ended: `services` at all balancers, the last balancer's host at the first."""
    abuse = Abuse()
    addresses = [topology.find(name).address for name in balancers]
    errors = _begin("services", _ERRORS, addresses)
    slow = _begin(balancers[-1], _SLOW, addresses[:1])
    try:
        yield abuse
    finally:
        abuse.errors, abuse.slow = _end(errors), _end(slow)
        print(abuse)


def _begin(host: str, program: str, addresses: list[str]) -> subprocess.Popen[str]:
    arguments = json.dumps([addresses, topology.HTTP_PORT_INSIDE, _FAILING, _PATHS])
    return subprocess.Popen(
        ["docker", "exec", "-i", topology.find(host).container, "python3", "-c", program, arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _end(process: subprocess.Popen[str]) -> dict[str, int]:
    output, _ = process.communicate(timeout=60)
    counts: dict[str, int] = json.loads(output)
    return counts
