"""A host of the group `monitors`: the distribution's Prometheus and Alertmanager behind a firewall table of ours. Pure but for
secrets and certificates, which are read on the controller."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass

import bcrypt
import yaml

from barewind import secrets
from barewind.errors import BarewindError
from barewind.hosts import pem
from barewind.hosts.file import HostFile
from barewind.hosts.packet_filter import packet_filter
from barewind.monitoring import names
from barewind.monitoring.alertmanager import alertmanager_config, secret_name
from barewind.monitoring.prometheus import prometheus_config
from barewind.monitoring.rules import INTERVAL, rules_file
from barewind.monitoring.targets import series, targets, targets_file
from barewind.spec.monitor import MonitorSpec
from barewind.spec.site import Site
from barewind.templates import from_template

_ROUNDS = 10  # of bcrypt: a scrape's password is looked up in memory once it has been right
_LONGEST_PASSWORD = 72  # bytes that bcrypt reads
_BYTES_A_SAMPLE = 2.3  # measured: six hours of an engine's series at 15 s, 544320 samples, 1.25 MB
_SPARE = 2**30  # bytes: the write-ahead log of the last hours
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BCRYPT = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True)
class Program:
    """A program of a monitor: a change in `restart` wants a restart, in `reload` a reload; `check` judges its configuration."""

    unit: str
    restart: tuple[HostFile, ...]
    reload: tuple[HostFile, ...]
    check: str


@dataclass(frozen=True)
class MonitorPlan:
    """What a monitor shall have. Targets are read when they are written."""

    programs: tuple[Program, ...]
    firewall: HostFile
    targets: tuple[HostFile, ...]

    @property
    def files(self) -> tuple[HostFile, ...]:
        """All of them, each once; the firewall first: nothing listens before it is there."""
        parts = [file for program in self.programs for file in (*program.restart, *program.reload)]
        return tuple({file.path: file for file in (self.firewall, *self.targets, *parts)}.values())


def plan(spec: MonitorSpec, site: Site) -> MonitorPlan:
    """Everything a monitor shall have.

    Raises:
        BarewindError: a file of a secret or a certificate cannot be read, or others can read a secret's.
    """
    secret = _secrets(spec)
    web = HostFile(f"{names.SECRETS}/web.yml", _web(spec), mode="600")
    certificate = _certificate(spec)
    authority = (HostFile(names.CA_FILE, pem.certificate("monitor_ca", spec.monitor_ca)),) if spec.monitor_ca else ()
    password = HostFile(f"{names.SECRETS}/password", _password(spec), mode="600")
    return MonitorPlan(
        programs=(
            Program(
                names.PROMETHEUS_UNIT,
                restart=(web, password, *certificate, _prometheus_drop_in(spec, (web, password, *certificate))),
                reload=(
                    HostFile(names.RULES_FILE, rules_file(spec.thresholds)),
                    *authority,
                    HostFile(names.PROMETHEUS_FILE, prometheus_config(spec, site)),
                ),
                check=f"promtool check config --syntax-only {names.PROMETHEUS_FILE} && promtool check rules {names.RULES_FILE}",
            ),
            Program(
                names.ALERTMANAGER_UNIT,
                restart=(web, *certificate, *secret, _alertmanager_drop_in(spec, site, (web, *certificate, *secret))),
                reload=(HostFile(names.ALERTMANAGER_FILE, alertmanager_config(spec)),),
                check=f"amtool check-config {names.ALERTMANAGER_FILE}",
            ),
        ),
        firewall=firewall(spec, site),
        targets=tuple(
            HostFile(f"{names.TARGETS}/{job}.json", targets_file(found)) for job, found in targets(site, spec).items()
        ),
    )


def firewall(spec: MonitorSpec, site: Site) -> HostFile:
    """The nft rules of a monitor: its programs answer its clients, the other monitors and itself; their talk is their own."""
    peers = sorted(monitor.address for monitor in site.monitors.values() if monitor.address != spec.address)
    peer = spec.alertmanager_peer_port
    rules = [
        f"{'ip6' if ':' in address else 'ip'} saddr {address} {protocol} dport {peer} accept"
        for address in peers
        for protocol in ("tcp", "udp")
    ]
    text = packet_filter(
        names.FIREWALL_TABLE,
        f"{{ {spec.monitor_port}, {spec.alertmanager_port} }}",
        {*peers, spec.address, *spec.monitor_clients},
        comment=". The monitor answers its own clients, other monitors and the host itself, nobody else.",
        rules=[*rules, f"meta l4proto {{ tcp, udp }} th dport {peer} drop"],
    )
    return HostFile(names.FIREWALL_FILE, text)


def disk_bytes(spec: MonitorSpec, site: Site) -> int:
    """What the retention of a monitor takes: the site's series over its days, or its size where that is less."""
    samples = series(site) * (86400 / INTERVAL) * spec.monitor_retention_days
    needed = samples * _BYTES_A_SAMPLE
    if spec.monitor_retention_gb is not None:
        needed = min(needed, spec.monitor_retention_gb * 2**30)
    return round(needed) + _SPARE


