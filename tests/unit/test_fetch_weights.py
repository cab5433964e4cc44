"""The program that downloads weights on a host, with the hub's real client against a hub on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from barewind.facts.weights import INTACT
from barewind.remote import fetch_weights
from tests.unit.conftest import COMMIT, FILES, REPOSITORY, LocalHub

WANTED = ("params.json", "consolidated.safetensors", "tekken.json")
BIG = "consolidated.safetensors"


@pytest.fixture
def job(hub: LocalHub, tmp_path: Path) -> dict[str, Any]:
    return {
        "host": "gpu-h1",
        "model": REPOSITORY,
        "revision": COMMIT,
        "endpoint": hub.url,
        "token": None,
        "directory": str(tmp_path / "weights" / f"{COMMIT}-mistral"),
        "files": {
            name: {"size": len(FILES[name]), "sha256": hashlib.sha256(FILES[name]).hexdigest()} for name in WANTED
        },
    }


def directory(job: dict[str, Any]) -> Path:
    return Path(job["directory"])


def partial(job: dict[str, Any]) -> Path:
    return Path(job["directory"] + ".partial")


def listing(path: Path) -> list[str]:
    return sorted(str(one.relative_to(path)) for one in path.rglob("*"))


def intact(path: Path) -> bool:
    return subprocess.run(["sh", "-c", INTACT], cwd=path).returncode == 0


def assert_complete(job: dict[str, Any]) -> None:
    final = directory(job)
    assert listing(final) == sorted([*WANTED, "SHA256SUMS", ".verified"])
    assert {name: (final / name).read_bytes() for name in WANTED} == {name: FILES[name] for name in WANTED}
    assert (
        subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=final, capture_output=True).returncode
        == 0
    )
    assert intact(final)
    assert not partial(job).exists()


def test_only_the_files_of_the_manifest_are_fetched_each_once(job: dict[str, Any], hub: LocalHub) -> None:
    fetch_weights.fetch(job)

    assert_complete(job)
    assert sorted(hub.downloads()) == sorted(WANTED)
    assert {stat.S_IMODE((directory(job) / name).stat().st_mode) for name in WANTED} == {0o444}


def test_verified_is_what_stat_prints(job: dict[str, Any]) -> None:
    fetch_weights.fetch(job)
    printed = subprocess.run(
        ["stat", "-c", "%n %s %.9Y", *sorted(WANTED)], cwd=directory(job), capture_output=True, text=True, check=True
    )
    assert (directory(job) / ".verified").read_text() == printed.stdout


def test_names_and_sums_are_those_of_the_manifest(job: dict[str, Any]) -> None:
    fetch_weights.fetch(job)
    assert (directory(job) / "SHA256SUMS").read_text() == "".join(
        f"{hashlib.sha256(FILES[name]).hexdigest()}  {name}\n" for name in sorted(WANTED)
    )


@pytest.mark.parametrize("harm", ["touched", "rewritten", "missing", "longer"])
def test_a_change_after_the_check_is_seen(job: dict[str, Any], harm: str) -> None:
    fetch_weights.fetch(job)
    file = directory(job) / BIG
    file.chmod(0o644)
    if harm == "touched":
        os.utime(file)
    elif harm == "missing":
        file.unlink()
    elif harm == "longer":
        times = file.stat()
        file.write_bytes(FILES[BIG] + b"x")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    else:
        file.write_bytes(bytes(len(FILES[BIG])))
    assert not intact(directory(job))


def test_wrong_bytes_once_are_fetched_again(job: dict[str, Any], hub: LocalHub) -> None:
    hub.fault(f"*/resolve/*/{BIG}", "corrupt", times=2)  # the client's HEAD request counts as one

    fetch_weights.fetch(job)

    assert_complete(job)
    assert hub.downloads().count(BIG) == 2


def test_bytes_that_are_always_wrong_end_in_one_sentence_and_no_directory(job: dict[str, Any], hub: LocalHub) -> None:
    hub.fault(f"*/resolve/*/{BIG}", "corrupt", times=1000)
    size, sha256 = len(FILES[BIG]), hashlib.sha256(FILES[BIG]).hexdigest()

    with pytest.raises(fetch_weights.FetchError) as caught:
        fetch_weights.fetch(job)

    said = str(caught.value)
    assert said.startswith(f"weights {REPOSITORY}@{COMMIT}: {BIG} from {hub.url} is {size} bytes with SHA-256 ")
    assert f"the lock says {size} bytes with {sha256}. It was thrown away; nothing is served from it." in said
    assert not directory(job).exists()
    assert not (partial(job) / BIG).exists()
    assert hub.downloads().count(BIG) == fetch_weights.ATTEMPTS

    hub.server.faults.clear()
    hub.server.requests.clear()
    fetch_weights.fetch(job)
    assert_complete(job)
    assert hub.downloads() == [BIG]  # what was right was kept


def test_a_hub_that_is_down_is_named(job: dict[str, Any], unused_url: str) -> None:
    with pytest.raises(fetch_weights.FetchError) as caught:
        fetch_weights.fetch(job | {"endpoint": unused_url})
    said = str(caught.value)
    assert f" cannot be fetched from {unused_url} (" in said
    assert "Check hub_endpoint, the network and hub_token_file, and run again." in said
    assert "\n" not in said
    assert not directory(job).exists()


def test_an_unknown_revision_is_an_error(job: dict[str, Any]) -> None:
    with pytest.raises(fetch_weights.FetchError, match="cannot be fetched"):
        fetch_weights.fetch(job | {"revision": "f" * 40})
    assert not directory(job).exists()


def test_a_connection_that_breaks_is_taken_up_again_where_it_broke(job: dict[str, Any], hub: LocalHub) -> None:
    hub.fault(f"*/resolve/*/{BIG}", "truncate", times=2)
    fetch_weights.fetch(job)
    assert_complete(job)
    assert hub.ranges() == [f"bytes={len(FILES[BIG]) // 2}-"]


def test_after_an_interrupted_run_only_what_is_missing_is_fetched(job: dict[str, Any], hub: LocalHub) -> None:
    hub.fault(f"*/resolve/*/{BIG}", "status", status=503, times=1000)
    with pytest.raises(fetch_weights.FetchError, match=f"{BIG} cannot be fetched"):
        fetch_weights.fetch(job)
    assert not directory(job).exists()
    hub.server.faults.clear()
    hub.server.requests.clear()

    fetch_weights.fetch(job)

    assert_complete(job)
    assert hub.downloads() == [BIG]


def test_what_a_killed_run_left_unfinished_takes_no_space_afterwards(job: dict[str, Any], hub: LocalHub) -> None:
    final = Path(job["directory"])
    left = final.with_name(final.name + ".partial") / ".cache" / "huggingface" / "download" / "x.incomplete"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a shard")
    hub.fault(f"*/resolve/*/{BIG}", "truncate", times=1000)
    with pytest.raises(fetch_weights.FetchError):
        fetch_weights.fetch(job)
    assert not left.exists()


def test_a_changed_file_in_a_complete_directory_is_fetched_again(job: dict[str, Any], hub: LocalHub) -> None:
    fetch_weights.fetch(job)
    file = directory(job) / BIG
    file.chmod(0o644)
    file.write_bytes(bytes(len(FILES[BIG])))
    hub.server.requests.clear()

    fetch_weights.fetch(job)

    assert_complete(job)
    assert hub.downloads() == [BIG]


def test_a_file_that_was_only_touched_is_checked_and_not_fetched(job: dict[str, Any], hub: LocalHub) -> None:
    fetch_weights.fetch(job)
    os.utime(directory(job) / BIG)
    assert not intact(directory(job))
    hub.server.requests.clear()

    fetch_weights.fetch(job)

    assert_complete(job)
    assert hub.server.requests == []


def test_a_damaged_directory_cannot_be_served_from_while_the_hub_is_down(job: dict[str, Any], unused_url: str) -> None:
    fetch_weights.fetch(job)
    (directory(job) / BIG).unlink()
    with pytest.raises(fetch_weights.FetchError):
        fetch_weights.fetch(job | {"endpoint": unused_url})
    assert not directory(job).exists()


def test_files_that_are_not_in_the_manifest_are_removed(job: dict[str, Any]) -> None:
    for folder in (partial(job), partial(job) / "sub"):
        folder.mkdir(parents=True)
        (folder / "left-over.bin").write_bytes(b"x")
    fetch_weights.fetch(job)
    assert [one for one in listing(directory(job)) if "left-over" in one] == []


def test_as_a_program_it_reads_the_job_from_standard_input(job: dict[str, Any]) -> None:
    program = Path(fetch_weights.__file__).read_text()
    # The engine's own environment says offline; the download must not heed it.
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(job), capture_output=True, text=True, env=env, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert_complete(job)


def test_as_a_program_it_fails_with_host_and_reason_and_without_the_token(job: dict[str, Any]) -> None:
    program = Path(fetch_weights.__file__).read_text()
    failing = job | {"revision": "f" * 40, "token": "hf_secret"}
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(failing), capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"gpu-h1: weights {REPOSITORY}@{'f' * 40}: ")
    assert len(done.stderr.splitlines()) == 1
    assert "hf_secret" not in done.stdout + done.stderr
