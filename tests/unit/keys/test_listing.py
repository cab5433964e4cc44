"""Keys as a person sees them."""

from __future__ import annotations

import json
from datetime import timedelta

from barewind.keys import plan
from barewind.keys.commands import MODE, Known, Process, Use
from barewind.keys.file import KeyFile
from barewind.keys.listing import listing
from tests.support.keys import CREATED, key

NOW = CREATED + timedelta(days=2)
GOOD = key("beta", parallel=3, requests_per_minute=600, expires=NOW + timedelta(days=1))
CONTENT = KeyFile(5, (GOOD, key("alpha/ci", "a1", revoked=CREATED), key("alpha/ci", "a2")))
MAP = plan.map_text(CONTENT)


def balancer(text: str = MAP, **uses: Use) -> Known:
    return Known((text, MODE), (Process(12, True, plan.entries(text), uses),))


def test_rows_are_sorted_and_only_good_ones_are_shown_unless_all_are_wanted() -> None:
    found = listing(CONTENT, {"lb1": balancer()}, NOW)
    assert [line[:3] for line in found.lines(every=False)] == [
        ("alpha/ci", "...a2", "good"),
        ("beta", "...beta", "good"),
    ]
    assert [line[2] for line in found.lines(every=True)] == ["revoked 2026-11-28T12:00:00Z", "good", "good"]


def test_each_balancer_tells_its_own_requests_and_they_add_up() -> None:
    found = listing(CONTENT, {"lb1": balancer(beta=Use(40, 2)), "lb2": balancer(beta=Use(41, 3))}, NOW)
    assert found.lines(every=False)[1] == (
        *("beta", "...beta", "good", "2026-12-01T12:00:00Z", "600", "-", "3", "normal", "81", "5"),
    )


def test_without_an_answer_nothing_is_said_of_use() -> None:
    found = listing(CONTENT, {}, NOW)
    assert found.lines(every=False)[1][-2:] == ("-", "-")
    assert not found.differ


def test_balancers_that_differ_are_told_with_the_way_out() -> None:
    stale = plan.map_text(KeyFile(4, (GOOD,)))
    found = listing(CONTENT, {"lb1": balancer(), "lb2": balancer(stale)}, NOW)
    assert found.differ
    assert found.remarks("site.py") == [
        "lb2: lacks alpha/ci (...a2); its HAProxy lacks alpha/ci (...a2)",
        "To bring every balancer to the file: barewind keys sync site.py",
    ]


def test_as_json_has_what_a_program_wants() -> None:
    found = json.loads(json.dumps(listing(CONTENT, {"lb1": balancer(beta=Use(40, 2))}, NOW).as_json()))
    assert found["differences"] == {"lb1": []}
    (beta,) = [row for row in found["keys"] if row["id"] == "beta"]
    assert beta == {
        "id": "beta",
        "hint": "beta",
        "state": "good",
        "created": "2026-11-28T12:00:00Z",
        "by": "ann@ws1",
        "expires": "2026-12-01T12:00:00Z",
        "revoked": None,
        "requests_per_minute": 600,
        "tokens_per_minute": None,
        "parallel": 3,
        "priority": "normal",
        "requests_last_minute": 40,
        "requests_now": 2,
    }
