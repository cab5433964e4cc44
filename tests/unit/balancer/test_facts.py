"""Facts of HAProxy on a balancer: what becomes of a host's output, and what the script prints in a real shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from barewind.balancer.facts import HaproxyHost
from tests.support.data_files import fact_tests
from tests.support.shell import Programs, Shell, printed

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:No command set for test")]  # commands are run below

TestHaproxyHost = fact_tests(HaproxyHost, Path(__file__).parent)


def test_damaged_output_does_not_raise() -> None:
    HaproxyHost().process(["@@barewind:files", "644 root", "@@barewind:end"])


def test_haproxy_facts(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text("global\n")
    programs(dpkg_query="echo ii  2.6.12 haproxy; echo iH  1.7 socat", systemctl="echo inactive; exit 3")
    facts = HaproxyHost().process(printed(shell, HaproxyHost().command(["haproxy", "socat"], [str(config)])))
    assert list(facts["packages"]) == ["haproxy"]
    assert list(facts["files"]) == [str(config)]
    assert (facts["active"], facts["enabled"]) == (False, False)
