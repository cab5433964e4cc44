"""The `barewind` command: exit codes and what is shown. 0 done, 1 something to put right, 2 wrong use."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from barewind import lock
from barewind.cli import main
from barewind.lock import Lock
from tests.unit.factories import MEDIUM, engine_spec, locked

INVENTORY = """
gpus = [("10.0.0.1", {}), ("10.0.0.2", {})]
balancers = ["10.0.0.9"]
"""
GROUP = "accelerator = 'h200'\naccelerator_count = 8\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "group_data").mkdir()
    (tmp_path / "site.py").write_text(INVENTORY)
    (tmp_path / "group_data" / "gpus.py").write_text(GROUP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyinfra_cli.util.PYTHON_CODES", {})  # it remembers files by their relative name
    return tmp_path


def barewind(*arguments: str) -> Result:
    result = CliRunner(env={"COLUMNS": "250"}).invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_plan_as_json_has_one_object_per_engine_host(folder: Path) -> None:
    lock.write(locked(engine_spec()), "barewind.lock.yaml")
    result = barewind("plan", "site.py", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    plans = json.loads(result.stdout)
    assert [one["host"] for one in plans] == ["10.0.0.1", "10.0.0.2"]
    assert all(len(one["release"]) == 12 for one in plans)


def test_plan_works_before_anything_is_locked(folder: Path) -> None:
    result = barewind("plan", "site.py", "--json")
    assert result.exit_code == 0
    assert [one["release"] for one in json.loads(result.stdout)] == [None, None]
    shown = barewind("plan", "site.py")
    assert shown.exit_code == 0
    assert "not locked" in shown.stdout


def test_plan_for_people_shows_every_option_with_its_reason(folder: Path) -> None:
    lock.write(locked(engine_spec()), "barewind.lock.yaml")
    result = barewind("plan", "site.py")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "--tensor-parallel-size 8 one shard per accelerator" in lines
    assert "10.0.0.9: balancer on port 8000, least connections over 2 engines" in lines
    assert any(
        line.startswith("docker run --name=barewind-engine") or " docker run --name=barewind-engine" in line
        for line in lines
    )


def test_plan_shows_hosts_of_one_command_together(folder: Path) -> None:
    result = barewind("plan", "site.py")
    assert "10.0.0.1, 10.0.0.2: 8 x h200, vllm" in result.stdout


def test_hosts_that_serve_the_same_serve_one_release(folder: Path) -> None:
    lock.write(locked(engine_spec()), "barewind.lock.yaml")
    plans = json.loads(barewind("plan", "site.py", "--json").stdout)
    assert len({one["release"] for one in plans}) == 1


@pytest.mark.parametrize("value", ["[/]", "[red]x"])
def test_plan_shows_values_as_they_are(folder: Path, value: str) -> None:
    (folder / "group_data" / "gpus.py").write_text(GROUP + f"engine_args = {{'x-y': {value!r}}}\n")
    result = barewind("plan", "site.py")
    assert f"--x-y {value} engine_args" in " ".join(result.stdout.split())


def test_plan_of_one_host(folder: Path) -> None:
    assert [one["host"] for one in json.loads(barewind("plan", "site.py", "--json", "--host", "10.0.0.2").stdout)] == [
        "10.0.0.2"
    ]
    result = barewind("plan", "site.py", "--host", "10.0.0.3")
    assert result.exit_code == 2
    assert "no engine host '10.0.0.3'; hosts: 10.0.0.1, 10.0.0.2." in result.stderr


def test_data_overrides_every_host_with_pyinfras_own_types(folder: Path) -> None:
    plans = json.loads(
        barewind("plan", "site.py", "--json", "--data", "engine_port=8100", "--data", "speculative=false").stdout
    )
    assert [(one["port"], one["draft"]) for one in plans] == [(8100, None), (8100, None)]


def test_invalid_data_is_status_1_with_every_message_on_stderr(folder: Path) -> None:
    (folder / "group_data" / "gpus.py").write_text("acelerator = 'h200'\naccelerator_count = '8'\nmodality = 'video'\n")
    result = barewind("plan", "site.py")
    assert result.exit_code == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    for key in ("acelerator", "accelerator_count", "modality"):
        (line,) = [one for one in lines if f"key '{key}'" in one]
        assert line.endswith("(on 10.0.0.1, 10.0.0.2)")
    assert [one for one in lines if "key 'accelerator': not set" in one]


@pytest.mark.parametrize("command", ["plan", "lock"])
def test_a_missing_inventory_is_status_1(folder: Path, command: str) -> None:
    result = barewind(command, "nowhere.py")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: nowhere.py: no such inventory file; see inventory/prod.py for an example.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan"],
        ["plan", "site.py", "--jsno"],
        ["plan", "site.py", "--data", "novalue"],
        ["lock"],
        ["deploy"],
        ["nonsense"],
    ],
)
def test_wrong_use_is_status_2(folder: Path, arguments: list[str]) -> None:
    result = barewind(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: ")


def test_lock_writes_what_was_resolved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = locked(engine_spec())
    monkeypatch.setattr("barewind.resolver.resolve", lambda site: resolved if len(site.engines) == 2 else Lock())
    result = barewind("lock", "site.py")
    assert result.exit_code == 0
    assert lock.read("barewind.lock.yaml") == resolved
    assert "docker.io/vllm/vllm-openai:nightly -> sha256:1a1a" in result.stdout
    assert "(10.00 GiB compressed)" in result.stdout
    assert f"{MEDIUM}@c4be1980" in result.stdout
    assert "Wrote barewind.lock.yaml. Review it and commit it." in result.stdout


def test_a_lock_that_fails_leaves_the_old_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from barewind.errors import BarewindError

    def down(_: Any) -> Lock:
        raise BarewindError("weights m@main: the hub did not answer")

    old = locked(engine_spec())
    lock.write(old, "barewind.lock.yaml")
    monkeypatch.setattr("barewind.resolver.resolve", down)
    result = barewind("lock", "site.py")
    assert (result.exit_code, result.stderr) == (1, "Error: weights m@main: the hub did not answer\n")
    assert lock.read("barewind.lock.yaml") == old


def test_deploy_becomes_the_pyinfra_command_with_all_its_options(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "deploy.py").write_text("")
    ran: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: ran.append((Path(program).name, arguments)))
    result = barewind("deploy", "site.py", "--limit", "gpus", "-y", "--dry")
    assert result.exit_code == 0
    assert ran == [("pyinfra", ["pyinfra", "site.py", "deploy.py", "--limit", "gpus", "-y", "--dry"])]
    assert "$ pyinfra site.py deploy.py --limit gpus -y --dry" in result.stderr


def test_deploy_outside_a_clone_is_status_1(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("it ran"))
    result = barewind("deploy", "site.py", "-y")
    assert result.exit_code == 1
    assert result.stderr == "Error: deploy.py: not in this folder; run the command in your clone of the repository.\n"


@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_a_plan_that_does_not_fit_is_shown_and_is_status_1(folder: Path, json_too: list[str]) -> None:
    (folder / "group_data" / "gpus.py").write_text("accelerator = 'h200'\naccelerator_count = 1\n")
    result = barewind("plan", "site.py", *json_too)
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: 10.0.0.1, 10.0.0.2: 1 x h200 cannot hold {MEDIUM} with 32768 tokens of context: room for 496 tokens of "
        'KV cache. Try: kv_cache_dtype = "fp8": not enough alone, 992 tokens of KV cache; or accelerator_count = 2: fits\n'
    )
    if json_too:
        assert [one["fit"]["fits"] for one in json.loads(result.stdout)] == [False, False]
    else:
        assert "memory  DOES NOT FIT: 119.4 GiB of weights per accelerator, room for 496 tokens" in result.stdout


def test_a_plan_that_fits_shows_the_room(folder: Path) -> None:
    result = barewind("plan", "site.py")
    assert (
        "memory  fits: 14.9 GiB of weights per accelerator, room for 2302848 tokens of KV cache, "
        "8 sequences of 262144 tokens"
    ) in result.stdout


def test_an_option_that_the_engine_does_not_know_is_status_1(folder: Path) -> None:
    (folder / "group_data" / "gpus.py").write_text(GROUP + "engine_args = {'max-num-sequences': 8}\n")
    result = barewind("plan", "site.py", "--json")
    assert result.exit_code == 1
    assert "max-num-sequences is unknown to vllm 0.32.0; did you mean --max-num-seqs?" in result.stderr
    assert len(json.loads(result.stdout)) == 2


def test_hosts_of_two_kinds_have_their_own_problems(folder: Path) -> None:
    (folder / "site.py").write_text('gpus = ["10.0.0.1"]\nsmall = [("10.0.0.2", {"accelerator_count": 1})]\n')
    (folder / "group_data" / "small.py").write_text("accelerator = 'h100'\n")
    result = barewind("plan", "site.py", "--json")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: 10.0.0.2: 1 x h100 cannot hold ")
    assert [one["fit"]["fits"] for one in json.loads(result.stdout)] == [True, False]
