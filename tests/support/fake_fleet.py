"""A fleet of pyinfra's @fake hosts for the real `pyinfra` command: what they answer, and a clone of the repository to run in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from barewind.balancer.names import server_name
from barewind.lock import file as lock
from tests.support.factories import MEDIUM, engine_spec, locked

REPOSITORY = Path(__file__).parents[2]
PYINFRA = Path(sys.executable).with_name("pyinfra")
KERNEL = ["running=6.1.0-41-amd64", "headers=yes", "command_line=quiet", "numa_balancing=0", "cpu_vendor=GenuineIntel"]
CARDS = [f"0000:{number}7:00.0 0x10de 0x2335 0x030200 ." for number in range(8)]

# What is in only one of the commands about the lease.
LEASE = {"take": "! { over", "renew": "> $d/renewed.new", "release": "then rm -rf $d; fi"}

# Of a fake balancer's servers, which stay as they are.
_FINGERPRINT = "0" * 64

_CLOCK = """import time

class _Now(str):  # pyinfra's own commands write data down as JSON
    def __str__(self):
        return f"{time.time():.9f}"

"""
_SMI = "name,driver_version,uuid,pci.bus_id,mig.mode.current,persistence_mode,ecc.errors.uncorrected.volatile.total,"
# Eight H200 whose drivers the site keeps itself (accelerator_drivers = "external"), with everything in order.
READY: dict[str, list[str]] = {
    "pci": [card.replace(" .", " nvidia.") for card in CARDS],
    "nvidia_smi": [
        f"{_SMI}fabric.state,fabric.status,memory.total",
        *(
            f"NVIDIA H200, 580.126.09, GPU-{number}, 00000000:{number}7:00.0, Disabled, Enabled, 0, "
            "Completed, Success, 143771 MiB"
            for number in range(8)
        ),
    ],
    "nvidia_loaded": ["NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.126.09  Release Build"],
    "modinfo": ["nvidia version=580.126.09", "nvidia license=Dual MIT/GPL"],
    "units": [
        *("Id=nvidia-fabricmanager.service", "ActiveState=active", "UnitFileState=enabled", ""),
        *("Id=nvidia-persistenced.service", "ActiveState=active", "UnitFileState=enabled"),
    ],
    "cdi": [f'    - name: "{name}"' for name in (*range(8), "all")],
    "runtimes": ['{"nvidia": {"path": "nvidia-container-runtime"}, "runc": {"path": "runc"}}'],
    "packages": [
        "hi  580.126.09-1 nvidia-fabricmanager",
        "hi  1.20.0-1 nvidia-container-toolkit",
        "hi  20.10.24 docker.io",
    ],
}


def sections(**lines: list[str]) -> list[str]:
    """What a fact's script prints."""
    return [line for name, body in lines.items() for line in (f"@@barewind:{name}", *body)] + ["@@barewind:end"]


def responses(**host: list[str]) -> dict[str, Any]:
    """What a fresh host with eight H200 answers: in order, but for what is given, and with nothing installed yet."""
    facts = {
        "os": ["debian 12"],
        "machine": ["x86_64"],
        "init": ["systemd"],
        "memory": [str(2000 * 2**20)],
        "clock": [f"{time.time():.9f}"],
        "disks": [f"/var/lib/barewind {900 * 2**30} /", f"/var/lib/docker {900 * 2**30} /"],
        "pci": CARDS,
        "kernel": KERNEL,
        "shm": [str(1000 * 2**30)],
        "components": ["main"],
    }
    return {
        LEASE["take"]: ["@@lease taken 1/2"],
        LEASE["renew"]: ["@@lease kept 1/2"],
        LEASE["release"]: ["@@lease free"],
        "state drain": rotation("drain"),
        "state ready": rotation("ready"),
        f'-n "{_FINGERPRINT}"': ["@@balancer:unchanged", "@@balancer:end"],
        "show proc": ["@@balancer:absent", "@@balancer:end"],
        "/etc/os-release": sections(**facts | host),
        "docker info": sections(packages=[], daemon=[], active=[], enabled=[], info=[]),
        "echo @@barewind:cache": sections(cache=["present"]),
        "docker image ls": sections(images=["complete"], used=["complete"], history=[], events=[]),
        "echo @@barewind:image": sections(image=[]),
        "echo @@barewind:weights": sections(weights=[]),
        "ActiveState barewind-weights": ["", "inactive", "whole"],
        "ActiveState barewind-pull": sections(pull=["inactive"], present=["present"], last=[], size=[], error=[]),
        "echo @@barewind:state": sections(files=[], state=[], release=[]),
        "_SYSTEMD_INVOCATION_ID": sections(at=[], begin=[], phases=[], events=[]),
        "fincore": sections(files=[], resident=[], memory=[], system=[]),
        "echo @@barewind:answer": sections(answer=[]),
        "journalctl -u barewind-engine": gate(),
        "echo @@barewind:health": sections(health=[]),  # before anything is done
        "/proc/net/if_inet6": ["ipv6"],
        "is-active haproxy.service": sections(packages=[], files=[], active=[], enabled=[]),
    }


