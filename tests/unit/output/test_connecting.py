"""What people read of hosts that cannot be connected to."""

from __future__ import annotations

import pytest

from barewind.output.connecting import lines

REFUSED = "Could not connect ([Errno None] Unable to connect to port 22 on {})"


def refused(*numbers: int) -> dict[str, tuple[str, str]]:
    return {f"gpu{number}": (f"10.0.0.{number}", REFUSED.format(f"10.0.0.{number}")) for number in numbers}


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        ({}, []),
        (refused(7), ["[gpu7] Could not connect ([Errno None] Unable to connect to port 22 on 10.0.0.7)"]),
        (
            refused(1, 2) | {"gpu9": ("10.0.0.9", "timed out")},
            [
                "Could not connect (Unable to connect to port 22 on its address): gpu1 (10.0.0.1), gpu2 (10.0.0.2)",
                "[gpu9] timed out",
            ],
        ),
        (
            refused(*range(1, 301)),
            ["Could not connect (Unable to connect to port 22 on its address): gpu1 to gpu300 (300 hosts)"],
        ),
    ],
)
def test_hosts_that_fail_alike_are_told_together(failures: dict[str, tuple[str, str]], told: list[str]) -> None:
    assert lines(failures) == told
