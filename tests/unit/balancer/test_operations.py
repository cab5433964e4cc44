"""HAProxy on a balancer: only the difference becomes commands, and a configuration that it refuses never replaces a good one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from barewind.balancer.operations.haproxy import configured
from barewind.hosts.operations import ManagedFile
from tests.support.data_files import operation_tests, settled_tests
from tests.support.operations import on_host, run
from tests.support.shell import Programs, Shell

CONFIG = ManagedFile("/etc/haproxy/haproxy.cfg", "global\n")
DROP_IN = ManagedFile("/etc/systemd/system/haproxy.service.d/barewind.conf", "[Service]\n")
PROGRAM = ManagedFile("/usr/local/lib/barewind/haproxy-state", "#!/bin/sh\n", mode="755")

TestConfigured = operation_tests(configured, Path(__file__).parent)
TestConfiguredSettled = settled_tests(
    configured,
    {"packages": ["haproxy"], "config": CONFIG, "drop_in": DROP_IN, "others": [PROGRAM]},
    "facts.HaproxyHost",
    {
        "packages": {"haproxy": {"version": "1", "held": True}},
        "files": on_host(CONFIG, DROP_IN, PROGRAM),
        "active": True,
        "enabled": True,
        "needs_reload": False,
        "drop_ins": [DROP_IN.path],
    },
    subject="HAProxy",
)


def take_over(shell: Shell, programs: Programs, path: Path, **scripts: str) -> subprocess.CompletedProcess[str]:
    """Replace the configuration "old" at a path by "new", with programs that stand for the host's."""
    path.write_text("old")
    packages = {"haproxy": {"version": "1", "held": True}}
    facts = {"packages": packages, "files": {}, "active": True, "enabled": True, "needs_reload": False, "drop_ins": []}
    config = ManagedFile(str(path), "new")
    _, replace = run(configured, {"packages": [], "config": config}, "facts.HaproxyHost", facts)
    path.with_name(path.name + ".candidate").write_text("new")
    programs(**{"haproxy": "", "systemctl": "echo $@ > asked", "journalctl": "echo parsing error", **scripts})
    return shell(replace)


def test_a_new_configuration_replaces_the_one_in_use(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    path = tmp_path / "haproxy.cfg"
    assert take_over(shell, programs, path).returncode == 0
    assert path.read_text() == "new"
    assert (tmp_path / "asked").read_text() == "reload-or-restart haproxy.service\n"
    assert sorted(one.name for one in tmp_path.iterdir() if "haproxy" in one.name) == ["haproxy.cfg"]


def test_a_configuration_that_haproxy_refuses_never_replaces_the_one_in_use(
    shell: Shell, programs: Programs, tmp_path: Path
) -> None:
    path = tmp_path / "haproxy.cfg"
    done = take_over(shell, programs, path, haproxy="echo 'parsing error' >&2; exit 1")
    assert done.returncode != 0
    assert path.read_text() == "old"
    assert not (tmp_path / "asked").exists()
    assert "gpu-h1: HAProxy refuses the new configuration, see above; the old one stays in use" in done.stderr


def test_a_configuration_that_is_not_taken_over_is_put_back_so_that_the_next_deploy_tries_again(
    shell: Shell, programs: Programs, tmp_path: Path
) -> None:
    path = tmp_path / "haproxy.cfg"
    done = take_over(shell, programs, path, systemctl="exit 1")
    assert done.returncode != 0
    assert path.read_text() == "old"
    assert done.stderr.splitlines()[-2:] == [
        "parsing error",
        "gpu-h1: HAProxy did not take the new configuration over, see above; the old one is back",
    ]
