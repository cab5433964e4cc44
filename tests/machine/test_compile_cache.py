"""The compile cache in the hands of whoever has taken an engine over, with the real tar, setpriv and users of a host."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from barewind.compile_cache import commands
from barewind.compile_cache.plan import Cache, cache_of, seed_directory
from barewind.plan.container import USER
from barewind.release.unit import prepare_container
from tests.support.factories import engine_spec, plan
from tests.support.shell import Programs, Shell


def cache_in(directory: Path, *, hardening: bool = True) -> Cache:
    cache = cache_of(plan(engine_spec(data_dir=str(directory), container_hardening=hardening)))
    assert cache is not None
    return cache


@pytest.fixture
def here(tmp_path: Path, programs: Programs) -> Cache:
    """The cache of an engine that answers, as the program before its start makes it."""
    programs(curl="")
    cache = cache_in(tmp_path / "data")
    owned(
        cache,
        "mkdir -p torch/deep && echo code > torch/kernel.so && chmod 755 torch/kernel.so && echo 1 > torch/deep/x",
    )
    return cache


def owned(cache: Cache, command: str) -> None:
    """Do something in a cache as its engine does."""
    place = Path(cache.directory)
    if not place.exists():
        place.mkdir(parents=True)
        place.chmod(0o700)
        os.chown(place, cache.owner, cache.owner)
    user = ["setpriv", f"--reuid={cache.owner}", f"--regid={cache.owner}", "--clear-groups"] if cache.owner else []
    subprocess.run([*user, "sh", "-c", command], cwd=place, check=True)


def handed_on(cache: Cache, taker: Cache) -> None:
    shutil.copytree(cache.packed_directory, seed_directory(taker))


def entries(directory: str) -> dict[str, os.stat_result]:
    return {str(path): path.lstat() for path in [Path(directory), *Path(directory).rglob("*")]}


@pytest.mark.parametrize("hardening", [True, False], ids=["unprivileged", "root"])
def test_it_arrives_with_its_user_and_nobody_else_gets_in(
    programs: Programs, shell: Shell, tmp_path: Path, hardening: bool
) -> None:
    programs(curl="")
    mine, taker = (cache_in(tmp_path / name, hardening=hardening) for name in ("giver", "taker"))
    owned(mine, "mkdir -p torch && echo code > torch/kernel.so && chmod 6755 torch/kernel.so && chmod 1777 torch")
    done = shell(commands.pack(mine))
    assert done.returncode == 0, done.stderr
    handed_on(mine, taker)
    done = shell(commands.unpack(taker))
    assert done.returncode == 0, done.stderr
    found = entries(taker.directory)
    assert {status.st_uid for status in found.values()} == {USER if hardening else 0}
    assert {stat.S_IMODE(status.st_mode) for status in found.values()} == {
        0o700
    }  # no setuid, setgid, sticky; no others
    assert Path(taker.directory, "torch/kernel.so").read_text() == "code\n"


# What an engine of before could leave there: it was root, with the capability to make devices.
@pytest.mark.parametrize(
    "harm",
    ["mknod disk b 8 0", "ln -s /etc/shadow link", "ln torch/kernel.so twin", "mkfifo pipe"],
    ids=["device", "link", "hard link", "pipe"],
)
@pytest.mark.parametrize("hardening", [True, False], ids=["unprivileged", "root"])
def test_links_and_devices_never_leave_their_host(
    programs: Programs, shell: Shell, tmp_path: Path, harm: str, hardening: bool
) -> None:
    programs(curl="")
    mine = cache_in(tmp_path / "giver", hardening=hardening)
    owned(mine, "mkdir -p torch && echo code > torch/kernel.so")
    subprocess.run(["sh", "-c", harm], cwd=mine.directory, check=True)  # root: the worst that there can be
    done = shell(commands.pack(mine))
    assert done.returncode != 0
    assert "it is not handed on" in done.stderr
    assert not Path(mine.packed_directory).exists()


@pytest.mark.parametrize("harm", ["setuid shell", "device", "link out", "path out"])
def test_an_archive_made_by_hand_brings_nothing_but_files_of_the_user(
    programs: Programs, shell: Shell, tmp_path: Path, harm: str
) -> None:
    """The receiving host does not take the giver's word for what is in the file."""
    programs(curl="")
    taker, place = cache_in(tmp_path / "taker"), tmp_path / "made"
    seed = Path(seed_directory(taker))
    seed.mkdir(parents=True)
    place.mkdir()
    make = {
        "setuid shell": "cp /bin/sh rootsh && chmod 4755 rootsh && tar -cf ../made.tar .",
        "device": "mknod disk b 8 0 && tar -cf ../made.tar .",
        "link out": "ln -s /etc out && tar -cf ../made.tar .",
        "path out": "echo x > evil && tar -P --transform='s#.*evil#../../../evil#' -cf ../made.tar ./evil",
    }[harm]
    subprocess.run(["sh", "-c", make], cwd=place, check=True)
    shutil.move(tmp_path / "made.tar", seed / "cache.tar")
    done = shell(commands.unpack(taker))
    found = entries(taker.directory) if Path(taker.directory).exists() else {}
    assert {status.st_uid for status in found.values()} <= {USER}
    assert not [name for name, status in found.items() if stat.S_IMODE(status.st_mode) != 0o700]
    assert not list(tmp_path.rglob("evil"))[1:]  # where it was made, and nowhere else
    assert (done.returncode == 0) is (harm == "setuid shell")
    assert not seed.exists()


