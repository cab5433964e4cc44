"""Hosts drained, returned and restarted by hand."""

from __future__ import annotations

from lab import hosts
from tests.lab.conftest import started
from tests.lab_rollouts.conftest import Fleet
from tests.lab_rollouts.fleet import BALANCERS, ENGINES, UNIT, agreed, data, deploy, limit, run, status
from tests.lab_rollouts.load import under_load


def test_a_host_drained_on_purpose_stays_out_until_it_is_returned(fleet: Fleet) -> None:
    with under_load() as load:
        drained = run("tasks/drain.py", fleet.serves, *limit("engine2"), *data(reason="new memory"))
        for name in BALANCERS:
            hosts.exec(name, "systemctl reload haproxy")
        deployed = deploy(fleet.other, *limit("engine2", "lb1", "lb2"))
        out = agreed(fleet.other)
        told = status(fleet.other)
        returned = run("tasks/undrain.py", fleet.other, *limit("engine2"))
    assert (drained.status, deployed.status, returned.status) == (0, 0, 0)
    assert load.lost == []
    assert min(load.fewest.values()) == 2
    assert out.using("engine2") == {"DRAIN"}
    assert out.releases["engine2"] == fleet.other.id
    (row,) = [one for one in told["engines"] if one["host"] == "engine2"]
    assert row["drained"]["why"] == "new memory"
    assert "drained on purpose: engine2" in deployed.output
    assert agreed(fleet.other).serves("engine2", fleet.other)


def test_nobody_can_drain_all(fleet: Fleet) -> None:
    refused = run("tasks/drain.py", fleet.serves)
    assert refused.status != 0
    assert "nothing was changed" in refused.output
    assert all(agreed(fleet.serves).serves(name, fleet.serves) for name in ENGINES)


def test_a_rolling_restart_loses_nothing(fleet: Fleet) -> None:
    before = {name: started(name, f"{UNIT}.service") for name in ENGINES}
    with under_load() as load:
        restarted = run("tasks/restart.py", fleet.serves)
    assert restarted.status == 0
    assert load.lost == []
    assert min(load.fewest.values()) >= 2
    assert all(started(name, f"{UNIT}.service") != then for name, then in before.items())
    assert all(agreed(fleet.serves).serves(name, fleet.serves) for name in ENGINES)
