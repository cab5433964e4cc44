"""What a watched host has: the distribution's node exporter behind a firewall table of ours, and a program of ours whose figures
it shows. It listens without a password, as engines do: to the monitors alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from barewind.balancer.limits import slots
from barewind.balancer.maintenance import FILE as MAINTENANCE_FILE
from barewind.balancer.names import server_name
from barewind.hosts.file import HostFile
from barewind.hosts.packet_filter import packet_filter
from barewind.lease.commands import DIRECTORY as LEASE_DIRECTORY
from barewind.monitoring import names
from barewind.plan.names import RELEASE_LABEL, engine_names
from barewind.spec.host import HostSpec
from barewind.spec.keys import EngineSpec
from barewind.spec.monitor import MonitorSpec
from barewind.templates import from_template, text_of

# Units whose state and restarts a monitor sees.
_UNITS = r"(barewind-.*|docker|haproxy|.*-(fabricmanager|persistenced)|prometheus.*)\.service"
# What engines say of memory that was not there: torch's and the drivers' words.
_MEMORY_ERRORS = "out of memory|OutOfMemoryError|alloc_req_slots runs out of memory"

_SERVICE = f"""\
# Written by Barewind.
[Unit]
Description=Figures of this host for monitors

[Service]
Type=oneshot
ExecStart={names.FIGURES_PROGRAM}
StateDirectory=barewind-figures
TimeoutStartSec=60
Nice=10
"""
_TIMER = """\
# Written by Barewind.
[Timer]
OnBootSec=15
OnUnitActiveSec=15
AccuracySec=1

[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True)
class Cards:
    """How a vendor's cards tell of themselves.

    + functions: file of templates/ with the shell functions
    + errors, harmless: extended regular expressions of lines of the kernel's log, and those of them that are no errors
    """

    functions: str
    errors: Sequence[str] = ()
    harmless: Sequence[str] = ()


@dataclass(frozen=True)
class ExporterPlan:
    """Files of a watched host: the drop-in wants a restart, the others are read when they are needed."""

    firewall: HostFile
    drop_in: HostFile
    others: tuple[HostFile, ...]


def exporter(
    spec: HostSpec, engines: Sequence[EngineSpec], monitors: Iterable[MonitorSpec], cards: Cards | None
) -> ExporterPlan:
    """What a host shall have beside its role; `engines` are those that it runs, `cards` None where nothing tells of any."""
    watching = list(monitors)
    port = watching[0].node_exporter_port
    text = from_template(
        "monitoring/node-exporter-service.conf.j2",
        firewall_file=names.EXPORTER_FIREWALL_FILE,
        listen=f"{spec.url_host}:{port}",
        units=f"'{_UNITS}'".replace("\\", "\\\\"),
        directory=names.TEXTFILES,
    )
    rules = packet_filter(
        names.EXPORTER_FIREWALL_TABLE,
        port,
        {monitor.address for monitor in watching},
        comment=". The node exporter answers the monitors and the host itself, nobody else.",
    )
    return ExporterPlan(
        firewall=HostFile(names.EXPORTER_FIREWALL_FILE, rules),
        drop_in=HostFile(names.drop_in(names.EXPORTER_UNIT), text),
        others=(
            HostFile(names.FIGURES_PROGRAM, figures_program(engines, cards), mode="755"),
            HostFile(f"/etc/systemd/system/{names.FIGURES_UNIT}", _SERVICE),
            HostFile(f"/etc/systemd/system/{names.FIGURES_TIMER}", _TIMER),
        ),
    )


def figures_program(engines: Sequence[EngineSpec], cards: Cards | None) -> str:
    """The program that writes a host's figures."""
    return from_template(
        "monitoring/figures.sh.j2",
        directory=names.TEXTFILES,
        maintenance_file=MAINTENANCE_FILE,
        lease_directory=LEASE_DIRECTORY,
        release_label=RELEASE_LABEL,
        engines=[
            {
                "container": engine_names(spec.replica).container,
                "unit": engine_names(spec.replica).unit,
                "labels": _labels(spec),
                "sequences": places,
            }
            for spec, places in zip(engines, slots(engines).values(), strict=True)
        ],
        accelerators=engines[0].accelerator_count if engines and cards else 0,
        memory_errors=_MEMORY_ERRORS,
        kernel_errors="|".join(f"({error})" for error in cards.errors) if cards else "",
        harmless_errors="|".join(f"({error})" for error in cards.harmless) if cards else "",
        gpu_figures=cards is not None,
        vendor_functions=text_of(cards.functions) if cards else "",
    )


def _labels(spec: EngineSpec) -> str:
    """The labels of one engine's figures, as a word between double quotes of a shell has them."""
    labels = {"server": server_name(spec.name), "runtime": spec.engine}
    if spec.replica is not None:
        labels["replica"] = str(spec.replica)
    return ",".join(f'{name}=\\"{value}\\"' for name, value in labels.items())
