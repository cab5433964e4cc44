"""The diff of group data that is proposed, applied by patch; and what it cannot say."""

from __future__ import annotations

import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest

from barewind.spec.site import HostEntry
from barewind.tune import proposal

ALL = 'engine = "vllm"\nspeculative = "auto"\n'
HOPPER = """\
# Hosts with H100.
accelerator = "h100"
engine_args = {
    "seed": 1,  # as last year
}
max_num_seqs = 64"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data" / "all.py").write_text(ALL)
    (tmp_path / "group_data" / "hopper.py").write_text(HOPPER)
    return tmp_path


def entry(**origins: str) -> HostEntry:
    return HostEntry("gpu1", ("all", "hopper", "prod"), {}, origins)


def applied(folder: Path, diff: str) -> None:
    subprocess.run(["patch", "-p1", "-s"], cwd=folder, input=diff, text=True, check=True)


@pytest.mark.parametrize(
    ("origin", "changes", "file", "line"),
    [
        ({"speculative": "group_data/all.py"}, {"speculative": False}, "all", "speculative = False"),
        ({}, {"kv_cache_dtype": "fp8"}, "hopper", 'kv_cache_dtype = "fp8"'),
        ({"max_num_seqs": "group_data/hopper.py"}, {"max_num_seqs": 128}, "hopper", "max_num_seqs = 128"),
        (
            {"engine_args": "group_data/hopper.py"},
            {"engine_args": {"seed": 1, "attention-backend": "X"}},
            "hopper",
            'engine_args = {"seed": 1, "attention-backend": "X"}',
        ),
    ],
)
def test_a_key_is_changed_where_it_is_set_or_added_to_the_hosts_group(
    folder: Path, origin: dict[str, str], changes: dict[str, Any], file: str, line: str
) -> None:
    diff, notes = proposal.diff(entry(**origin), changes, folder)
    assert notes == []
    applied(folder, diff)
    text = (folder / "group_data" / f"{file}.py").read_text()
    assert line in text.splitlines()
    names = runpy.run_path(str(folder / "group_data" / f"{file}.py"))
    assert {key: names[key] for key in changes} == changes
    assert names.get("accelerator", "h100") == "h100"


def test_a_file_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    diff, _ = proposal.diff(entry(), {"speculative": False}, tmp_path)
    assert diff.startswith("--- /dev/null\n+++ b/group_data/hopper.py\n")
    applied(tmp_path, diff)
    assert (tmp_path / "group_data" / "hopper.py").read_text() == "speculative = False\n"


def test_what_the_inventory_sets_is_named_and_not_hidden_behind_group_data(folder: Path) -> None:
    origin = {"max_num_seqs": "inventory/prod.py: host 'gpu1'"}
    diff, notes = proposal.diff(entry(**origin), {"max_num_seqs": 128}, folder)
    assert (diff, notes) == (
        "",
        ["inventory/prod.py: host 'gpu1' sets 'max_num_seqs', not group data: write max_num_seqs = 128 there"],
    )


def test_what_a_program_sets_is_not_put_in_place_of(folder: Path) -> None:
    (folder / "group_data" / "hopper.py").write_text("for max_num_seqs in (64, 128):\n    pass\n")
    diff, notes = proposal.diff(entry(max_num_seqs="group_data/hopper.py"), {"max_num_seqs": 256}, folder)
    assert diff == ""
    assert notes == ["group_data/hopper.py sets 'max_num_seqs' by a program: write max_num_seqs = 256 there"]


def test_nothing_to_change_is_no_diff(folder: Path) -> None:
    assert proposal.diff(entry(), {}, folder) == ("", [])
