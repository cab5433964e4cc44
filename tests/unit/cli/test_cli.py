"""The `barewind` command: exit codes and what is shown. 0 done, 1 something to put right, 2 wrong use."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from barewind.bundle.about import weights_folder
from barewind.cli.main import main
from barewind.errors import BarewindError
from barewind.lock import file as lock
from barewind.lock.check import Finding, Report
from barewind.lock.file import Lock
from barewind.lock.manifest import Manifest, WeightFile
from barewind.registry.image import LockedImage
from tests.support.factories import DIGEST, MEDIUM, engine_spec, locked
from tests.support.registry_server import RegistryServer, running
from tests.support.two_hosts import GROUP, INVENTORY


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


def test_plan_refuses_an_endpoint_that_asks_for_keys_of_which_there_is_none(folder: Path) -> None:
    (folder / "site.py").write_text(INVENTORY.replace('["10.0.0.9"]', '[("10.0.0.9", {"endpoint_open": False})]'))
    result = barewind("plan", "site.py")
    assert result.exit_code == 1
    assert "10.0.0.9: endpoint_open = False, and nobody has a key (keys.yaml)" in result.stderr
    assert "barewind keys add INVENTORY TEAM; or let in whoever reaches it: endpoint_open = True" in result.stderr


@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_plan_tells_that_two_engines_answer_to_one_name(folder: Path, json_too: list[str]) -> None:
    (folder / "site.py").write_text(INVENTORY.replace('"10.0.0.2", {}', '"10.0.0.2", {"engine": "sglang"}'))
    result = barewind("plan", "site.py", *json_too)
    assert result.exit_code == 0
    assert result.stderr.startswith(f"note: '{MEDIUM}' is answered by vllm (10.0.0.1) and sglang (10.0.0.2)")
    assert len(result.stderr.splitlines()) == 1


def test_plan_for_people_shows_every_option_with_its_reason(folder: Path) -> None:
    lock.write(locked(engine_spec()), "barewind.lock.yaml")
    result = barewind("plan", "site.py")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "--tensor-parallel-size 8 one shard per accelerator" in lines
    assert "10.0.0.9: balancer at http://10.0.0.9:8000, least connections over 2 engines" in lines
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
        ["mirror"],
        ["bundle", "save", "site.py"],
        ["bundle", "load", "."],
        ["bundle", "load", "nowhere", "--to", "r:1"],
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
    monkeypatch.setattr(
        "barewind.lock.resolve.complete", lambda site, _: resolved if len(site.engines) == 2 else Lock()
    )
    result = barewind("lock", "site.py")
    assert result.exit_code == 0
    assert lock.read("barewind.lock.yaml") == resolved
    assert "docker.io/vllm/vllm-openai:nightly -> sha256:1a1a" in result.stdout
    assert "(10.00 GiB compressed)" in result.stdout
    assert f"{MEDIUM}@c4be1980" in result.stdout
    assert "Wrote barewind.lock.yaml. Review it and commit it." in result.stdout


def test_lock_adds_what_is_missing_and_says_what_is_new_and_what_went(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = locked(engine_spec(channel="stable")), locked(engine_spec())
    lock.write(before, "barewind.lock.yaml")
    monkeypatch.setattr("barewind.lock.resolve.complete", lambda _, held: after if held == before else Lock())
    lines = barewind("lock", "site.py").stdout.splitlines()
    assert lines[0].endswith("(10.00 GiB compressed); new")
    assert lines[1].endswith("(mistral layout, 2 files, 60.00 GiB)")
    assert "docker.io/vllm/vllm-openai:v0.32.0: dropped, no host serves it" in lines


def test_lock_of_a_complete_lock_writes_nothing(folder: Path) -> None:
    lock.write(locked(engine_spec()), "barewind.lock.yaml")
    before = (folder / "barewind.lock.yaml").stat().st_mtime_ns
    result = barewind("lock", "site.py")
    assert result.exit_code == 0
    assert "barewind.lock.yaml holds all of it already" in result.stdout
    assert (folder / "barewind.lock.yaml").stat().st_mtime_ns == before


def test_lock_update_says_what_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock.write(locked(engine_spec()), "barewind.lock.yaml")
    moved = locked(engine_spec(), digest="sha256:" + "2b" * 32)
    monkeypatch.setattr("barewind.lock.resolve.resolve", lambda _: moved)
    result = barewind("lock", "site.py", "--update")
    assert f"(10.00 GiB compressed); was {DIGEST}" in result.stdout
    assert lock.read("barewind.lock.yaml") == moved


def test_only_update_gets_past_a_damaged_lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "barewind.lock.yaml").write_text("<<<<<<< HEAD\nversion: 1\n=======\n")
    result = barewind("lock", "site.py")
    assert result.exit_code == 1
    assert "write it again with 'barewind lock INVENTORY --update'" in result.stderr
    monkeypatch.setattr("barewind.lock.resolve.resolve", lambda _: locked(engine_spec()))
    assert barewind("lock", "site.py", "--update").exit_code == 0
    assert lock.read("barewind.lock.yaml") == locked(engine_spec())


def test_a_lock_that_fails_leaves_the_old_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: Any) -> Lock:
        raise BarewindError("weights m@main: the hub did not answer")

    old = locked(engine_spec())
    lock.write(old, "barewind.lock.yaml")
    for name, options in (("complete", []), ("resolve", ["--update"])):
        monkeypatch.setattr(f"barewind.lock.resolve.{name}", down)
        result = barewind("lock", "site.py", *options)
        assert (result.exit_code, result.stderr) == (1, "Error: weights m@main: the hub did not answer\n")
        assert lock.read("barewind.lock.yaml") == old


@pytest.mark.parametrize(
    ("findings", "unasked", "status", "advice"),
    [
        ([Finding("image a", "same", "d")], [], 0, "nothing to do."),
        ([Finding("image a", "unneeded", "d")], [], 0, "barewind lock INVENTORY puts it right."),
        ([Finding("image a", "missing", "d")], [], 1, "barewind lock INVENTORY puts it right."),
        ([Finding("image a", "moved", "d")], [], 1, "barewind lock INVENTORY --update takes what moved."),
        ([Finding("image a", "moved", "d")], ["the hub is down"], 2, "--update takes what moved."),
        ([], ["the hub is down"], 2, "not everything could be asked."),
    ],
)
def test_lock_check_writes_nothing_and_has_a_status_for_scripts(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    findings: list[Finding],
    unasked: list[str],
    status: int,
    advice: str,
) -> None:
    lock.write(locked(engine_spec()), "barewind.lock.yaml")
    before = (folder / "barewind.lock.yaml").stat().st_mtime_ns
    monkeypatch.setattr("barewind.lock.check.check", lambda *_: Report(findings, unasked))
    result = barewind("lock", "site.py", "--check")
    assert result.exit_code == status
    assert all(f"{one.state:<8}  image a: d" in result.stdout for one in findings)
    assert all(f"Error: {one}" in result.stderr for one in unasked)
    assert result.stdout.rstrip().endswith(advice)
    assert (folder / "barewind.lock.yaml").stat().st_mtime_ns == before


def test_a_check_that_cannot_begin_is_status_2(folder: Path) -> None:
    assert barewind("lock", "nowhere.py", "--check").exit_code == 2
    (folder / "barewind.lock.yaml").write_text("[")
    assert barewind("lock", "site.py", "--check").exit_code == 2
    assert barewind("lock", "site.py", "--check", "--update").exit_code == 2


@pytest.fixture
def registries(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[RegistryServer, RegistryServer]]:
    """An upstream with an image that is locked, and an empty mirror."""
    with running() as upstream, running() as target:
        digest = upstream.image("vllm/vllm-openai", "nightly", b"a layer")
        reference = f"{upstream.name}/vllm/vllm-openai:nightly"
        keys = f"image = '{reference}'\ninsecure_registries = ['{upstream.name}']\nmirror = '{target.name}'\n"
        (folder / "group_data" / "gpus.py").write_text(GROUP + keys + "mirror_tls = False\n")
        weights = locked(engine_spec()).weights
        lock.write(Lock(images={reference: LockedImage(digest=digest, size=7)}, weights=weights), "barewind.lock.yaml")
        monkeypatch.setenv("DOCKER_CONFIG", str(folder))
        yield upstream, target


def test_mirror_fills_verifies_and_says_so(registries: tuple[RegistryServer, RegistryServer]) -> None:
    upstream, target = registries
    result = barewind("mirror", "site.py")
    assert result.exit_code == 0, result.stderr
    name = f"{upstream.name.replace(':', '-')}/vllm/vllm-openai"
    assert next(iter(target.repositories[name].tags)).startswith("site.")
    assert barewind("mirror", "site.py").exit_code == 0
    assert barewind("mirror", "site.py", "--verify").exit_code == 0
    blobs = target.repositories[name].blobs
    for digest in blobs:
        blobs[digest] = bytes(len(blobs[digest]))
    result = barewind("mirror", "site.py", "--verify")
    assert result.exit_code == 1
    assert "To repair it, on the mirror's host run: systemctl start barewind-mirror@check" in result.stderr


def test_mirror_without_a_mirror_is_status_1(folder: Path) -> None:
    lock.write(locked(engine_spec()), "barewind.lock.yaml")
    result = barewind("mirror", "site.py")
    assert (result.exit_code, "key 'mirror': no host has one" in result.stderr) == (1, True)


def test_a_bundle_is_saved_and_loaded(
    folder: Path, registries: tuple[RegistryServer, RegistryServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(manifest: Manifest, spec: Any, directory: Path, shown: Any) -> dict[str, str]:
        for name in manifest.files:
            path = directory / "weights" / weights_folder(manifest) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        return {}

    held = lock.read("barewind.lock.yaml")
    x = WeightFile(size=1, sha256="2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")
    small = [one.model_copy(update={"files": dict.fromkeys(one.files, x)}) for one in held.weights]
    lock.write(held.model_copy(update={"weights": small}), "barewind.lock.yaml")
    monkeypatch.setattr("barewind.bundle.save.fetch", fetched)

    result = barewind("bundle", "save", "site.py", "out")
    assert result.exit_code == 0, result.stderr
    identity = result.stdout.split("bundle ")[1].split()[0]
    assert f"barewind bundle load out --to INVENTORY --expect {identity}" in result.stdout

    upstream, target = registries
    upstream.repositories.clear()
    (folder / "barewind.lock.yaml").unlink()
    result = barewind("bundle", "load", "out", "--to", "site.py", "--expect", identity, "--weights", "nfs")
    assert result.exit_code == 0, result.stderr
    assert "Wrote barewind.lock.yaml from the bundle" in result.stderr
    assert "The weights are in nfs" in result.stdout
    assert len(target.repositories) == 1
    assert (folder / "nfs" / MEDIUM).is_dir()
    with running() as another:
        assert barewind("bundle", "load", "out", "--to", another.name, "--plain-http").exit_code == 0
        assert len(another.repositories) == 1
    result = barewind("bundle", "load", "out", "--to", "site.py", "--expect", "00")
    assert (result.exit_code, "nothing of it was used" in result.stderr) == (1, True)


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
        f"Error: 10.0.0.1, 10.0.0.2: 1 x h200 cannot hold {MEDIUM} with 32768 tokens of context: room for 7648 tokens of "
        "KV cache. Try: accelerator_count = 2: fits 262144 tokens of context, with room for 371616\n"
    )
    if json_too:
        assert [one["fit"]["fits"] for one in json.loads(result.stdout)] == [False, False]
    else:
        assert "memory  DOES NOT FIT: 119.4 GiB of weights per accelerator, room for 7648 tokens" in result.stdout


def test_a_plan_that_fits_shows_the_room(folder: Path) -> None:
    result = barewind("plan", "site.py")
    assert (
        "memory  fits: 14.9 GiB of weights per accelerator, room for 2388544 tokens of KV cache, "
        "9 sequences of 262144 tokens"
    ) in result.stdout


def test_an_option_that_the_engine_does_not_know_is_status_1(folder: Path) -> None:
    (folder / "group_data" / "gpus.py").write_text(GROUP + "engine_args = {'max-num-sequences': 8}\n")
    result = barewind("plan", "site.py", "--json")
    assert result.exit_code == 1
    assert "max-num-sequences is unknown to vllm 0.32.0; use the key 'max_num_seqs'." in result.stderr
    assert len(json.loads(result.stdout)) == 2


def test_hosts_of_two_kinds_have_their_own_problems(folder: Path) -> None:
    (folder / "site.py").write_text('gpus = ["10.0.0.1"]\nsmall = [("10.0.0.2", {"accelerator_count": 1})]\n')
    (folder / "group_data" / "small.py").write_text("accelerator = 'h100'\n")
    result = barewind("plan", "site.py", "--json")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: 10.0.0.2: 1 x h100 cannot hold ")
    assert [one["fit"]["fits"] for one in json.loads(result.stdout)] == [True, False]


def test_what_differs_between_hosts_behind_one_endpoint_is_in_the_plan_and_told(folder: Path) -> None:
    (folder / "site.py").write_text(
        'gpus = [("10.0.0.1", {"context_length": 32768}), ("10.0.0.2", {"context_length": 262144})]\nbalancers = ["10.0.0.9"]\n'
    )
    result = barewind("plan", "site.py")
    assert result.exit_code == 0
    for output in (result.stdout, result.stderr):
        assert "32768" in next(line for line in output.splitlines() if line.startswith("note"))
