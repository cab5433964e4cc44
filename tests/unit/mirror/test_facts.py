"""Facts of a mirror's host."""

from __future__ import annotations

from pathlib import Path

import pytest

from barewind.mirror.facts import MirrorHost
from barewind.mirror.plan import PACKAGES, TIMERS, UNIT, plan
from barewind.spec.keys import MirrorSpec
from tests.support.data_files import fact_tests

pytestmark = pytest.mark.filterwarnings("ignore:No command set for test")

TestMirrorHost = fact_tests(MirrorHost, Path(__file__).parent)


def test_the_fact_asks_for_every_file() -> None:
    spec = MirrorSpec(host="m1", groups=("mirrors",), address="10.0.0.5", mirror_tls=False)
    files = [file.path for file in plan(spec, ["10.0.0.11"]).files]
    command = MirrorHost().command(list(PACKAGES), files, UNIT, list(TIMERS))
    assert all(path in command for path in files)
