"""`barewind tune` over @fake hosts: what is refused, what becomes of candidates, and that the engine is put back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.bench_fleet import NAME, fleet, planned, run
from tests.support.fake_fleet import Clone, gate

SMALL = ("--replica", NAME, "--candidates", "2", "--ladder", "1,8,32")


def test_without_a_drained_replica_nothing_is_started(clone: Clone) -> None:
    fleet(clone, drained=False)
    done = run(clone, "tune", *SMALL)
    assert done.returncode == 1
    assert f"{NAME}: in rotation on @fake/lb1; drain it first" in done.stderr
    assert "candidate" not in done.stderr


def test_its_plan_shows_the_candidates_and_asks_no_host(clone: Clone) -> None:
    fleet(clone, held=True)
    done = run(clone, "tune", "--replica", NAME, "--plan")
    assert done.returncode == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[1].startswith("as planned - ")
    assert any(line.startswith("left out: without draft: estimated at ") for line in lines)


def test_candidates_are_measured_and_the_engine_is_put_back(clone: Clone) -> None:
    fleet(clone)
    done = run(clone, "tune", *SMALL)
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    assert told[0] == f"{NAME}: candidate 1 of 2: as planned"
    assert f"{NAME}: candidate 2 of 2: kv_cache_dtype fp8" in told
    assert told[-2:] == [
        f"{NAME}: goes back to release {planned().release}",
        f"{NAME}: serves release {planned().release} again; it is drained as before: tasks/undrain.py",
    ]
    assert "nothing does notably more than what is planned; group data stays as it is" in done.stdout
    assert "speeds:\n  h200:\n    layer_us: " in done.stdout


def test_it_is_told_as_json_with_constants_that_were_fitted(clone: Clone) -> None:
    fleet(clone)
    tuning = json.loads(run(clone, "tune", *SMALL, "--json").stdout)
    assert (tuning["replica"], tuning["best"], tuning["diff"]) == (NAME, "as planned", "")
    assert [attempt["failed"] for attempt in tuning["attempts"]] == [None, None]
    assert tuning["constants"]["error_percent"] < tuning["constants"]["before"]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"> /run/systemd/system": {"success": False, "stderr": "no space left"}}, "no space left"),
        ({"--unit=barewind-tune": {"success": False, "stderr": "another tuner is at work here"}}, "another tuner"),
    ],
)
def test_a_host_that_cannot_be_told_ends_it(clone: Clone, answers: dict[str, object], told: str) -> None:
    fleet(clone, answers=answers)
    done = run(clone, "tune", *SMALL)
    assert done.returncode == 1
    assert told in done.stderr
    assert (f"serves release {planned().release} again" in done.stderr) is ("another" not in told)


def test_where_what_is_planned_does_not_answer_nothing_else_is_tried(clone: Clone) -> None:
    fleet(clone, answers={"echo @@barewind:health": gate("torch.OutOfMemoryError: CUDA out of memory", state="failed")})
    done = run(clone, "tune", *SMALL)
    assert done.returncode == 1
    assert f"Error: {NAME}: its unit failed; out of memory: " in done.stderr
    assert "so there is nothing to compare others with" in done.stderr
    assert "candidate 2" not in done.stderr


def test_the_diff_is_written_to_a_file(clone: Clone, tmp_path: Path) -> None:
    fleet(clone)
    done = run(clone, "tune", *SMALL, "--diff", str(tmp_path / "none" / "tuned.patch"))
    assert done.returncode == 0  # nothing to write
    assert not (tmp_path / "none").exists()
