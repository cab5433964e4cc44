"""What the command says of itself: help, exit statuses, examples, and what a shell proposes."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from barewind.cli.main import main
from barewind.spec.keys import KNOWN_KEYS


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_has_help_under_both_names(command: tuple[str, ...]) -> None:
    short, long = (CliRunner().invoke(main, [*command, flag]) for flag in ("-h", "--help"))
    assert (short.exit_code, short.stdout) == (0, long.stdout)
    assert "-h, --help" in short.stdout


@pytest.mark.parametrize("command", [(), *commands()], ids=" ".join)
def test_help_tells_exit_statuses_and_has_an_example(command: tuple[str, ...]) -> None:
    text = " ".join(CliRunner().invoke(main, [*command, "--help"]).stdout.split())
    status, examples = text.split("Exit status ")[1].split("Examples: ")
    assert status.startswith("0: ")
    assert " 1: " in status
    assert " 2: " in status
    assert "barewind " + " ".join(command if command != ("unlock",) else ("lease", "release")) in examples


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_a_number_that_an_option_takes_has_a_unit(command: tuple[str, ...]) -> None:
    context = click.Context(main)
    found: click.Command = main
    for name in command:
        assert isinstance(found, click.Group)
        below = found.get_command(context, name)
        assert below is not None
        found = below
    numbers = [
        each
        for each in found.params
        if isinstance(each, click.Option)
        and isinstance(each.type, click.types.IntParamType | click.types.FloatParamType)
    ]
    counted = ("hosts", "lines", "requests", "tokens", "milliseconds", " s ")
    assert [each.name for each in numbers if not any(unit in (each.help or "").lower() for unit in counted)] == []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "inventory").mkdir()
    (tmp_path / "group_data").mkdir()
    (tmp_path / "inventory" / "prod.py").write_text(
        'hopper = [("gpu-h1", {"a": 1}), "gpu-h2"]\nblackwell = (["gpu-b1"], {})\n_private = ["x"]\nraise SystemExit(3)\n'
    )
    (tmp_path / "inventory" / "broken.py").write_text("engines = [\n")
    (tmp_path / "site.py").write_text('engines = ["h1"]\n')
    (tmp_path / "deploy.py").write_text("import os\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def proposed(*words: str) -> list[str]:
    """What a shell offers for the last of these words."""
    complete = ShellComplete(main, {}, "barewind", "_BAREWIND_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


def test_inventories_are_proposed(folder: Path) -> None:
    assert proposed("plan", "") == ["group_data/", "inventory/", "site.py", "inventory/prod.py"]
    assert proposed("plan", "inv") == ["inventory/", "inventory/prod.py"]
    assert proposed("status", "inventory/") == ["inventory/prod.py"]


def test_hosts_of_the_inventory_are_proposed(folder: Path) -> None:
    assert proposed("plan", "inventory/prod.py", "--host", "") == ["gpu-h1", "gpu-h2", "gpu-b1"]
    assert proposed("plan", "inventory/prod.py", "--host", "gpu-b") == ["gpu-b1"]
    assert proposed("plan", "inventory/broken.py", "--host", "") == []
    assert proposed("plan", "nowhere.py", "--host", "") == []


def test_keys_are_proposed(folder: Path) -> None:
    assert proposed("plan", "site.py", "--data", "max_num") == ["max_num_batched_tokens=", "max_num_seqs="]
    assert len(proposed("plan", "site.py", "--data", "")) == len(KNOWN_KEYS)


def test_hosts_are_proposed_wherever_some_can_be_chosen(folder: Path) -> None:
    for command in ("verify", "support-bundle"):
        assert proposed(command, "inventory/prod.py", "--host", "gpu-b") == ["gpu-b1"]
    assert proposed("weights", "verify", "inventory/prod.py", "--host", "gpu-b") == ["gpu-b1"]


def test_inventories_are_proposed_to_the_doctor_and_folders_to_init(folder: Path) -> None:
    assert proposed("doctor", "inventory/") == ["inventory/prod.py"]
    complete = ShellComplete(main, {}, "barewind", "_BAREWIND_COMPLETE")
    assert [item.type for item in complete.get_completions(["init"], "in")] == ["dir"]
    assert [item.type for item in complete.get_completions(["discover", "--output"], "")] == ["dir"]


def test_hosts_of_the_ssh_configuration_are_proposed_to_discover(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert proposed("discover", "") == []
    (folder / ".ssh").mkdir()
    (folder / ".ssh" / "config").write_text("Host gpu-*\n  User ops\nHost gpu-2 gpu-1\nHost web\n")
    assert proposed("discover", "gpu-1", "gpu") == ["gpu-1", "gpu-2"]
    assert proposed("discover", "--from-ssh-config", "w") == ["web"]
