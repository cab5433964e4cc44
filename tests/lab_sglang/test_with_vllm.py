"""vLLM and SGLang behind one balancer, under one name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.lab import LAB, Size, ask, bring_up, servers

pytestmark = pytest.mark.full  # two engines are started


@pytest.fixture
def both() -> Iterator[None]:
    """A host for each engine. vLLM's goes again: it would be the only one that serves in the next suite's lab."""
    bring_up(Size(engines=1, sglang=1))
    yield
    bring_up(Size(engines=0, sglang=1))


def test_a_fleet_of_both_engines_answers_behind_one_balancer(both: None) -> None:
    assert LAB.barewind("lock", "--update").status == 0
    run = LAB.deploy()
    assert run.status == 0
    told = "is answered by vllm (engines) and sglang (sglang), whose answers differ."
    assert run.output.count(told) == 1
    assert "errors in 'error.message'" in run.output
    assert {name: server.state for name, server in servers("lb1").items()} == {"engine1": "UP", "sglang1": "UP"}
    answers = [ask() for _ in range(12)]
    assert {answer.status_code for answer in answers} == {200}
    by_engine = Counter("sglang" if "metadata" in answer.json() else "vllm" for answer in answers)
    assert min(by_engine["sglang"], by_engine["vllm"]) >= 3  # the least busy one is asked, which is each in turn
    assert LAB.deploy().changed == set()
    assert LAB.verify().status == 0
