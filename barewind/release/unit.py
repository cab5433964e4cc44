"""The files that make a host run its release: unit, firewall, check of the weights. Plans decide; templates write down."""

from __future__ import annotations

import re
from collections.abc import Iterable

from barewind.docker.devices import device_nodes
from barewind.engines import ENGINES
from barewind.engines.base import ADMIN
from barewind.hosts.packet_filter import packet_filter
from barewind.plan import secrets
from barewind.plan.container import USER
from barewind.plan.engine import EnginePlan
from barewind.plan.names import (
    ADMIN_KEY_DIR,
    ADMIN_KEY_PROGRAM,
    CHECK_PROGRAM,
    CONTAINER,
    ENGINE_PORT,
    FIREWALL_FILE,
    FIREWALL_TABLE,
    HOST_OPTIONS,
    HOST_OPTIONS_FILE,
    HOST_PART,
    PREPARE_PROGRAM,
    RELEASE_LABEL,
    EngineNames,
    engine_names,
)
from barewind.release.host_part import divide_command
from barewind.spec.keys import BalancerSpec, EngineSpec
from barewind.spec.monitor import MonitorSpec
from barewind.templates import from_template

# What engines bind on every address though a single host needs none of it: torch's TCPStore takes the address that it is given
# for a name alone. Its port is chosen by the engine (from 22000 on, see barewind/engines/) or by the kernel, from 32768 on unless
# net.ipv4.ip_local_port_range says otherwise, which may go up to 65535. Without a state, so that nothing depends on connection
# tracking: answers to what the host itself began bear an ACK.
FIRST_CLOSED = 20000
_CLOSED = f"tcp flags & (fin | syn | rst | ack) == syn tcp dport {FIRST_CLOSED}-65535 drop"

# Processes and threads that a container may have per processor of its host. Each process of an engine starts several pools of a
# thread per processor (torch, OpenBLAS, tokenizers), and up to 32 compilers beside it do so again.
_THREADS = 512


def engine_unit(plan: EnginePlan) -> str:
    """The systemd unit of an engine. Replicas of a host that serve one release have the same: systemd puts in their numbers.

    Raises:
        BarewindError: the image is not locked.
    """
    names = _names(plan)
    lines = [
        ["/usr/bin/docker", "run"],
        *([option] for option in plan.container),
        [f"--label={RELEASE_LABEL}={plan.release}"],
        [plan.pinned_image, *secrets.arguments(plan.spec, list(plan.command.positional))],
        *(option.arguments() for option in plan.command.options),
    ]
    command = [" ".join(systemd_quoted(argument) for argument in line) for line in lines]
    if plan.spec.replica is not None:
        own = _own_words(plan, names)
        command = [own.get(line, line) for line in command]
    prepare = divide = ""
    if plan.spec.has_part:
        command.insert(1, f"${HOST_PART}")
        divide = divide_command(plan.spec)
    if plan.spec.container_hardening:
        command.insert(1, f"${HOST_OPTIONS}")  # as many words as the variable has
        prepare = " ".join([PREPARE_PROGRAM, plan.cache_directory, *device_nodes(plan.spec)])
    return from_template(
        "release/engine.service.j2",
        model=plan.served_model_name,
        release=plan.release,
        container=names.container,
        command=command,
        prepare=prepare,
        host_options_file=HOST_OPTIONS_FILE,
        divide=divide,
        host_part_file=names.host_part_file,
        secrets_file=secrets.file_path(str(plan.release)) if plan.secrets else None,
        directories=plan.directories,
        firewall_file=FIREWALL_FILE,
        admin_key=_admin_key(plan, names),
        check_program=CHECK_PROGRAM,
        shutdown_timeout=plan.spec.shutdown_timeout,
    )


def _own_words(plan: EnginePlan, names: EngineNames) -> dict[str, str]:
    """What differs between the replicas of a host: words of the command that they have in common, and what stands instead."""
    port = next(
        option for option in plan.command.options if option.flag == ENGINES[plan.spec.engine].keys.name("engine_port")
    )
    return {
        f"--name={CONTAINER}": f"--name={names.container}",
        f"--volume={ADMIN_KEY_DIR}:{ADMIN}:ro": f"--volume={names.admin_key_dir}:{ADMIN}:ro",
        " ".join(port.arguments()): f"{port.flag} ${{{ENGINE_PORT}}}",
    }


