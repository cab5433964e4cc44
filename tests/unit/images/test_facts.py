"""Images of a host: what becomes of its output, and what the script prints in a real shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from barewind.images.facts import ImageHost
from tests.support.data_files import fact_tests
from tests.support.shell import Programs, Shell

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:No command set for test")]  # commands are run below

TestImageHost = fact_tests(ImageHost, Path(__file__).parent)

DIGEST = "sha256:" + "a" * 64


def test_history_comes_newest_first(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    folder = tmp_path / "releases"
    folder.mkdir()
    for number, name in enumerate(["without_events", "middle", "newest", "old"]):
        (folder / f"{name}.json").write_text(json.dumps({"release": name, "image": f"x@{DIGEST}"}, indent=1))
        shell(f"touch -d @{number * 1000} {folder}/{name}.json")  # which says nothing
    (folder / "broken.json").write_text("{")
    served = [("old", "serving"), ("newest", "serving"), ("middle", "serving"), ("newest", "restored")]
    told = [{"at": "2026-11-22T09:00:00Z", "release": one, "event": kind, "by": "ann@ws1"} for one, kind in served]
    (folder / "history.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in told))
    programs(docker="true")
    command = ImageHost().command().replace("/etc/barewind/releases", str(folder))
    found = ImageHost().process(shell(command).stdout.splitlines())
    assert found is not None
    assert [one["release"] for one in found["history"]] == ["newest", "middle", "old", "without_events"]


@pytest.mark.parametrize("broken", ["image", "ps", "inspect"])
def test_a_docker_that_does_not_answer_is_no_empty_host(shell: Shell, programs: Programs, broken: str) -> None:
    programs(docker=f"case $1 in {broken}) exit 1 ;; ps) echo abc ;; esac")
    assert ImageHost().process(shell(ImageHost().command()).stdout.splitlines()) is None
