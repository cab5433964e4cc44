"""The files of a new site, and where they are written."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path
from typing import Any

import pytest

from barewind.errors import BarewindError
from barewind.init.plan import files
from barewind.init.write import write
from barewind.spec.keys import KNOWN_KEYS

ROOT = Path(__file__).parents[3]
FILES = files("1.4.0")


def keys_of(text: str, tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "keys.py"
    file.write_text(text)
    return {name: value for name, value in runpy.run_path(str(file)).items() if not name.startswith("__")}


def test_every_file_of_python_is_python_and_says_what_it_is() -> None:
    for name, text in FILES.items():
        if name.endswith(".py"):
            assert ast.get_docstring(ast.parse(text)), name


def test_only_what_leads_to_hosts_is_set_for_all_and_every_key_is_explained(tmp_path: Path) -> None:
    text = FILES["group_data/all.py"]
    assert set(keys_of(text, tmp_path)) == {
        "ssh_user",
        "ssh_strict_host_key_checking",
        "_sudo",
        "_timeout",
        "lock_file",
    }
    assert [key for key in KNOWN_KEYS if f"{key} = " not in text and f"# {key}" not in text] == []


def test_what_people_run_is_there_under_its_usual_path() -> None:
    tasks = {path.name for path in (ROOT / "tasks").glob("*.py")} - {"__init__.py", "run.py", "deploy.py"}
    assert {name for name in FILES if name.startswith("tasks/")} == {f"tasks/{name}" for name in tasks}
    assert 'tasks.include("rollback")' in FILES["tasks/rollback.py"]


def test_the_version_is_pinned() -> None:
    assert "barewind==1.4.0" in FILES["requirements.txt"].splitlines()


def test_a_fresh_repository_may_have_what_hosting_services_put_there(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "LICENSE").write_text("mine")
    (tmp_path / "README.md").write_text("mine")
    written, differing = write(tmp_path, FILES)
    assert (sorted([*written, *differing]), differing) == (sorted(FILES), ["README.md"])
    assert (tmp_path / "README.md").read_text() == "mine"
    assert write(tmp_path, FILES) == ([], ["README.md"])


def test_a_folder_that_is_no_site_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("mine = True\n")
    with pytest.raises(BarewindError, match=r"has config\.py in it and is no site; nothing was written"):
        write(tmp_path, FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["config.py"]


def test_a_site_whose_configuration_is_lost_or_changed_is_a_site_still(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    (tmp_path / "config.py").write_text("FAIL_PERCENT = 50\n")
    assert write(tmp_path, FILES) == ([], ["config.py"])
    (tmp_path / "config.py").unlink()
    assert write(tmp_path, FILES) == (["config.py"], [])


def test_where_nothing_can_be_written_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(BarewindError, match=r"a file.*: Not a directory; name another folder"):
        write(tmp_path / "a file" / "site", FILES)
