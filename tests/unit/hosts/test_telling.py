"""What people are told while a command runs."""

from __future__ import annotations

import logging
from queue import Queue
from typing import Any

import pytest
from pyinfra.connectors import util

from barewind.hosts import telling
from barewind.hosts.packages import WAITS


@pytest.mark.parametrize(("shown", "told"), [(False, ["[gpu-h1] " + WAITS + ": held by apt-get"]), (True, [])])
def test_whom_a_host_waits_for_is_told_as_it_comes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, shown: bool, told: list[str]
) -> None:
    monkeypatch.setattr(util, "read_buffer", util.read_buffer)  # undone afterwards
    telling.install()
    queue: Queue[Any] = Queue()
    lines = ["Reading package lists...\n", f"{WAITS}: held by apt-get\n".encode(), "Fetched\n"]
    with caplog.at_level(logging.WARNING, "pyinfra"):
        util.read_buffer("stdout", lines, queue, print_output=shown, print_func="[gpu-h1] {}".format)
    assert [record.message for record in caplog.records] == told
    assert [line.line for line in queue.queue] == ["Reading package lists...", f"{WAITS}: held by apt-get", "Fetched"]
