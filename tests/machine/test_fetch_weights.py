"""The program that copies weights, on one host: with the hub's real client against a hub on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import gevent
import pytest

from barewind.weights.agent.agent import FAILED, Agent
from barewind.weights.agent.job import parts_of, read_job
from barewind.weights.agent.progress import Progress
from barewind.weights.commands import INTACT
from barewind.weights.plan import program as pack_program
from tests.support.hub import COMMIT, FILES, REPOSITORY, LocalHub

WANTED = ("params.json", "consolidated.safetensors", "tekken.json")
BIG = "consolidated.safetensors"
PART = 8192  # bytes: the big file has 8 parts
LIMITS = {"patience": 60.0}
HALF = len(FILES[BIG]) // 2


@pytest.fixture
def job(hub: LocalHub, tmp_path: Path) -> dict[str, Any]:
    return {
        "id": "0123456789ab",
        "host": "gpu-h1",
        "endpoint": hub.url,
        "part_size": PART,
        "limits": LIMITS,
        "sets": [
            {
                "key": "model",
                "model": REPOSITORY,
                "revision": COMMIT,
                "directory": str(tmp_path / "weights" / f"{COMMIT}-mistral"),
                "files": {
                    name: {"size": len(FILES[name]), "sha256": hashlib.sha256(FILES[name]).hexdigest()}
                    for name in WANTED
                },
            }
        ],
    }


def run(job: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Exit status, and what the program tells of itself."""
    status = directory(job).parent / "status.json"
    done = read_job(json.dumps(job))
    agent = Agent(done, Progress(done, status))
    code = agent.run()
    for thread in agent.threads:  # a late request would meet the faults that the next test sets
        thread.join(60)
    told: dict[str, Any] = json.loads(status.read_text())
    return code, told


def directory(job: dict[str, Any]) -> Path:
    return Path(job["sets"][0]["directory"])


def partial(job: dict[str, Any]) -> Path:
    return Path(job["sets"][0]["directory"] + ".partial")


def listing(path: Path) -> list[str]:
    return sorted(str(one.relative_to(path)) for one in path.rglob("*"))


def intact(path: Path) -> bool:
    return subprocess.run(["sh", "-c", INTACT], cwd=path).returncode == 0


def assert_complete(job: dict[str, Any]) -> None:
    final = directory(job)
    assert listing(final) == sorted([*WANTED, "SHA256SUMS", ".verified"])
    assert {name: (final / name).read_bytes() for name in WANTED} == {name: FILES[name] for name in WANTED}
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=final, capture_output=True).returncode == 0
    assert intact(final)
    assert not partial(job).exists()


def spans(hub: LocalHub) -> list[str]:
    """Ranges of the big file that were asked for."""
    return [one["range"] for one in hub.server.requests if one["method"] == "GET" and one["path"].endswith(f"/{BIG}")]


def test_only_the_files_of_the_manifest_are_fetched_each_part_once(job: dict[str, Any], hub: LocalHub) -> None:
    code, told = run(job)

    assert (code, told["phase"]) == (0, "done")
    assert_complete(job)
    assert set(hub.downloads()) == set(WANTED)
    assert sorted(spans(hub), key=lambda one: int(one[6:].split("-")[0])) == [
        f"bytes={at}-{at + PART - 1}" for at in range(0, len(FILES[BIG]), PART)
    ]
    assert {stat.S_IMODE((directory(job) / name).stat().st_mode) for name in WANTED} == {0o444}
    total = sum(len(FILES[name]) for name in WANTED)
    assert (told["total"], told["copied"], told["checked"], told["from_endpoint"]) == (total, total, total, total)


def test_verified_is_what_stat_prints(job: dict[str, Any]) -> None:
    run(job)
    printed = subprocess.run(
        ["stat", "-L", "-c", "%n %s %.9Y", *sorted(WANTED)],
        cwd=directory(job),
        capture_output=True,
        text=True,
        check=True,
    )
    assert (directory(job) / ".verified").read_text() == printed.stdout


