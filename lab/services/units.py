"""The services on `services`, each a systemd unit: a registry, a model hub, package repositories."""

from pathlib import Path

from lab.services import hub_control, registry
from lab.topology import REPOSITORIES

HUB_PORT = 8000
REPOSITORIES_FOLDER = "/srv/repositories"
REGISTRY_CONFIG = """\
version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: /var/lib/docker-registry}
  delete: {enabled: true}
http: {addr: ":5000"}
"""

_UNIT = """\
[Unit]
Description={description}
After=network.target

[Service]
EnvironmentFile=-/etc/lab-hub.env
ExecStart={command}
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""

_HUB = f"/usr/bin/python3 /usr/local/lib/lab-hub.py /srv/models {HUB_PORT}"
_SERVER = f"/usr/bin/python3 -m http.server --directory {REPOSITORIES_FOLDER} {REPOSITORIES.rsplit(':', 1)[1]}"
UNITS = {
    "lab-registry": ("Registry of the lab", f"/usr/bin/docker-registry serve {registry.FILE}"),
    "lab-hub": ("Model hub of the lab", _HUB),
    "lab-repositories": ("Package repositories of the lab", _SERVER),
}
START = f"systemctl daemon-reload && systemctl enable --now {' '.join(UNITS)}"


def files() -> dict[str, tuple[str, int]]:
    """Files that `services` starts with: path -> content and mode."""
    files = {
        registry.FILE: (REGISTRY_CONFIG, 0o644),
        "/usr/local/lib/lab-hub.py": ((Path(__file__).parent / "hub.py").read_text(), 0o644),
        "/etc/lab-hub.env": (f"LAB_HUB_TOKEN={hub_control.token()}\n", 0o600),
    }
    for name, (description, command) in UNITS.items():
        files[f"/etc/systemd/system/{name}.service"] = (_UNIT.format(description=description, command=command), 0o644)
    return files
