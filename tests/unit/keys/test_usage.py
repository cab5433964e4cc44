"""Usage: what a balancer's program makes of HAProxy's log, and what comes of the sums of several."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from barewind.errors import BarewindError
from barewind.keys import usage
from barewind.keys.usage import Sum
from tests.support.shell import Programs, Shell, printed

DAY = "2026-11-30"


def line(**fields: Any) -> str:
    """A line of the log, as the balancer writes it."""
    values = {
        "at": f"{DAY}T08:00:00Z",
        "id": "4a0f",
        "client": "10.1.2.3",
        "key": "alpha/ci",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "engine": "gpu1",
        "first_ms": 40,
        "in": "100",
        "out": "20",
        "cached": "64",
        "events": "20",
        "end": "--",
    }
    return json.dumps(values | fields, separators=(",", ":"))


class Journal:
    """A journal of HAProxy's unit, which the program reads from where it was the last time."""

    def __init__(self, tmp_path: Path, programs: Programs, shell: Shell) -> None:
        self.path, self.shell = tmp_path / "journal", shell
        self.path.touch()
        (tmp_path / "usage").write_text(
            usage.program(400)
            .content.replace(usage.SUMS, f"{tmp_path}/sums/sums")
            .replace("$(date -u -d '-400 days' +%Y-%m-%d)", "2026-11-01")
        )
        programs(
            journalctl=f"""for word; do case $word in --after-cursor=*) from=${{word#*=}} ;; esac; done
tail -n +$((${{from:-0}} + 1)) {self.path} || exit 1
[ ! -e {tmp_path}/broken ] || exit 1
[ "${{from:-0}}" = "$(wc -l < {self.path})" ] || echo "-- cursor: $(wc -l < {self.path})" """
        )

    def add(self, *lines: str) -> None:
        with self.path.open("a") as opened:
            opened.writelines(f"{each}\n" for each in lines)

    def run(self, words: str) -> list[str]:
        return printed(self.shell, f"sh usage {words}")

    def sums(self, since: str = "2026-01-01") -> dict[tuple[str, str], Sum]:
        return usage.read("\n".join(self.run(f"show {since}")), "lb1")


@pytest.fixture
def journal(tmp_path: Path, programs: Programs, shell: Shell) -> Journal:
    return Journal(tmp_path, programs, shell)


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({}, Sum(1, 0, 0, 100, 20, 64, 0)),
        ({"in": 100, "out": 20, "cached": 64}, Sum(1, 0, 0, 100, 20, 64, 0)),
        ({"status": 401, "in": "", "out": "", "cached": "", "events": "", "end": "PR"}, Sum(1, refused=1)),
        ({"status": 429, "in": "-", "out": "-", "cached": "-", "events": "-", "end": "PR"}, Sum(1, refused=1)),
        ({"status": 503, "in": "", "out": "", "cached": "", "events": "0", "end": "sQ"}, Sum(1, failed=1)),
        ({"status": -1, "in": "", "out": "", "cached": "", "events": "", "end": "CR"}, Sum(1)),
        ({"in": "", "out": "", "cached": "", "events": "17", "end": "SD"}, Sum(1, failed=1, estimated=17)),
        ({"in": "", "out": "", "cached": "", "events": "17", "end": "CD"}, Sum(1, estimated=17)),
        ({"in": "4000000000", "out": "3000000000"}, Sum(1, 0, 0, 4000000000, 3000000000, 64, 0)),
    ],
    ids=[
        "whole",
        "numbers",
        "no key",
        "too many",
        "no engine",
        "client gone",
        "engine gone",
        "client left",
        "billions",
    ],
)
def test_what_a_request_counts_for(journal: Journal, fields: dict[str, Any], counted: Sum) -> None:
    journal.add(line(**fields))
    assert journal.sums() == {(DAY, "alpha/ci"): counted}


def test_requests_are_summed_by_day_and_id(journal: Journal) -> None:
    journal.add(line(), line(), line(key="beta"), line(at="2026-11-29T23:59:59Z"), line(key=""), line(key="-"))
    sums = journal.sums()
    assert {names: each.requests for names, each in sums.items()} == {
        (DAY, "alpha/ci"): 2,
        (DAY, "beta"): 1,
        ("2026-11-29", "alpha/ci"): 1,
        (DAY, "-"): 2,
    }
    assert sums[DAY, "alpha/ci"].tokens_in == 200