def rotation(
    admin: str = "ready", *servers: str, health: str = "up", requests: int = 0, weights: Mapping[str, int] | None = None
) -> list[str]:
    """What HAProxy's runtime API answers, in the shape that `barewind.balancer` asks for; weights that are not given are 100."""
    flags, up = {"ready": 0, "drain": 8}[admin], {"up": 2, "down": 0}[health]
    names = [(name, server_name(name)) for name in servers]
    lines = ["@@balancer:worker 12 current", "# pxname,svname,qcur,scur,"]
    lines += [f"engines,{own},0,{requests}," for _, own in names]
    lines += ["", "# bkname/svname used_cur", *(f"engines/{own} {requests}" for _, own in names)]
    lines += ["1", "# be_id be_name srv_name srv_op_state srv_admin_state srv_uweight srv_check_status srv_check_state"]
    lines += [f"4 engines {own} {up} {flags} {(weights or {}).get(name, 100)} 15 6" for name, own in names]
    return [*lines, f"@@balancer:fingerprint {_FINGERPRINT}", "@@balancer:end"]


def gate(*log: str, state: str = "active", model: str = MEDIUM) -> list[str]:
    """What a gate's look sees while it waits: an engine that passes, or with another state none that answers."""
    choice: dict[str, Any] = {"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    call = {"function": {"name": "set_unit", "arguments": '{"unit": "celsius"}'}}
    choices = {
        "completion": choice,
        "tool": {"message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "stop"},
        "reasoning_on": {"message": choice["message"] | {"reasoning": "Well"}, "finish_reason": "stop"},
        "reasoning_off": choice,
    }
    answers = {
        f"probe_{name}": [json.dumps({"choices": [choice], "usage": {"completion_tokens": 1}}), "200"]
        for name, choice in choices.items()
    }
    answering: dict[str, list[str]] = {
        "health": ["healthy"],
        "models": [json.dumps({"data": [{"id": model}]}), "200"],
        "metrics": ["vllm:num_requests_running 0"],
        **answers,
    }
    unit = [f"ActiveState={state}", "NRestarts=0", "Result=success"]
    return sections(**(answering if state == "active" else {}), unit=unit, log=list(log))


def serving(release: str = "old", **host: list[str]) -> dict[str, Any]:
    """What a host answers that serves a release."""
    state = {"state": ["ActiveState=active", "NeedDaemonReload=no", "UnitFileState=enabled"], "release": [release]}
    return responses(**READY | state | host)


def engine(number: int, answers: dict[str, Any] | None = None, **data: Any) -> tuple[str, dict[str, Any]]:
    """An engine host of the inventory."""
    values = {"address": f"10.0.0.{number}", "accelerator": "h200", "accelerator_count": 8}
    return (f"@fake/gpu{number}", values | data | {"fake_responses": answers or responses()})


def balancer() -> tuple[str, dict[str, Any]]:
    """A balancer of the inventory."""
    return ("@fake/lb1", {"address": "10.0.0.9", "fake_responses": responses(pci=[], disks=[])})


class Clone:
    """A user's clone of the repository: its own inventory and lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("config.py", "deploy.py"):
            shutil.copy(REPOSITORY / name, path / name)
        shutil.copytree(REPOSITORY / "tasks", path / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
        lock.write(locked(engine_spec()), path / "barewind.lock.yaml")

    def inventory(self, text: str | None = None, **groups: list[Any]) -> None:
        """Write site.py."""
        text = text or "".join(f"{name} = {hosts!r}\n" for name, hosts in groups.items())
        # Hosts tell the time of when they are asked, however long that takes.
        (self.path / "site.py").write_text(_CLOCK + re.sub(r"(?<='@@barewind:clock', )'[0-9.]+'", "_Now()", text))

    @property
    def environment(self) -> dict[str, str]:
        """Hosts answer at once; no registry can be asked from here."""
        return quick_hosts()

    def pyinfra(self, *arguments: str, every_step: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command. `every_step`: with -v, which names steps that change nothing too; else as people see it."""
        words = ["-v", *arguments] if every_step and "-y" in arguments else [*arguments]
        return subprocess.run(
            [PYINFRA, *words], cwd=self.path, env=self.environment, capture_output=True, text=True, timeout=600
        )


def quick_hosts() -> dict[str, str]:
    """The environment of a command whose @fake hosts answer at once, and from which no registry can be asked."""
    quick = {"PYINFRA_FAKE_DELAY": "0", "PYINFRA_FAKE_DELAY_JITTER": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    return os.environ | quick | {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "", "no_proxy": ""}
