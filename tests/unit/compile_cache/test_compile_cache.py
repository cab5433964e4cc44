"""The compile cache: who may share it, and how it gets from one host to another."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pyinfra_testing.util import FakeState

from barewind.compile_cache import commands, operations
from barewind.compile_cache.facts import CompileCache
from barewind.compile_cache.operations import PackedCaches
from barewind.compile_cache.plan import (
    Cache,
    Packed,
    cache_of,
    detail,
    exposed,
    noted,
    seed_directory,
    seed_job,
)
from barewind.hosts.shell import Answer
from barewind.plan.engine import EnginePlan
from barewind.release.history import Event
from barewind.release.record import record_of
from barewind.release.unit import engine_unit
from barewind.weights.commands import print_status, read_status
from tests.support.factories import engine_spec, plan
from tests.support.shell import Programs, Shell

pytestmark = pytest.mark.slow


FILE = Packed(10240, "5e" * 32)


def cache(**keys: Any) -> Cache:
    planned = cache_of(plan(engine_spec(**keys)))
    assert planned is not None
    return planned


@pytest.mark.parametrize(
    "keys",
    [{"host": "other", "address": "192.0.2.77"}, {"data_dir": "/raid"}, {"weights_port": 9000}, {"drain_timeout": 5}],
    ids=str,
)
def test_hosts_that_differ_in_what_no_compiler_sees_share_it(keys: dict[str, Any]) -> None:
    assert cache(**keys).key == cache().key


@pytest.mark.parametrize(
    "keys",
    [
        {"accelerator": "h100"},
        {"context_length": 32768},
        {"engine_args": {"enforce-eager": True}},
        {"engine_env": {"VLLM_USE_V1": "1"}},
        {"tensor_parallel_size": 4},
    ],
    ids=str,
)
def test_another_accelerator_or_argument_is_another_cache(keys: dict[str, Any]) -> None:
    assert cache(**keys).key != cache().key


def test_another_image_is_another_cache_and_without_a_digest_there_is_none() -> None:
    other = plan(digest="sha256:" + "2b" * 32)
    assert cache_of(other) != cache_of(plan())
    open_plan = EnginePlan(**{**plan().__dict__, "digest": None})
    assert cache_of(open_plan) is None


def test_givers_and_takers_stand_in_one_ring_and_ask_no_hub() -> None:
    giver, *takers = (cache(host=f"g{n}", address=f"192.0.2.{n}") for n in (3, 1, 2))
    jobs = {one.spec.host: seed_job(one, giver, takers, FILE) for one in (giver, *takers)}
    assert {job.data["sets"][0]["ring"][0] for job in jobs.values()} == {"g3"}
    assert all(len(job.peers) == 2 and "endpoint" not in job.data and job.firewall for job in jobs.values())
    assert jobs["g1"].data["sets"][0]["files"] == {"cache.tar": {"size": 10240, "sha256": "5e" * 32}}


# --- On a host ---------------------------------------------------------------------------------------------------------
# With the real users of a host: tests/machine/test_compile_cache.py.


@pytest.fixture
def here(tmp_path: Path, programs: Programs) -> Cache:
    """A cache on a host whose engine answers; who works on it is the user that tests."""
    programs(curl="", setpriv='while case "$1" in --*) ;; *) false ;; esac; do shift; done; exec "$@"')
    programs(install='for last in "$@"; do :; done; mkdir -p "$last"')
    return cache(data_dir=str(tmp_path / "data"))


def fill(cache: Cache) -> Path:
    place = Path(cache.directory) / "torch_compile_cache"
    place.mkdir(parents=True)
    (place / "kernel.so").write_bytes(b"\x7fELF")
    (place / "kernel.so").chmod(0o755)
    return place


def fetched(cache: Cache) -> None:
    """What was packed lies where a host that takes it has fetched it to."""
    shutil.copytree(cache.packed_directory, seed_directory(cache))


def test_what_was_packed_is_unpacked_the_same(here: Cache, shell: Shell, programs: Programs) -> None:
    fill(here)
    done = shell(commands.pack(here))
    file = commands.read_packed(done.stdout)
    assert file is not None, done.stderr
    job = seed_job(here, here, [], file)
    assert Path(here.packed_directory, "cache.tar").stat().st_size == file.size
    assert set(job.directories) == {here.packed_directory}
    programs(systemctl="echo active")
    assert read_status(shell(print_status(job)).stdout, job).complete  # the program takes it for whole

    fetched(here)
    shell(f"rm -rf {here.directory}; mkdir {here.directory}")  # an engine that was started in between made it
    assert shell(commands.unpack(here)).returncode == 0
    kernel = Path(here.directory) / "torch_compile_cache" / "kernel.so"
    assert (kernel.read_bytes(), kernel.stat().st_mode & 0o777) == (b"\x7fELF", 0o700)
    left = {path.name for path in Path(here.directory).parent.iterdir()}
    assert left == {here.key, f"packed-{here.key}"}  # for the next host


def test_a_cache_that_is_in_use_already_is_not_replaced(here: Cache, shell: Shell) -> None:
    fill(here)
    shell(commands.pack(here))
    fetched(here)
    (Path(here.directory) / "newer").touch()
    assert shell(commands.unpack(here)).returncode != 0
    assert (Path(here.directory) / "newer").exists()


@pytest.mark.parametrize(("filled", "curl"), [(False, ""), (True, "exit 22")], ids=["empty", "engine does not answer"])
def test_only_the_cache_of_an_engine_that_serves_is_packed(
    here: Cache, shell: Shell, programs: Programs, filled: bool, curl: str
) -> None:
    programs(curl=curl)
    if filled:
        fill(here)
    assert commands.read_packed(shell(commands.pack(here)).stdout) is None


@pytest.mark.parametrize("harm", ["ln -s /etc/shadow link", "mkfifo pipe", "ln torch_compile_cache/kernel.so twin"])
def test_what_is_no_file_and_no_directory_is_refused_whole_and_said(here: Cache, shell: Shell, harm: str) -> None:
    fill(here)
    shell(f"cd {here.directory} && {harm}")
    done = shell(commands.pack(here))
    assert done.returncode != 0
    assert "no file and no directory" in done.stderr
    assert harm.split()[-1] in done.stderr or "kernel.so" in done.stderr  # the second of two names is the link
    assert not Path(here.packed_directory).exists()


def test_an_archive_with_a_link_is_not_unpacked(here: Cache, shell: Shell) -> None:
    seed = Path(seed_directory(here))
    seed.mkdir(parents=True)
    shell(f"mkdir x && ln -s /etc x/link && tar -C x -cf {seed}/cache.tar .")
    done = shell(commands.unpack(here))
    assert done.returncode != 0
    assert "no file and no directory" in done.stderr
    assert not Path(here.directory).exists()


def test_the_fact_says_whether_there_is_something(here: Cache, shell: Shell) -> None:
    fact = CompileCache()

    def filled() -> bool:
        return fact.process(shell(fact.command(here.directory)).stdout.splitlines())

    assert not filled()
    fill(here)
    assert filled()


# --- Which file is taken -----------------------------------------------------------------------------------------------


def event(release: str, what: str, text: str | None = None) -> Event:
    return Event("2026-11-29T00:00:00Z", release, what, "ann@ws1", detail=text)


def test_the_history_tells_which_file_it_was() -> None:
    older = Packed(1, "0a" * 32)
    events = [
        event("r1", "packed", detail(cache(), older)),
        event("r1", "serving"),
        event("r2", "packed", detail(cache(), FILE)),
        event("r2", "failed", detail(cache(), older)),  # text of a log, and not what was packed
        event("r3", "packed", detail(cache(tensor_parallel_size=4), older)),
    ]
    assert noted(events, cache().key) == FILE
    assert noted(events[:2], cache().key) == older
    assert noted([], cache().key) is None


def test_a_file_that_is_gone_is_not_waited_for() -> None:
    mine = cache()
    text = json.dumps(asdict(event("r2", "packed", detail(mine, FILE))))
    head, end = f"@@barewind:events\n{text}\n@@barewind:size\n", "@@barewind:end\n"
    assert commands.read_noted(f"{head}10240\n{end}", mine) == FILE
    assert commands.read_noted(f"{head}{end}", mine) is None
    assert commands.read_noted(f"{head}10241\n{end}", mine) is None


def test_what_an_engine_that_served_could_write_to_is_not_handed_on() -> None:
    made = plan()
    record = record_of(made, engine_unit(made))
    records, mine = {record.release: record}, cache_of(made)
    assert mine is not None
    assert not exposed(records, [event(record.release, "started"), event(record.release, "failed")], mine.key)
    assert exposed(records, [event(record.release, "serving"), event("other", "started")], mine.key)
    assert exposed(records, [event(record.release, "restored")], mine.key)
    assert not exposed(records, [event(record.release, "serving")], cache(tensor_parallel_size=4).key)


# --- The operation -----------------------------------------------------------------------------------------------------


class Host:
    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


@pytest.mark.parametrize(
    ("packs", "ends", "messages"),
    [
        ({"b"}, "whole", ["compile cache of b: taken over"]),
        ({"b", "c"}, "whole", ["compile cache of b: taken over"]),
        ({"c"}, "whole", ["compile cache of c: taken over"]),
        (set(), "whole", []),
        ({"b"}, "failed", ["compile cache of b: barewind-weights.service ended early"]),
    ],
    ids=["one", "the first of two", "the second", "nobody", "failure"],
)
def test_nothing_that_goes_wrong_stops_a_deploy(
    monkeypatch: pytest.MonkeyPatch, packs: set[str], ends: str, messages: list[str]
) -> None:
    hosts = {name: Host(name) for name in "abc"}

    started: list[tuple[str, str | None]] = []

    def run(_state: Any, host: Host, command: str, *, stdin: str | None = None, **_: Any) -> Answer:
        if "systemd-run" in command:
            started.append((command, stdin))
        if "@@barewind:events" in command:  # the history, by which the hash is known
            noted = json.dumps(asdict(event("r1", "packed", detail(mine, FILE)))) if host.name in packs else ""
            return Answer(f"@@barewind:events\n{noted}\n@@barewind:size\n{FILE.size}\n@@barewind:end\n", "")
        if "systemctl show" in command:
            return Answer(f"\n{'active' if ends == 'whole' else 'failed'}\n{ends}\n", "")
        return Answer("", "")

    state: Any = FakeState()
    state.inventory = type("Inventory", (), {"get_host": staticmethod(hosts.get)})
    monkeypatch.setattr(operations, "run", run)
    mine, *givers = (cache(host=name, address=f"192.0.2.{number}") for number, name in enumerate("abc", 1))
    taker: Any = hosts["a"]
    assert operations._seed(state, taker, mine, [mine, *givers], ["a"], PackedCaches())
    assert hosts["a"].lines == messages
    assert len(started) == 2 * len(messages)  # one that gives, one that takes
    for command, archive in started:
        assert archive  # on standard input, not in the command
        assert len(command) < len(archive)
        assert archive.splitlines()[0] not in command


@pytest.mark.parametrize("written", [True, False], ids=["noted", "the history cannot be written"])
def test_a_file_whose_hash_is_noted_nowhere_is_not_taken(monkeypatch: pytest.MonkeyPatch, written: bool) -> None:
    mine, host, files = cache(), Host("a"), PackedCaches()
    ran: list[str] = []

    def run(_state: Any, _host: Host, command: str, **_: Any) -> Answer:
        ran.append(command)
        if "tar" in command:
            return Answer(f"{FILE.size}\n{FILE.sha256}\n", "")
        return Answer("", "" if written else "disk full")

    monkeypatch.setattr(operations, "run", run)
    assert operations._pack(FakeState(), host, mine, "0123456789ab", files)  # type: ignore[arg-type]
    assert FILE.sha256 in ran[1]
    known = files.of(mine.key, ["a"], lambda _: None)
    assert known == ({"a": FILE} if written else {})
    assert bool(host.lines) is not written
