"""Facts of weights on a host: what becomes of its output, and what the script prints in a real shell."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from barewind.weights.facts import WeightDirectories
from tests.support.data_files import fact_tests
from tests.support.shell import Programs, Shell, printed

pytestmark = pytest.mark.filterwarnings("ignore:No command set for test")  # commands are run below

TestWeightDirectories = fact_tests(WeightDirectories, Path(__file__).parent)


def test_damaged_output_does_not_raise() -> None:
    WeightDirectories().process(["@@barewind:weights", "intact", "@@barewind:end"])


def test_weights_facts(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    states = {}
    for name in ("intact", "changed", "unchecked"):
        directory = tmp_path / f"{name} dir"
        directory.mkdir()
        (directory / "params.json").write_text(name)
        (directory / "SHA256SUMS").write_text(f"{'0' * 64}  params.json\n")
        stat = (directory / "params.json").stat()
        line = f"params.json {stat.st_size} {stat.st_mtime_ns // 10**9}.{stat.st_mtime_ns % 10**9:09d}\n"
        if name != "unchecked":
            (directory / ".verified").write_text(line)
        states[str(directory)] = name == "intact"
    os.utime(tmp_path / "changed dir" / "params.json", ns=(0, 0))
    directories = [*states, str(tmp_path / "none")]

    facts = WeightDirectories().process(printed(shell, WeightDirectories().command(directories)))

    assert {directory: found["intact"] for directory, found in facts.items()} == states
    # GNU's stat under the name that it has beside that of uutils, which rounds times away.
    programs(stat='echo "params.json 6 0.5"', gnustat=f'exec {shutil.which("gnustat") or shutil.which("stat")} "$@"')
    again = WeightDirectories().process(printed(shell, WeightDirectories().command(directories)))
    assert again == facts
    sums = hashlib.sha256(f"{'0' * 64}  params.json\n".encode()).hexdigest()
    assert {found["checksums"] for found in facts.values()} == {sums}
