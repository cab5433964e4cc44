"""The limit of open files, in processes of their own: a limit that has been lowered does not come back."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import resource, sys
from barewind.errors import BarewindError
from barewind.hosts.files_limit import raise_limit
soft, hard, hosts = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
try:
    raise_limit(hosts)
except BarewindError as error:
    print(error)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def _raise(soft: int, hard: int, hosts: int) -> list[str]:
    command = [sys.executable, "-c", _PROGRAM, str(soft), str(hard), str(hosts)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_low_soft_limit_is_raised_for_the_hosts_there_are() -> None:
    assert _raise(256, 4096, 1000) == ["2100"]


def test_a_limit_that_is_enough_stays() -> None:
    assert _raise(1024, 4096, 20) == ["1024"]


def test_a_hard_limit_that_is_too_low_is_told_with_both_numbers_and_a_remedy() -> None:
    message, limit = _raise(256, 256, 300)
    assert "300 hosts need 700 open files" in message
    assert "256 at most" in message
    assert "ulimit -Hn 700" in message
    assert "at most 78 fit" in message
    assert limit == "256"
