"""What a balancer's answers about keys mean. What the commands do: tests/machine/test_keys.py."""

from __future__ import annotations

import pytest

from barewind.errors import BarewindError
from barewind.keys import commands, plan
from barewind.keys.commands import Process, Use
from barewind.keys.file import KeyFile
from tests.support.keys import key

ALPHA, BETA = key("alpha/ci"), key("beta", parallel=3)
CONTENT = KeyFile(5, (ALPHA, BETA))
MAP = plan.map_text(CONTENT)
SHOWN = [f"0x55d0e1 {line}" for line in MAP.splitlines()[1:-1]]
FILE = ["@@keys:file 600 root root", *MAP.splitlines()]


def read(*lines: str) -> commands.Known:
    return commands.read("\n".join([*lines, "@@keys:end"]), "lb1")


def problems(known: commands.Known) -> list[str]:
    return list(known.problems(MAP, plan.names(CONTENT)))


def test_a_balancer_that_knows_what_it_shall() -> None:
    known = read(*FILE, "@@keys:worker 12 current", *SHOWN, "@@keys:worker 10 old", *SHOWN)
    assert known.file == (MAP, "600 root root")
    assert [(process.pid, process.current) for process in known.processes] == [(12, True), (10, False)]
    assert known.asks
    assert problems(known) == []


def test_without_haproxy_there_is_the_file_alone() -> None:
    assert read(*FILE).processes == ()
    assert problems(read(*FILE)) == []
    assert problems(read()) == ["has no /etc/haproxy/barewind/keys.map"]


def test_a_process_that_asks_for_no_keys_lacks_none() -> None:
    known = read(*FILE, "@@keys:worker 12 current", "Unknown map identifier. Please use #<id> or <file>.")
    assert known.processes == (Process(12, True, None),)
    assert not known.asks
    assert problems(known) == []


def test_every_difference_is_told_with_its_place() -> None:
    stranger = f"0x55d0e2 {'f' * 64} mallory:0:0:0:0:0"
    known = read(
        "@@keys:file 644 root root",
        *MAP.splitlines()[:-2],
        "@@keys:worker 12 current",
        *SHOWN,
        stranger,
        "@@keys:worker 10 old",
        SHOWN[0],
        SHOWN[1].replace("beta:0:3", "beta:0:9"),
    )
    assert problems(known) == [
        "lacks beta (...beta)",
        "has /etc/haproxy/barewind/keys.map of mode 644 root root instead of 600 root root",
        "its HAProxy still lets in mallory (in no file)",
        "its old HAProxy process 10 has other limits for beta (...beta)",
    ]


def test_uses_are_those_of_all_processes() -> None:
    """The old process ends what it has; the rates were handed over to the new one."""
    table = "0x7fe53c046d90: key={} use={} exp=599994 http_req_rate(60000)={} gpc0_rate(10000)=0"
    known = read(
        *FILE,
        "@@keys:worker 12 current",
        *SHOWN,
        table.format("alpha/ci", 2, 41),
        table.format("beta", 0, 1),
        "@@keys:worker 10 old",
        *SHOWN,
        table.format("alpha/ci", 3, 40),
    )
    assert known.uses == {"alpha/ci": Use(41, 5), "beta": Use(1, 0)}


@pytest.mark.parametrize(
    "output",
    [
        "",
        "\n".join(FILE),
        "\n".join([*FILE, "@@keys:worker 12 current", *SHOWN, "(cut off)", "@@keys:end"]),
        "\n".join([*FILE, "@@keys:worker 12 current", "Permission denied", "@@keys:end"]),
        "\n".join([*FILE, "@@keys:worker 12 old", *SHOWN, "@@keys:end"]),
    ],
    ids=["nothing", "no end", "cut off", "denied", "no current process"],
)
def test_what_is_not_understood_is_an_error(output: str) -> None:
    with pytest.raises(BarewindError, match=r"^lb1: what HAProxy knows of keys cannot be read"):
        commands.read(output, "lb1")