# --- Before the engine's start -----------------------------------------------------------------------------------------


@pytest.fixture
def prepare(shell: Shell, tmp_path: Path, programs: Programs) -> Shell:
    program = tmp_path / "prepare-container"
    program.write_text(prepare_container().replace("/run/barewind", str(tmp_path / "run")))
    programs(nproc="echo 4")

    def run(command: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return shell(f"sh {program} {command}", stdin, **env)

    return run


def options(tmp_path: Path) -> list[str]:
    text = (tmp_path / "run" / "engine-options").read_text()
    return text.strip().removeprefix('BAREWIND_HOST_OPTIONS="').removesuffix('"').split()


def test_the_cache_is_the_users_and_closed_to_others(prepare: Shell, tmp_path: Path) -> None:
    cache = tmp_path / "data" / "cache" / "0123456789ab"
    for _ in range(2):
        done = prepare(str(cache))
        assert done.returncode == 0, done.stderr
        status = cache.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (USER, USER, 0o700)
        cache.chmod(0o755)  # as an engine may: it is its own
        above = cache.parent.stat()
        assert (above.st_uid, stat.S_IMODE(above.st_mode)) == (0, 0o700)  # so that nobody else gets there all the same
    assert options(tmp_path) == [f"--pids-limit={4096 + 512 * 4}"]


def test_links_in_a_cache_give_no_other_file_away(prepare: Shell, tmp_path: Path) -> None:
    cache, secret = tmp_path / "data" / "cache" / "0123456789ab", tmp_path / "secret"
    secret.write_text("root's")
    cache.mkdir(parents=True)
    (cache / "link").symlink_to(secret)
    os.link(secret, cache / "twin")
    assert prepare(str(cache)).returncode == 0
    assert secret.stat().st_uid == 0
    shutil.rmtree(cache)
    cache.symlink_to(tmp_path / "elsewhere")
    done = prepare(str(cache))
    assert done.returncode != 0
    assert "is a link" in done.stderr
    assert not (tmp_path / "elsewhere").exists()


def test_it_joins_the_groups_of_the_hosts_devices_by_number(prepare: Shell, tmp_path: Path) -> None:
    devices = tmp_path / "dev"
    devices.mkdir()
    # name, group, mode
    for name, group, mode in [
        ("kfd", 109, 0o660),
        ("renderD128", 109, 0o660),
        ("card0", 44, 0o660),
        ("nvidia0", 0, 0o666),
        ("open", 50, 0o666),
        ("roots", 0, 0o660),
        ("readable", 51, 0o640),
    ]:
        file = devices / name
        os.mknod(file, stat.S_IFCHR | mode, os.makedev(1, 3))
        os.chown(file, 0, group)
        file.chmod(mode)
    (devices / "by-path").mkdir()
    done = prepare(f"{tmp_path}/cache/k '{devices}/*' '{tmp_path}/none*'")
    assert done.returncode == 0, done.stderr
    assert sorted(options(tmp_path)[1:]) == ["--group-add=109", "--group-add=44"]


def test_one_that_grows_after_it_was_measured_fills_no_disk(
    here: Cache, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "MOST", 2**20)
    owned(here, "truncate -s 16M sparse")
    measured = re.sub(r'"\$\([^"]* du [^"]*\)"', "4096", commands.pack(here))
    done = shell(measured)
    assert done.returncode == 1
    assert "it changes" in done.stderr
    assert not Path(here.packed_directory).exists()
    assert not Path(f"{here.packed_directory}.partial").exists()
