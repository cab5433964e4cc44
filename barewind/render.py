"""Plans -> the files a host gets. Decisions are made before; the templates only write them down."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from barewind import catalog
from barewind.balancer import BACKEND, MASTER_SOCKET, STATE_FILE, STATE_PROGRAM, WEIGHT
from barewind.plan import CONTAINER, EnginePlan
from barewind.spec import BalancerSpec, EngineSpec

UNIT = "barewind-engine.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
FIREWALL_FILE = "/etc/barewind/engine.nft"
CHECK_PROGRAM = "/usr/local/lib/barewind/check-weights"
HAPROXY_FILE = "/etc/haproxy/haproxy.cfg"
HAPROXY_DROP_IN = "/etc/systemd/system/haproxy.service.d/barewind.conf"
RELEASE_LABEL = "barewind.release"

_COMMON_HEALTH_PATH = "/health"  # every engine has it, if not as the best one: for fleets of several engines
_TEMPLATES = Path(__file__).parent.parent / "templates"


def engine_unit(plan: EnginePlan) -> str:
    """The systemd unit of an engine host.

    Raises:
        BarewindError: the image is not locked.
    """
    lines = [
        ["/usr/bin/docker", "run"],
        *([option] for option in plan.container),
        [f"--label={RELEASE_LABEL}={plan.release}"],
        [plan.pinned_image, *plan.command.positional],
        *(option.arguments() for option in plan.command.options),
    ]
    return from_template(
        "engine.service.j2",
        model=plan.served_model_name,
        release=plan.release,
        container=CONTAINER,
        command=[" ".join(systemd_quoted(argument) for argument in line) for line in lines],
        directories=plan.directories,
        firewall_file=FIREWALL_FILE,
        check_program=CHECK_PROGRAM,
        shutdown_timeout=plan.spec.shutdown_timeout,
    )


def engine_firewall(spec: EngineSpec, balancers: list[BalancerSpec]) -> str:
    """The nft rules of an engine host: its port answers the balancers only."""
    addresses = sorted(balancer.address for balancer in balancers)
    return from_template("engine.nft.j2", port=spec.engine_port, balancers=addresses)


def check_weights(intact: str) -> str:
    """The program that refuses changed weights; `intact` is the shell test of one directory."""
    return from_template("check-weights.sh.j2", intact=intact)


def haproxy_config(balancer: BalancerSpec, engines: list[EngineSpec]) -> str:
    """The configuration of one balancer over every engine host."""
    paths = {catalog.engines()[spec.engine].health_path for spec in engines}
    path = paths.pop() if len(paths) == 1 else _COMMON_HEALTH_PATH
    return from_template(
        "haproxy.cfg.j2", balancer=balancer, engines=engines, health_path=path, state_file=STATE_FILE, weight=WEIGHT
    )


def haproxy_drop_in() -> str:
    """What is added to HAProxy's unit: servers' states outlive reloads, drains outlive restarts and reboots."""
    return from_template("haproxy-service.conf.j2", state_program=STATE_PROGRAM)


def haproxy_state_program() -> str:
    """The program that saves servers' states; the unit runs it, and so does every drain and return."""
    return from_template(
        "haproxy-state.sh.j2",
        state_file=STATE_FILE,
        config_file=HAPROXY_FILE,
        master_socket=MASTER_SOCKET,
        backend=BACKEND,
        weight=WEIGHT,
    )


def systemd_quoted(argument: str) -> str:
    """One word of an ExecStart line (systemd.service: "Command lines"): `%` and `$` doubled, the rest quoted if needed."""
    text = argument.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=False,  # noqa: S701 - unit files and configurations, no HTML
    )


def from_template(name: str, **values: Any) -> str:
    """A file of templates/, filled in."""
    return _environment().get_template(name).render(**values)
