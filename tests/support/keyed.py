"""Balancers that ask for keys: HAProxies of this machine, reached as `barewind keys` reaches those of an inventory."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from barewind.balancer.names import KEYS_MAP
from barewind.cli.main import main
from barewind.keys import commands, usage
from barewind.keys.commands import Known
from barewind.site.read import read_site
from barewind.spec import site as spec
from barewind.spec.site import HostEntry
from lab import wait
from tests.support.endpoint_client import CHAT, Answer, ask
from tests.support.endpoint_engine import FakeEngine
from tests.support.haproxy import HAProxy, engine_at
from tests.support.shell import programs_in, shell_in

_ASKS = f"""
    http-request set-var(txn.token) http_auth_bearer
    http-request set-var(txn.entry) var(txn.token),sha2(256),hex,lower,map_str({KEYS_MAP})
    http-request return status 401 unless {{ var(txn.entry) -m found }}
    http-request set-var(txn.key) var(txn.entry),field(1,:)
    http-request track-sc2 var(txn.entry),field(1,:) table keys
    default_backend engines
backend keys
    stick-table type string len 64 size 100k expire 10m store http_req_rate(60s)
"""


class Keyed(HAProxy):
    """A HAProxy that asks for keys, before an engine."""

    def __init__(self, name: str, path: Path) -> None:
        path.mkdir()
        (path / "bin").mkdir()
        super().__init__(path, shell_in(path, path / "bin"), programs_in(path / "bin"))
        self.name = name
        self.local |= {usage.PROGRAM: f"{path}/usage", usage.SUMS: f"{path}/sums/sums"}

    def serve(self, engine: FakeEngine) -> None:
        """Start before an engine."""
        self.use([engine_at("gpu1", engine.port)])
        config = self.path / "cfg"
        config.write_text(config.read_text().replace("    default_backend engines\n", self.here(_ASKS)))
        (self.path / "keys.map").touch()
        self.start()
        wait.until(lambda: self.status("nobody's") == 401, 60, "it does not start")

    def request(self, key: str, path: str = "/v1/models", **more: Any) -> Answer:
        """What a client with a key is answered."""
        return ask(self.port, path, *more.pop("method", ["GET"]), f"Authorization: Bearer {key}", **more)

    def status(self, key: str) -> int:
        """The status that a client with a key is answered; 0 if it is not answered."""
        try:
            return self.request(key).status
        except OSError:
            return 0

    def known(self) -> Known:
        """What it knows of keys."""
        return commands.read(self.ask(commands.look()), self.name)

    def lines(self) -> list[str]:
        """What it has logged of requests."""
        return [line for line in (re.sub(r"^<\d+>", "", line) for line in self.log()) if line.startswith("{")]

    def journal(self) -> None:
        """Have its log in a journal, and the program of a deploy there that sums it."""
        lines = self.path / "lines"
        lines.write_text("".join(f"{line}\n" for line in self.lines()))
        programs_in(self.path / "bin")(journalctl=f"cat {lines}; echo '-- cursor: 1'")
        program = self.path / "usage"
        program.write_text(self.here(usage.program(400).content))
        program.chmod(0o755)

    def reload(self) -> None:
        """Have another process take over."""
        before = self.known().processes
        self.hook("ExecReload")
        wait.until(lambda: self.current() not in {one.pid for one in before}, 60, "it does not reload")

    def current(self) -> int:
        """The process that takes new connections."""
        return next(one.pid for one in self.known().processes if one.current)

    def restart(self, how: int = signal.SIGTERM) -> None:
        """Stop it and start it again."""
        self.stop(how)
        self.start()
        wait.until(lambda: self.status("nobody's") == 401, 60, "it does not start")


@dataclass
class Site:
    """Two balancers before one engine, and the command about them."""

    folder: Path
    engine: FakeEngine
    balancers: dict[str, Keyed]
    silent: set[str] = field(default_factory=set)

    def keys(self, *words: str) -> Result:
        """Run `barewind keys`."""
        command, *rest = words
        return CliRunner(env={"COLUMNS": "250"}).invoke(main, ["keys", command, "site.py", *rest])

    def add(self, id: str, *options: str) -> str:
        """A key that is good on every balancer."""
        done = self.keys("add", id, *options)
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    def lines(self) -> list[str]:
        """What balancers have logged of requests."""
        return [line for lb in self.balancers.values() for line in lb.lines()]

    def statuses(self, key: str) -> list[int]:
        """What each balancer answers a client with a key."""
        return [lb.status(key) for lb in self.balancers.values()]

    def reached(self, inventory_file: str, data: tuple[str, ...]) -> Site:
        """Stand for `barewind.hosts.reach.Hosts`."""
        assert (inventory_file, data) == ("site.py", ())
        return self

    def of(self, inventory_file: str, data: tuple[str, ...]) -> spec.Site:
        """Stand for `endpoint_of`."""
        assert (inventory_file, data) == ("site.py", ())
        balancers = [
            HostEntry(name, ("balancers",), {"address": f"10.0.0.{8 + number}"})
            for number, name in enumerate(self.balancers)
        ]
        engine = HostEntry("gpu1", ("gpus",), {"address": "10.0.0.1", "accelerator": "h200", "accelerator_count": 8})
        return read_site([engine, *balancers])

    def ask(self, wanted: Mapping[str, str], *, timeout: int, stdin: str | None = None) -> dict[str, tuple[str, str]]:
        """What `barewind.hosts.reach.Hosts.ask` does."""
        assert timeout
        answers = {}
        for name, command in wanted.items():
            if name in self.silent:
                answers[name] = "", "no route to host"
                continue
            lb = self.balancers[name]
            done = lb.shell(lb.here(command), stdin or "")
            answers[name] = done.stdout, "" if done.returncode == 0 else done.stderr or "failed"
        return answers


@contextmanager
def site(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> Iterator[Site]:
    """A site with these balancers, in a folder with an inventory that has them."""
    with ExitStack() as stack:
        engine = stack.enter_context(FakeEngine())
        made = Site(folder, engine, {name: Keyed(name, folder / name) for name in names})
        monkeypatch.setattr("barewind.hosts.reach.Hosts", made.reached)
        for command in (
            "keys",
            "session",
            "usage",
        ):  # pyinfra's reader of inventories would make this process cooperative
            monkeypatch.setattr(f"barewind.cli.{command}.endpoint_of", made.of)
        for lb in made.balancers.values():
            stack.callback(lb.stop)
            lb.serve(engine)
        yield made


def stream(lb: Keyed, key: str) -> Answer:
    """A whole answer of several events."""
    return lb.request(key, CHAT, method=["POST"], body="{}")