def _prometheus_drop_in(spec: MonitorSpec, secret_files: Iterable[HostFile]) -> HostFile:
    text = from_template(
        "monitoring/prometheus-service.conf.j2",
        firewall_file=names.FIREWALL_FILE,
        directory=spec.monitor_dir,
        runtime_directory=names.PROMETHEUS_RUN,
        secret_files=[file.path for file in secret_files],
        config_file=names.PROMETHEUS_FILE,
        listen=f"{spec.url_host}:{spec.monitor_port}",
        web_file="web.yml",
        days=spec.monitor_retention_days,
        gigabytes=spec.monitor_retention_gb,
    )
    return HostFile(names.drop_in(names.PROMETHEUS_UNIT), text)


def _alertmanager_drop_in(spec: MonitorSpec, site: Site, secret_files: Iterable[HostFile]) -> HostFile:
    peers = [monitor for monitor in site.monitors.values() if monitor.address != spec.address]
    text = from_template(
        "monitoring/alertmanager-service.conf.j2",
        firewall_file=names.FIREWALL_FILE,
        runtime_directory=names.ALERTMANAGER_RUN,
        secret_files=[file.path for file in secret_files],
        config_file=names.ALERTMANAGER_FILE,
        listen=f"{spec.url_host}:{spec.alertmanager_port}",
        web_file="web.yml",
        peer_listen=f"{spec.url_host}:{spec.alertmanager_peer_port}" if peers else "",
        peers=[f"{peer.url_host}:{peer.alertmanager_peer_port}" for peer in peers],
    )
    return HostFile(names.drop_in(names.ALERTMANAGER_UNIT), text)


def _web(spec: MonitorSpec) -> str:
    """How both programs are asked: by the password alone, over TLS unless the site says otherwise."""
    document: dict[str, object] = {"basic_auth_users": {names.USER: _hash(spec)}}
    if spec.monitor_tls:
        document["tls_server_config"] = {"cert_file": "monitor.pem", "key_file": "monitor.key"}  # beside this file
    return yaml.safe_dump(document)


def _certificate(spec: MonitorSpec) -> tuple[HostFile, ...]:
    if not spec.monitor_tls:
        return ()
    return (
        HostFile(
            f"{names.SECRETS}/monitor.pem",
            pem.certificate("monitor_certificate", spec.monitor_certificate or ""),
            mode="600",
        ),
        HostFile(f"{names.SECRETS}/monitor.key", pem.private_key("monitor_key", spec.monitor_key or ""), mode="600"),
    )


def _secrets(spec: MonitorSpec) -> tuple[HostFile, ...]:
    return tuple(
        HostFile(
            f"{names.SECRETS}/{secret_name(name)}",
            secrets.read_line(f"receivers.{name}.secret_file", receiver.secret_file),
            mode="600",
        )
        for name, receiver in spec.receivers.items()
        if receiver.secret_file is not None
    )


def _password(spec: MonitorSpec) -> str:
    password = secrets.read_line("monitor_password_file", spec.monitor_password_file)
    if len(password.encode()) > _LONGEST_PASSWORD:
        raise BarewindError(
            f"monitor_password_file {spec.monitor_password_file}: is longer than {_LONGEST_PASSWORD} bytes, "
            "of which bcrypt reads no more; shorten it"
        )
    return password


def _hash(spec: MonitorSpec) -> str:
    """The password as bcrypt has it. The salt follows from host and password, so that a second deploy changes nothing; it tells
    no more than whether both are the same as before."""
    password = _password(spec)
    salt = bytes.fromhex(secrets.fingerprint(f"monitor {spec.host}", password))
    letters = base64.b64encode(salt).rstrip(b"=").translate(bytes.maketrans(_BASE64, _BCRYPT))
    return bcrypt.hashpw(password.encode(), b"$2b$%d$%s" % (_ROUNDS, letters)).decode()
