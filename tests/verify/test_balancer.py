"""Every balancer sends requests to every engine."""

from __future__ import annotations

import csv
import io

from barewind import render
from barewind.balancer import STATE_PROGRAM
from barewind.facts.completion import is_completion, request
from tests.verify.conftest import Balancer

SOCKET = "/run/haproxy/barewind.sock"
LOG = "read the log: journalctl -u haproxy.service"


def test_service_is_active_and_starts_at_boot(balancer: Balancer) -> None:
    show = balancer.host.run("systemctl is-active haproxy.service; systemctl is-enabled haproxy.service").stdout.split()
    balancer.expect(show == ["active", "enabled"], "haproxy.service active and enabled", show, LOG)


def test_configuration_is_as_planned(balancer: Balancer) -> None:
    expected = render.haproxy_config(balancer.spec, [plan.spec for plan in balancer.plans.values()])
    found = balancer.host.run(f"cat {render.HAPROXY_FILE}").stdout
    balancer.expect(found == expected, f"{render.HAPROXY_FILE} as planned", "another text", "deploy again")


def test_drains_outlive_reloads_and_restarts(balancer: Balancer) -> None:
    for path, expected in (
        (render.HAPROXY_DROP_IN, render.haproxy_drop_in()),
        (STATE_PROGRAM, render.haproxy_state_program()),
    ):
        found = balancer.host.run(f"cat {path}").stdout
        balancer.expect(found == expected, f"{path} as planned", "another text", "deploy again")


def test_every_engine_is_up(balancer: Balancer) -> None:
    answer = balancer.host.run(f"echo 'show stat' | socat - UNIX-CONNECT:{SOCKET}").stdout
    rows = csv.DictReader(io.StringIO(answer.removeprefix("# ")))
    states = {row["svname"]: row["status"] for row in rows if row["pxname"] == "engines" and row["svname"] != "BACKEND"}
    expected = dict.fromkeys(balancer.plans, "UP")
    balancer.expect(states == expected, f"server states {expected}", states, "look at the engines that are not UP")


def test_completion_through_the_balancer(balancer: Balancer) -> None:
    for model in sorted({plan.served_model_name for plan in balancer.plans.values()}):
        answer = balancer.host.run(request(f"http://127.0.0.1:{balancer.spec.endpoint_port}", model))
        balancer.expect(
            is_completion(answer.stdout), f"a chat completion of {model}", answer.stdout or answer.stderr, LOG
        )


def test_stats_socket_is_for_root_only(balancer: Balancer) -> None:
    found = balancer.host.run(f"stat -c '%a %U %G' {SOCKET}").stdout.strip()
    balancer.expect(found == "600 root root", f"{SOCKET} 600 root root", found, "deploy again")
