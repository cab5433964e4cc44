"""Facts of hosts that watch or are watched."""

from __future__ import annotations

from pathlib import Path

import pytest

from barewind.monitoring.facts import WatchingHost
from tests.support.data_files import fact_tests

pytestmark = pytest.mark.filterwarnings("ignore:No command set for test")

TestWatchingHost = fact_tests(WatchingHost, Path(__file__).parent)


def test_the_fact_asks_for_every_file_and_unit() -> None:
    command = WatchingHost().command(["prometheus"], ["/a", "/b c"], ["x.service", "y.timer"], "table_of_ours")
    assert all(part in command for part in ("/a", "'/b c'", "x.service", "y.timer", "table_of_ours"))
