"""Verifying and pruning weights: what the commands find on a disk, and what they would remove."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from barewind.cli import weights
from barewind.cli.main import main
from barewind.plan.engine import plan_host
from barewind.release.prune import Entry, removable, remove, show_entries
from barewind.spec.site import Site
from barewind.weights.plan import HostJob, host_jobs
from barewind.weights.verify import Finding, distrust, exit_status, print_differences, read_findings
from tests.support.factories import engine_spec, locked
from tests.support.shell import Programs, Shell

pytestmark = pytest.mark.slow

CONTENT = {"params.json": b"{}", "consolidated.safetensors": bytes(range(256))}
SUMS = "".join(f"{hashlib.sha256(text).hexdigest()}  {name}\n" for name, text in sorted(CONTENT.items()))
OLD = "e" * 40


@pytest.fixture
def job(tmp_path: Path) -> HostJob:
    """A host with model and draft under this test's folder."""
    spec = engine_spec(data_dir=str(tmp_path / "data"))
    host_job = host_jobs({"gpu-h1": plan_host(spec, locked(spec))})["gpu-h1"]
    files = {name: {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()} for name, text in CONTENT.items()}
    for file_set in host_job.data["sets"]:
        file_set["files"] = files
    return host_job


def fill(directory: str) -> Path:
    path = Path(directory)
    path.mkdir(parents=True)
    for name, text in CONTENT.items():
        (path / name).write_bytes(text)
    (path / "SHA256SUMS").write_text(SUMS)
    return path


def verified(job: HostJob, shell: Shell) -> list[tuple[str, str]]:
    done = shell(print_differences(job))
    return [(finding.state, finding.detail) for finding in read_findings(job, done.stdout)]


def test_right_files_are_intact(job: HostJob, shell: Shell) -> None:
    for directory in job.directories:
        fill(directory)
    assert verified(job, shell) == [("intact", ""), ("intact", "")]


def test_a_byte_that_rotted_without_a_trace_is_found(job: HostJob, shell: Shell) -> None:
    model, draft = (fill(directory) for directory in job.directories)
    file = model / "consolidated.safetensors"
    times = file.stat()
    file.write_bytes(b"\1" + CONTENT["consolidated.safetensors"][1:])
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    (draft / "params.json").unlink()
    assert verified(job, shell) == [
        ("wrong", "other SHA-256: consolidated.safetensors"),
        ("wrong", "other SHA-256: params.json"),
    ]


def test_what_is_absent_or_of_another_lock_is_said(job: HostJob, shell: Shell) -> None:
    model = fill(next(iter(job.directories)))
    (model / "SHA256SUMS").write_text(SUMS.replace("params", "config"))
    (model / "params.json").rename(model / "config.json")
    assert verified(job, shell) == [("wrong", "holds other files than the lock"), ("absent", "is not there")]


@pytest.mark.parametrize(
    ("output", "problem", "detail"), [("", "no route", "no route"), ("@absent /x", "", "breaks off")]
)
def test_a_host_that_does_not_answer_is_unknown(job: HostJob, output: str, problem: str, detail: str) -> None:
    findings = read_findings(job, output, problem)
    assert {finding.state for finding in findings} == {"unknown"}
    assert all(detail in finding.detail for finding in findings)


@pytest.mark.parametrize(
    ("states", "status"), [(["intact"], 0), (["intact", "wrong"], 1), (["absent"], 1), (["wrong", "unknown"], 2)]
)
def test_exit_status(states: list[str], status: int) -> None:
    assert exit_status({"h": [Finding("h", "/d", state) for state in states]}) == status


