"""A host of the group `mirrors`: the distribution's registry package behind a firewall table of ours. Pure but for the
certificate's files, which are read on the controller."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from barewind.errors import BarewindError
from barewind.files import HostFile
from barewind.render import from_template
from barewind.spec import MirrorSpec

UNIT = "docker-registry.service"
TIMERS = ("barewind-mirror@collect.timer", "barewind-mirror@check.timer")
PACKAGES = ("docker-registry", "nftables")
FIREWALL_FILE = "/etc/barewind/mirror.nft"
CONFIG_FILE = "/etc/barewind/mirror.yml"
CERTIFICATE_FILE = "/etc/barewind/mirror.pem"
KEY_FILE = "/etc/barewind/mirror.key"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/barewind.conf"
PROGRAM = "/usr/local/lib/barewind/mirror-maintenance"
_RUNTIME_DIRECTORY = "barewind-mirror"  # under /run

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
    """Files of one mirror: a change in `registry` wants a restart, in `units` a daemon-reload, in `firewall` nft alone."""

    registry: tuple[HostFile, ...]
    units: tuple[HostFile, ...]
    firewall: HostFile
    program: HostFile

    @property
    def files(self) -> tuple[HostFile, ...]:
        """All of them; the firewall first: nothing listens before it is there."""
        return (self.firewall, *self.registry, *self.units, self.program)


def plan(spec: MirrorSpec, fleet: Iterable[str]) -> MirrorPlan:
    """Everything a mirror shall have; `fleet` are the addresses of hosts that may use it.

    Raises:
        BarewindError: the certificate or its key cannot be read, or others can read the key.
    """
    drop_in = HostFile(
        DROP_IN,
        from_template(
            "mirror-service.conf.j2",
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
            HostFile(f"/etc/systemd/system/{TIMERS[0]}", _TIMER.format(calendar="hourly", delay="10min")),
            HostFile(f"/etc/systemd/system/{TIMERS[1]}", _TIMER.format(calendar="weekly", delay="12h")),
        ),
        firewall=HostFile(
            FIREWALL_FILE,
            from_template(
                "mirror.nft.j2", port=spec.mirror_port, networks=sorted({*fleet, spec.address, *spec.mirror_clients})
            ),
        ),
        program=HostFile(
            PROGRAM,
            from_template(
                "mirror-maintenance.sh.j2", directory=spec.mirror_dir, config_file=CONFIG_FILE, port=spec.mirror_port
            ),
            mode="755",
        ),
    )


def _config(spec: MirrorSpec) -> str:
    host = f"[{spec.address}]" if ":" in spec.address else spec.address
    return from_template(
        "mirror.yml.j2",
        directory=spec.mirror_dir,
        listen=f"{host}:{spec.mirror_port}",
        tls=spec.mirror_tls,
        runtime_directory=_RUNTIME_DIRECTORY,
    )


def _certificate(spec: MirrorSpec) -> tuple[HostFile, ...]:
    if not spec.mirror_tls:
        return ()
    certificate = _read("mirror_certificate", spec.mirror_certificate, "-----BEGIN CERTIFICATE-----")
    key = _read("mirror_key", spec.mirror_key, "PRIVATE KEY-----", secret=True)
    return HostFile(CERTIFICATE_FILE, certificate, mode="600"), HostFile(KEY_FILE, key, mode="600")


def _read(name: str, file: str | None, mark: str, *, secret: bool = False) -> str:
    path = Path(file or "").expanduser()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BarewindError(f"{name} {path}: cannot be read ({error}); correct the key.") from error
    if secret and mode & 0o077:
        raise BarewindError(f"{name} {path}: mode {mode:04o} lets others read it; run: chmod 600 {path}")
    if mark not in text:
        raise BarewindError(f"{name} {path}: has no '{mark}' in it; name the file in PEM format.")
    return text
