"""Specs -> the files of a balancer."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256

from barewind.balancer import answers, peers
from barewind.balancer import limits as limit
from barewind.balancer.base_weights import base_weights
from barewind.balancer.log import log_format
from barewind.balancer.names import (
    BACKEND,
    ENDPOINT_PEM,
    KEYS_MAP,
    MASTER_SOCKET,
    STATE_FILE,
    STATE_PROGRAM,
    TOKENS_PROGRAM,
    server_name,
)
from barewind.balancer.paths import HEALTH, passed_on
from barewind.balancer.servers import MOST_WEIGHT, WEIGHT
from barewind.engines import ENGINES
from barewind.engines.base import common_path
from barewind.spec.keys import BalancerSpec, EngineSpec
from barewind.spec.monitor import MonitorSpec
from barewind.spec.values import url_host
from barewind.templates import from_template, text_of

HAPROXY_FILE = "/etc/haproxy/haproxy.cfg"
HAPROXY_DROP_IN = "/etc/systemd/system/haproxy.service.d/barewind.conf"


def haproxy_config(
    balancer: BalancerSpec,
    engines: list[EngineSpec],
    *,
    ipv6: bool = True,
    monitors: Collection[MonitorSpec] = (),
    balancers: Collection[BalancerSpec] = (),
) -> str:
    """The configuration of one balancer over every engine host.

    + ipv6: whether the balancer's kernel has IPv6; HAProxy does not start where it binds to what is not there
    + monitors: who may ask for metrics, on a port of its own; without any there is none
    + balancers: all of the fleet, whose requests count for the limits of keys
    """
    used = [ENGINES[name] for name in dict.fromkeys(spec.engine for spec in engines)]
    path = common_path(used)
    assert path is not None, "validation refuses engines that have no path in common"  # noqa: S101
    limits = limit.limits(balancer, engines)
    weights = base_weights(engines) | {spec.name: 0 for spec in engines if spec.standby}
    paths = passed_on(used, balancer.endpoint_paths)
    others = peers.others(balancer, balancers)
    return from_template(
        "balancer/haproxy.cfg.j2",
        balancer=balancer,
        engines=engines,
        ipv6=ipv6,
        tls=f" ssl crt {ENDPOINT_PEM} alpn h2,http/1.1 ssl-min-ver TLSv1.2" if balancer.endpoint_tls else "",
        limits=limits,
        connections=limit.CONNECTIONS,
        buffer=limit.BUFFER,
        headers=limit.HEADERS,
        arrival=limit.ARRIVAL,
        window=limit.WINDOW,
        refusal_time=limit.REFUSAL_TIME,
        header_time=limit.HEADER_TIME,
        silence=limit.SILENCE,
        paths=paths,
        methods=sorted({one.method for one in paths}),
        health=HEALTH,
        health_path=path,
        errors=answers.ERRORS,
        no_path=answers.NO_PATH,
        no_engine=answers.NO_ENGINE,
        no_method=answers.no_method,
        no_length=answers.NO_LENGTH,
        body_of_get=answers.BODY_OF_GET,
        long_headers=answers.LONG_HEADERS,
        too_large=answers.too_large(limits.max_body),
        code_header=answers.CODE_HEADER,
        exposed=", ".join(answers.EXPOSED),
        log_format=log_format(),
        keyed=not balancer.endpoint_open,
        keys_map=KEYS_MAP,
        keys_table=lambda one: peers.table(one, balancers),
        others=others,
        peers_address=balancer.address if others else "127.0.0.1",
        tokens_program=TOKENS_PROGRAM,
        tokens_sha256=sha256(tokens_program().encode()).hexdigest(),
        failures=limit.FAILURES,
        no_key=answers.NO_KEY,
        expired_key=answers.EXPIRED_KEY,
        too_often=answers.TOO_OFTEN,
        too_parallel=answers.TOO_PARALLEL,
        too_many_tokens=answers.TOO_MANY_TOKENS,
        too_many_failures=answers.TOO_MANY_FAILURES,
        queue_full=answers.QUEUE_FULL,
        too_many=answers.too_many(limits.requests_per_client),
        server_name=server_name,
        state_file=STATE_FILE,
        usual_weight=WEIGHT,
        weights=weights,
        metrics_port=next((monitor.balancer_metrics_port for monitor in monitors), None),
        monitors=[monitor.address for monitor in monitors],
    )


def tokens_program() -> str:
    """The program in HAProxy that reads what answers tell of their tokens."""
    return text_of("balancer/tokens.lua")


def curl_options(balancer: BalancerSpec) -> tuple[str, ...]:
    """Options with which curl, on the balancer itself, reaches its own endpoint by the name that clients use. It trusts the
    balancer's own certificate and no other: who issued it, a balancer need not know."""
    if balancer.endpoint_name is None:
        return ()
    port = balancer.endpoint_port
    there = "--connect-to", f"{url_host(balancer.endpoint_name)}:{port}:{balancer.url_host}:{port}"
    return ("--cacert", ENDPOINT_PEM, *there) if balancer.endpoint_tls else there


def haproxy_drop_in(firewall_file: str | None = None) -> str:
    """The drop-in of HAProxy's unit: servers' states outlive reloads, drains outlive restarts and reboots.

    + firewall_file: rules for nft that must be there before HAProxy listens
    """
    return from_template("balancer/haproxy-service.conf.j2", state_program=STATE_PROGRAM, firewall_file=firewall_file)


def haproxy_state_program() -> str:
    """The program that saves servers' states; the unit runs it, and so does every drain and undrain."""
    return from_template(
        "balancer/haproxy-state.sh.j2",
        state_file=STATE_FILE,
        config_file=HAPROXY_FILE,
        master_socket=MASTER_SOCKET,
        backend=BACKEND,
        most_weight=MOST_WEIGHT,
    )
