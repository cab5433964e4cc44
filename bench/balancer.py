"""One HAProxy with many servers: its configuration, reads of its state, health checks, and hosts drained and returned.

    .venv/bin/python -m bench.balancer 100 1000

The configuration is that of a balancer, `inter` included; another HAProxy answers for all engines. A command is a shell script as
it runs on a balancer, from its start to its end, and the bytes that it prints: no SSH. Prints a Markdown table with a column for
each number of servers.
"""

from __future__ import annotations

import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import click

from barewind.balancer import commands
from bench.endpoint import cpu
from lab import wait
from tests.support.haproxy import HAProxy, answering, engine_at
from tests.support.shell import programs_in, shell_in

_CHECKS = "inter 10s fastinter 2s downinter 5s"  # HAProxy.local would have them faster
_REST = 30  # seconds over which the cost of health checks is taken
_HOSTS = 100  # drained and returned
_LOOKS = 100  # before as many drains


@click.command()
@click.argument("servers", nargs=-1, required=True, type=click.IntRange(min=_HOSTS))
def main(servers: tuple[int, ...]) -> None:
    """Measure and print."""
    columns = [measure(count) for count in servers]
    print("| servers |", " | ".join(map(str, servers)), "|")
    print("|---" * (len(servers) + 1) + "|")
    for name in columns[0]:
        print(f"| {name} |", " | ".join(column[name] for column in columns), "|")
    print(f"\n{date.today()}, {os.cpu_count()} cores, {platform.machine()}.")


def measure(count: int) -> dict[str, str]:
    """The figures of one HAProxy, by what they are."""
    names = [f"gpu{number}" for number in range(1, count + 1)]
    with _haproxy() as haproxy, answering(haproxy.path) as port:
        figures = {"configuration written": _seconds(lambda: haproxy.use([engine_at(name, port) for name in names]))}
        size = (haproxy.path / "cfg").stat().st_size
        figures["`haproxy -c`"] = _seconds(lambda: _done(haproxy, f"haproxy -c -q -f {haproxy.path}/cfg"))
        figures["started"] = _seconds(lambda: _until_answers(haproxy, haproxy.start, 0))
        haproxy.until(commands.wait_checked)
        before = haproxy.look().workers[0].pid
        figures["reloaded, until the new process tells its servers"] = _seconds(
            lambda: _until_answers(haproxy, lambda: haproxy.hook("ExecReload"), before)
        )
        worker = haproxy.look().workers[0].pid
        begun, used = time.monotonic(), cpu(worker)
        time.sleep(_REST)
        figures["CPU of health checks, % of a core"] = f"{(cpu(worker) - used) / (time.monotonic() - begun) * 100:.2f}"
        figures["memory of the process, MiB"] = f"{_memory(worker):.0f}"
        figures["configuration, kB"] = f"{size / 1000:.0f}"
        figures["state of every server read"] = _told(haproxy, commands.show_servers())
        unless = commands.show_servers(unless=haproxy.look().fingerprint)
        figures["looked at again, nothing changed"] = _told(haproxy, unless)
        figures[f"{_LOOKS} such looks"] = _told(haproxy, *[unless] * _LOOKS)
        figures["1 host drained"] = _told(haproxy, commands.drain(names[0]))
        figures["1 host returned"] = _told(haproxy, commands.undrain(names[0]))
        hosts = names[:_HOSTS]
        for done, command in (("drained", commands.drain), ("returned", commands.undrain)):
            figures[f"{_HOSTS} hosts {done}, one command"] = _told(haproxy, command(*hosts))
            figures[f"{_HOSTS} hosts {done}, a command each"] = _told(haproxy, *(command(host) for host in hosts))
    return figures


@contextmanager
def _haproxy() -> Iterator[HAProxy]:
    with tempfile.TemporaryDirectory() as folder:
        path, programs = Path(folder), Path(folder) / "bin"
        programs.mkdir()
        made = HAProxy(path, shell_in(path, programs), programs_in(programs))
        made.local[_CHECKS] = _CHECKS
        try:
            yield made
        finally:
            made.stop()


def _seconds(call: Callable[[], object]) -> str:
    begun = time.monotonic()
    call()
    return f"{time.monotonic() - begun:.2f} s"


def _done(haproxy: HAProxy, command: str) -> None:
    done = haproxy.shell(command)
    if done.returncode:
        raise click.ClickException(f"{command}: {done.stderr}")


def _until_answers(haproxy: HAProxy, begin: Callable[[], object], before: int) -> None:
    """Begin something, after which another process than `before` serves."""

    def answers() -> bool:
        workers = [worker for worker in haproxy.look().workers if worker.current]
        return bool(workers) and workers[0].pid != before and bool(workers[0].servers)

    begin()
    wait.until(answers, 60, "HAProxy does not answer")


def _told(haproxy: HAProxy, *scripts: str) -> str:
    """Seconds and bytes of the answers of commands, one after the other."""
    begun = time.monotonic()
    size = sum(len(haproxy.ask(script)) for script in scripts)
    return f"{time.monotonic() - begun:.2f} s, {size / 1000:.1f} kB"


def _memory(pid: int) -> float:
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


if __name__ == "__main__":
    main()