def test_names_and_sums_are_those_of_the_manifest(job: dict[str, Any]) -> None:
    run(job)
    assert (directory(job) / "SHA256SUMS").read_text() == "".join(
        f"{hashlib.sha256(FILES[name]).hexdigest()}  {name}\n" for name in sorted(WANTED)
    )


@pytest.mark.parametrize("harm", ["touched", "rewritten", "missing", "longer"])
def test_a_change_after_the_check_is_seen(job: dict[str, Any], harm: str) -> None:
    run(job)
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


def test_a_file_that_is_wrong_once_is_fetched_once_more(job: dict[str, Any], hub: LocalHub) -> None:
    hub.fault(f"*/resolve/*/{BIG}", "corrupt", times=2)  # the client's HEAD request counts as one

    code, _ = run(job)

    assert code == 0
    assert_complete(job)
    assert len(spans(hub)) == 16  # which of its parts was wrong, nobody can know


def test_bytes_that_are_always_wrong_end_in_one_sentence_and_no_directory(job: dict[str, Any], hub: LocalHub) -> None:
    hub.fault(f"*/resolve/*/{BIG}", "corrupt", times=1000)
    size, sha256 = len(FILES[BIG]), hashlib.sha256(FILES[BIG]).hexdigest()

    code, told = run(job)

    assert (code, told["phase"]) == (FAILED, "failed")
    said = told["error"]
    assert said.startswith(f"weights {REPOSITORY}@{COMMIT}: {BIG} from {hub.url} has SHA-256 ")
    assert f"the lock says {sha256} ({size} bytes); fetched twice and wrong twice. It was thrown away; nothing" in said
    assert not directory(job).exists()

    hub.server.faults.clear()
    hub.server.requests.clear()
    assert run(job)[0] == 0
    assert_complete(job)
    assert set(hub.downloads()) == {BIG}  # what was right was kept


def test_a_hub_that_is_down_is_named(job: dict[str, Any], unused_url: str) -> None:
    code, told = run(job | {"endpoint": unused_url, "limits": {"patience": 3.0}})
    assert code == FAILED
    assert f" cannot be fetched from {unused_url} (" in told["error"]
    assert told["error"].endswith("Check hub_endpoint, the network and hub_token_file, and run again")
    assert "\n" not in told["error"]
    assert not directory(job).exists()


def test_an_unknown_revision_is_an_error_at_once(job: dict[str, Any]) -> None:
    job["sets"][0]["revision"] = "f" * 40
    code, told = run(job | {"limits": {"patience": 600.0}})
    assert code == FAILED
    assert "cannot be fetched" in told["error"]
    assert not directory(job).exists()


def test_a_connection_that_breaks_is_taken_up_again_where_it_broke(job: dict[str, Any], hub: LocalHub) -> None:
    hub.fault(f"*/resolve/*/{BIG}", "truncate", times=2)
    assert run(job | {"part_size": len(FILES[BIG])})[0] == 0
    assert_complete(job)
    assert f"bytes={HALF}-{len(FILES[BIG]) - 1}" in spans(hub)


def test_a_run_that_was_cut_off_goes_on_where_it_was(job: dict[str, Any], hub: LocalHub) -> None:
    hub.fault(f"*/resolve/*/{BIG}", "status", status=404, times=1000)
    code, _ = run(job)
    assert code == FAILED
    hub.server.faults.clear()
    begun = run_until_parts(job, 3)
    hub.server.requests.clear()

    assert run(job)[0] == 0

    assert_complete(job)
    assert len(set(spans(hub))) == 8 - begun  # the last request of the run that was killed may come this late
    assert set(hub.downloads()) == {BIG}


