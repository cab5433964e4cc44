"""The repository of light hosts: a package docker.io with Docker's stand-in (lab/light/), under Debian's name, places and units.

Its version follows from what is in it, so that a host never keeps an older one that looks the same.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from lab.light.command import VERSION
from lab.packages.deb import Deb, File
from lab.packages.repository import Repository

LIBRARY = "/usr/lib/lab-light"
_LAB = Path(__file__).parents[1]

_UNIT = """\
[Unit]
Description=Docker Application Container Engine (stand-in of the lab)
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
ExecStart=/usr/bin/dockerd
ExecReload=/bin/kill -s HUP $MAINPID
Restart=always
RestartSec=2

[Install]
WantedBy=multi-user.target
"""

_POSTINST = """\
[ "$1" = configure ] || exit 0
getent group docker >/dev/null || groupadd --system docker
systemctl daemon-reload
systemctl enable --quiet docker.service
systemctl restart docker.service
"""


def repository() -> Repository:
    """The repository, flat."""
    return Repository("light", (package(),), origin="Lab light")


def package() -> Deb:
    """The package docker.io."""
    files = _files()
    mark = hashlib.sha256("\0".join(part for path, file in files.items() for part in (path, file.content)).encode())
    return Deb(
        "docker.io",
        f"{VERSION}+dfsg1-1+lab{mark.hexdigest()[:8]}",
        "Docker Engine (stand-in of the lab: starts containers by runc, see lab/light)",
        {"Depends": "runc, tini, python3", "Conflicts": "docker-ce, docker-ce-cli"},
        files,
        {"postinst": _POSTINST, "prerm": '[ "$1" != remove ] || systemctl stop docker.service || true\n'},
    )


def _files() -> dict[str, File]:
    files = {
        "/usr/bin/docker": File(_stub("command"), 0o755),
        "/usr/bin/dockerd": File(_stub("daemon"), 0o755),
        "/usr/lib/systemd/system/docker.service": File(_UNIT),
        f"{LIBRARY}/lab/__init__.py": File((_LAB / "__init__.py").read_text()),
    }
    sources = sorted((_LAB / "light").glob("*.py"))
    return files | {f"{LIBRARY}/lab/light/{path.name}": File(path.read_text()) for path in sources}


def _stub(module: str) -> str:
    """Text of a command; nothing of the environment reaches Python, and nothing of its packages."""
    return (
        f"#!/usr/bin/python3 -IS\nimport sys\n\nsys.path.insert(0, {LIBRARY!r})\n"
        f"from lab.light.{module} import main\n\nsys.exit(main(sys.argv))\n"
    )
