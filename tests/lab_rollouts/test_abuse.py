"""Abusive clients beside 30 streams: what is done to the fleet meanwhile costs the others nothing."""

from __future__ import annotations

from lab import topology, wait
from lab.hosts import hosts
from tests.support.abuse import Abuse, abused
from tests.support.fleet import Fleet, agreed, await_health, settled
from tests.support.lab import ENGINE_UNIT, started
from tests.support.load import under_load
from tests.support.releases import deploy


def test_an_upgrade_a_stop_and_a_reboot_by_hand_lose_nothing(fleet: Fleet) -> None:
    with abused() as abuse, under_load(least=1500) as load:
        upgraded = deploy(fleet.other)
        assert settled().all_serve(fleet.other)
        _stop_and_start("engine1")
        assert settled().all_serve(fleet.other)
        _reboot("engine2")
        assert settled().all_serve(fleet.other)
    assert upgraded.status == 0
    fleet.swap()
    assert load.lost == []
    _nothing_came_through(abuse)
    assert agreed(fleet.release).all_serve(fleet.release)


def _nothing_came_through(abuse: Abuse) -> None:
    """The abuse took place, and met what it should: an engine's 500 for each bad request, a no for every other."""
    assert abuse.errors.pop("500") > 30
    knocks = {status for status in abuse.errors if status.startswith("path ")}
    assert knocks == {"path 404"}
    assert set(abuse.slow) <= {"408", "429", "ended", "cut", "ConnectionResetError", "BrokenPipeError"}
    assert sum(abuse.slow.values()) > 10


def _stop_and_start(name: str) -> None:
    """What a person does who knows of no balancer."""
    hosts.exec(name, f"systemctl stop {ENGINE_UNIT}")
    hosts.exec(name, f"systemctl start {ENGINE_UNIT}")
    await_health(name)


def _reboot(name: str) -> None:
    before = started(name, "systemd-journald.service")
    hosts.exec(name, "systemd-run --quiet --on-active=1 --timer-property=AccuracySec=100ms systemctl reboot")

    def back() -> bool:
        answer = hosts.exec(name, "systemctl show -P ExecMainStartTimestampMonotonic systemd-journald", check=False)
        return answer.returncode == 0 and answer.stdout.strip() not in ("", "0", before)

    wait.until(back, 180, f"{name} did not restart")
    hosts.booted(topology.find(name))
    await_health(name)
