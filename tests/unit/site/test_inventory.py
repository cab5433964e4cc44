"""Inventories as pyinfra resolves them, and what is said when one is not right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from barewind.errors import BarewindError
from barewind.site import inventory
from barewind.site.read import read_site
from barewind.spec.site import HostEntry

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "group_data").mkdir()
    (tmp_path / "inventory").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyinfra_cli.util.PYTHON_CODES", {})  # it remembers files by their relative name
    return tmp_path


def load(folder: Path, text: str, data: dict[str, Any] | None = None, **group_data: str) -> dict[str, HostEntry]:
    (folder / "inventory" / "site.py").write_text(text)
    for group, content in group_data.items():
        (folder / "group_data" / f"{group}.py").write_text(content)
    return {entry.name: entry for entry in inventory.load("inventory/site.py", data)}


def refused(folder: Path, text: str, **group_data: str) -> str:
    with pytest.raises(BarewindError) as caught:
        load(folder, text, **group_data)
    return str(caught.value)


def test_hosts_groups_and_data(folder: Path) -> None:
    found = load(
        folder, 'hopper = ["a", ("b", {"engine_port": 1})]\nbalancers = ["c"]\n', hopper="accelerator = 'h200'"
    )
    assert {name: entry.groups for name, entry in found.items()} == {
        "a": ("hopper", "site"),
        "b": ("hopper", "site"),
        "c": ("balancers", "site"),
    }
    assert found["a"].data == {"accelerator": "h200"}
    assert found["b"].data == {"accelerator": "h200", "engine_port": 1}
    assert found["c"].data == {}


@pytest.mark.parametrize(
    ("level", "value", "origin"),
    [
        (1, "all", "group_data/all.py"),
        (2, "inline", "inventory/site.py: group 'gpus'"),
        (3, "file", "group_data/gpus.py"),
        (4, "host", "inventory/site.py: host 'a'"),
        (5, "data", "--data"),
    ],
)
def test_the_stronger_source_wins_and_is_named(folder: Path, level: int, value: str, origin: str) -> None:
    host = '("a", {"channel": "host"})' if level >= 4 else '"a"'
    group = f'([{host}], {{"channel": "inline"}})' if level >= 2 else f"[{host}]"
    files = {"all": "channel = 'all'"} | ({"gpus": "channel = 'file'"} if level >= 3 else {})
    entry = load(folder, f"gpus = {group}\n", {"channel": "data"} if level == 5 else None, **files)["a"]
    assert entry.data["channel"] == value
    assert entry.origins["channel"] == origin


def test_origin_of_a_key_that_the_group_data_file_does_not_set(folder: Path) -> None:
    entry = load(folder, 'gpus = (["a"], {"channel": "stabel"})\n', gpus="modality = 'text'")["a"]
    assert entry.origins["channel"] == "inventory/site.py: group 'gpus'"


def test_a_problem_names_the_file_that_it_comes_from(folder: Path) -> None:
    found = load(
        folder, 'gpus = ["10.0.0.1"]\n', all="channel = 'stabel'", gpus="accelerator = 'h200'\naccelerator_count = '8'"
    )
    with pytest.raises(BarewindError) as caught:
        read_site(list(found.values()))
    assert [line.split(": ", 1)[0] for line in str(caught.value).splitlines()] == [
        "group_data/all.py",
        "group_data/gpus.py",
    ]


def test_data_of_the_command_line_reaches_every_host(folder: Path) -> None:
    found = load(folder, 'gpus = ["a"]\nbalancers = ["b"]\n', {"lock_file": "x.yaml"})
    assert [entry.data["lock_file"] for entry in found.values()] == ["x.yaml", "x.yaml"]


def test_variables_with_an_underscore_are_no_groups(folder: Path) -> None:
    assert list(load(folder, '_notes = [1, 2]\nrack = "R1"\ngpus = ["a"]\n')) == ["a"]


def test_a_missing_file(folder: Path) -> None:
    with pytest.raises(BarewindError, match=r"^inventory/none.py: no such inventory file; see inventory/prod.py"):
        inventory.load("inventory/none.py")


HINT = 'write "name" or ("name", {"key": value}).'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no host in it; see inventory/prod.py for an example."),
        ("gpus = []\n", "no host in it; see inventory/prod.py for an example."),
        ("gpus = ['a', 3]\n", f"group 'gpus', host 2: found 3; {HINT}"),
        ("gpus = [None]\n", f"group 'gpus', host 1: found None; {HINT}"),
        ("gpus = ['']\n", f"group 'gpus', host 1: found an empty name; {HINT}"),
        ("gpus = [('a',)]\n", f"group 'gpus', host 1: found ('a',); {HINT}"),
        ("gpus = [('a', 'b')]\n", f"group 'gpus', host 1: found ('a', 'b'); {HINT}"),
        ("gpus = [('a', {}, {})]\n", f"group 'gpus', host 1: found ('a', {{}}, {{}}); {HINT}"),
        ("gpus = [(1, {})]\n", f"group 'gpus', host 1: found (1, {{}}); {HINT}"),
        ("gpus = ('a', 'b')\n", "group 'gpus': a tuple must be (hosts, data); make it a list of hosts."),
        ("gpus = (['a', 3], {})\n", f"group 'gpus', host 2: found 3; {HINT}"),
        ("1/0\n", "ZeroDivisionError: division by zero; correct the inventory."),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'; correct the inventory."),
        ("gpus = ['a'\n", "SyntaxError: '[' was never closed (site.py, line 1); correct the inventory."),
    ],
)
def test_a_broken_inventory(folder: Path, text: str, said: str) -> None:
    assert refused(folder, text) == f"inventory/site.py: {said}"


def test_a_group_that_was_written_as_a_host(folder: Path) -> None:
    assert "group 'gpus'" in refused(folder, "gpus = ('gpu1', {'accelerator': 'h200'})\n")


def test_a_broken_group_data_file(folder: Path) -> None:
    assert "ZeroDivisionError: division by zero; correct the file." in refused(folder, "g = ['a']\n", g="1/0\n")


def test_a_connector_is_no_file(folder: Path) -> None:
    assert [entry.name for entry in inventory.load("@fake/a")] == ["@fake/a"]


def test_the_example_of_a_production_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    site = read_site(inventory.load("inventory/prod.py"))
    assert {name: (spec.accelerator, spec.accelerator_count) for name, spec in site.engines.items()} == {
        "gpu-h1": ("h200", 8),
        "gpu-h2": ("h200", 8),
        "gpu-b1": ("b200", 8),
        "gpu-a1": ("mi300x", 8),
    }
    assert {name: spec.address for name, spec in site.balancers.items()} == {"lb1": "192.0.2.2", "lb2": "192.0.2.3"}
    assert site.lock_file == "barewind.lock.yaml"


def test_the_lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(REPOSITORY)
    site = read_site(inventory.load("inventory/lab.py"))
    assert {name: spec.address for name, spec in site.engines.items()} == {
        "engine1": "172.30.77.21",
        "engine2": "172.30.77.22",
    }
    assert {spec.accelerator for spec in site.engines.values()} == {"cpu"}
    assert list(site.balancers) == ["lb1"]
    assert site.lock_file == str(tmp_path / "barewind" / "lab" / "barewind.lock.yaml")
