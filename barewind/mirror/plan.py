"""A host of the group `mirrors`: the distribution's registry package behind a firewall table of ours. Pure but for the
certificate's files, which are read on the controller."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from barewind.hosts import pem
from barewind.hosts.file import HostFile
from barewind.hosts.packet_filter import packet_filter
from barewind.hosts.paths import PROGRAMS, SETTINGS
from barewind.spec.keys import FILL_PORT as FILL_PORT
from barewind.spec.keys import MirrorSpec
from barewind.spec.site import Site
from barewind.templates import from_template

UNIT = "docker-registry.service"
TIMERS = ("barewind-mirror@collect.timer", "barewind-mirror@check.timer")
PACKAGES = ("docker-registry", "nftables")
FIREWALL_FILE = f"{SETTINGS}/mirror.nft"
FIREWALL_TABLE = "barewind_mirror"
CONFIG_FILE = f"{SETTINGS}/mirror.yml"
CERTIFICATE_FILE = f"{SETTINGS}/mirror.pem"
KEY_FILE = f"{SETTINGS}/mirror.key"
FILL_UNIT = "barewind-mirror-fill.service"
FILL_FILE = f"{SETTINGS}/mirror-fill.yml"
FILL_FIREWALL_FILE = f"{SETTINGS}/mirror-fill.nft"
FILL_FIREWALL_TABLE = "barewind_mirror_fill"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/barewind.conf"
PROGRAM = f"{PROGRAMS}/mirror-maintenance"
_RUNTIME_DIRECTORY = "barewind-mirror"  # under /run
_LOCK = "/run/barewind-mirror.lock"
PATIENCE = 10  # seconds that the writable registry waits for somebody who fills it

_SERVICE = f"""\
# Written by Barewind.
[Unit]
Description=Mirror: %i

[Service]
Type=oneshot
ExecStart={PROGRAM} %i
Nice=19
IOSchedulingClass=idle
"""
_FILL = f"""\
# Written by Barewind: the writable registry. `barewind mirror` starts it, and it ends by itself when nobody is connected.
[Unit]
Description=Mirror: being filled

[Service]
Type=notify
NotifyAccess=all
TimeoutStartSec=660
ExecStartPre=/usr/sbin/nft -f {FILL_FIREWALL_FILE}
ExecStart={PROGRAM} fill
ExecStopPost=-/usr/sbin/nft delete table inet {FILL_FIREWALL_TABLE}
"""
_TIMER = """\
# Written by Barewind.
[Timer]
OnCalendar={calendar}
RandomizedDelaySec={delay}
Persistent=true

[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True)
class MirrorPlan:
    """Files of one mirror: a change in `registry` wants a restart, in `units` a daemon-reload, in `firewall` nft alone.

    The `others` are read when they are needed.
    """

    registry: tuple[HostFile, ...]
    units: tuple[HostFile, ...]
    firewall: HostFile
    others: tuple[HostFile, ...]

    @property
    def files(self) -> tuple[HostFile, ...]:
        """All of them; the firewall first: nothing listens before it is there."""
        return (self.firewall, *self.registry, *self.units, *self.others)


def plan(spec: MirrorSpec, fleet: Iterable[str]) -> MirrorPlan:
    """Everything a mirror shall have; `fleet` are the addresses of hosts that may use it.

    Raises:
        BarewindError: the certificate or its key cannot be read, or others can read the key.
    """
    drop_in = HostFile(
        DROP_IN,
        from_template(
            "mirror/service.conf.j2",
            firewall_file=FIREWALL_FILE,
            config_file=CONFIG_FILE,
            program=PROGRAM,
            certificate_file=CERTIFICATE_FILE,
            key_file=KEY_FILE,
            runtime_directory=_RUNTIME_DIRECTORY,
            directory=spec.mirror_dir,
            tls=spec.mirror_tls,
        ),
    )
    return MirrorPlan(
        registry=(HostFile(CONFIG_FILE, _config(spec)), *_certificate(spec), drop_in),
        units=(
            drop_in,
            HostFile("/etc/systemd/system/barewind-mirror@.service", _SERVICE),
            HostFile(f"/etc/systemd/system/{FILL_UNIT}", _FILL),
            HostFile(f"/etc/systemd/system/{TIMERS[0]}", _TIMER.format(calendar="hourly", delay="10min")),
            HostFile(f"/etc/systemd/system/{TIMERS[1]}", _TIMER.format(calendar="weekly", delay="12h")),
        ),
        firewall=firewall(spec, fleet),
        others=(
            HostFile(FILL_FILE, _config(spec, fill=True)),
            HostFile(
                FILL_FIREWALL_FILE, from_template("mirror/fill.nft.j2", table=FILL_FIREWALL_TABLE, port=FILL_PORT)
            ),
            HostFile(PROGRAM, _program(spec), mode="755"),
        ),
    )


def read_config(text: str) -> dict[str, Any]:
    """The keys of the mirror that this text configures, the content of CONFIG_FILE; none if it is no such text."""
    try:
        config = yaml.safe_load(text)
        return {
            "mirror_port": int(config["http"]["addr"].rpartition(":")[2]),
            "mirror_dir": str(config["storage"]["filesystem"]["rootdirectory"]),
            "mirror_tls": "tls" in config["http"],
        }
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def clients(site: Site) -> list[str]:
    """Addresses of the fleet's hosts that may use a mirror: all but balancers."""
    addresses = [spec.address for spec in (*site.engines.values(), *site.mirrors.values())]
    return list(dict.fromkeys(addresses))


def firewall(spec: MirrorSpec, fleet: Iterable[str]) -> HostFile:
    """The nft rules of a mirror: its port answers `fleet`, its own clients and itself only."""
    rules = packet_filter(
        FIREWALL_TABLE,
        spec.mirror_port,
        {*fleet, spec.address, *spec.mirror_clients},
        comment=". The mirror answers the fleet's hosts, its own clients and the host itself, nobody else.",
    )
    return HostFile(FIREWALL_FILE, rules)


def _program(spec: MirrorSpec) -> str:
    return from_template(
        "mirror/maintenance.sh.j2",
        directory=spec.mirror_dir,
        config_file=CONFIG_FILE,
        port=spec.mirror_port,
        fill_file=FILL_FILE,
        fill_port=FILL_PORT,
        fill_table=FILL_FIREWALL_TABLE,
        lock=_LOCK,
        patience=PATIENCE,
    )


def _config(spec: MirrorSpec, *, fill: bool = False) -> str:
    return from_template(
        "mirror/registry.yml.j2",
        directory=spec.mirror_dir,
        listen=f"127.0.0.1:{FILL_PORT}" if fill else f"{spec.url_host}:{spec.mirror_port}",
        tls=spec.mirror_tls,
        fill=fill,
        runtime_directory=_RUNTIME_DIRECTORY,
    )


def _certificate(spec: MirrorSpec) -> tuple[HostFile, ...]:
    if not spec.mirror_tls:
        return ()
    certificate, key = spec.mirror_certificate or "", spec.mirror_key or ""
    texts = (pem.certificate("mirror_certificate", certificate), pem.private_key("mirror_key", key))
    return tuple(
        HostFile(path, text, mode="600") for path, text in zip((CERTIFICATE_FILE, KEY_FILE), texts, strict=True)
    )
