"""Files on a host, written whole or not at all, and the point to which every host comes first."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyinfra_testing.operations import parse_commands

from barewind.hosts.barrier import barrier
from barewind.hosts.operations import ManagedFile
from tests.support.operations import on_host, run
from tests.support.shell import Programs, Shell

FILE = ManagedFile("/etc/haproxy/haproxy.cfg", "global\n")


def managed(file: ManagedFile) -> tuple[str, str]:
    (command,) = parse_commands([file.write()])
    return command["command"], command["_stdin"]


@pytest.mark.parametrize("mode", ["644", "600", "755"])
def test_a_managed_file_is_written_whole_with_its_mode(
    shell: Shell, programs: Programs, tmp_path: Path, mode: str
) -> None:
    programs(chown="echo $@ > owner")  # needs root
    path = tmp_path / "a folder" / "it's a file"
    content = "line\n$HOME `id` \\ 'x' \"y\"\nno newline at the end"
    command, stdin = managed(ManagedFile(str(path), content, mode=mode))

    done = shell(command, stdin=stdin)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert path.read_text() == f"{content}\n"  # pyinfra ends each line that it writes
    assert f"{path.stat().st_mode & 0o777:o}" == mode
    assert [one.name for one in path.parent.iterdir()] == ["it's a file"]
    assert (tmp_path / "owner").read_text().startswith("root:root ")
    assert content not in command


def test_a_managed_file_that_cannot_be_finished_leaves_the_old_one(
    shell: Shell, programs: Programs, tmp_path: Path
) -> None:
    programs(chown="exit 1")
    path = tmp_path / "file"
    path.write_text("old")
    command, stdin = managed(ManagedFile(str(path), "new"))
    assert shell(command, stdin=stdin).returncode != 0
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    "changes",
    [{"mode": "600"}, {"owner": "ops"}, {"group": "ops"}, {"sha256": "0" * 64}],
    ids=lambda one: next(iter(one)),
)
def test_a_managed_file_differs_in_content_mode_and_owner(changes: dict[str, str]) -> None:
    same = on_host(FILE)
    assert not FILE.differs(same)
    assert FILE.differs({FILE.path: same[FILE.path] | changes})
    assert FILE.differs({})


def test_a_barrier_has_no_command() -> None:
    assert run(barrier, {}, "", None) == []
