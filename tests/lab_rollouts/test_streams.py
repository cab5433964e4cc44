"""Streams that outlive drain_timeout, under each policy."""

from __future__ import annotations

import pytest

from tests.support.commands import limit
from tests.support.fleet import BALANCERS, ENGINES, Fleet, agreed
from tests.support.lab import started
from tests.support.load import Stream, under_load
from tests.support.releases import deploy

pytestmark = pytest.mark.full

_LONG = 540  # tokens: 27 s


@pytest.mark.parametrize(("policy", "works", "cut"), [("abort", False, 0), ("wait", True, 0), ("proceed", True, 2)])
def test_a_stream_that_outlives_drain_timeout(fleet: Fleet, policy: str, works: bool, cut: int) -> None:
    """Two such streams on every host, one of each balancer; what is cut then is cut by the engine, after its own time."""
    before = [started(name) for name in ENGINES]
    release = fleet.other.but(drain_policy=policy, drain_timeout=6)
    long = [Stream(name, _LONG) for _ in ENGINES for name in BALANCERS]
    with under_load() as load:
        run = deploy(release, *limit("engine1"))
    whole = [stream.whole() for stream in long]

    assert (run.status == 0) is works
    assert load.lost == []
    assert min(load.fewest.values()) >= 2
    assert whole.count(False) == cut
    state = agreed(release)
    assert state.serves("engine1", fleet.other if works else fleet.release)
    after = [started(name) for name in ENGINES]
    assert after[1:] == before[1:]
    if policy == "abort":
        assert after == before
        assert "the host was not touched" in run.output
    elif policy == "proceed":
        assert "are cut unless they end within" in run.output
