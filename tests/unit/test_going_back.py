"""Which release a host goes back to: after a good and a half-done rollout, after a half-done rollback."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from barewind.errors import BarewindError
from barewind.going_back import Ran, lacking, refused, targets, why
from barewind.history import Event, Record
from barewind.spec import SiteSpec

A, B, Y, Z = "aaaaaaaaaaaa", "bbbbbbbbbbbb", "111111111111", "000000000000"


def record(release: str, **values: Any) -> Record:
    given = {
        "release": release, "image": "x@sha256:1", "model": "m@1", "draft": None, "served_model_name": "m", "weights": (),
        "argv": ("vllm", "serve", "m"), "env": {}, "accelerator": "h200", "unit": "", "port": 8000,
    }  # fmt: skip
    return Record(**given | values)


def served(minute: int, release: str, *events: str, why: str | None = None) -> list[Event]:
    return [Event(f"2026-11-22T09:{minute:02}:00Z", release, one, "ann@ws1", why) for one in events]


def ran(host: str, running: str | None, *events: list[Event], kind: str = "k") -> Ran:
    known = {release: record(release) for release in (Z, Y, A, B)}
    return Ran(host, kind, running, [one for some in events for one in some], known)


FIRST = served(1, Z, "started", "serving") + served(2, A, "started", "serving")
UPGRADED = served(10, B, "started", "serving")
FAILED = served(11, B, "started", "failed")
RESTORED = served(12, A, "restored", why=f"{B} failed")  # by on_failure
BACK = served(20, A, "started", "serving", why=why("too slow"))


def found(*hosts: Ran, named: str | None = None) -> dict[str, str]:
    return dict(targets(hosts, named).releases)


def test_after_a_good_rollout() -> None:
    assert found(ran("g1", B, FIRST, UPGRADED), ran("g2", B, FIRST, UPGRADED)) == {"g1": A, "g2": A}


def test_after_a_half_done_rollout_hosts_that_it_has_not_reached_are_left_alone() -> None:
    hosts = ran("g1", B, FIRST, UPGRADED), ran("g2", None, FIRST, FAILED), ran("g3", A, FIRST)
    assert found(*hosts) == {"g1": A, "g2": A}
    assert targets(hosts, None).notes == (f"g3: left as it is, with {A} already",)


def test_hosts_that_were_put_back_when_they_failed_are_left_alone() -> None:
    hosts = ran("g1", B, FIRST, UPGRADED), ran("g2", A, FIRST, FAILED, RESTORED), ran("g3", A, FIRST)
    assert found(*hosts) == {"g1": A}
    assert targets(hosts, None).notes == tuple(f"{host}: left as it is, with {A} already" for host in ("g2", "g3"))


def test_a_host_that_is_only_known_to_have_been_put_back() -> None:
    assert found(ran("g1", A, served(1, Z, "serving"), RESTORED)) == {"g1": Z}


def test_a_half_done_rollback_goes_on() -> None:
    assert found(ran("g1", A, FIRST, UPGRADED, BACK), ran("g2", B, FIRST, UPGRADED)) == {"g2": A}
    begun = served(20, A, "started", why=why(None))  # killed before it served
    assert found(ran("g1", A, FIRST, UPGRADED, begun), ran("g2", B, FIRST, UPGRADED)) == {"g2": A}
    assert found(ran("g1", A, FIRST, FAILED, begun), ran("g2", B, FIRST, UPGRADED), ran("g3", Z, FIRST)) == {"g2": A}


def test_a_half_done_rollback_goes_on_with_what_each_host_served_before() -> None:
    other = served(2, Y, "started", "serving")
    hosts = ran("g1", A, FIRST, UPGRADED, BACK), ran("g2", B, other, UPGRADED), ran("g3", Y, other)
    assert found(*hosts) == {"g2": Y}


def test_a_half_done_rollback_to_a_named_release_goes_on() -> None:
    named = served(20, Z, "started", "serving", why=why(None))
    assert found(ran("g1", Z, FIRST, UPGRADED, named), ran("g2", B, FIRST, UPGRADED)) == {"g2": Z}


def test_a_rollback_of_a_rollback_goes_forward() -> None:
    assert found(ran("g1", A, FIRST, UPGRADED, BACK)) == {"g1": B}
    never_upgraded = ran("g2", Y, served(2, Y, "started", "serving"))
    assert found(ran("g1", A, FIRST, UPGRADED, BACK), never_upgraded) == {"g1": B}


def test_a_half_done_way_forward_goes_on() -> None:
    forward = served(30, B, "started", "serving", why=why(None))
    assert found(ran("g1", B, FIRST, UPGRADED, BACK, forward), ran("g2", A, FIRST, UPGRADED, BACK)) == {"g2": B}


@pytest.mark.parametrize("reason", ["rollback", "rollback: too slow", "rollback test of C", "rollback "])
def test_a_deploy_is_no_rollback_whatever_its_reason_says(reason: str) -> None:
    reverted = served(20, A, "started", "serving", why=SiteSpec(reason=reason).reason)
    assert found(ran("g1", A, FIRST, UPGRADED, reverted), ran("g2", B, FIRST, UPGRADED)) == {"g1": B}


@pytest.mark.parametrize("reason", [None, "too slow"])
def test_no_deploy_can_say_what_a_rollback_says(reason: str | None) -> None:
    with pytest.raises(ValidationError, match="reason"):
        SiteSpec(reason=why(reason))


def test_hosts_of_another_kind_have_releases_of_their_own() -> None:
    other = served(1, "h1", "started", "serving") + served(12, "h2", "started", "serving")
    assert found(ran("g1", B, FIRST, UPGRADED), ran("m1", "h2", other, kind="mi300x")) == {"g1": A, "m1": "h1"}


def test_a_named_release() -> None:
    hosts = ran("g1", B, FIRST, UPGRADED), ran("g2", Z, FIRST), Ran("g3", "k", B, UPGRADED, {})
    assert found(*hosts, named=Z) == {"g1": Z}
    assert targets(hosts, Z).notes == (
        f"g2: left as it is, with {Z} already",
        f"g3: never served {Z}; left as it is, with {B}",
    )


def test_no_way_back_is_said() -> None:
    with pytest.raises(BarewindError, match=f"g1: has served nothing before {B}"):
        found(ran("g1", B, UPGRADED))
    with pytest.raises(BarewindError, match="g1: its history is empty"):
        found(ran("g1", None))
    with pytest.raises(BarewindError, match="release nope: no host of this run has served it; they know"):
        found(ran("g1", B, UPGRADED), named="nope")


def test_a_record_that_cannot_be_run_again() -> None:
    assert refused("g1", {}, A, port=8000) == f"g1: has no record of release {A}; it knows none"
    assert "listens on port 9000" in str(refused("g1", {A: record(A, port=9000)}, A, port=8000))
    assert refused("g1", {A: record(A)}, A, port=8000) is None


def test_weights_that_are_not_there_any_more(tmp_path: Path) -> None:
    whole, partial = tmp_path / "whole", tmp_path / "it's partial"
    for one in (whole, partial):
        one.mkdir()
    (whole / ".verified").touch()
    command = lacking(record(A, weights=(str(whole), str(partial))))
    assert subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout == f"{partial}\n"
    assert not subprocess.run(["sh", "-c", lacking(record(A))], capture_output=True, text=True).stdout
