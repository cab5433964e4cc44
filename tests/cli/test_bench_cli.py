"""`barewind bench` over @fake hosts: what is refused, what is measured, and that the lease is held as long as that takes."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest

from tests.support.bench_fleet import NAME, fleet, generated, planned, run
from tests.support.fake_fleet import Clone


def bench(clone: Clone, *options: str) -> subprocess.CompletedProcess[str]:
    return run(clone, "bench", *options)


def test_a_drained_host_is_measured_beside_its_estimate(clone: Clone) -> None:
    fleet(clone)
    done = bench(clone, "--ladder", "1,8", "--page", "bench.html")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0].startswith(
        "@fake/gpu1: 1 x vllm, 8 x h200 each, mistralai/Mistral-Medium-3.5-128B; prompts of 1024 tokens"
    )
    assert re.match(r"1 8 819 819 \d+ \(\+\d+ %\) - 20\.0 30\.0 \d+\.\d \(\+\d+ %\) 50 90$", lines[2])
    assert "best: 819 tokens/s with 1 in flight; ended: the last rung of the ladder" in lines
    assert done.stderr.splitlines() == ["@fake/gpu1: 1 in flight, 4 requests", "@fake/gpu1: 8 in flight, 32 requests"]
    assert "<svg" in (clone.path / "bench.html").read_text()


def test_it_is_told_as_json(clone: Clone) -> None:
    fleet(clone)
    told = json.loads(bench(clone, "--preset", "recipe", "--json").stdout)
    assert (told["target"], told["preset"], told["release"]) == (NAME, "recipe", planned().release)
    assert [rung["in_flight"] for rung in told["rungs"]] == [32]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"drained": False}, "@fake/gpu1: in rotation on @fake/lb1; drain it first"),
        ({"held": True}, "another run holds the lease: ann@ws1"),
        ({"answer": '{"error": {"message": "overloaded"}}', "status": "503"}, "a completion: HTTP 503 (overloaded)"),
        ({"answer": "curl: (7) refused", "status": "000"}, "a completion: no answer"),
        (
            {"load": generated(failed=3, error="Bad Gateway")},
            "3 requests were not answered as they should; one of them: Bad Gateway",
        ),
        (
            {"load": ["@@bench 0", "@@bench failed 1", "OSError: full", "@@bench end"]},
            "the load generator failed: OSError: full",
        ),
    ],
)
def test_what_stands_in_the_way_is_told(clone: Clone, changes: dict[str, Any], told: str) -> None:
    fleet(clone, **changes)
    done = bench(clone, "--ladder", "1,8")
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stdout == ""


def test_wrong_use_is_told_before_a_host_is_asked(clone: Clone) -> None:
    fleet(clone)
    for options, told in (
        (("--ladder", "1,x"), "'1,x': write numbers with commas between them"),
        (("--replica", NAME, "--endpoint"), "--replica goes with neither"),
    ):
        done = bench(clone, *options)
        assert (done.returncode, told in done.stderr) == (2, True)
    done = bench(clone, "--ladder", "8,1", "--input", "262144")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2


def test_rungs_before_an_error_are_shown_and_kept(clone: Clone) -> None:
    failing = {"--max-concurrency 8 ": generated(failed=3, error="Bad Gateway")}
    fleet(clone, answers=failing)
    done = bench(clone, "--ladder", "1,8,32")
    assert done.returncode == 1
    assert any(" ".join(line.split()).startswith("1 8 819 ") for line in done.stdout.splitlines())
    assert (
        "with 8 in flight: @fake/gpu1: 3 requests were not answered as they should; one of them: Bad Gateway"
        in done.stderr
    )
    assert "32 in flight" not in done.stderr
