"""A canary: HAProxy's counters, and whether a host serves as well as the others."""

from __future__ import annotations

import pytest

from barewind.errors import BarewindError
from barewind.rollout.canary import Counted, judge, read

# As HAProxy 2.6 prints it, with the columns that count in their order.
STAT = """# pxname,svname,qcur,stot,econ,eresp,status,hrsp_5xx,
engines,gpu1,0,120,1,2,UP,3,
engines,gpu2,0,80,0,0,UP,0,
engines,gpu3,0,0,,,no check,,

"""


def seen(requests: int, failed: int, others: tuple[int, int] = (0, 0)) -> dict[str, dict[str, Counted]]:
    return {"lb1": {"gpu1": Counted(requests, failed), "gpu2": Counted(*others)}}


def test_counters() -> None:
    assert read(STAT, "lb1") == {"gpu1": Counted(120, 6), "gpu2": Counted(80, 0), "gpu3": Counted(0, 0)}


@pytest.mark.parametrize("output", ["Permission denied\nx\n", "# pxname,svname,stot\nengines,gpu1,many\n"])
def test_counters_that_are_none(output: str) -> None:
    with pytest.raises(BarewindError, match="lb1: HAProxy's counters cannot be read"):
        read(output, "lb1")


@pytest.mark.parametrize(
    ("before", "after", "good"),
    [
        (seen(0, 0), seen(0, 0), True),  # no traffic: nothing against it
        (seen(0, 0), seen(500, 0), True),
        (seen(0, 0), seen(3, 1), False),
        (seen(0, 0), seen(500, 4), True),  # below one percent
        (seen(0, 0), seen(500, 5), False),
        (seen(100, 90), seen(600, 90), True),  # what was before does not count
        (seen(0, 0), seen(100, 10, (100, 8)), True),  # requests that fail everywhere
        (seen(0, 0), seen(100, 10, (100, 1)), False),
        (seen(0, 0), seen(0, 4), False),  # refused connections only
        (seen(500, 3), seen(40, 0), True),  # reloaded meanwhile: counted anew
        (seen(500, 3), seen(40, 2), False),
    ],
)
def test_verdicts(before: dict[str, dict[str, Counted]], after: dict[str, dict[str, Counted]], good: bool) -> None:
    assert judge(["gpu1"], before, after).good is good


def test_several_hosts_are_judged_as_one() -> None:
    verdict = judge(
        ["gpu1", "gpu2"], {}, {"lb1": {"gpu1": Counted(50, 0), "gpu2": Counted(50, 4), "gpu3": Counted(9, 0)}}
    )
    assert not verdict.good
    assert verdict.message == "4 of 100 requests failed on gpu1, gpu2, 0 of 9 on the others"


def test_a_verdict_says_what_it_is_made_of() -> None:
    message = judge(["gpu1"], {}, seen(100, 10, (200, 1)) | {"lb2": {"gpu1": Counted(10, 0)}}).message
    assert message == "10 of 110 requests failed on gpu1, 1 of 200 on the others"
