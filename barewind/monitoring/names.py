"""Paths, units and packages of monitors, and of what they ask on other hosts."""

from __future__ import annotations

from barewind.hosts.paths import PROGRAMS, SETTINGS

DIRECTORY = f"{SETTINGS}/monitoring"
PROMETHEUS_UNIT = "prometheus.service"
ALERTMANAGER_UNIT = "prometheus-alertmanager.service"
PACKAGES = ("prometheus", "prometheus-alertmanager", "nftables")
PROMETHEUS_FILE = f"{DIRECTORY}/prometheus.yml"
ALERTMANAGER_FILE = f"{DIRECTORY}/alertmanager.yml"
RULES_FILE = f"{DIRECTORY}/rules.yml"
TARGETS = f"{DIRECTORY}/targets"
CA_FILE = f"{DIRECTORY}/ca.pem"
FIREWALL_FILE = f"{SETTINGS}/monitor.nft"
FIREWALL_TABLE = "barewind_monitor"
SECRETS = f"{DIRECTORY}/secrets"  # root's alone
# Where each program finds what is root's, as copies in memory.
PROMETHEUS_RUN = "barewind-prometheus"
ALERTMANAGER_RUN = "barewind-alertmanager"

EXPORTER_UNIT = "prometheus-node-exporter.service"
EXPORTER_PACKAGES = ("prometheus-node-exporter", "nftables")
EXPORTER_FIREWALL_FILE = f"{SETTINGS}/node-exporter.nft"
EXPORTER_FIREWALL_TABLE = "barewind_node_exporter"
TEXTFILES = "/var/lib/prometheus/node-exporter"
FIGURES_PROGRAM = f"{PROGRAMS}/figures"
FIGURES_UNIT = "barewind-figures.service"
FIGURES_TIMER = "barewind-figures.timer"

USER = "barewind"  # by whose name monitors are asked


def drop_in(unit: str) -> str:
    """Where the drop-in of a unit stands."""
    return f"/etc/systemd/system/{unit}.d/barewind.conf"
