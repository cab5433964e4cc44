"""Events of a run in, lines for a person out."""

from __future__ import annotations

import pytest

from barewind.output import live
from barewind.output.account import Account, Line
from barewind.output.lines import wrapped
from barewind.output.names import fold, shorten, told


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


def step(account: Account, name: str, hosts: list[str], now: float, *, changing: tuple[str, ...] = ()) -> list[str]:
    lines = account.begin(name, hosts, now)
    for host in hosts:
        lines += account.acts(host) if host in changing else []
        account.ends(host)
    return texts([*lines, *account.end()])


def test_steps_outside_of_batches() -> None:
    account = Account()
    assert step(account, "A | b", ["x", "y"], 0) == []
    assert step(account, "C | d", ["x", "y"], 1, changing=("y",)) == [
        "nothing to do: A | b (1 step)",
        "Starting operation: C | d",
        "[y] Success; nothing to do on 1 host",
    ]
    assert texts(account.finish(2)) == []


def test_a_host_of_a_batch_is_told_once_and_the_time_left_is_known_then() -> None:
    account = Account()
    step(account, "R | Batch 1 of 3: drain", ["x"], 0, changing=("x",))
    assert account.time_left(5) == "unknown"
    assert step(account, "E | Unit", ["x"], 10, changing=("x",)) == ["Starting operation: E | Unit"]
    assert step(account, "Barrier", ["x", "y"], 60) == [
        "[x] Success: R | drain; E | Unit",
        "batch 1 of 3 is done after 60 s; time left: about 2 min",
    ]
    account.begin("R | Batch 2 of 3: drain", ["y"], 70)
    assert account.time_left(80) == "about 2 min"


def test_ticks_of_all_hosts_become_rarer() -> None:
    account = Account()
    account.begin("W", ["x", "y"], 0)
    due = [now for now in range(0, 1000, 10) if account.tick("3 %", now)]
    assert due == [60, 180, 420, 900]


@pytest.mark.parametrize("columns", [40, 60, 200])
def test_the_live_view_fits_the_terminal(columns: int) -> None:
    account = Account()
    hosts = [f"a-very-long-name-of-a-host-somewhere.example.org-{n}" for n in range(50)]
    account.begin("R | Batch 1 of 2: drain", hosts, 0)
    account.detail(hosts[0], "3 requests in flight\n\u2026 and more " * 9)
    rows = live.rows(account, 12, columns, 24)
    assert len(rows) == 11
    assert all(len(title) + 2 + len(rest) < columns or not rest for title, rest in rows)
    assert all(" " <= char <= "~" for title, rest in rows for char in title + rest)
    assert "time left" in rows[0][1] or columns < 50


def test_names() -> None:
    assert fold(["a", "b"]) == "a, b"
    assert fold([f"gpu{n}" for n in range(1, 101)] + ["lb"]) == "gpu1 to gpu100, lb (101 hosts)"
    assert (
        fold(["b", *(f"a{n}-x2" for n in (9, 10, 8, 1, 11)), "c1"])
        == "a1-x2, a8-x2, a9-x2, a10-x2, a11-x2, b, c1 (7 hosts)"
    )
    assert fold([f"a{n}" for n in (10, 9, 8, 1, 11, 12, 7)]) == "a1, a7 to a12 (7 hosts)"
    assert len(shorten("gpu-node-000123.example.org", 12)) == 12


def test_what_many_hosts_say_is_told_once() -> None:
    many = [f"gpu{n}" for n in range(1, 31)]
    assert told((name, "x") for name in many[:3]) == ["gpu1: x", "gpu2: x", "gpu3: x"]
    assert told((name, "x") for name in many) == ["gpu1 to gpu30 (30 hosts): x"]
    assert len(told(((name, "x") for name in many), every=True)) == 30
    refused = [(name, f"{name} refuses port 22 on 10.0.0.{n}") for n, name in enumerate(many)]
    assert told(refused) == ["gpu1 to gpu30 (30 hosts): the host refuses port 22 on its address"]
    assert told((name, "the mirror 10.0.0.5 is silent") for name in many) == [
        "gpu1 to gpu30 (30 hosts): the mirror 10.0.0.5 is silent"
    ]
    assert told((name, f"NVIDIA 580.126.{n}") for n, name in enumerate(many))[0] == "gpu1: NVIDIA 580.126.0"


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ("short", ["short"]),
        ("    one two three four", ["    one two", "        three", "        four"]),
        ("--> one two three", ["--> one two", "        three"]),
        ("one\n  two  three-four", ["one", "  two ", "      three-four"]),
        ("\x1b[1mone two\x1b[0m three four", ["\x1b[1mone two\x1b[0m three", "    four"]),
        ("    a-word-that-is-longer-than-a-row x", ["    a-word-that-is-longer-than-a-row", "        x"]),
    ],
)
def test_long_lines_are_broken_between_words(line: str, rows: list[str]) -> None:
    assert wrapped(line, 13).split("\n") == rows


def test_a_batch_whose_step_is_under_way_when_the_run_ends_is_not_done() -> None:
    account = Account()
    step(account, "R | Batch 1 of 2: drain", ["x"], 0, changing=("x",))
    account.begin("E | Unit", ["x"], 10)
    assert texts(account.finish(20)) == ["[x] Success: R | drain"]
