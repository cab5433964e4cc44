"""What lies beside checked files: as sha256sum and stat themselves print it, and everywhere the same."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from barewind import checksums
from barewind.checksums import STAT, SUMS, VERIFIED
from barewind.weights.commands import INTACT
from barewind.weights.plan import program
from tests.support.shell import Shell

CONTENTS = {"b.safetensors": b"\0" * 10, "a file": b"", "deep/x.json": b"{}", "é": b"1"}
TIMES = [0, 1, 999_999_999, 1_700_000_000_000_000_001]  # nanoseconds since the epoch


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    for at, (name, content) in zip(TIMES, CONTENTS.items(), strict=True):
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(at, at))
    return made


def hashes() -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}


def test_sums_are_what_sha256sum_reads_and_prints(shell: Shell, directory: Path) -> None:
    text = checksums.sums(hashes())
    (directory / SUMS).write_text(text)
    assert shell(f"cd '{directory}' && sha256sum --quiet --strict -c {SUMS}").returncode == 0
    names = " ".join(f"'{name}'" for name in sorted(CONTENTS))
    assert shell(f"cd '{directory}' && sha256sum {names}").stdout == text
    assert checksums.read_sums(text) == hashes()
    assert checksums.read_sums("") == {}


def test_the_mark_is_what_stat_prints(shell: Shell, directory: Path) -> None:
    names = " ".join(f"'{name}'" for name in sorted(CONTENTS))
    assert shell(f"cd '{directory}' && {STAT} {names}").stdout == checksums.verified(directory, CONTENTS)
    with pytest.raises(FileNotFoundError):
        checksums.verified(directory, ["absent"])


def test_a_shell_on_the_host_agrees_with_the_program_that_copies(shell: Shell, directory: Path) -> None:
    (directory / SUMS).write_text(checksums.sums(hashes()))
    (directory / VERIFIED).write_text(checksums.verified(directory, CONTENTS))
    assert shell(f"cd '{directory}' && {INTACT}").returncode == 0
    os.utime(directory / "deep/x.json", ns=(5, 5))
    assert shell(f"cd '{directory}' && {INTACT}").returncode != 0


def test_the_program_that_copies_has_it_with_it(tmp_path: Path) -> None:
    (tmp_path / "agent.pyz").write_bytes(program())
    code = "import sys; sys.path.insert(0, 'agent.pyz'); import barewind.weights.agent.agent as a; print(a.__file__)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("agent.pyz"), done.stderr
