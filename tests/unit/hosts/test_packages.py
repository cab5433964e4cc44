"""apt's and dpkg's locks: what is held by others is waited for, and by whom is said."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from barewind.hosts import packages
from barewind.hosts.packages import Package
from tests.support.shell import Programs, Shell

pytestmark = pytest.mark.slow


LISTS = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 812 (apt-get)"
ARCHIVES = "E: Could not get lock /var/cache/apt/archives/lock - open (11: Resource temporarily unavailable)"
FRONTEND = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 901 (unattended-upgr)"
DPKG = "dpkg: error: dpkg frontend lock was locked by another process with pid 901"

# A program that fails with `problem` until it has been called three times; the time between two calls is cut out.
HELD = """echo "$@" >> calls
if [ "$(wc -l < calls)" -lt 3 ]; then echo '{problem}' >&2; exit 100; fi
echo done"""


@pytest.mark.parametrize(
    ("command", "program", "problem"),
    [
        (packages.update(), "apt_get", LISTS),
        (packages.install([Package("docker.io")]), "apt_get", ARCHIVES),
        (packages.install([Package("docker.io")]), "apt_get", FRONTEND),
        (packages.hold(["docker.io"]), "apt_mark", DPKG),
        (packages.unhold(["docker.io"]), "apt_mark", DPKG),
    ],
)
def test_a_lock_that_others_hold_is_waited_for(
    shell: Shell, programs: Programs, tmp_path: Path, command: str, program: str, problem: str
) -> None:
    programs(sleep="", **{program: HELD.format(problem=problem)})
    done = shell(command)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"waits until another package manager has ended (for up to 300 s): {problem}",
        "done",
    ]
    assert len((tmp_path / "calls").read_text().splitlines()) == 3


def test_a_lock_that_is_never_let_go_ends_with_its_holder(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("0")
    programs(
        date='cat clock; [ "$1" = +%s ]',
        sleep="echo $(($(cat clock) + 100)) > clock",
        apt_get=f"echo '{LISTS}' >&2; exit 100",
    )
    done = shell(packages.update())
    assert done.returncode == 100
    assert done.stderr.splitlines() == [LISTS]
    assert (tmp_path / "clock").read_text() == "300\n"


@pytest.mark.parametrize("problem", ["E: Unable to locate package docker.io", "E: Unmet dependencies.", ""])
def test_another_failure_is_told_at_once(shell: Shell, programs: Programs, tmp_path: Path, problem: str) -> None:
    programs(apt_get=f"echo called >> calls; echo '{problem}' >&2; exit 100")
    done = shell(packages.install([Package("docker.io")]))
    assert (done.returncode, done.stderr) == (100, f"{problem}\n")
    assert (tmp_path / "calls").read_text() == "called\n"


def test_warnings_of_a_success_are_shown(shell: Shell, programs: Programs) -> None:
    programs(apt_get="echo 'W: a repository is slow' >&2; echo Reading")
    done = shell(packages.update())
    assert (done.returncode, done.stdout, done.stderr) == (0, "Reading\n", "W: a repository is slow\n")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True)
    with path.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def test_the_real_apt_waits_for_its_lists(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    """As apt-daily holds them at boot: by a process that lets go of them while apt waits."""
    for folder in ("cache/archives/partial", "etc", "state"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "status").touch()
    (tmp_path / "apt.conf").write_text(
        f'Dir::State "{tmp_path}/state"; Dir::State::status "{tmp_path}/status"; Dir::Cache "{tmp_path}/cache"; '
        f'Dir::Etc "{tmp_path}/etc"; APT::Sandbox::User "root";'
    )
    with _locked(tmp_path / "state/lists/lock"):
        programs(sleep=f'rm -f "{tmp_path}/state/lists/lock"')  # as a holder that ends: a new file, held by nobody
        done = shell(packages.update(), APT_CONFIG=str(tmp_path / "apt.conf"))
    assert done.returncode == 0, done.stderr
    (first,) = [line for line in done.stdout.splitlines() if line.startswith(packages.WAITS)]
    assert first.startswith(
        f"waits until another package manager has ended (for up to 300 s): E: Could not get lock {tmp_path}/state/lists/lock"
    )
    assert f"process {os.getpid()}" in first