def test_nobody_writes_himself_into_anothers_sum(journal: Journal) -> None:
    """What clients choose is escaped within its field; an id is nothing but what ids are made of."""
    journal.add(
        line(path='/v1","key":"beta","in":"9'),
        line(key="x y\n$(id)"),
        "-- cursor of nobody",
        'the client says "key":"beta" {"key":"beta"}',
    )
    assert journal.sums() == {(DAY, "alpha/ci"): Sum(1, 0, 0, 100, 20, 64, 0), (DAY, "-"): Sum(1, 0, 0, 100, 20, 64, 0)}


def test_what_was_counted_is_not_counted_again(journal: Journal) -> None:
    journal.add(line())
    for _ in range(3):
        journal.run("count")
    journal.add(line())
    assert journal.sums()[DAY, "alpha/ci"].requests == 2
    assert journal.sums()[DAY, "alpha/ci"].requests == 2


def test_a_journal_that_breaks_off_counts_for_nothing_yet(journal: Journal, tmp_path: Path) -> None:
    journal.add(line())
    journal.run("count")
    journal.add(line())
    (tmp_path / "broken").touch()
    done = journal.shell("sh usage count")
    assert done.returncode == 1
    assert "cannot be read to its end" in done.stderr
    (tmp_path / "broken").unlink()
    assert journal.sums()[DAY, "alpha/ci"].requests == 2


def test_days_that_are_over_for_long_are_forgotten(journal: Journal) -> None:
    journal.add(line(at="2026-10-31T23:00:00Z"), line(at="2026-11-01T00:00:00Z"))
    assert [day for day, _ in journal.sums()] == ["2026-11-01"]


def test_only_the_days_that_are_asked_for_are_told(journal: Journal) -> None:
    journal.add(line(at="2026-11-28T23:00:00Z"), line())
    assert [day for day, _ in journal.sums("2026-11-29")] == [DAY]


def test_sums_are_for_root_alone(journal: Journal, tmp_path: Path) -> None:
    journal.add(line())
    journal.run("count")
    assert {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "sums").iterdir()} == {
        "sums.lock": 0o600,
        "sums": 0o600,
    }


@pytest.mark.parametrize("output", ["", "@@usage:begin\n", "@@usage:begin\nx\n@@usage:end"])
def test_an_answer_that_is_not_whole(output: str) -> None:
    with pytest.raises(BarewindError, match=r"^lb1: "):
        usage.read(output, "lb1")


def test_a_balancer_that_does_not_sum_yet_says_so(shell: Shell) -> None:
    done = shell(usage.show(date(2026, 11, 1)))
    assert done.returncode == 1
    assert "deploy first" in done.stderr


LB1 = {(DAY, "alpha/ci"): Sum(2, 1, 0, 100, 20, 5, 1), ("2026-11-29", "alpha/web"): Sum(1)}
LB2 = {(DAY, "alpha/ci"): Sum(3, 0, 1, 10, 2, 0, 0), (DAY, "-"): Sum(7, 7)}


@pytest.mark.parametrize(
    ("by", "requests"),
    [
        (None, {("2026-11-29", "alpha/web"): 1, (DAY, "-"): 7, (DAY, "alpha/ci"): 5}),
        ("id", {("-",): 7, ("alpha/ci",): 5, ("alpha/web",): 1}),
        ("team", {("-",): 7, ("alpha",): 6}),
        ("day", {("2026-11-29",): 1, (DAY,): 12}),
    ],
)
def test_balancers_together(by: usage.By | None, requests: dict[tuple[str, ...], int]) -> None:
    totals = usage.together([LB1, LB2], by)
    assert {names: each.requests for names, each in totals.items()} == requests
    assert list(totals) == sorted(totals)


def test_comma_separated_values() -> None:
    assert usage.as_csv(usage.together([LB1, LB2], "team"), "team") == (
        "team,requests,refused,failed,tokens_in,tokens_out,tokens_cached,estimated\n-,7,7,0,0,0,0,0\nalpha,6,1,1,110,22,5,1\n"
    )
