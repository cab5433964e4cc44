"""The compile cache: who may share it, and how it gets from one host to another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyinfra_testing.util import FakeState

from barewind import compile_cache, copying
from barewind.compile_cache import Cache, Packed
from barewind.facts.compile_cache import CompileCache
from barewind.operations import compile_cache as operation
from barewind.operations.shell import Answer
from barewind.plan import EnginePlan
from tests.unit.conftest import Programs, Shell
from tests.unit.factories import engine_spec, plan

FILE = Packed(10240, "5e" * 32)


def cache(**keys: Any) -> Cache:
    made = compile_cache.of(plan(engine_spec(**keys)))
    assert made is not None
    return made


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
    assert compile_cache.of(other) != compile_cache.of(plan())
    open_plan = EnginePlan(**{**plan().__dict__, "digest": None})
    assert compile_cache.of(open_plan) is None


def test_givers_and_takers_stand_in_one_ring_and_ask_no_hub() -> None:
    giver, *takers = (cache(host=f"g{n}", address=f"192.0.2.{n}") for n in (3, 1, 2))
    jobs = compile_cache.jobs(giver, takers, FILE)
    assert {job.data["sets"][0]["ring"][0] for job in jobs.values()} == {"g3"}
    assert all(len(job.peers) == 2 and "endpoint" not in job.data and job.firewall for job in jobs.values())
    assert jobs["g1"].data["sets"][0]["files"] == {"cache.tar": {"size": 10240, "sha256": "5e" * 32}}


# --- On a host ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path) -> Cache:
    return cache(data_dir=str(tmp_path / "data"))


def fill(one: Cache) -> Path:
    place = Path(one.directory) / "torch_compile_cache"
    place.mkdir(parents=True)
    (place / "kernel.so").write_bytes(b"\x7fELF")
    (place / "kernel.so").chmod(0o755)
    return place


def test_what_was_packed_is_unpacked_the_same(here: Cache, shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(curl="")
    fill(here)
    done = shell(compile_cache.pack(here))
    file = compile_cache.packed(done.stdout)
    assert file is not None, done.stderr
    job = compile_cache.jobs(here, [here], file)[here.spec.host]
    seed = next(iter(job.directories))
    assert Path(seed, "cache.tar").stat().st_size == file.size
    programs(systemctl="echo active")
    assert copying.read(shell(copying.look(job)).stdout, job).complete  # the program takes it for whole

    shell(f"rm -rf {here.directory}; mkdir {here.directory}")  # an engine that was started in between made it
    assert shell(compile_cache.unpack(here)).returncode == 0
    kernel = Path(here.directory) / "torch_compile_cache" / "kernel.so"
    assert (kernel.read_bytes(), kernel.stat().st_mode & 0o777) == (b"\x7fELF", 0o755)
    assert [one.name for one in Path(here.directory).parent.iterdir()] == [here.key]


def test_a_cache_that_is_in_use_already_is_not_replaced(here: Cache, shell: Shell, programs: Programs) -> None:
    programs(curl="")
    fill(here)
    shell(compile_cache.pack(here))
    (Path(here.directory) / "newer").touch()
    assert shell(compile_cache.unpack(here)).returncode != 0
    assert (Path(here.directory) / "newer").exists()


@pytest.mark.parametrize(("filled", "curl"), [(False, ""), (True, "exit 22")], ids=["empty", "engine does not answer"])
def test_only_the_cache_of_an_engine_that_serves_is_packed(
    here: Cache, shell: Shell, programs: Programs, filled: bool, curl: str
) -> None:
    programs(curl=curl)
    if filled:
        fill(here)
    assert compile_cache.packed(shell(compile_cache.pack(here)).stdout) is None


def test_the_fact_says_whether_there_is_something(here: Cache, shell: Shell) -> None:
    fact = CompileCache()

    def told() -> bool:
        return fact.process(shell(fact.command(here.directory)).stdout.splitlines())

    assert not told()
    fill(here)
    assert told()


# --- The operation -----------------------------------------------------------------------------------------------------


class Host:
    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize(
    ("packs", "ends", "said"),
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
    monkeypatch: pytest.MonkeyPatch, packs: set[str], ends: str, said: list[str]
) -> None:
    hosts = {name: Host(name) for name in "abc"}

    def run(_state: Any, host: Host, command: str, **_: Any) -> Answer:
        if "tar -C" in command and "-cf" in command:
            return Answer(f"10\n{'5e' * 32}\n", "") if host.name in packs else Answer("", "no")
        if "systemctl show" in command:
            return Answer(f"\n{'active' if ends == 'whole' else 'failed'}\n{ends}\n", "")
        return Answer("", "")

    state = FakeState()
    state.inventory = type("Inventory", (), {"get_host": staticmethod(hosts.get)})
    monkeypatch.setattr(operation, "run", run)
    monkeypatch.setattr(operation, "_packed", {})
    monkeypatch.setattr(operation, "_packing", {})
    mine, *givers = (cache(host=name, address=f"192.0.2.{number}") for number, name in enumerate("abc", 1))
    assert operation._seed(state, hosts["a"], mine, [mine], givers)  # type: ignore[arg-type]
    assert hosts["a"].lines == said
