"""apt's sources as others write them, in either format: which of them name a repository of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from barewind.hosts.apt_sources import OTHERS, uris
from tests.support.shell import Programs, Shell, printed

pytestmark = pytest.mark.slow


CUDA = "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64"
DOCKER = "https://download.docker.com/linux/ubuntu"


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.list", f"deb {DOCKER} noble stable\n", [DOCKER]),
        ("a.list", f"deb\t[arch=amd64  signed-by=/k.asc]\t{DOCKER}\tnoble stable\n", [DOCKER]),
        ("a.list", f"  deb [ arch=amd64 ] {DOCKER} noble stable\r\n", [DOCKER]),
        ("a.list", f"deb-src {DOCKER} noble stable\n", [DOCKER]),
        ("a.list", f"# deb {DOCKER} noble stable\n", []),
        ("a.list", f"#deb {DOCKER} noble stable\ndeb {CUDA}/ /\n", [f"{CUDA}/"]),
        ("a.list", f"debug {DOCKER} noble stable\n", []),
        ("a.sources", f"Types: deb\nURIs: {DOCKER}\nSuites: noble\n", [DOCKER]),
        ("a.sources", f"Types:\tdeb\nURIs:\t{DOCKER}\nSuites: noble\n", [DOCKER]),
        (
            "a.sources",
            f"types: deb\nuris:\n http://deb.debian.org/debian\n {DOCKER}\nsuites: noble\n",
            ["http://deb.debian.org/debian", DOCKER],
        ),
        ("a.sources", f"Types: deb deb-src\nURIs: {CUDA} {DOCKER}\n", [CUDA, DOCKER]),
        ("a.sources", f"Enabled: no\nTypes: deb\nURIs: {DOCKER}\n", []),
        ("a.sources", f"Types: deb\nURIs: {DOCKER}\nEnabled:\tNO \n", []),
        (
            "a.sources",
            f"Types: deb\nURIs: {DOCKER}\nEnabled: false\n\nTypes: deb\nURIs: {CUDA}\nEnabled: yes\n",
            [CUDA],
        ),
        ("a.sources", f"# by hand\nTypes: deb\n# URIs: {CUDA}\nURIs: {DOCKER}\n", [DOCKER]),
        (
            "a.sources",
            f"Types: deb\nURIs: {DOCKER}\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ URIs: {CUDA}\n -----END\n",
            [DOCKER],
        ),
        ("a.sources", f"\n\nTypes: deb\r\nURIs: {DOCKER}\r\n", [DOCKER]),
        ("a.sources", f" odd\nURIs: {DOCKER}\n", []),
        ("barewind-docker.list", f"deb {DOCKER} noble stable\n", []),
        ("a.list.bak", f"deb {DOCKER} noble stable\n", []),
    ],
)
def test_repositories_of_others(
    shell: Shell, programs: Programs, tmp_path: Path, name: str, text: str, found: list[str]
) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / name).write_bytes(text.encode())
    (tmp_path / "sources.list").write_text("")
    command = OTHERS.replace("/etc/apt", str(tmp_path))
    lines = printed(shell, f"{command}; true")
    assert list(uris(lines)) == [(f"{folder}/{name}", uri) for uri in found]
