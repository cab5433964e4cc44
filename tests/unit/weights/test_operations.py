"""Weights as an operation: only what is missing is started, the token stays off every command line, the unit is followed."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from pyinfra.api import OperationError
from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.operations import parse_commands
from pyinfra_testing.util import FakeState, create_host

from barewind.checksums import STAT
from barewind.hosts.shell import Answer
from barewind.plan.engine import plan_host
from barewind.weights import commands, helpers, operations, plan
from barewind.weights.commands import INTACT, Status
from barewind.weights.facts import WeightDirectories
from barewind.weights.helpers import Helpers, pass_on
from barewind.weights.plan import HostJob, host_jobs, payload
from tests.support.clock import Clock, keep_time
from tests.support.factories import engine_spec, locked
from tests.support.shell import Programs, Shell

pytestmark = pytest.mark.slow

FACT = "facts.WeightDirectories"
MOST_OF_A_COMMAND = 8192  # characters: what a command needs for itself; an archive is many times as long


def jobs(count: int = 3, **keys: Any) -> dict[str, HostJob]:
    specs = [engine_spec(host=f"gpu-h{n}", address=f"192.0.2.{10 + n}", **keys) for n in range(1, count + 1)]
    return host_jobs({spec.host: plan_host(spec, locked(spec)) for spec in specs})


def right(job: HostJob, *directories: str, **more: Any) -> dict[str, Any]:
    """What the fact says of directories that are as they shall be."""
    return {
        directory: {"checksums": checksums, "intact": True, "linked": False} | more
        for directory, checksums in job.directories.items()
        if not directories or directory in directories
    }


def run(value: Any, token: str | None = None, **keys: Any) -> list[Any]:
    """The commands on gpu-h1."""
    state = FakeState()
    state.inventory = None
    host = create_host(state, facts={FACT: {}})
    host.name = "gpu-h1"
    host.fact.facts[FACT].data = {"": value}
    host.get_fact = lambda *_, **__: value
    with ctx_state.use(state), ctx_host.use(host):
        yielded = parse_commands(list(operations.copied._inner(jobs=jobs(**keys), helpers=Helpers(), token=token)))
    assert bool(yielded) != bool(host.noop_description)
    return yielded


def unpacked(text: str) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(text))) as archive:
        files = {}
        for entry in archive.getmembers():
            assert entry.mode == 0o600
            file = archive.extractfile(entry)
            assert file is not None
            files[entry.name] = file.read()
    return files


def test_nothing_to_do_no_command() -> None:
    assert run(right(jobs()["gpu-h1"])) == []


def test_what_cannot_be_read_is_not_changed() -> None:
    with pytest.raises(OperationError, match=r"^gpu-h1: the state of weights could not be read"):
        run(None)


MODEL, DRAFT = list(jobs()["gpu-h1"].directories)


@pytest.mark.parametrize(
    "directories",
    [
        {},
        right(jobs()["gpu-h1"], MODEL),
        right(jobs()["gpu-h1"]) | right(jobs()["gpu-h1"], MODEL, intact=False),
        right(jobs()["gpu-h1"]) | right(jobs()["gpu-h1"], DRAFT, checksums="0" * 64),
        right(jobs()["gpu-h1"]) | right(jobs()["gpu-h1"], DRAFT, linked=True),
    ],
    ids=["missing", "one missing", "changed", "other files", "links of another source"],
)
def test_the_unit_is_started_with_the_token_on_standard_input(directories: dict[str, Any]) -> None:
    yielded = run(directories, token="hf_secret")
    start = next(command for command in yielded if isinstance(command, dict) and "_stdin" in command)

    files = unpacked(start["_stdin"])
    assert set(files) == {"job.json", "agent.pyz", "firewall.nft"}
    job = json.loads(files["job.json"])
    assert (job["token"], job["host"], job["expected"]) == ("hf_secret", "gpu-h1", ["gpu-h1"])
    assert "hf_secret" not in start["command"]
    assert "systemd-run --quiet --unit=barewind-weights.service" in start["command"]


def test_a_host_alone_opens_no_port_and_asks_nobody() -> None:
    (start, _) = run({}, count=1)
    assert set(unpacked(start["_stdin"])) == {"job.json", "agent.pyz"}
    assert "nft -f" not in start["command"]


def test_a_job_is_the_same_for_every_run_but_not_for_another_plan() -> None:
    assert jobs()["gpu-h1"].id == jobs()["gpu-h1"].id
    assert len({jobs()["gpu-h1"].id, jobs(count=4)["gpu-h1"].id, jobs(weights_rate_limit=5.0)["gpu-h1"].id}) == 3


# --- What the start does on a host -------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> HostJob:
    """A job whose directories are of this test."""
    monkeypatch.setattr(plan, "RUN_DIR", f"{tmp_path}/run dir")
    return jobs(data_dir=f"{tmp_path}/data")["gpu-h1"]


def start(shell: Shell, job: HostJob, **env: str) -> subprocess.CompletedProcess[str]:
    return shell(commands.start(job), stdin=payload(job, token="hf_secret", expected=[]), **env)


def test_the_program_and_the_job_reach_the_host_unharmed(shell: Shell, programs: Programs, here: HostJob) -> None:
    programs(systemctl="exit 3", systemd_run='printf "%s\\n" "$@" > arguments')
    done = start(shell, here, http_proxy="http://user:password@proxy:3128", NO_PROXY="x")
    assert (done.returncode, done.stderr) == (0, "")

    place = f"{plan.RUN_DIR}/{here.id}"
    assert shell(f"stat -c %a '{place}'").stdout == "700\n"
    assert json.loads(shell(f"cat '{place}/job.json'").stdout)["token"] == "hf_secret"  # noqa: S105
    assert "http_proxy=http://user:password@proxy:3128\n" in shell(f"cat '{place}/proxies'").stdout
    assert shell(f"python3 -m zipfile --list '{place}/agent.pyz' | grep -c weights/agent/agent.py").stdout == "1\n"
    words = shell("cat arguments").stdout.splitlines()
    assert "hf_secret" not in words
    assert "password" not in "".join(words)
    assert words[words.index("/usr/bin/docker") :][:3] == ["/usr/bin/docker", "run", "--rm"]
    assert f"--volume={place}:{place}:ro" in words
    assert words[-4:] == [here.image, f"{place}/agent.pyz", f"{place}/job.json", f"{here.root}/.transfer.json"]


def test_a_unit_at_work_on_the_same_job_is_left_alone(shell: Shell, programs: Programs, here: HostJob) -> None:
    programs(systemctl="exit 3", systemd_run="echo started >> starts")
    start(shell, here)
    programs(systemctl='[ "$1" = is-active ]', systemd_run="echo started >> starts")
    assert start(shell, here).returncode == 0
    assert shell("cat starts").stdout == "started\n"


def test_a_unit_at_work_on_another_job_makes_way(shell: Shell, programs: Programs, here: HostJob) -> None:
    programs(systemctl='echo "$1" >> calls; [ "$1" = is-active ]', systemd_run="echo started >> calls")
    shell(f"mkdir -p '{plan.RUN_DIR}/another' && touch '{plan.RUN_DIR}/another/job.json'")
    assert start(shell, here).returncode == 0
    assert shell("cat calls").stdout.split() == ["is-active", "stop", "reset-failed", "started"]
    assert shell(f"ls '{plan.RUN_DIR}'").stdout.split() == [here.id]


@pytest.mark.parametrize(
    ("result", "status", "stays"), [("success", "0", False), ("exit-code", "3", False), ("exit-code", "1", True)]
)
def test_the_job_stays_only_while_the_unit_is_to_be_started_again(
    shell: Shell, programs: Programs, here: HostJob, result: str, status: str, stays: bool
) -> None:
    programs(systemctl="exit 3", systemd_run="", docker="", nft='echo "$@" >> deleted')
    start(shell, here)
    place = f"{plan.RUN_DIR}/{here.id}"
    shell(f"sh '{place}/clean'", SERVICE_RESULT=result, EXIT_STATUS=status)
    assert (shell(f"ls '{place}'").returncode == 0) == stays
    assert (shell("cat deleted").stdout == "delete table inet barewind_weights\n") == (not stays)


def test_a_look_sees_whether_all_is_there(shell: Shell, programs: Programs, here: HostJob) -> None:
    programs(systemctl="echo active")
    assert commands.read_status(shell(commands.print_status(here)).stdout, here) == Status(unit="active")
    for directory in here.directories:
        script = f"mkdir -p {directory} && cd {directory} && echo x > f && printf '%064d  f\\n' 0 > SHA256SUMS"
        shell(f"{script} && cut -c67- SHA256SUMS | xargs {STAT} > .verified && {INTACT}")
    shell(
        f"echo '{json.dumps({'id': here.id, 'phase': 'serving', 'total': 5, 'left': None})}' > {here.root}/.transfer.json"
    )
    status = commands.read_status(shell(commands.print_status(here)).stdout, here)
    assert (status.phase, status.total, status.complete) == ("serving", 5, True)
    shell(f"touch {list(here.directories)[1]}/f")
    assert not commands.read_status(shell(commands.print_status(here)).stdout, here).complete


def test_what_was_told_of_another_job_counts_for_nothing() -> None:
    job = jobs()["gpu-h1"]
    document = json.dumps({"id": "another", "phase": "failed", "error": "old news"})
    assert commands.read_status(f"{document}\n\nactive\n", job) == Status(unit="active")
    assert commands.read_status("", job) == Status()
    assert commands.read_status("{\n\nfailed\n", job) == Status(unit="failed")


# --- Following ---------------------------------------------------------------------------------------------------------


@dataclass
class Host:
    """A host, and what is logged about it."""

    name: str
    lines: list[str] = field(default_factory=list)
    print_prefix: str = ""

    def log(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def follow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Callable[[list[Any]], tuple[bool, list[str]]]:
    job = jobs()["gpu-h1"]

    def run(looks: list[Any]) -> tuple[bool, list[str]]:
        clock = Clock()
        host = Host("gpu-h1")
        answers = iter(looks)

        def answer(_state: Any, _host: Any, command: str, **_: Any) -> Answer:
            if command.startswith("journalctl"):
                return Answer("the end of the log", "")
            output = next(answers)
            return output if isinstance(output, Answer) else Answer(output, "")

        monkeypatch.setattr(operations, "run", answer)
        keep_time(monkeypatch, clock, lambda _: clock.pause(10))
        monkeypatch.setattr(operations.logger, "error", host.lines.append)
        return operations._follow(None, host, job), host.lines  # type: ignore[arg-type]

    return run


def look(phase: str, *, unit: str = "active", whole: bool = False, **more: Any) -> str:
    told = {
        "id": jobs()["gpu-h1"].id,
        "phase": phase,
        "total": 10 * 2**30,
        "copied": 0,
        "checked": 0,
        "from_endpoint": 0,
    }
    return json.dumps(told | more) + f"\n\n{unit}\n" + ("whole\n" if whole else "")


def test_percent_rate_and_time_left_are_logged(follow: Any) -> None:
    done, lines = follow(
        [
            look("copying", copied=0, asks_endpoint=True),
            look("copying", copied=2 * 2**30, asks_endpoint=True),
            look("copying", copied=5 * 2**30, note="Rate limited. Waiting 30s"),
            look("checking", copied=10 * 2**30, checked=9 * 2**30),
            look("serving", copied=10 * 2**30, checked=10 * 2**30, from_endpoint=10 * 2**30, whole=True),
        ]
    )
    assert done
    assert lines == [
        "copying 0 % of 10.0 GiB, asks the hub",
        "copying 50 % of 10.0 GiB, 256.0 MiB/s, 20 s left (Rate limited. Waiting 30s)",
        "has all 10.0 GiB of weights, checked, 10.0 GiB of them from the hub, after 40 s",
    ]


def test_a_failure_is_told_in_the_units_own_words(follow: Any) -> None:
    done, lines = follow([look("copying"), look("failed", unit="failed", error="disk full: no more")])
    assert not done
    assert lines[-1] == "gpu-h1: disk full: no more"


def test_a_unit_that_died_shows_its_log(follow: Any) -> None:
    done, lines = follow([look("copying"), look("copying", unit="failed")])
    assert not done
    assert (
        lines[-1]
        == "gpu-h1: barewind-weights.service ended before the weights were there; its log ends:\nthe end of the log"
    )


def test_a_lost_connection_is_forgiven_for_a_while(follow: Any) -> None:
    gone = Answer("", "no route to host")
    done, _ = follow([look("copying"), *[gone] * 5, look("serving", whole=True)])
    assert done
    done, lines = follow([look("copying"), *[gone] * 100])
    assert not done
    assert lines[-1] == (
        "gpu-h1: is out of reach (no route to host). barewind-weights.service goes on there: deploy again to see how far it is"
    )


# --- Help of others ----------------------------------------------------------------------------------------------------


class Fleet:
    """An inventory whose hosts answer by name."""

    def __init__(self, active: list[str], holders: dict[str, list[str]], images: list[str]) -> None:
        self.hosts = {name: Host(name) for name in jobs()}
        self.active, self.holders, self.images = active, holders, images
        self.started: list[str] = []
        self.given: dict[str, str | None] = {}  # host -> what came on standard input
        self.inventory = self

    def get_host(self, name: str) -> Host:
        return self.hosts[name]

    def get_active_hosts(self) -> list[Host]:
        return [self.hosts[name] for name in self.active]

    def run(self, _state: Any, host: Host, command: str, *, stdin: str | None = None, **_: Any) -> Answer:
        job = jobs()[host.name]
        if command == WeightDirectories().command(directories=list(job.directories)):
            lines = [f"intact {job.directories[held]} {held}" for held in self.holders.get(host.name, [])]
            return Answer("\n".join(["@@barewind:weights", *lines, "@@barewind:end"]), "")
        if command.startswith("docker image inspect"):
            return Answer("", "" if host.name in self.images else "no such image")
        assert "hf_" not in command
        assert len(command) < MOST_OF_A_COMMAND
        self.started.append(host.name)
        self.given[host.name] = stdin
        return Answer("", "")


@pytest.mark.parametrize(
    ("active", "holders", "images", "helping"),
    [
        (["gpu-h1"], {"gpu-h2": [MODEL, DRAFT]}, ["gpu-h2"], ["gpu-h2"]),
        (["gpu-h1"], {"gpu-h2": [MODEL]}, ["gpu-h2"], ["gpu-h2"]),
        (["gpu-h1", "gpu-h2"], {"gpu-h2": [MODEL]}, ["gpu-h2"], []),  # copies the rest itself and gives what it has
        (["gpu-h1", "gpu-h2"], {"gpu-h2": [MODEL, DRAFT]}, ["gpu-h2"], ["gpu-h2"]),
        (["gpu-h1"], {"gpu-h2": [MODEL, DRAFT]}, [], []),
        (["gpu-h1"], {}, ["gpu-h2"], []),
    ],
    ids=["outside of the run", "half of it", "half of it in the run", "in the run", "no image", "nothing"],
)
def test_hosts_that_have_the_files_pass_them_on(
    monkeypatch: pytest.MonkeyPatch,
    active: list[str],
    holders: dict[str, list[str]],
    images: list[str],
    helping: list[str],
) -> None:
    fleet = Fleet(active, holders, images)
    monkeypatch.setattr(helpers, "run", fleet.run)
    of_run = Helpers()

    def find_help(name: str) -> list[str]:
        names: list[str] = []
        assert operations._find_help(fleet, fleet.hosts[name], of_run, jobs(), jobs()[name], names)  # type: ignore[arg-type]
        return names

    assert find_help("gpu-h1") == helping
    find_help("gpu-h3")
    assert fleet.started == helping  # once, however many ask
    for archive in fleet.given.values():
        assert archive
        assert set(unpacked(archive)) == {"job.json", "agent.pyz", "firewall.nft"}


def test_a_host_at_work_is_not_disturbed_by_who_asks_for_help(
    shell: Shell, programs: Programs, here: HostJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(systemctl='[ "$1" = is-active ]', systemd_run="echo started > starts", docker="")
    asked: list[tuple[str, str | None]] = []

    def run(_state: Any, host: Host, command: str, *, stdin: str | None = None, **_: Any) -> Answer:
        if "@@barewind:weights" in command:
            lines = [f"intact {sums} {directory}" for directory, sums in here.directories.items()]
            return Answer("\n".join(["@@barewind:weights", *lines, "@@barewind:end"]), "")
        asked.append((command, stdin))
        done = shell(command, stdin=stdin or "")
        return Answer(done.stdout, done.stderr)

    fleet = Fleet(["gpu-h2"], {}, [])
    monkeypatch.setattr(helpers, "run", run)
    assert pass_on(fleet, fleet.hosts["gpu-h1"], here, "gpu-h2")  # type: ignore[arg-type]
    assert asked[-1][1]
    assert shell("cat starts").stdout == ""
