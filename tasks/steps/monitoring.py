"""What watches the fleet: the hosts of the group `monitors`. Alone: pyinfra INVENTORY barewind.tasks.steps.monitoring.watch"""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.api.exceptions import PyinfraError

from barewind.drivers.vendors import vendor_of
from barewind.errors import BarewindError
from barewind.hosts.file import HostFile
from barewind.hosts.operations import ManagedFile
from barewind.monitoring import names
from barewind.monitoring.exporter import Cards, exporter
from barewind.monitoring.operations import Service, watching
from barewind.monitoring.plan import MonitorPlan, plan
from barewind.spec.keys import EngineSpec
from barewind.spec.monitor import MonitorSpec
from barewind.spec.site import Site
from barewind.tasks.run import fleet

_INSTALL = 900  # seconds


@deploy("Monitoring")
def watch() -> None:
    """Have hosts tell their figures, and monitors watch them; nothing where there are no monitors."""
    site = fleet().site
    if not site.monitors:
        return
    _exporter(site)
    if host.name in site.monitors:
        _monitor(site.monitors[host.name])


def _exporter(site: Site) -> None:
    engines = site.engine_hosts.get(host.name, ())
    monitors = list(site.monitors.values())
    others = {**site.balancers, **site.mirrors, **site.monitors}
    spec = engines[0] if engines else others[host.name]
    cards = _cards(engines[0]) if engines and monitors[0].gpu_exporter else None
    wanted = exporter(spec, engines, monitors, cards)
    watching(
        name="Exporter",
        packages=list(names.EXPORTER_PACKAGES),
        firewall=_managed(wanted.firewall),
        table=names.EXPORTER_FIREWALL_TABLE,
        services=[Service(names.EXPORTER_UNIT, (_managed(wanted.drop_in),))],
        others=[_managed(file) for file in wanted.others],
        timers=[names.FIGURES_TIMER],
        _timeout=_INSTALL,
    )


def _cards(spec: EngineSpec) -> Cards | None:
    vendor = vendor_of(spec)
    if vendor is None or not vendor.figures:
        return None
    return Cards(vendor.figures, vendor.kernel_errors, vendor.harmless_errors)


def _monitor(spec: MonitorSpec) -> None:
    wanted = _planned(spec)
    watching(
        name="Monitor",
        packages=list(names.PACKAGES),
        firewall=_managed(wanted.firewall),
        table=names.FIREWALL_TABLE,
        services=[
            Service(
                program.unit,
                tuple(map(_managed, program.restart)),
                tuple(map(_managed, program.reload)),
                program.check,
            )
            for program in wanted.programs
        ],
        others=[_managed(file) for file in wanted.targets],
        timers=[],
        _timeout=_INSTALL,
    )


def _planned(spec: MonitorSpec) -> MonitorPlan:
    try:
        return plan(spec, fleet().site)
    except BarewindError as error:
        raise PyinfraError(str(error)) from error


def _managed(file: HostFile) -> ManagedFile:
    return ManagedFile(file.path, file.content, file.mode)
