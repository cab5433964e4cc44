"""What each part of the endpoint adds to a request: TLS, keys, limits, usage. See bench/README.md.

    .venv/bin/python -m bench.gateway

HAProxies with the configuration of a balancer stand before the same engines, which only imitate, in a process of their own; each
has one part more than the one before. They are asked in turn, round after round, by 30 clients at a time, so that other work on
the machine meets all of them. Prints a Markdown table and the load of the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import platform
import re
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from barewind.balancer import certificate
from barewind.balancer import commands as balancer
from barewind.keys.entry import Key, map_line
from tests.support.certificates import Authority
from tests.support.endpoint_client import CHAT
from tests.support.factories import balancer_spec
from tests.support.haproxy import HAProxy, engine_at
from tests.support.shell import programs_in, shell_in

ADDRESS = "127.0.0.1"
STREAMS = 30  # at a time
EVENTS = 25  # of a stream
PACE = 0.02  # seconds between them
BODY = "x" * 1000
KEY = "sk-bw-bench"
_ENGINES = f"""
import time
from tests.support.endpoint_engine import FakeEngine
told = (30, {EVENTS}, 10)
with FakeEngine(tokens={EVENTS}, seconds={EVENTS * PACE}, usage=told) as paced, FakeEngine(usage=told) as quick:
    print(paced.port, quick.port, flush=True)
    time.sleep(86400)
"""


@dataclass(frozen=True)
class Parts:
    """What an endpoint has. `kept`: clients keep their connections, as OpenAI's do."""

    name: str
    tls: bool = True
    keys: bool = True
    limits: bool = True
    usage: bool = True
    kept: bool = True


PARTS = (
    Parts("plain HTTP, open", tls=False, keys=False, limits=False, usage=False),
    Parts("and TLS", keys=False, limits=False, usage=False),
    Parts("and keys", limits=False, usage=False),
    Parts("and limits: requests, parallel", usage=False),
    Parts("and usage, tokens per minute (Lua): all of it"),
    Parts("all of it, a connection for each request", kept=False),
)


@dataclass
class Sums:
    """Of streams (`paced`) and of requests with one event (`quick`): how many, and CPU seconds of HAProxy.

    + first: seconds to the first event of each stream, round by round
    """

    paced: int = 0
    paced_cpu: float = 0.0
    quick: int = 0
    quick_cpu: float = 0.0
    first: list[list[float]] = field(default_factory=list)

    @property
    def request(self) -> float:
        """CPU seconds of a request with one event and its usage."""
        return self.quick_cpu / self.quick

    @property
    def event(self) -> float:
        """CPU seconds of each further event."""
        return (self.paced_cpu / self.paced - self.request) / (EVENTS - 1)


class Endpoint:
    """A HAProxy with some of the parts before an engine."""

    def __init__(self, folder: Path, parts: Parts, engine: int) -> None:
        folder.mkdir()
        (folder / "bin").mkdir()
        self.parts = parts
        self.haproxy = HAProxy(folder, shell_in(folder, folder / "bin"), programs_in(folder / "bin"))
        keys: dict[str, Any] = {"endpoint_open": not parts.keys, "trusted_clients": [ADDRESS]}
        self.context = None
        if parts.tls:
            root = Authority()
            files = root.issue(folder, (ADDRESS,), name="issued")
            keys |= {"endpoint_tls": True, "endpoint_name": ADDRESS}
            keys |= {"endpoint_certificate": files[0], "endpoint_key": files[1]}
            self.context = ssl.create_default_context(cadata=root.pem)
            shown = certificate.read(balancer_spec(**keys))
            assert shown is not None  # noqa: S101 - it was issued two lines above
            (folder / "endpoint.pem").write_text(shown.pem)
        self.haproxy.use([engine_at("gpu1", engine, max_num_seqs=1024)], **keys)
        config = folder / "cfg"
        if not parts.usage:
            config.write_text(re.sub(r"^.*\blua[.-].*\n", "", config.read_text(), flags=re.MULTILINE))
        (folder / "keys.map").write_text(f"{map_line(_key(parts))}\n")
        self.haproxy.start()
        self.haproxy.until(balancer.wait_checked)
        self.pid = self.haproxy.look().workers[0].pid

    def cpu(self) -> float:
        """Seconds of processor time that it has used."""
        return (
            sum(int(file.read_text().split()[0]) for file in Path(f"/proc/{self.pid}/task").glob("*/schedstat")) / 1e9
        )

    async def ask(self, each: int, apart: float = 0.0) -> list[float]:
        """Have clients, which begin seconds `apart`, ask so often each; seconds to the first event of each answer."""
        answers = await asyncio.gather(*(self._client(each, number * apart) for number in range(STREAMS)))
        return [first for one in answers for first in one]

    async def _client(self, each: int, wait: float) -> list[float]:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: {ADDRESS}\r\nAuthorization: Bearer {KEY}\r\n"
        head += f"Content-Length: {len(BODY)}\r\n\r\n{BODY}"
        times = []
        reader, writer = await self._connect()
        await asyncio.sleep(wait)
        for number in range(each):
            begun = time.perf_counter()
            if number and not self.parts.kept:
                writer.close()
                reader, writer = await self._connect()
            writer.write(head.encode())
            status = await reader.readuntil(b"\r\n")
            if b" 200 " not in status:
                raise click.ClickException(f"{self.parts.name}: answered {status.decode()}")
            await reader.readuntil(b"data:")
            times.append(time.perf_counter() - begun)
            await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.close()
        return times[not self.parts.kept :]  # the first connection was there before the first request

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(ADDRESS, self.haproxy.port, ssl=self.context)


