"""A HAProxy of this machine for tests: master and worker, with the configuration, the drop-in and the program of a balancer."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from barewind.balancer import commands as balancer
from barewind.balancer.commands import Rotation, Wait
from barewind.balancer.config import (
    HAPROXY_FILE,
    haproxy_config,
    haproxy_drop_in,
    haproxy_state_program,
    tokens_program,
)
from barewind.balancer.names import ENDPOINT_PEM, KEYS_MAP, MASTER_SOCKET, STATE_FILE, STATE_PROGRAM, TOKENS_PROGRAM
from barewind.spec.keys import BalancerSpec, EngineSpec
from barewind.spec.monitor import MonitorSpec
from lab import wait
from tests.support.factories import balancer_spec, engine_spec
from tests.support.free_port import free_port
from tests.support.shell import Programs, Shell


class HAProxy:
    """A HAProxy of this machine, master and worker, with the configuration, the drop-in and the program of a balancer."""

    def __init__(self, path: Path, shell: Shell, programs: Programs) -> None:
        self.path, self.shell = path, shell
        self.master: subprocess.Popen[bytes] | None = None
        self.local = {
            MASTER_SOCKET: f"{path}/master.sock",
            STATE_PROGRAM: f"{path}/haproxy-state",
            STATE_FILE: f"{path}/state",
            HAPROXY_FILE: f"{path}/cfg",
            KEYS_MAP: f"{path}/keys.map",
            TOKENS_PROGRAM: f"{path}/tokens.lua",
            ENDPOINT_PEM: f"{path}/endpoint.pem",
            "/run/haproxy/": f"{path}/",
            "inter 10s fastinter 2s downinter 5s": "inter 200ms",
            "chroot /var/lib/haproxy\n": f"chroot {path}/empty\n" if os.geteuid() == 0 else "\n",
            "user haproxy\n": "\n",
            "group haproxy\n": "\n",
        }
        (path / "empty").mkdir()
        program = path / "haproxy-state"
        program.write_text(self.here(haproxy_state_program()))
        program.chmod(0o755)
        programs(systemctl=f"test -e {path}/running && echo active || echo inactive")

    def here(self, text: str) -> str:
        return re.sub("|".join(map(re.escape, self.local)), lambda found: self.local[found[0]], text)

    def configure(self, *standby: str, **ports: int) -> None:
        """Have engines of these names at ports of this machine."""
        self.use([engine_at(name, port, standby=name in standby) for name, port in ports.items()])

    def use(
        self,
        engines: list[EngineSpec],
        *,
        ipv6: bool = True,
        monitors: Collection[MonitorSpec] = (),
        balancers: Collection[BalancerSpec] = (),
        **keys: Any,
    ) -> None:
        """Have these engines, with keys of the balancer's own."""
        self.port = free_port()
        spec = balancer_spec(**{"endpoint_port": self.port, "peers_port": free_port()} | keys)
        (self.path / "tokens.lua").write_text(tokens_program())
        (self.path / "keys.map").touch(0o600)
        config = haproxy_config(spec, engines, ipv6=ipv6, monitors=monitors, balancers=balancers)
        (self.path / "cfg").write_text(self.here(config))

    def hook(self, key: str) -> None:
        """Do what the drop-in says."""
        for may_fail, command in re.findall(rf"^{key}=(-?)(.+)$", self.here(haproxy_drop_in()), re.MULTILINE):
            pid = str(self.master.pid) if self.master else ""
            done = self.shell(command, CONFIG=f"{self.path}/cfg", EXTRAOPTS="", MAINPID=pid)
            assert may_fail or done.returncode == 0, done.stderr

    def start(self) -> None:
        self.hook("ExecStartPre")
        command = ["haproxy", "-W", "-f", f"{self.path}/cfg", "-S", f"{self.path}/master.sock"]
        with (self.path / "log").open("a") as log:
            self.master = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=log)
        (self.path / "running").touch()

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.master is None:
            return
        if how == signal.SIGTERM:
            self.hook("ExecStop")
        workers = [one.pid for one in self.look().workers]
        for pid in [self.master.pid, *workers] if how == signal.SIGKILL else [self.master.pid]:
            os.kill(pid, how)
        self.master.wait(60)
        self.master = None
        (self.path / "running").unlink()

    def log(self) -> list[str]:
        """What it has logged."""
        return (self.path / "log").read_text().splitlines()

    def ask(self, command: str) -> str:
        done = self.shell(self.here(command))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def look(self) -> Rotation:
        return balancer.read(self.ask(balancer.show_servers()), "lb1")

    def drain(self, *servers: str) -> Rotation:
        """Have it drain servers, and make sure that it has."""
        rotation = balancer.read(self.ask(balancer.drain(*servers)), "lb1")
        for server in servers:
            balancer.check_drained({"lb1": rotation}, server)
        return rotation

    def undrain(self, *servers: str) -> Rotation:
        """Have it undrain servers, and make sure that it has."""
        rotation = balancer.read(self.ask(balancer.undrain(*servers)), "lb1")
        for server in servers:
            balancer.check_undrained({"lb1": rotation}, server)
        return rotation

    def until(self, condition: Callable[..., Wait]) -> Rotation:
        wait.until(
            lambda: condition({"lb1": self.look()}, waited=0, limit=1).outcome == "done", 60, "it does not happen"
        )
        return self.look()


@contextmanager
def answering(path: Path) -> Iterator[int]:
    """The port of a HAProxy that answers every request with 200: it stands for as many engines as are wanted."""
    port = free_port()
    defaults = "defaults\n  mode http\n  timeout connect 9s\n  timeout client 9s\n  timeout server 9s\n"
    config = path / "answering.cfg"
    config.write_text(f"{defaults}frontend engines\n  bind 127.0.0.1:{port}\n  http-request return status 200\n")
    process = subprocess.Popen(["haproxy", "-db", "-f", str(config)], stderr=subprocess.DEVNULL)
    try:
        wait.until(lambda: listens(port), 60, "the answering HAProxy does not start")
        yield port
    finally:
        process.kill()
        process.wait()


def engine_at(host: str, port: int, **changes: Any) -> EngineSpec:
    """An engine host whose engine listens on a port of this machine."""
    return engine_spec(**{"host": host, "address": "127.0.0.1", "engine_port": port} | changes)


def listens(port: int) -> bool:
    """Whether something takes connections at a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def haproxy(tmp_path: Path, shell: Shell, programs: Programs) -> Iterator[HAProxy]:
    for program in ("haproxy", "socat"):
        assert shutil.which(program), f"{program} is not installed: run `make programs`"
    made = HAProxy(tmp_path, shell, programs)
    yield made
    made.stop()
