"""Packages of a host's distribution: headers of the running kernel, and dkms.

Stands for Debian's and Ubuntu's archives. The lab's hosts run the machine's kernel, for which an archive may have no
headers; these hold nothing to compile with. dkms is lab/simulated/dkms.py.
"""

from __future__ import annotations

from lab.packages.deb import Deb, File
from lab.packages.repository import Repository
from lab.simulated.stub import stub

META = ("linux-headers-amd64", "linux-headers-generic")


def repository(release: str) -> Repository:
    """The repository for hosts whose `uname -r` is `release`."""
    version = f"{release.split('-')[0]}-1"
    source = f"/usr/src/linux-headers-{release}"
    headers = Deb(
        f"linux-headers-{release}",
        version,
        f"Header files for Linux {release} (stand-in of the lab)",
        files={
            f"{source}/Makefile": File("# nothing to compile with\n"),
            f"/usr/lib/modules/{release}/build": File(link=source),
        },
        # Builds modules that were installed before the headers.
        scripts={"postinst": f"if command -v dkms >/dev/null; then dkms autoinstall -k {release} || true; fi\n"},
    )
    metas = [
        Deb(
            name,
            version,
            "Header files of the newest kernel (stand-in of the lab)",
            {"Depends": f"{headers.name} (= {version})"},
        )
        for name in META
    ]
    dkms = Deb(
        "dkms",
        "3.0.12-1+lab1",
        "Builds kernel modules (stand-in of the lab: copies text files)",
        files={"/usr/sbin/dkms": File(stub("dkms"), 0o755)},
        architecture="all",
    )
    return Repository("distribution", (headers, *metas, dkms), origin="Lab distribution")