@click.command()
@click.option("--rounds", default=8, help="Rounds; each takes about 15 s.")
def main(rounds: int) -> None:
    """Measure and print."""
    sums = {parts: Sums() for parts in PARTS}
    loads = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)  # HAProxy's workers run as themselves
        paced, quick = stack.enter_context(_engines())
        endpoints = []
        for number, parts in enumerate(PARTS):
            pair = [Endpoint(folder / f"{number}-{port}", parts, port) for port in (paced, quick)]
            for endpoint in pair:
                stack.callback(endpoint.haproxy.stop)
            endpoints.append(pair)
        for number in range(rounds):
            for pair in endpoints if number % 2 else reversed(endpoints):
                asyncio.run(_round(*pair, sums[pair[0].parts]))
            loads.append(os.getloadavg()[0])
    _print(sums)
    click.echo(
        f"\n{date.today()}, {os.cpu_count()} cores, {platform.machine()}, load {min(loads):.0f} to {max(loads):.0f}, "
        f"{rounds} rounds, {sums[PARTS[0]].paced} streams of each."
    )


async def _round(paced: Endpoint, quick: Endpoint, sums: Sums) -> None:
    before = paced.cpu()
    times = await paced.ask(3, apart=EVENTS * PACE / STREAMS)
    sums.paced_cpu += paced.cpu() - before
    sums.paced += 3 * STREAMS
    sums.first.append(times)
    before = quick.cpu()
    await quick.ask(10)
    sums.quick_cpu += quick.cpu() - before
    sums.quick += 10 * STREAMS


def _print(sums: dict[Parts, Sums]) -> None:
    click.echo(
        "| | first token, ms more: p10 | p50 | p99 | CPU ms per request | ratio | CPU us per event | events/s of a core |"
    )
    click.echo("|---|---|---|---|---|---|---|---|")
    plain = sums[PARTS[0]]
    base = _quantiles(plain)
    for parts, one in sums.items():
        more = " | ".join(f"{own - without:+.2f}" for own, without in zip(_quantiles(one), base, strict=True))
        click.echo(
            f"| {parts.name} | {more} | {one.request * 1e3:.2f} | {one.request / plain.request:.2f} | "
            f"{one.event * 1e6:.0f} | {round(1 / one.event, -2):.0f} |"
        )
    told = ", ".join(f"{value:.2f} ms ({name})" for name, value in zip(("p10", "p50", "p99"), base, strict=True))
    click.echo(f"\nPlain: first token after {told}, {PACE * 1e3:.0f} of them the engine's.")


def _quantiles(sums: Sums) -> tuple[float, float, float]:
    """Milliseconds to the first event: p10, p50 and p99 of a round, the median round's; so no stall of the machine decides."""
    cuts = [statistics.quantiles(times, n=100) for times in sums.first]
    p10, p50, p99 = (statistics.median(cut[at] for cut in cuts) * 1e3 for at in (9, 49, 98))
    return p10, p50, p99


def _key(parts: Parts) -> Key:
    """The key of all clients: limits that nobody comes near."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    most = 10**8
    limits = {"requests_per_minute": most, "parallel": most} if parts.limits else {}
    tokens = {"tokens_per_minute": most} if parts.usage else {}
    return Key("bench", digest, "", datetime.now(UTC), "", **limits, **tokens)


@contextlib.contextmanager
def _engines() -> Iterator[tuple[int, int]]:
    """The ports of an engine whose streams are paced and of one that answers at once."""
    process = subprocess.Popen([sys.executable, "-c", _ENGINES], stdout=subprocess.PIPE, text=True)
    try:
        paced, quick = (process.stdout.readline() if process.stdout else "").split()
        yield int(paced), int(quick)
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