def run_until_parts(job: dict[str, Any], count: int) -> int:
    """Run as a process of its own and kill it, as a power cut would, when some parts of the big file are there."""
    slow = {"rate_limit": 40_000, "connections": 1, "limits": LIMITS}
    program = directory(job).parent / "agent.pyz"
    program.write_bytes(pack_program())
    (directory(job).parent / "job.json").write_text(json.dumps(job | slow))
    words = [
        sys.executable,
        str(program),
        str(directory(job).parent / "job.json"),
        str(directory(job).parent / "status"),
    ]
    with subprocess.Popen(words) as process:
        while big_parts(job) < count:
            assert process.poll() is None
            gevent.sleep(0.02)  # the hub is in this process
        process.kill()
    return big_parts(job)


def big_parts(job: dict[str, Any]) -> int:
    """Parts of the big file that the journal knows."""
    journal = directory(job).with_name(directory(job).name + ".parts").read_text().split("\n")[1:-1]
    small = {part.number for part in parts_of(read_job(json.dumps(job)).sets[0], PART) if part.file != BIG}
    return len({line.split()[0] for line in journal} - {str(number) for number in small})


def test_a_changed_file_in_a_complete_directory_is_fetched_again(job: dict[str, Any], hub: LocalHub) -> None:
    run(job)
    file = directory(job) / BIG
    file.chmod(0o644)
    file.write_bytes(bytes(len(FILES[BIG])))
    hub.server.requests.clear()

    assert run(job)[0] == 0

    assert_complete(job)
    assert set(hub.downloads()) == {BIG}


def test_a_file_that_was_only_touched_is_checked_and_not_fetched(job: dict[str, Any], hub: LocalHub) -> None:
    run(job)
    os.utime(directory(job) / BIG)
    assert not intact(directory(job))
    hub.server.requests.clear()

    assert run(job)[0] == 0

    assert_complete(job)
    assert hub.server.requests == []


def test_a_damaged_directory_cannot_be_served_from_while_the_hub_is_down(job: dict[str, Any], unused_url: str) -> None:
    run(job)
    (directory(job) / BIG).unlink()
    assert run(job | {"endpoint": unused_url, "limits": {"patience": 3.0}})[0] == FAILED
    assert not directory(job).exists()


def test_files_that_are_not_in_the_manifest_are_removed(job: dict[str, Any]) -> None:
    for folder in (partial(job), partial(job) / "sub"):
        folder.mkdir(parents=True)
        (folder / "left-over.bin").write_bytes(b"x")
    assert run(job)[0] == 0
    assert [one for one in listing(directory(job)) if "left-over" in one] == []


def test_what_a_hub_asks_to_wait_is_waited(job: dict[str, Any], hub: LocalHub) -> None:
    hub.fault(f"*/resolve/*/{BIG}", "status", status=429, retry_after=1, times=2)
    code, told = run(job | {"connections": 1})
    assert code == 0
    assert_complete(job)
    assert told["note"].startswith((f"weights {REPOSITORY}@{COMMIT}: {BIG} cannot be fetched", "Rate limited"))


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (None, "A token is needed, and none is set: name a file with one"),
        ("hf_wrong", "A token does not open it: name a file with one"),
    ],
)
def test_a_gated_repository_without_the_right_token(
    job: dict[str, Any], hub: LocalHub, monkeypatch: pytest.MonkeyPatch, token: str | None, said: str
) -> None:
    monkeypatch.setattr(hub.server, "token", "hf_right")
    monkeypatch.setattr("lab.services.hub.GATED", (REPOSITORY,))
    code, told = run(job | {"token": token, "limits": {"patience": 600.0}})
    assert code == FAILED
    assert said in told["error"]
    assert "hf_" not in json.dumps(told)

    assert run(job | {"token": "hf_right"})[0] == 0


