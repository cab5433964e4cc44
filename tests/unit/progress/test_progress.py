"""What is said of long transfers."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from barewind.progress import transfers
from barewind.progress.meter import Meter, duration, size
from barewind.progress.transfers import Transfers

MIB = 2**20


def test_percent_rate_and_time_left() -> None:
    meter = Meter(100 * MIB, now=0)
    assert str(meter) == "0 % of 100.0 MiB"
    meter.advance(10 * MIB, now=5)
    assert str(meter) == "10 % of 100.0 MiB, 2.0 MiB/s, 45 s left"
    meter.advance(90 * MIB, now=50)
    assert str(meter) == "100 % of 100.0 MiB"


def test_what_was_there_before_is_no_speed() -> None:
    meter = Meter(100, now=0, done=90)
    meter.advance(1, now=1)
    assert meter.rate == 1


def test_the_rate_is_that_of_the_last_minute() -> None:
    meter = Meter(10**9, now=0)
    for second in range(1, 200):
        meter.advance(100 if second < 100 else 10, now=second)
    assert meter.rate == pytest.approx(10)


def test_what_is_done_again_counts_once() -> None:
    meter = Meter(100, now=0)
    meter.advance(50, now=1)
    meter.advance(-50, now=2)
    assert (meter.done, meter.rate) == (0, 0)


def test_an_empty_transfer_is_done() -> None:
    assert str(Meter(0, now=0)) == "100 % of 0 B"


@pytest.mark.parametrize(
    ("amount", "said"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (2**20, "1.0 MiB"), (3 * 2**29, "1.5 GiB")]
)
def test_sizes(amount: int, said: str) -> None:
    assert size(amount) == said


@pytest.mark.parametrize(("seconds", "said"), [(5, "5 s"), (89, "89 s"), (600, "10 min"), (7200, "2.0 h")])
def test_times(seconds: int, said: str) -> None:
    assert duration(seconds) == said


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(transfers.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_now_and_then(clock: list[float]) -> None:
    text = io.StringIO()
    with Transfers(Console(file=text, width=200)) as shown, shown.begin("image x", 100) as transfer:
        for _ in range(100):
            clock[0] += 1
            transfer.advance(1)
        shown.say("done [/] 1")
    lines = text.getvalue().splitlines()
    assert lines[0] == "image x: 16 % of 100 B, 1 B/s, 84 s left"
    assert len(lines) == 7
    assert lines[-1] == "done [/] 1"


def test_a_terminal_gets_a_bar() -> None:
    text = io.StringIO()
    with (
        Transfers(Console(file=text, width=100, force_terminal=True)) as shown,
        shown.begin("image x", 100) as transfer,
    ):
        transfer.advance(40)
        assert shown._bars is not None
        shown._bars.refresh()
    assert "image x" in text.getvalue()
    assert "40 %" in text.getvalue()


def test_pieces_that_end_early_are_taken_back(clock: list[float]) -> None:
    def broken() -> Iterator[bytes]:
        yield b"12345"
        raise OSError

    with Transfers(Console(file=io.StringIO())) as shown, shown.begin("x", 10) as transfer:
        with pytest.raises(OSError):  # noqa: PT011
            list(transfer.counted(broken()))
        assert transfer._meter.done == 0
        assert list(transfer.counted(iter([b"12", b"3"]))) == [b"12", b"3"]
        assert transfer._meter.done == 3
