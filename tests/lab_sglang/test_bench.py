"""A bench of the real SGLang by its own load generator, on a host that is drained for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.hosts import hosts
from tests.support.bench import benched
from tests.support.commands import data
from tests.support.lab import LAB, plans, servers, started
from tests.support.sglang import FirstDeploy

HOST = "sglang1"
LIMITED = ("--limit", HOST, "--limit", "lb1")


@pytest.fixture(scope="module")
def drained(first_deploy: FirstDeploy) -> Iterator[None]:
    """Its host is in maintenance."""
    assert first_deploy.run.status == 0
    assert LAB.pyinfra("tasks/drain.py", *LIMITED, *data(allow_downtime=True)).status == 0
    yield
    assert LAB.pyinfra("tasks/undrain.py", *LIMITED).status == 0
    assert servers("lb1")[HOST].state == "UP"


def test_its_generator_measures_it(drained: None) -> None:
    before = started(HOST)
    done = benched("--host", HOST, "--ladder", "1,2", "--input", "64", "--output", "16", "--requests", "4")
    assert done["engine"] == "sglang"
    assert done["rungs"][0]["requests"] == 4
    assert all(rung["output_tokens"] == 4 * 16 for rung in done["rungs"])
    assert all(abs(rung["prompt_tokens"] - 4 * 64) <= 4 * 16 for rung in done["rungs"])
    assert all(rung["tokens_per_second"] > 0 and rung["ms_per_token"] > 0 for rung in done["rungs"])
    assert started(HOST) == before
    file = f"/etc/barewind/releases/{plans(LAB)[HOST]['release']}.bench"
    assert hosts.exec(HOST, f"stat -c '%a %U' {file}").stdout.strip() == "600 root"
