"""The endpoint before and after: what a request costs, and what others lose while one address attacks. See bench/README.md.

    .venv/bin/python -m bench.endpoint --before OLD.cfg

OLD.cfg is the configuration of an older Barewind over two engines: git show REVISION:tests/unit/balancer/expected/haproxy.cfg
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from barewind.balancer.config import haproxy_config
from barewind.balancer.limits import BUFFER
from tests.support.endpoint_client import CHAT, Trickle, ask
from tests.support.endpoint_engine import FakeEngine
from tests.support.factories import balancer_spec, engine_spec
from tests.support.haproxy import free_port

_SLOTS = 16  # of each of two engines: an attack has to fill 32 places
_SECONDS = 15  # of each attack


@contextlib.contextmanager
def haproxy(text: str, ports: list[int]) -> Iterator[tuple[int, int]]:
    """HAProxy over engines of this machine: its port and its process."""
    port = free_port()
    servers = iter(ports)
    with tempfile.TemporaryDirectory() as folder:
        lines = [
            re.sub(r"127\.0\.0\.1:\d+|192\.0\.2\.\d+:8000", f"127.0.0.1:{next(servers)}", line)
            if line.startswith("    server ")
            else line
            for line in text.splitlines()
            if not re.match(r"\s+(user|group|chroot|log|stats|server-state-file|load-server-state)\b|\s+bind :::", line)
        ]
        file = Path(folder) / "cfg"
        file.write_text("\n".join(lines).replace("bind *:8000", f"bind *:{port}") + "\n")
        command = ["haproxy", "-db", "-f", str(file)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            time.sleep(1)  # the first health checks
            yield port, process.pid
        finally:
            process.kill()
            process.wait()


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def first_token(port: int, body: str) -> float:
    """Milliseconds until the first event of an answer."""
    text = f"POST {CHAT} HTTP/1.1\r\nHost: lb\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(text.encode())
        answer = b""
        while b"data:" not in answer:
            piece = client.recv(65536)
            if not piece:
                raise ConnectionError(answer[:200])
            answer += piece
        taken = (time.perf_counter() - begun) * 1000
        while client.recv(65536):
            pass
    return taken


def cost(text: str) -> dict[str, float]:
    """What requests and events cost where nobody attacks."""
    with FakeEngine(tokens=1) as one, FakeEngine(tokens=1) as two, haproxy(text, [one.port, two.port]) as (port, pid):
        figures: dict[str, float] = {}
        for name, length in (("1 kB", 1000), ("200 kB", 200_000), ("2 MB", 2_000_000)):
            body = "x" * length
            before = cpu(pid)
            times = [first_token(port, body) for _ in range(600 if length < 1e6 else 100)]
            figures[f"TTFT ms p50, body {name}"] = statistics.median(times)
            figures[f"TTFT ms p99, body {name}"] = statistics.quantiles(times, n=100)[98]
            figures[f"CPU ms per request, body {name}"] = (cpu(pid) - before) * 1000 / len(times)
        for engine in (one, two):
            engine.tokens, engine.seconds = 400, 4
        before = cpu(pid)
        with ThreadPoolExecutor(30) as pool:
            list(pool.map(lambda _: first_token(port, "{}"), range(30)))
        figures["CPU us per streamed event"] = (cpu(pid) - before) * 1e6 / (30 * 400)
        figures["memory MB afterwards"] = (
            int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1000
        )
        return figures


def good_and_lost(port: int, seconds: float) -> tuple[int, int]:
    """Streams of another address, six at a time, that were answered and that were not."""
    end = time.monotonic() + seconds
    outcomes: list[bool] = []

    def one(_: int) -> None:
        while time.monotonic() < end:
            try:
                outcomes.append(ask(port, CHAT, "POST", body="{}", source="127.0.0.3").status == 200)
            except OSError:  # ended, or no answer in 20 s
                outcomes.append(False)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(one, range(6)))
    return len(outcomes), outcomes.count(False)


@contextlib.contextmanager
def errors(port: int) -> Iterator[None]:
    """Twelve requests a second that an engine answers with 500."""
    stop = threading.Event()

    def attack() -> None:
        while not stop.wait(0.08):
            with contextlib.suppress(OSError):
                ask(port, f"{CHAT}?fail", "POST", body="{}", source="127.0.0.2")

    thread = threading.Thread(target=attack)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


ATTACKS: dict[str, Callable[[int], contextlib.AbstractContextManager[object]]] = {
    "nobody": lambda _: contextlib.nullcontext(),
    "12 requests a second that end in 500": errors,
    "600 half-sent bodies of 20 kB": lambda port: Trickle(port, 600, length=20_000),
    "600 half-sent bodies of 10 MB": lambda port: Trickle(port, 600, length=10_000_000),
    "40 bodies of 10 MB, all but 8 MB sent at once": lambda port: Trickle(
        port, 40, length=10_000_000, first=BUFFER * 2
    ),
}


def attacked(text: str, attack: str) -> tuple[int, int]:
    """What others got and lost while somebody attacks; the old configuration with 100 connections instead of 8192 for bodies."""
    with FakeEngine(seconds=3, tokens=30) as one, FakeEngine(seconds=3, tokens=30) as two:
        fewer = re.sub(r"^    maxconn 8192$", "    maxconn 500", text, flags=re.MULTILINE)
        with haproxy(fewer, [one.port, two.port]) as (port, _), ATTACKS[attack](port):
            return good_and_lost(port, _SECONDS)


def out_after(text: str, how: str) -> float:
    """Seconds until an engine that hangs or is gone is out of rotation, at the worst moment: right after a check."""
    code = "import sys, time\nfrom tests.support.endpoint_engine import FakeEngine\nwith FakeEngine() as engine:\n"
    code += "    print(engine.port, flush=True)\n    time.sleep(3600)\n"
    engine = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    port_of_engine = int(engine.stdout.readline()) if engine.stdout else 0
    try:
        with haproxy(text, [port_of_engine, free_port()]) as (port, _):
            time.sleep(30)  # the other one, which never was, is out
            os.kill(engine.pid, signal.SIGSTOP if how == "hangs" else signal.SIGKILL)
            begun = time.monotonic()
            while ask(port, "/health").status == 200:
                time.sleep(0.2)
            return time.monotonic() - begun
    finally:
        engine.kill()
        engine.wait()


def main() -> None:
    """Print every figure as JSON, one a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=Path, help="the configuration of an older Barewind")
    parser.add_argument("--only", choices=["cost", "attacks", "out"], help="a part of it")
    arguments = parser.parse_args()
    specs = [
        engine_spec(host=f"gpu-h{number}", address="127.0.0.1", max_num_seqs=_SLOTS, modality="image")
        for number in (1, 2)
    ]
    texts = {"after": haproxy_config(balancer_spec(), specs)}
    roomy = {"after": haproxy_config(balancer_spec(requests_per_client=100), specs)}
    if arguments.before:
        texts = {"before": arguments.before.read_text()} | texts
    for name, text in texts.items():
        if arguments.only in (None, "cost"):
            print(
                json.dumps({name: {what: round(value, 3) for what, value in cost(roomy.get(name, text)).items()}}),
                flush=True,
            )
        if arguments.only in (None, "attacks"):
            for attack in ATTACKS:
                print(json.dumps({name: attack, "requests, lost": attacked(text, attack)}), flush=True)
    if arguments.only in (None, "out"):
        for how in ("is gone", "hangs"):
            print(json.dumps({how: round(out_after(texts["after"], how), 1)}), flush=True)


if __name__ == "__main__":
    main()