def _names(plan: EnginePlan) -> EngineNames:
    """The names that stand in a unit."""
    return engine_names(None if plan.spec.replica is None else "%i")


def _admin_key(plan: EnginePlan, names: EngineNames) -> str | None:
    """The command that makes the admin key of an engine that has one, for the user that its container runs as."""
    file = ENGINES[plan.spec.engine].admin_key
    if file is None:
        return None
    return f"{ADMIN_KEY_PROGRAM} {names.admin_key_dir}/{file.name} {container_user(plan)} {file.key}"


def container_user(plan: EnginePlan) -> str:
    """The user and group that an engine's container runs as, in numbers: root's where nothing is said."""
    said = (option.removeprefix("--user=") for option in plan.container if option.startswith("--user="))
    return next(said, "0:0")


def engine_firewall(
    spec: EngineSpec,
    balancers: Iterable[BalancerSpec],
    ssh_ports: Iterable[int],
    monitors: Iterable[MonitorSpec] = (),
) -> str:
    """The nft rules of an engine host: its engines' ports answer the balancers only, what else it may listen on nobody.

    + ssh_ports: where the host's sshd answers
    + monitors: those that ask engines for their metrics
    """
    watching = [monitor.address for monitor in monitors]
    asking = "the balancers, the monitors" if watching else "the balancers"
    return packet_filter(
        FIREWALL_TABLE,
        engine_ports(spec),
        [*(balancer.address for balancer in balancers), *watching],
        comment=f". The engine's port answers {asking} and the host itself, nobody else.",
        rules=[*(f"tcp dport {ports} accept" for ports in open_ports(spec, ssh_ports)), _CLOSED],
    )


def engine_ports(spec: EngineSpec) -> str:
    """The ports of all engines of a host, as nft writes them."""
    first = spec.engine_port - (spec.replica or 0)
    return str(first) if spec.replica is None else f"{first}-{first + spec.replicas - 1}"


def open_ports(spec: EngineSpec, ssh_ports: Iterable[int]) -> list[str]:
    """What stays open of the ports that an engine may bind, as nft writes it: ports and ranges, in order, each once."""
    ports = {str(port) for port in (*ssh_ports, spec.weights_port, *spec.open_ports)}
    return sorted(ports, key=lambda text: [int(part) for part in text.split("-")])


def stopping_rules(spec: EngineSpec) -> str:
    """The nft rules of a host whose engine is about to stop: whoever connects from elsewhere is refused at once."""
    table = engine_names(spec.replica).stopping_table
    return from_template("release/engine-stopping.nft.j2", table=table, port=spec.engine_port)


def stop_drop_in(unit: str, replica: int | None = None) -> str:
    """The drop-in that has a host refuse new connections before an engine stops; `unit` is the text of its unit.

    It is no part of the unit, so that a release of before, whose unit comes out of its record, gets it too. How the engine is
    stopped, and how long that may take, stays what the unit says.
    """
    names = engine_names(replica)
    return from_template(
        "release/engine-drop-in.conf.j2",
        table=names.stopping_table,
        stopping_file=names.stopping_file,
        stop=re.findall(r"^ExecStop=(.+)$", unit, re.MULTILINE),
    )


def admin_key_program() -> str:
    """The program that makes an engine's admin key before each start."""
    return from_template("release/admin-key.sh.j2")


def check_weights(intact: str) -> str:
    """The program that refuses changed weights before a start; `intact` is the shell test of a directory."""
    return from_template("release/check-weights.sh.j2", intact=intact)


def prepare_container() -> str:
    """The program that readies a host for a container whose user is not root: its cache, and options that depend on the host."""
    return from_template(
        "release/prepare-container.sh.j2", user=USER, file=HOST_OPTIONS_FILE, variable=HOST_OPTIONS, threads=_THREADS
    )


def systemd_quoted(argument: str) -> str:
    """An argument as a word of an ExecStart line (systemd.service: "Command lines"): `%` and `$` doubled, quoted if needed."""
    text = argument.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
