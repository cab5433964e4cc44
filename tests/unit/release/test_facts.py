"""Facts of an engine's unit: what becomes of a host's output, and what the script prints in a real shell."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from barewind.release.facts import EngineUnit
from tests.support.data_files import fact_tests
from tests.support.shell import Programs, Shell, printed

pytestmark = pytest.mark.filterwarnings("ignore:No command set for test")  # commands are run below

TestEngineUnit = fact_tests(EngineUnit, Path(__file__).parent)


def test_damaged_output_does_not_raise() -> None:
    EngineUnit().process(["@@barewind:files", "stat: cannot read", "@@barewind:end"])


def test_engine_facts(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    file = tmp_path / "a unit.service"
    file.write_text("[Unit]\n")
    file.chmod(0o640)
    programs(
        systemctl="echo ActiveState=active; echo UnitFileState=enabled; echo NeedDaemonReload=no",
        docker="echo 0123456789ab",
    )
    command = EngineUnit().command(unit="e.service", paths=[str(file), str(tmp_path / "none")], container="e")
    facts = EngineUnit().process(printed(shell, command))
    assert list(facts["files"]) == [str(file)]
    assert facts["files"][str(file)]["mode"] == "640"
    assert facts["files"][str(file)]["sha256"] == hashlib.sha256(b"[Unit]\n").hexdigest()
    assert (facts["active"], facts["enabled"], facts["needs_reload"]) == (True, True, False)
    assert facts["release"] == "0123456789ab"
