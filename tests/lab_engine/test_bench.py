"""A bench of the real vLLM by its own load generator, on a host that is drained for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.hosts import hosts
from tests.support.bench import benched
from tests.support.commands import BackgroundRun
from tests.support.lab import LAB, plans, started

HOST = "engine1"
SMALL = ("--host", HOST, "--ladder", "1,4", "--input", "64", "--output", "16", "--requests", "8")


def test_a_host_in_rotation_is_refused_with_the_way_to_drain_it(fleet: tuple[str, ...]) -> None:
    run = LAB.barewind("bench", *SMALL)
    assert run.status == 1
    assert f"{HOST}: in rotation on lb1; drain it first: pyinfra INVENTORY tasks/drain.py --limit {HOST}" in run.output


@pytest.mark.full  # tests/unit/bench has whom it asks
def test_the_endpoint_is_asked_through_the_balancer(fleet: tuple[str, ...]) -> None:
    small = ("--endpoint", "--ladder", "2", "--input", "32", "--output", "8", "--requests", "4")
    assert "say --in-rotation" in LAB.barewind("bench", *small).output
    done = benched(*small, "--in-rotation")
    assert (done["target"], done["through"], done["release"]) == ("lb1", "endpoint", None)
    assert done["rungs"][0]["output_tokens"] == 4 * 8


def test_a_drained_host_is_measured_and_the_result_kept_with_its_release(drained: None, tmp_path: Path) -> None:
    before = started(HOST)
    page = tmp_path / "bench.html"
    done = benched(*SMALL, "--page", str(page))
    assert [(rung["in_flight"], rung["requests"]) for rung in done["rungs"]][:1] == [(1, 8)]
    assert all(rung["output_tokens"] == 8 * 16 for rung in done["rungs"])
    assert all(abs(rung["prompt_tokens"] - 8 * 64) <= 8 * 4 for rung in done["rungs"])
    assert all(rung["tokens_per_second"] > 0 and rung["ms_per_token"] > 0 for rung in done["rungs"])
    assert done["release"] == plans(LAB)[HOST]["release"]
    assert done["no_estimate"] == "nothing is known of how fast cpu is"
    assert started(HOST) == before
    assert page.read_text().count("<svg") == 3

    file = f"/etc/barewind/releases/{done['release']}.bench"
    assert hosts.exec(HOST, f"stat -c '%a %U' {file}").stdout.strip() == "600 root"
    assert json.loads(hosts.exec(HOST, f"tail -n 1 {file}").stdout) == done
    assert "barewind-bench" not in hosts.exec(HOST, "docker ps -a --format '{{.Names}}'").stdout
    assert LAB.barewind("lease").status == 0


@pytest.mark.full  # tests/unit/bench has what the host is told
def test_a_bench_that_is_interrupted_leaves_no_load_and_no_lease(drained: None) -> None:
    run = BackgroundRun("barewind", "bench", LAB.inventory, *SMALL)
    assert run.prints("1 in flight")
    assert run.interrupt().status == 1
    assert "barewind-bench" not in hosts.exec(HOST, "docker ps -a --format '{{.Names}}'").stdout
    assert LAB.barewind("lease").status == 0
