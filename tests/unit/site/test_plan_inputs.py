"""Inputs as a new user writes them, whole: an inventory file in, exit status and messages of `barewind plan` out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from barewind.cli.main import main

HOST = {"ssh_hostname": "192.0.2.1", "accelerator": "h100", "accelerator_count": 8}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "group_data").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyinfra_cli.util.PYTHON_CODES", {})  # it remembers files by their relative name
    return tmp_path


def planned(*arguments: str) -> Result:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["plan", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def one(folder: Path, **keys: Any) -> Result:
    """The plan of a single host with these keys."""
    (folder / "site.py").write_text(f"engines = {[('h1', HOST | keys)]!r}\n")
    return planned("site.py", "--json")


SECRET = "hf_" + "a" * 30
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"engine_port": 22}, "22 is sshd's port; choose another port"),
    ({"ssh_port": 2222, "engine_port": 2222}, "2222 is sshd's port (ssh_port); choose another port"),
    ({"mirror_port": 22}, "'mirror_port': 22 is sshd's port; choose another port"),
    ({"endpoint_port": 22}, "'endpoint_port': 22 is sshd's port; choose another port"),
    ({"engine_port": 8010}, "engine_port and weights_port are both 8010"),
    ({"model_revision": "main; reboot"}, "key 'model_revision'"),
    ({"data_dir": "/srv/../etc"}, "key 'data_dir'"),
    ({"image": "docker.io/vllm/vllm-openai:v0.32.0 --privileged"}, "key 'image'"),
    ({"engine_args": {"data-parallel-size": 2}}, "16 accelerators needed, 8 there"),
    ({"engine_args": {"pipeline-parallel-size": 2}}, "cannot work here"),
    ({"engine": "sglang", "engine_args": {"dp-size": 2}}, "16 accelerators needed, 8 there"),
    ({"engine_args": {"kv-cache-memory-bytes": "5G"}, "context_length": 262144}, "cannot hold"),
    ({"max_num_seqs": 512, "max_num_batched_tokens": 256}, "vllm then does not start"),
    ({"gpu_memory_utilization": 0.9999}, "set 0.99 or less"),
    ({"engine_args": {"ssl-certfile": "/x"}}, "plain HTTP"),
    ({"accelerator_count": 4, "gpu_memory_utilization": 0.3}, "Try: gpu_memory_utilization = 0.9: fits 262144 tokens"),
    (
        {"accelerator_count": 2, "max_num_batched_tokens": 131072},
        "Try: max_num_batched_tokens = 3072: fits 32768 tokens",
    ),
    ({"engine_args": {"tp": 8}}, "use the key 'tensor_parallel_size'"),
    ({"accelerator": "gb200"}, "is not served"),
    ({"accelerator": "gh200"}, "is not served"),
    ({"engine_env": {"HF_TOKEN": SECRET}}, "engine_secrets = {"),
    ({"engine_args": {"api-key": "sk-" + "a" * 30}}, "engine_secrets = {"),
]


@pytest.mark.parametrize(("keys", "said"), REFUSED, ids=[str(keys)[:60] for keys, _ in REFUSED])
def test_it_is_refused_in_words(folder: Path, keys: dict[str, Any], said: str) -> None:
    result = one(folder, **keys)
    assert result.exit_code == 1
    assert said in result.stderr
    assert "h1" in result.stderr
    assert SECRET not in result.output


@pytest.mark.parametrize(
    ("keys", "plan"),
    [
        ({}, {"context_length": 262144, "problems": []}),
        ({"engine_args": {"kv-cache-memory-bytes": "5G"}}, {"context_length": 65536}),
        (
            {"tensor_parallel_size": 4, "engine_args": {"data-parallel-size": 2}},
            {"parallelism": {"tensor": 4, "data": 2}, "accelerator_count": 8},
        ),
        ({"accelerator": "a100"}, {"context_length": 262144}),
        ({"accelerator": "h20"}, {"context_length": 262144}),
        ({"accelerator": "h100nvl"}, {"context_length": 262144}),
        ({"accelerator": "b200", "accelerator_count": 1}, {"context_length": 65536}),
        ({"image": "docker.io/vllm/vllm-openai:v0.32.0-cu129", "nvidia_driver": "570.195.03"}, {"problems": []}),
        ({"engine_args": {"lora-modules": ["a=/x", "b=/y"]}}, {"problems": []}),
    ],
    ids=str,
)
def test_it_is_planned(folder: Path, keys: dict[str, Any], plan: dict[str, Any]) -> None:
    result = one(folder, **keys)
    assert result.exit_code == 0, result.stderr
    (made,) = json.loads(result.stdout)
    assert {key: made[key] for key in plan} == plan


def test_three_hosts_and_three_problems(folder: Path) -> None:
    hosts = [
        ("h1", HOST | {"accelerator": "h200", "accelerator_count": 1}),
        ("h2", HOST | {"ssh_hostname": "192.0.2.2", "engine_args": {"nonsense": 1}}),
        ("h3", HOST | {"ssh_hostname": "192.0.2.3", "modality": "video"}),
        ("h4", HOST | {"ssh_hostname": "192.0.2.4"}),
    ]
    (folder / "site.py").write_text(f"engines = {hosts!r}\n")
    result = planned("site.py")
    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    for line, (key, host) in zip(
        lines, (("'modality'", "h3"), ("1 x h200 cannot hold", "h1"), ("--nonsense", "h2")), strict=True
    ):
        assert key in line
        assert line.endswith(f"(on {host})")


def test_a_refused_option_is_a_problem_of_a_plan_that_fits(folder: Path) -> None:
    result = one(folder, engine_args={"nonsense": 1})
    (made,) = json.loads(result.stdout)
    assert (result.exit_code, made["fit"]["fits"]) == (1, True)
    assert made["problems"] == ["key 'engine_args': --nonsense is unknown to vllm 0.32.0; leave it out."]


def test_nothing_is_cut_at_80_columns(folder: Path) -> None:
    (folder / "site.py").write_text(f"engines = {[('h1', HOST)]!r}\n")
    shown = planned("site.py").stdout
    (made,) = json.loads(planned("site.py", "--json").stdout)
    assert "\u2026" not in shown
    for argument in made["argv"]:
        assert argument in shown, argument
    for name, value in made["env"].items():
        assert f"{name}={value}" in shown


def test_engines_side_by_side_are_told_with_the_cache_of_each(folder: Path) -> None:
    keys = HOST | {"tensor_parallel_size": 4, "engine_args": {"data-parallel-size": 2}}
    (folder / "site.py").write_text(f"engines = {[('h1', keys)]!r}\n")
    assert "room for 2 x 412224 tokens of KV cache, 2 sequences of 262144 tokens" in planned("site.py").stdout
