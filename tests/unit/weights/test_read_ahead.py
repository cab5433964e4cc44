"""Weights read ahead: when that brings something, what a host tells, and what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import FactProcessError
from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.util import FakeState, create_host

from barewind.hosts.shell import Answer
from barewind.weights import operations
from barewind.weights import read_ahead as ahead
from barewind.weights.facts import WeightPages
from barewind.weights.read_ahead import Pages
from tests.support.any_arguments import AnyArguments
from tests.support.operations import run
from tests.support.shell import Programs, Shell, printed

GIB = 2**30


def pages(**changes: Any) -> Pages:
    """A host of 1 TiB with 800 GiB available, and weights of 125 GiB on its disk."""
    known = {"files": 125 * GIB, "resident": 0, "available": 800 * GIB, "memory": 1024 * GIB, "system": "ext2/ext3"}
    return Pages(**known | changes)


@pytest.mark.parametrize(
    ("changes", "needless"),
    [
        ({}, ""),
        ({"resident": 124 * GIB}, ""),
        ({"resident": None}, ""),
        ({"system": "nfs"}, ""),  # its pages are cached as a disk's
        ({"available": 150 * GIB}, ""),  # a part of them fits
        ({"resident": 125 * GIB}, "in the page cache already"),
        ({"files": 0}, "no weights are there"),
        ({"system": "tmpfs"}, "which is memory"),
        ({"available": 100 * GIB}, "100.0 GiB of 1024.0 GiB are available, 102.4 GiB of which stay free"),
        ({"available": 150 * GIB, "resident": 60 * GIB}, "too little memory"),  # what fits is there
        ({"available": 0, "memory": 0}, "too little memory"),  # nothing is known
    ],
)
def test_when_it_brings_something(changes: dict[str, Any], needless: str) -> None:
    known = pages(**changes)
    assert needless in known.needless
    assert bool(known.needless) == bool(needless)
    commands = run(operations.read_ahead, {"directories": ["/w"]}, "facts.WeightPages", known, says_why=True)
    assert len(commands) == (0 if needless else 1)


def test_a_host_that_does_not_answer_fails_nothing() -> None:
    assert run(operations.read_ahead, {"directories": ["/w"]}, "facts.WeightPages", None, says_why=True) == []


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (
            [
                Answer("", ""),
                Answer("@@barewind:files\n1073741824\n@@barewind:resident\nfincore\n1073741824\n@@barewind:end", ""),
            ],
            "1.0 GiB of 125.0 GiB of weights are in the page cache",
        ),
        (
            [Answer("", "Unit barewind-read-ahead.service exists"), Answer("", "")],
            "could not be read ahead: Unit barewind-",
        ),
        ([Answer("", ""), Answer("Welcome!", "")], "could not be read ahead: the host's answer breaks off"),
    ],
)
def test_what_is_told_and_nothing_fails(answers: list[Answer], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter(answers)
    monkeypatch.setattr(operations, "run", lambda *_, **__: next(left))
    said: list[str] = []
    state = FakeState()
    host = create_host(state, facts={"facts.WeightPages": {}})
    host.fact.facts["facts.WeightPages"].data = AnyArguments(pages())
    host.log = said.append
    with ctx_state.use(state), ctx_host.use(host):
        (command,) = operations.read_ahead._inner(directories=["/w"])
        assert command.function(state, host, *command.args, **command.kwargs)
    assert len(said) == 1
    assert told in said[0]


def test_a_host_without_fincore_does_not_know_what_is_resident() -> None:
    output = ["@@barewind:files", "1000", "@@barewind:resident", "@@barewind:memory", "MemTotal 100", "@@barewind:end"]
    assert WeightPages().process(output) == Pages(files=1000, resident=None, available=0, memory=102400)
    output[3:3] = ["/usr/bin/fincore", "   512", " 256"]
    assert WeightPages().process(output).resident == 768


def test_an_answer_that_breaks_off_is_none() -> None:
    with pytest.raises(FactProcessError):
        WeightPages().process(["@@barewind:files", "1000"])


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Three files of weights, of which one is a link, and one that is none of them."""
    folder, elsewhere = tmp_path / "a model", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.write_bytes(b"3" * 3000)
    for number, size in ((1, 1000), (2, 2000)):
        (folder / f"model-{number}.safetensors").write_bytes(b"x" * size)
    (folder / "model-3.safetensors").symlink_to(elsewhere)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.mark.slow
def test_a_host_tells_of_its_weights(shell: Shell, programs: Programs, weights: Path) -> None:
    programs(fincore="printf '  4096\\n 4096\\n    0\\n'")
    found = WeightPages().process(printed(shell, WeightPages().command(directories=[str(weights)])))
    assert (found.files, found.resident) == (6000, 8192)
    assert 0 < found.available <= found.memory


@pytest.mark.slow
@pytest.mark.parametrize(("room", "read"), [(10**6, [1, 2, 3]), (3000, [1, 2]), (2999, [1]), (10, [])])
def test_what_fits_is_read_in_the_order_of_the_files(
    shell: Shell, programs: Programs, weights: Path, room: int, read: list[int]
) -> None:
    log = weights.parent / "read"
    log.touch()
    programs(
        **{
            "systemd-run": 'while [ "$1" != bash ]; do case "$1" in --pipe) p=1;; esac; shift; done; [ -n "$p" ] && exec "$@"',
            "cat": f'echo "$1" >> {log}',
        }
    )
    shell(ahead.command([str(weights)], room))
    assert sorted(log.read_text().splitlines()) == [f"{weights}/model-{number}.safetensors" for number in read]