def test_a_mirror_is_a_hub_without_its_pages(job: dict[str, Any], hub: LocalHub) -> None:
    assert run(job | {"source": "mirror"})[0] == 0
    assert_complete(job)
    assert {one["method"] for one in hub.server.requests} == {"GET"}


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(
    job: dict[str, Any], hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs

    def small(path: Any) -> os.statvfs_result:
        found = real(path)
        return os.statvfs_result([*found[:3], 4096 // found.f_frsize + 1, 1, *found[5:]])

    monkeypatch.setattr(os, "statvfs", small)
    code, told = run(job)
    assert code == FAILED
    assert f"{partial(job)}: disk full: {REPOSITORY} needs" in told["error"]
    assert "prune" in told["error"]
    assert hub.server.requests == []


def test_files_that_are_there_are_checked_and_linked_never_written(job: dict[str, Any], tmp_path: Path) -> None:
    there = filled(tmp_path / "nfs" / REPOSITORY.replace("/", "--") / f"{COMMIT}-mistral")
    before = {name: (there / name).stat().st_ctime_ns for name in WANTED}
    job["sets"][0]["path"] = str(there)

    done = run_program(job)

    assert (done.returncode, done.stderr) == (0, "")
    assert intact(directory(job))
    assert {(directory(job) / name).readlink() for name in WANTED} == {there / name for name in WANTED}
    assert {name: (there / name).stat().st_ctime_ns for name in WANTED} == before
    (there / BIG).write_bytes(FILES[BIG])
    assert not intact(directory(job))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("missing", "No such file or directory; fill weights_path with the locked revision"),
        (
            "layout",
            "No such file or directory, but model.safetensors is there: weights in another layout; fill weights_path",
        ),
        ("short", "has 1 bytes, the lock says 65536"),
        ("wrong", "the lock says"),
        ("nowhere", "is a directory; fill it, or correct weights_path"),
    ],
)
def test_files_that_are_there_and_wrong_are_named(job: dict[str, Any], tmp_path: Path, harm: str, said: str) -> None:
    there = filled(tmp_path / "nfs" / REPOSITORY)
    if harm == "missing":
        (there / BIG).unlink()
    elif harm == "layout":
        (there / BIG).rename(there / "model.safetensors")
    elif harm == "nowhere":
        there.rename(there.with_name("other"))
    else:
        (there / BIG).write_bytes(b"x" if harm == "short" else bytes(len(FILES[BIG])))
    job["sets"][0]["path"] = str(tmp_path / "nfs" / "org--name" / "revision-mistral")

    done = run_program(job)

    assert done.returncode == FAILED
    assert said in done.stderr
    assert not directory(job).exists()


def filled(there: Path) -> Path:
    there.mkdir(parents=True)
    for name in WANTED:
        (there / name).write_bytes(FILES[name])
    return there


def run_program(job: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run it as a host does."""
    folder = directory(job).parent
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agent.pyz").write_bytes(pack_program())
    (folder / "job.json").write_text(json.dumps(job))
    # The engine's own environment says offline; the download must not heed it.
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    words = [sys.executable, str(folder / "agent.pyz"), str(folder / "job.json"), str(folder / "status.json")]
    return subprocess.run(words, capture_output=True, text=True, env=env, timeout=180, cwd="/")


def test_as_a_program_it_reads_the_job_from_a_file(job: dict[str, Any]) -> None:
    done = run_program(job)
    assert (done.returncode, done.stderr) == (0, "")
    assert_complete(job)


def test_as_a_program_it_fails_with_host_and_reason_and_without_the_token(job: dict[str, Any]) -> None:
    job["sets"][0]["revision"] = "f" * 40
    done = run_program(job | {"token": "hf_secret"})
    assert done.returncode == FAILED
    assert [line for line in done.stderr.splitlines() if line.startswith(f"gpu-h1: weights {REPOSITORY}@{'f' * 40}: ")]
    told = (directory(job).parent / "status.json").read_text()
    assert "hf_secret" not in done.stdout + done.stderr + told


def test_as_a_program_it_takes_the_proxies_it_is_given(job: dict[str, Any], unused_url: str) -> None:
    directory(job).parent.mkdir(parents=True)
    (directory(job).parent / "proxies").write_text(f"http_proxy={unused_url}\nno_proxy=example.org\n")
    done = run_program(job | {"limits": {"patience": 3.0}})
    assert done.returncode == FAILED
    assert "ProxyError" in done.stderr or "ConnectError" in done.stderr
