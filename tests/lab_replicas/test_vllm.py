"""A single host with two engines of the real vLLM, upgraded under load."""

from __future__ import annotations

import pytest

from lab.hosts import hosts
from lab.services import hub_control
from tests.support.commands import data
from tests.support.lab import LAB, Size, bring_up
from tests.support.load import under_load
from tests.support.replicas import BALANCER, names, releases, states

pytestmark = pytest.mark.full

HOST = "engine1"
TWO = data(replicas=2)


def test_an_upgrade_of_the_only_host_loses_no_request() -> None:
    bring_up(Size(engines=1), anew=[HOST])
    hub_control.reset()
    assert LAB.barewind("lock", "--update").status == 0
    assert LAB.deploy(*TWO).status == 0
    assert states() == dict.fromkeys(names(HOST, 2), "UP")
    before = releases(HOST, 2)
    assert len(set(before)) == 1

    with under_load(balancers=[BALANCER], streams=2, least=30, exact=False) as load:
        upgraded = LAB.deploy(*TWO, *data(engine_args={"enforce-eager": True, "seed": 7}))
    assert upgraded.status == 0
    assert load.lost == []
    assert load.fewest[BALANCER] == 1
    after = releases(HOST, 2)
    assert len(set(after)) == 1
    assert after != before


def test_pages_of_the_weights_are_in_memory_once() -> None:
    """What each engine maps of the model's file is the host's page cache: one copy, whoever reads it."""
    files = {
        hosts.exec(
            HOST, f"docker exec barewind-engine-{number} sh -c 'stat -L -c %d:%i /models/*/*/*.safetensors'"
        ).stdout
        for number in range(2)
    }
    assert len(files) == 1
