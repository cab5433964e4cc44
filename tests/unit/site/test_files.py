"""What is said of an inventory or of group data that Python or pyinfra cannot read, or reads as something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from barewind.errors import BarewindError
from barewind.site import inventory
from barewind.site.files import group_data_files

HOST = 'engines = [("h1", {"ssh_hostname": "192.0.2.1"})]\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "group_data").mkdir()
    (tmp_path / "site.py").write_text(HOST)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyinfra_cli.util.PYTHON_CODES", {})  # it remembers files by their relative name
    return tmp_path


def refused(file: str = "site.py") -> str:
    with pytest.raises(BarewindError) as caught:
        inventory.load(file)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x ===\n", "SyntaxError: invalid syntax (gpus.py, line 1); correct the file."),
        (b"x = 'gr\xfcn'\n", "is not UTF-8 (byte 0xfc in line 1); save it as UTF-8."),
        (b"y = 1\n# -*- coding: latin-1 -*-\nx = 'gr\xfcn'\n", "is not UTF-8 (byte 0xfc in line 3); save it as UTF-8."),
        (b"\xef\xbb\xbfx = 1\n", "begins with a byte order mark; save it as UTF-8 without one."),
        (b"x = 1\0\n", "null bytes"),
        (b"import sys\nsys.exit(3)\n", "ends the program (SystemExit with 3); take the exit out"),
        (b"raise SystemExit\n", "ends the program (SystemExit); take the exit out"),
        (b"exit('no')\n", "ends the program (SystemExit with 'no'); take the exit out"),
        (b"1/0\n", "ZeroDivisionError: division by zero; correct the file."),
        (b"import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'; correct the file."),
        (b"raise RecursionError\n", "RecursionError"),
        (b"__all__ = 5\n", "TypeError"),
    ],
)
def test_group_data_that_cannot_be_read(folder: Path, content: bytes, said: str) -> None:
    (folder / "group_data" / "gpus.py").write_bytes(content)
    message = refused()
    assert "group_data" in message
    assert said in message
    assert len(message.splitlines()) == 1


def test_a_folder_of_group_data_with_the_name_of_a_file(folder: Path) -> None:
    (folder / "group_data" / "gpus.py").mkdir()
    assert refused() == "group_data/gpus.py: cannot be read (Is a directory); correct the file."


def test_files_that_cannot_be_read_are_told_together(folder: Path) -> None:
    (folder / "group_data" / "a.py").write_text("x ===\n")
    (folder / "group_data" / "b.py").write_bytes(b"x = '\xff'\n")
    (folder / "site.py").write_text(HOST + "gpus = [3]\n")
    assert [line.partition(":")[0] for line in refused().splitlines()] == [
        "group_data/a.py",
        "group_data/b.py",
        "site.py",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"import sys\nsys.exit(3)\n", "site.py: ends the program (SystemExit with 3); take the exit out"),
        (b"x = 'gr\xfcn'\n", "site.py: is not UTF-8 (byte 0xfc in line 1); save it as UTF-8."),
        (b"engines = [\n", "site.py: SyntaxError: '[' was never closed (site.py, line 1); correct the inventory."),
        (b"[engines]\nh1 ansible_host=192.0.2.1\n", "and inventories are Python; see inventory/prod.py"),
        (b"---\nengines:\n  hosts: [h1]\n", "and inventories are Python; see inventory/prod.py"),
    ],
)
def test_an_inventory_that_cannot_be_read(folder: Path, content: bytes, said: str) -> None:
    (folder / "site.py").write_bytes(content)
    assert said in refused()


@pytest.mark.parametrize("name", ["site.yaml", "site.yml", "hosts.ini", "site.toml", "site.json", "SITE.YML"])
def test_an_inventory_of_another_tool(folder: Path, name: str) -> None:
    (folder / name).write_text("engines: 1\n")
    assert refused(name).startswith(f"{name}: inventories are Python files (.py)")


@pytest.mark.parametrize("name", ["hosts.yaml", "prod.ini"])
def test_an_inventory_of_another_tool_that_is_not_there(folder: Path, name: str) -> None:
    assert refused(name) == f"{name}: no such inventory file; see inventory/prod.py for an example."


def test_an_inventory_without_an_ending(folder: Path) -> None:
    (folder / "hosts").write_text("[engines]\n192.0.2.1\n")
    assert "and inventories are Python" in refused("hosts")


def test_a_folder_is_no_inventory(folder: Path) -> None:
    (folder / "inventory").mkdir()
    (folder / "inventory" / "prod.py").write_text(HOST)
    assert refused("inventory") == (
        "inventory: is a folder; name one file: inventories are Python files (in it: inventory/prod.py)."
    )
    (folder / "empty").mkdir()
    assert refused("empty").endswith("(in it: none).")


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ('engines = "192.0.2.1"\n', "engines"),
        (HOST + 'balancers = "lb1"\n', "balancers"),
        (HOST + 'balancer = "lb1"\n', "balancer"),
        (HOST + 'mirrors = {"m1": {}}\n', "mirrors"),
        (HOST + 'gpus = {"h2", "h3"}\n', "gpus"),  # a file of group data has its name
        (HOST + 'gpus = (f"h{n}" for n in range(3))\n', "gpus"),
        (HOST + 'others = "192.0.2.7"\n', "others"),
        ('engines = {"h1": {}}\n', "engines"),
        ('engines = "h1"\n', "engines"),
    ],
)
def test_a_group_that_is_no_list(folder: Path, text: str, group: str) -> None:
    (folder / "group_data" / "gpus.py").write_text("")
    (folder / "site.py").write_text(text)
    assert refused().startswith(f"site.py: group '{group}': is of type ")
    assert f'write {group} = ["name", ("name", {{"key": value}})]' in refused()


def test_variables_of_ones_own_are_no_groups(folder: Path) -> None:
    (folder / "site.py").write_text('rack = "R1"\nsizes = {"a": 1}\nimport os\nfrom pathlib import Path\n' + HOST)
    assert [entry.name for entry in inventory.load("site.py")] == ["h1"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'engines = [("h1", {"ssh_hostname": "192.0.2.1"}), ("h1", {"ssh_hostname": "192.0.2.2"})]\n',
            "host 'h1': stands twice in group 'engines'; give each host a name of its own.",
        ),
        ('engines = ["h1", "h2", "h1"]\n', "host 'h1': stands twice in group 'engines'"),
        (
            'a = [("h1", {"ssh_hostname": "192.0.2.1"})]\nb = [("h1", {"ssh_hostname": "192.0.2.2"})]\n',
            "host 'h1': key 'ssh_hostname': is '192.0.2.1' in group 'a' and '192.0.2.2' in group 'b'",
        ),
        (
            'a = [("h1", {"accelerator": "h100"})]\nb = ([("h1", {"accelerator": "h200"})], {})\n',
            "host 'h1': key 'accelerator': is 'h100' in group 'a' and 'h200' in group 'b'",
        ),
    ],
)
def test_a_host_that_stands_there_twice(folder: Path, text: str, said: str) -> None:
    (folder / "site.py").write_text(text)
    assert said in refused()


def test_a_host_may_be_in_several_groups(folder: Path) -> None:
    (folder / "site.py").write_text(
        '_h = ("h1", {"ssh_hostname": "192.0.2.1"})\na = [_h]\nb = [_h]\nc = ["h1"]\nall = ["h1"]\n'
    )
    (entry,) = inventory.load("site.py")
    assert (entry.groups, entry.data["ssh_hostname"]) == (("a", "b", "c", "site"), "192.0.2.1")


def test_group_data_of_both_places_is_found(folder: Path) -> None:
    (folder / "inventory" / "group_data").mkdir(parents=True)
    for place in ("group_data/all.py", "inventory/group_data/b.py"):
        (folder / place).write_text("")
    assert list(map(str, group_data_files("inventory/site.py"))) == ["group_data/all.py", "inventory/group_data/b.py"]
