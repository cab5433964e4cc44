"""Which release a host is rolled back to: after a good and a half-done rollout, after a half-done rollback."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from barewind.errors import BarewindError
from barewind.release.history import Event, read_events
from barewind.rollout.rollback import HostHistory, gate, missing, plan, refusal, refusals, show_missing
from barewind.spec.keys import SiteSpec
from tests.support.factories import plan as plan_of_host
from tests.support.histories import BACK, FAILED, FIRST, RESTORED, UPGRADED, A, B, Y, Z, record, served


def ran(host: str, running: str | None, *events: list[Event], kind: str = "k") -> HostHistory:
    known = {release: record(release) for release in (Z, Y, A, B)}
    return HostHistory(host, kind, running, [event for part in events for event in part], known)


def rolled_back(*hosts: HostHistory, named: str | None = None) -> dict[str, str]:
    return dict(plan(hosts, named).releases)


def test_after_a_good_rollout() -> None:
    assert rolled_back(ran("g1", B, FIRST, UPGRADED), ran("g2", B, FIRST, UPGRADED)) == {"g1": A, "g2": A}


def test_after_a_half_done_rollout_hosts_that_it_has_not_reached_are_left_alone() -> None:
    hosts = ran("g1", B, FIRST, UPGRADED), ran("g2", None, FIRST, FAILED), ran("g3", A, FIRST)
    assert rolled_back(*hosts) == {"g1": A, "g2": A}
    assert plan(hosts, None).messages == (f"g3: left as it is, with {A} already",)


def test_hosts_that_were_put_back_when_they_failed_are_left_alone() -> None:
    hosts = ran("g1", B, FIRST, UPGRADED), ran("g2", A, FIRST, FAILED, RESTORED), ran("g3", A, FIRST)
    assert rolled_back(*hosts) == {"g1": A}
    assert plan(hosts, None).messages == tuple(f"{host}: left as it is, with {A} already" for host in ("g2", "g3"))


def test_a_host_that_is_only_known_to_have_been_put_back() -> None:
    assert rolled_back(ran("g1", A, served(1, Z, "serving"), RESTORED)) == {"g1": Z}


def test_a_half_done_rollback_goes_on() -> None:
    assert rolled_back(ran("g1", A, FIRST, UPGRADED, BACK), ran("g2", B, FIRST, UPGRADED)) == {"g2": A}
    begun = served(20, A, "started", rollback=True)  # killed before it served
    assert rolled_back(ran("g1", A, FIRST, UPGRADED, begun), ran("g2", B, FIRST, UPGRADED)) == {"g2": A}
    assert rolled_back(ran("g1", A, FIRST, FAILED, begun), ran("g2", B, FIRST, UPGRADED), ran("g3", Z, FIRST)) == {
        "g2": A
    }


def test_a_half_done_rollback_goes_on_with_what_each_host_served_before() -> None:
    other = served(2, Y, "started", "serving")
    hosts = ran("g1", A, FIRST, UPGRADED, BACK), ran("g2", B, other, UPGRADED), ran("g3", Y, other)
    assert rolled_back(*hosts) == {"g2": Y}


def test_a_half_done_rollback_to_a_named_release_goes_on() -> None:
    named = served(20, Z, "started", "serving", rollback=True)
    assert rolled_back(ran("g1", Z, FIRST, UPGRADED, named), ran("g2", B, FIRST, UPGRADED)) == {"g2": Z}


def test_a_rollback_of_a_rollback_goes_forward() -> None:
    assert rolled_back(ran("g1", A, FIRST, UPGRADED, BACK)) == {"g1": B}
    never_upgraded = ran("g2", Y, served(2, Y, "started", "serving"))
    assert rolled_back(ran("g1", A, FIRST, UPGRADED, BACK), never_upgraded) == {"g1": B}


def test_a_half_done_way_forward_goes_on() -> None:
    forward = served(30, B, "started", "serving", rollback=True)
    assert rolled_back(ran("g1", B, FIRST, UPGRADED, BACK, forward), ran("g2", A, FIRST, UPGRADED, BACK)) == {"g2": B}


@pytest.mark.parametrize("reason", ["rollback", "rollback: too slow", "rollback test of C", "rollback "])
def test_a_deploy_is_no_rollback_whatever_its_reason_says(reason: str) -> None:
    reverted = served(20, A, "started", "serving", why=SiteSpec(reason=reason).reason)
    assert rolled_back(ran("g1", A, FIRST, UPGRADED, reverted), ran("g2", B, FIRST, UPGRADED)) == {"g1": B}


@pytest.mark.parametrize("reason", ["rollback\n", "rollback\ntoo slow"])
def test_no_deploy_can_say_what_a_rollback_of_older_code_says(reason: str) -> None:
    with pytest.raises(ValidationError, match="reason"):
        SiteSpec(reason=reason)


def test_a_half_done_rollback_of_older_code_goes_on() -> None:
    line = {
        "at": "2026-11-22T09:20:00Z",
        "release": A,
        "event": "started",
        "by": "ann@ws1",
        "why": "rollback\ntoo slow",
    }
    begun = read_events([json.dumps(line)])
    assert rolled_back(ran("g1", A, FIRST, UPGRADED, begun), ran("g2", B, FIRST, UPGRADED)) == {"g2": A}


def test_hosts_of_another_kind_have_releases_of_their_own() -> None:
    other = served(1, "h1", "started", "serving") + served(12, "h2", "started", "serving")
    assert rolled_back(ran("g1", B, FIRST, UPGRADED), ran("m1", "h2", other, kind="mi300x")) == {"g1": A, "m1": "h1"}


def test_a_named_release() -> None:
    hosts = ran("g1", B, FIRST, UPGRADED), ran("g2", Z, FIRST), HostHistory("g3", "k", B, UPGRADED, {})
    assert rolled_back(*hosts, named=Z) == {"g1": Z}
    assert plan(hosts, Z).messages == (
        f"g2: left as it is, with {Z} already",
        f"g3: never served {Z}; left as it is, with {B}",
    )


def test_no_way_back_is_said() -> None:
    with pytest.raises(BarewindError, match=f"g1: has served nothing before {B}"):
        rolled_back(ran("g1", B, UPGRADED))
    with pytest.raises(BarewindError, match="g1: its history is empty"):
        rolled_back(ran("g1", None))
    with pytest.raises(BarewindError, match="release nope: no host of this run has served it; they know"):
        rolled_back(ran("g1", B, UPGRADED), named="nope")


def test_a_record_that_cannot_be_run_again() -> None:
    assert refusal("g1", {}, A, port=8000) == f"g1: has no record of release {A}; it knows none"
    assert "listens on port 9000" in str(refusal("g1", {A: record(A, port=9000)}, A, port=8000))
    assert refusal("g1", {A: record(A)}, A, port=8000) is None


def test_every_host_that_cannot_be_rolled_back_is_named() -> None:
    histories = {"g1": ran("g1", B, FIRST), "g2": HostHistory("g2", "k", B, UPGRADED, {}), "g3": ran("g3", B, FIRST)}
    ports = {"g1": 8000, "g2": 8000, "g3": 9000}
    problems = refusals(histories, {"g1": A, "g2": A, "g3": A}, ports)
    assert problems == {
        "g2": f"g2: has no record of release {A}; it knows none",
        "g3": f"g3: release {A} listens on port 8000, balancers look for it on 9000; set engine_port back and deploy",
    }


@pytest.mark.parametrize(
    ("to", "running", "events", "release"),
    [
        (A, B, UPGRADED, A),
        (None, A, FIRST, A),
        (None, None, FIRST, A),  # it was about to run it
        (None, None, [], "planned"),
    ],
)
def test_the_gate_of_a_host(to: str | None, running: str | None, events: list[Event], release: str) -> None:
    planned = plan_of_host()
    known = gate(ran("g1", running, events), record(to) if to else None, planned)
    assert known.release == (planned.release if release == "planned" else release)


def test_what_a_host_lacks_is_named_with_the_release() -> None:
    assert missing("g1", record(A), "/data/w1\n/data/w2\n") == [
        f"g1: release {A} needs {path}, which is not there any more; lock its revision again and deploy"
        for path in ("/data/w1", "/data/w2")
    ]
    assert missing("g1", record(A), "") == []


def test_weights_that_are_not_there_any_more(tmp_path: Path) -> None:
    whole, partial = tmp_path / "whole", tmp_path / "it's partial"
    for directory in (whole, partial):
        directory.mkdir()
    (whole / ".verified").touch()
    command = show_missing(record(A, weights=(str(whole), str(partial))))
    assert subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout == f"{partial}\n"
    assert not subprocess.run(["sh", "-c", show_missing(record(A))], capture_output=True, text=True).stdout


def test_a_whole_unit_that_is_not_there_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barewind.release.record.DIRECTORY", str(tmp_path))
    file, content = tmp_path / f"{A}.unit", b"[Unit]\n"
    command = show_missing(record(A, unit_sha256=hashlib.sha256(content).hexdigest()))

    def missing() -> tuple[str, str]:
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
        return done.stdout, done.stderr

    assert missing() == (f"{file}\n", "")
    file.write_bytes(content)
    assert missing() == ("", "")
    file.write_bytes(b"another")
    assert missing() == (f"{file}\n", "")
