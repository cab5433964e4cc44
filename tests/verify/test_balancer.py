"""Every balancer sends requests to every engine."""

from __future__ import annotations

import csv
import io
import json

from barewind.balancer import peers
from barewind.balancer.config import (
    HAPROXY_DROP_IN,
    HAPROXY_FILE,
    haproxy_config,
    haproxy_drop_in,
    haproxy_state_program,
    tokens_program,
)
from barewind.balancer.names import STATE_PROGRAM, TOKENS_PROGRAM, server_name
from barewind.engines import ENGINES
from barewind.gate.facts import is_completion, request
from barewind.verify.findings import firewall
from barewind.verify.hosts import Balancer

SOCKET = "/run/haproxy/barewind.sock"
LOG = "read the log: journalctl -u haproxy.service"


def test_service_is_active_and_starts_at_boot(balancer: Balancer) -> None:
    states = balancer.host.run(
        "systemctl is-active haproxy.service; systemctl is-enabled haproxy.service"
    ).stdout.split()
    balancer.expect(states == ["active", "enabled"], "haproxy.service active and enabled", states, LOG)


def test_configuration_is_as_planned(balancer: Balancer) -> None:
    ipv6 = balancer.host.file("/proc/net/if_inet6").exists
    expected = haproxy_config(
        balancer.spec,
        [plan.spec for plan in balancer.plans.values()],
        ipv6=ipv6,
        monitors=balancer.site.monitors.values(),
        balancers=balancer.site.balancers.values(),
    )
    text = balancer.host.run(f"cat {HAPROXY_FILE}").stdout
    balancer.expect(text == expected, f"{HAPROXY_FILE} as planned", "another text", "deploy again")


def test_drains_outlive_reloads_and_restarts(balancer: Balancer) -> None:
    rules = peers.firewall(balancer.spec, balancer.site.balancers.values())
    for path, expected in (
        (HAPROXY_DROP_IN, haproxy_drop_in(rules.path if rules else None)),
        (STATE_PROGRAM, haproxy_state_program()),
        (TOKENS_PROGRAM, tokens_program()),
    ):
        text = balancer.host.run(f"cat {path}").stdout
        balancer.expect(text == expected, f"{path} as planned", "another text", "deploy again")


def test_balancers_alone_tell_what_keys_have_asked_for(balancer: Balancer) -> None:
    rules = peers.firewall(balancer.spec, balancer.site.balancers.values())
    if rules is not None:
        balancer.refuse(firewall(balancer.host, rules, peers.FIREWALL_TABLE))


def test_every_engine_is_up(balancer: Balancer) -> None:
    answer = balancer.host.run(f"echo 'show stat' | socat - UNIX-CONNECT:{SOCKET}").stdout
    rows = csv.DictReader(io.StringIO(answer.removeprefix("# ")))
    states = {row["svname"]: row["status"] for row in rows if row["pxname"] == "engines" and row["svname"] != "BACKEND"}
    expected = {server_name(name): "UP" for name in balancer.plans}
    balancer.expect(states == expected, f"server states {expected}", states, "look at the engines that are not UP")


def test_completion_through_the_balancer(balancer: Balancer) -> None:
    for model in sorted({plan.served_model_name for plan in balancer.plans.values()}):
        answer = balancer.host.run(request(f"http://127.0.0.1:{balancer.spec.endpoint_port}", model, probe=True))
        balancer.expect(
            is_completion(answer.stdout), f"a chat completion of {model}", answer.stdout or answer.stderr, LOG
        )


def test_stats_socket_is_for_root_only(balancer: Balancer) -> None:
    mode = balancer.host.run(f"stat -c '%a %U %G' {SOCKET}").stdout.strip()
    balancer.expect(mode == "600 root root", f"{SOCKET} 600 root root", mode, "deploy again")


def _answer(balancer: Balancer, path: str, method: str = "GET") -> tuple[str, dict[str, str]]:
    """Status and error of the endpoint's answer on the balancer itself."""
    url = f"http://127.0.0.1:{balancer.spec.endpoint_port}{path}"
    output = balancer.host.run(f"curl -s -m 20 --path-as-is -X {method} -d '' -w '\\n%{{http_code}}' '{url}'").stdout
    body, _, status = output.rpartition("\n")
    try:
        error = json.loads(body)["error"]
    except (KeyError, TypeError, ValueError):
        error = {}
    return status, error


def test_health_is_answered(balancer: Balancer) -> None:
    url = f"http://127.0.0.1:{balancer.spec.endpoint_port}/health"
    status = balancer.host.run(f"curl -s -m 20 -o /dev/null -w '%{{http_code}}' {url}").stdout
    balancer.expect(status == "200", "200 for GET /health", status, LOG)


def test_unknown_paths_end_at_the_balancer_in_json(balancer: Balancer) -> None:
    for path in ("/", "/v1/models/", "//v1/models", "/v1%2fmodels", "/docs"):
        status, error = _answer(balancer, path)
        found = (status, error.get("code"))
        balancer.expect(found == ("404", "not_found"), f"404 in JSON for {path}", found, "deploy again")


def test_nothing_of_an_engines_inside_is_reachable(balancer: Balancer) -> None:
    engines = {plan.spec.engine for plan in balancer.plans.values()}
    for path in sorted(
        {path for name in engines for path in (*ENGINES[name].admin_paths, *ENGINES[name].admin_prefixes)}
    ):
        status, _ = _answer(balancer, path, "POST")
        balancer.expect(status == "404", f"404 for POST {path}", status, "deploy again")


def test_haproxy_is_in_its_empty_room(balancer: Balancer) -> None:
    roots = balancer.host.run(
        "for pid in $(pgrep -u haproxy haproxy); do readlink /proc/$pid/root; done"
    ).stdout.split()
    balancer.expect(
        bool(roots) and set(roots) == {"/var/lib/haproxy"}, "workers in /var/lib/haproxy", roots, "deploy again"
    )


def test_requests_are_logged_without_their_query(balancer: Balancer) -> None:
    url = f"http://127.0.0.1:{balancer.spec.endpoint_port}/v1/models?barewind=verify"
    mark = balancer.host.run(
        f"curl -s -m 20 -o /dev/null -D - '{url}' | tr -d '\\r' | sed -n 's/^x-request-id: //Ip'"
    ).stdout.strip()
    script = f"for i in $(seq 50); do journalctl -u haproxy.service -n 1000 -o cat | grep -F '{mark}' && break; sleep 0.1; done"
    line = balancer.host.run(script).stdout.strip()
    good = bool(mark and line) and "barewind=verify" not in line
    balancer.expect(good, "a line with the request's id and no query", line or "no line", LOG)