def test_only_wrong_directories_are_distrusted(shell: Shell, tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong one"
    for folder in (right, wrong):
        folder.mkdir()
        (folder / ".verified").touch()
    findings = {"h": [Finding("h", str(right), "intact"), Finding("h", str(wrong), "wrong")], "other": []}
    commands = distrust(findings)
    assert list(commands) == ["h"]
    assert shell(commands["h"]).returncode == 0
    assert [(folder / ".verified").exists() for folder in (right, wrong)] == [True, False]


# --- Pruning -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def prune(job: HostJob, shell: Shell, programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Look, decide, remove; returns what was removed."""
    monkeypatch.setattr("barewind.release.record.DIRECTORY", str(tmp_path / "releases"))
    monkeypatch.setattr("barewind.release.prune.EVENTS_FILE", str(tmp_path / "releases" / "history.jsonl"))
    monkeypatch.setattr("barewind.release.prune.UNIT_FILES", str(tmp_path / "unit"))
    programs(systemctl="echo inactive")
    for directory in job.directories:
        fill(directory)
        Path(f"{directory}.parts").touch()

    def run() -> list[str]:
        entries = removable(job, shell(show_entries(job)).stdout, keep=2)
        assert shell(remove(job, entries)).returncode == 0
        return [entry.path.removeprefix(f"{job.root}/") for entry in entries]

    return run


def make(job: HostJob, *names: str) -> None:
    for name in names:
        path = Path(job.root) / name
        path.parent.mkdir(exist_ok=True)
        if name.endswith(".parts"):
            path.touch()
        else:
            fill(str(path))


def test_what_the_plan_needs_stays(job: HostJob, prune: Any) -> None:
    assert prune() == []
    assert all(Path(directory, "params.json").exists() for directory in job.directories)


def test_an_old_revision_goes_with_all_that_belongs_to_it(job: HostJob, prune: Any) -> None:
    old = [f"org--old/{OLD}-mistral", f"org--old/{OLD}-mistral.partial", f"org--old/{OLD}-mistral.parts"]
    make(job, *old)
    assert prune() == old
    assert not (Path(job.root) / "org--old").exists()


def test_a_revision_of_a_release_to_go_back_to_stays(job: HostJob, prune: Any, tmp_path: Path) -> None:
    make(job, *(f"org--m/{digit * 40}-mistral" for digit in "1234"))
    (tmp_path / "releases").mkdir()
    events = tmp_path / "releases" / "history.jsonl"
    for age, digit in enumerate("321"):
        file = tmp_path / "releases" / f"{digit}.json"
        file.write_text(json.dumps({"release": digit, "model": f"org/m@{digit * 40}"}, indent=1))
        os.utime(file, (1000 - age, 1000 - age))  # which says nothing
        event = {"at": f"2026-11-22T09:0{age}:00Z", "release": digit, "event": "serving", "by": "ann@ws1"}
        events.open("a").write(f"{json.dumps(event)}\n")
    (tmp_path / "unit").write_text(f"ExecStart=docker run --volume={job.root}/org--m/{'4' * 40}-mistral:/models")
    assert prune() == [f"org--m/{'3' * 40}-mistral"]  # two releases are kept, and what runs


@pytest.mark.parametrize("lost", ["", "\0" * 300])
def test_without_events_no_revision_is_known_to_be_old(job: HostJob, prune: Any, tmp_path: Path, lost: str) -> None:
    """A power cut has damaged the list of events: each record may be of the release that served last."""
    make(job, *(f"org--m/{digit * 40}-mistral" for digit in "1234"))
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases" / "history.jsonl").write_text(lost)
    for digit in "123":
        (tmp_path / "releases" / f"{digit}.json").write_text(json.dumps({"release": digit, "model": f"m@{digit * 40}"}))
    assert prune() == [f"org--m/{'4' * 40}-mistral"]


def test_what_a_record_names_that_cannot_be_read_stays(job: HostJob, prune: Any, tmp_path: Path) -> None:
    make(job, f"org--m/{'1' * 40}-mistral")
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases" / "1.json").write_text(f'{{"model": "org/m@{"1" * 40}')
    assert prune() == []


def test_compile_caches_go_with_the_releases_that_used_them(job: HostJob, shell: Shell, tmp_path: Path) -> None:
    caches = Path(job.root).parent / "cache"
    for name in ("aaaaaaaaaaaa", "bbbbbbbbbbbb", "seed-aaaaaaaaaaaa", "packed-aaaaaaaaaaaa", "packed-bbbbbbbbbbbb"):
        fill(str(caches / name))
    fill(f"{job.root}/org--old/{OLD}-mistral")
    needed = f"ExecStart=docker run --volume={caches}/aaaaaaaaaaaa:/cache"
    told = shell(show_entries(job)).stdout.replace("@@barewind:needed\n", f"@@barewind:needed\n{needed}\n")
    entries = removable(job, told, keep=2)
    assert [Path(entry.path).name for entry in entries] == [
        "bbbbbbbbbbbb",
        "packed-bbbbbbbbbbbb",
        f"{OLD}-mistral",
    ]
    assert shell(remove(job, entries)).returncode == 0
    assert sorted(path.name for path in caches.iterdir()) == [
        "aaaaaaaaaaaa",
        "packed-aaaaaaaaaaaa",
        "seed-aaaaaaaaaaaa",
    ]


def test_what_is_not_ours_is_never_touched(job: HostJob, prune: Any, tmp_path: Path) -> None:
    outside = fill(str(tmp_path / "outside"))
    make(job, "org--old/notes", "lost+found/x")
    (Path(job.root) / "org--old" / f"{OLD}-mistral").symlink_to(outside)
    (Path(job.root) / f"{OLD}-mistral").mkdir()
    assert prune() == []
    assert (outside / "params.json").exists()


def test_a_model_folder_that_is_a_link_is_not_followed(job: HostJob, shell: Shell, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    fill(str(outside / f"{OLD}-mistral"))
    Path(job.root).mkdir(parents=True)
    (Path(job.root) / "org--old").symlink_to(outside)
    entry = Entry(f"{job.root}/org--old/{OLD}-mistral", 1)
    assert shell(remove(job, [entry])).returncode == 0
    assert (outside / f"{OLD}-mistral" / "params.json").exists()


@pytest.mark.parametrize("path", ["/etc", "{root}", "{root}/../x", "{root}/org--old/notes", "{root}/a/b/c"])
def test_a_path_outside_is_refused(job: HostJob, path: str) -> None:
    with pytest.raises(ValueError, match="not a directory of weights"):
        remove(job, [Entry(path.format(root=job.root), 1)])


def test_while_weights_are_copied_nothing_is_removed(job: HostJob, prune: Any, programs: Programs) -> None:
    make(job, f"org--old/{OLD}-mistral")
    programs(systemctl="echo active")
    with pytest.raises(ValueError, match="weights are being copied"):
        prune()


@pytest.mark.parametrize(("output", "problem"), [("", ""), ("@@barewind:busy\n", ""), ("", "no route")])
def test_a_broken_answer_is_no_ground_for_removal(job: HostJob, output: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"breaks off|no route"):
        removable(job, output, problem, keep=2)


# --- The command -------------------------------------------------------------------------------------------------------


class Remote:
    """Hosts that run their commands here."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.ran: list[str] = []

    def ask(self, commands: dict[str, str], **_: int) -> dict[str, tuple[str, str]]:
        self.ran += commands.values()
        return {name: (self.shell(command).stdout, "") for name, command in commands.items()}


@pytest.fixture
def cli(job: HostJob, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Any:
    remote = Remote(shell)
    monkeypatch.setattr(weights, "_hosts", lambda *_: (remote, {"gpu-h1": job}))
    site = Site({"gpu-h1": engine_spec()}, {}, "lock.yaml")
    monkeypatch.setattr(weights, "site_of", lambda *_: site)
    return lambda *words, **more: CliRunner().invoke(main, ["weights", words[0], "site.py", *words[1:]], **more)


def test_verify_says_host_state_directory_and_next_step(job: HostJob, cli: Any) -> None:
    model, draft = job.directories
    fill(model)
    done = cli("verify")
    assert done.exit_code == 1
    assert done.output == f"gpu-h1: intact {model}\ngpu-h1: absent {draft}: is not there. Next: deploy\n"
    findings = json.loads(cli("verify", "--json").output)
    assert [(finding["host"], finding["directory"], finding["state"]) for finding in findings] == [
        ("gpu-h1", model, "intact"),
        ("gpu-h1", draft, "absent"),
    ]


def test_what_is_wrong_is_repaired_by_the_next_deploy(job: HostJob, cli: Any) -> None:
    directories = [fill(directory) for directory in job.directories]
    for directory in directories:
        (directory / ".verified").touch()
    (directories[1] / "params.json").write_text("[]")
    assert "barewind weights verify --repair, then deploy" in cli("verify").output
    assert cli("verify", "--repair").exit_code == 1
    assert [(directory / ".verified").exists() for directory in directories] == [True, False]


def test_prune_asks_first(job: HostJob, cli: Any, prune: Any) -> None:
    make(job, f"org--old/{OLD}-mistral")
    there = Path(job.root) / "org--old"
    assert cli("prune", input="n\n").exit_code == 1
    assert there.exists()
    done = cli("prune", "--yes")
    assert done.exit_code == 0
    assert not there.exists()
    assert cli("prune").output == "Nothing to remove.\n"
