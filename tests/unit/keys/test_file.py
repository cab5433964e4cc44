"""keys.yaml: written whole, read strictly, every mistake told at once."""

from __future__ import annotations

import os
import re
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from barewind.errors import BarewindError
from barewind.keys import file
from barewind.keys.file import KeyFile
from tests.support.keys import key

SHA = "a" * 64
ENTRY = f"- {{id: alpha/ci, sha256: {SHA}, hint: x7Qp, created: 2026-11-28T12:00:00Z, by: ann@ws1}}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def problems(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(BarewindError) as caught:
        file.read(path)
    return str(caught.value).replace(f"{path}: ", "").splitlines()


def test_what_was_written_is_read(path: Path) -> None:
    ends = datetime(2027, 1, 31, tzinfo=UTC)
    content = KeyFile(
        7,
        (
            key(
                "alpha/ci",
                expires=ends,
                requests_per_minute=600,
                parallel=32,
                tokens_per_minute=200000,
                priority="batch",
            ),
            key("beta", revoked=ends),
        ),
    )
    file.write(content, path)
    assert file.read(path) == content
    assert "null" not in path.read_text()


def test_a_file_that_is_not_there_has_no_keys(path: Path) -> None:
    assert file.read(path) == KeyFile()


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "version: 1\n", "version: 1\nkeys: []\n"])
def test_a_file_without_keys(path: Path, text: str) -> None:
    path.write_text(text)
    assert file.read(path) == KeyFile()


@pytest.mark.parametrize("time", ["2027-01-31T12:00:00Z", "'2027-01-31T12:00:00Z'", "2027-01-31T14:00:00+02:00"])
def test_times_by_hand(path: Path, time: str) -> None:
    path.write_text(f"keys:\n{ENTRY[:-1]}, expires: {time}}}\n")
    assert file.read(path).keys[0].expires == datetime(2027, 1, 31, 12, tzinfo=UTC)


def test_every_mistake_is_told_at_once_with_its_entry_and_what_to_write(path: Path) -> None:
    text = f"""\
version: 1
serial: -3
keys:
- {{id: Alpha CI, sha256: {SHA}, hint: x7Qp, created: 2026-11-28T12:00:00Z}}
- {{id: beta, sha256: sk-bw-0123456789abcdefghijkl, hint: x7Qp, created: 2026-11-28T12:00:00Z, parallel: 0, rpm: 3}}
- {{id: gamma, sha256: {SHA}, hint: 1234, created: 2026-11-28 12:00:00, priority: urgent, requests_per_minute: -1}}
- {{id: delta, hint: x7Qp, created: soon, tokens_per_minute: many}}
- nonsense
"""
    found = problems(path, text)
    assert found == [
        "key 'serial': found -3; write the number that was there before",
        "entry 1 (Alpha CI): key 'id': found 'Alpha CI'; write team or team/name, each of small letters, digits and -, "
        "32 at most: alpha/ci",
        "entry 2 (beta): key 'sha256': found '...'; write the SHA-256 of the key, 64 hexadecimal digits in small letters; "
        "never the key itself",
        "entry 2 (beta): key 'parallel': found 0; write a number from 1 on, or null for no limit",
        "entry 2 (beta): key 'rpm': unknown; remove it",
        "entry 3 (gamma): key 'hint': found 1234; write the last characters of the key, in quotes",
        "entry 3 (gamma): key 'created': found datetime.datetime(2026, 11, 28, 12, 0); write a time in UTC: "
        "2027-01-31T12:00:00Z",
        "entry 3 (gamma): key 'requests_per_minute': found -1; write a number from 1 on, or null for no limit",
        "entry 3 (gamma): key 'priority': found 'urgent'; write interactive, normal or batch",
        "entry 4 (delta): key 'sha256': is missing; write the SHA-256 of the key, 64 hexadecimal digits in small letters; "
        "never the key itself",
        "entry 4 (delta): key 'created': found 'soon'; write a time in UTC: 2027-01-31T12:00:00Z",
        "entry 4 (delta): key 'tokens_per_minute': found 'many'; write a number from 1 on, or null for no limit",
        "entry 5: found 'nonsense'; write an entry: id, sha256, hint, created",
        "entry 3 (gamma): key 'sha256': is that of entry 1 (Alpha CI) too; remove one of the two",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("keys: [", "is no YAML"),
        (f"<<<<<<< HEAD\nkeys:\n{ENTRY}\n=======\n", "is no YAML"),
        ("just words", "is no file of keys"),
        ("keys: {}", "key 'keys': found {}; write a list of entries"),
        ("version: 2\nkeys: []", "key 'version': found 2; it is another Barewind's; update this one"),
        ("endpoint: 3", "key 'endpoint': unknown; remove it"),
        (f"keys:\n{ENTRY}\n{ENTRY}", "entry 2 (alpha/ci): key 'sha256': is that of entry 1 (alpha/ci) too"),
    ],
)
def test_what_is_no_file_of_keys(path: Path, text: str, problem: str) -> None:
    (line,) = problems(path, text)
    assert line.startswith(problem)


def test_what_is_no_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BarewindError, match=r"keys\.yaml: cannot be read .*correct 'endpoint_keys'"):
        file.read(path)


@pytest.mark.parametrize("mode", [0o660, 0o606, 0o646])
def test_others_must_not_write_themselves_a_key(path: Path, mode: int) -> None:
    file.write(KeyFile(), path)
    path.chmod(mode)
    with pytest.raises(
        BarewindError, match=rf"mode 0{mode:o} lets others write to it.*run: chmod go-w {re.escape(str(path))}"
    ):
        file.read(path)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_a_mode_that_was_chosen_stays(path: Path, mode: int) -> None:
    file.write(KeyFile(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(mode)
    file.write(KeyFile(1), path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_write_that_fails_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write(KeyFile(1), path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BarewindError, match=r"cannot be written \(No space left on device\)"):
        file.write(KeyFile(2), path)
    assert file.read(path) == KeyFile(1)


def test_commands_at_the_same_time_lose_no_entry(path: Path) -> None:
    waited: list[str] = []

    def add(number: int) -> None:
        for turn in range(5):
            with file.locked(path, waited.append):
                before = file.read(path)
                file.write(KeyFile(before.serial + 1, (*before.keys, key(f"team{number}/{turn}"))), path)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = file.read(path)
    assert (content.serial, len(content.keys)) == (30, 30)


def test_a_command_that_does_not_end_is_told_and_not_waited_for_for_ever(path: Path) -> None:
    waited: list[str] = []
    with (
        file.locked(path, waited.append),
        pytest.raises(BarewindError, match=r"another barewind command is at it"),
        file.locked(path, waited.append, seconds=0.2),
    ):
        raise AssertionError("it was let in")
    assert waited == [f"{path}: waiting for another barewind command"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(BarewindError, match=r"cannot be written .*correct 'endpoint_keys'"),
        file.locked(tmp_path / "nowhere" / "keys.yaml", print),
    ):
        raise AssertionError("it was let in")
