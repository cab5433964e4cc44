"""Operations: only the difference becomes commands (data files under operations/), and what the commands do in a shell."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import OperationError
from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.operations import make_operation_tests, parse_commands
from pyinfra_testing.util import FakeState, create_host

from barewind.operations import ManagedFile
from barewind.operations.barrier import barrier
from barewind.operations.docker import engine
from barewind.operations.engine import serving
from barewind.operations.gate import answers
from barewind.operations.haproxy import configured
from barewind.operations.image import pulled
from tests.unit.any_arguments import AnyArguments
from tests.unit.conftest import Programs, Shell

DATA = Path(__file__).parent / "operations"

TestDockerEngine = make_operation_tests("barewind.operations", "docker.engine", DATA / "docker.engine")
TestEngineServing = make_operation_tests("barewind.operations", "engine.serving", DATA / "engine.serving")
TestHaproxyConfigured = make_operation_tests("barewind.operations", "haproxy.configured", DATA / "haproxy.configured")

IMAGE = "docker.io/vllm/vllm-openai@sha256:12"
UNIT = ManagedFile("/etc/systemd/system/e.service", "[Unit]\n")
FIREWALL = ManagedFile("/etc/barewind/e.nft", "table\n")
CONFIG = ManagedFile("/etc/haproxy/haproxy.cfg", "global\n")
DROP_IN = ManagedFile("/etc/systemd/system/haproxy.service.d/barewind.conf", "[Service]\n")
PROGRAM = ManagedFile("/usr/local/lib/barewind/haproxy-state", "#!/bin/sh\n", mode="755")

DOCKER = {
    "packages": ["docker.io"],
    "held": ["docker.io"],
    "replaced": ["docker-ce"],
    "settings": {"insecure-registries": ["r:5000"]},
    "files": [],
}
SERVING = {
    "unit": "e.service",
    "release": "0123456789ab",
    "container": "c",
    "unit_file": UNIT,
    "firewall": FIREWALL,
    "others": [],
}
GATE = {"url": "http://10.0.0.11:8000", "model": "m", "unit": "e.service", "timeout": 60}


def on_host(*files: ManagedFile) -> dict[str, dict[str, str]]:
    return {
        file.path: {
            "mode": file.mode,
            "owner": "root",
            "group": "root",
            "sha256": hashlib.sha256(file.content.encode()).hexdigest(),
        }
        for file in files
    }


DONE: list[tuple[Any, dict[str, Any], str, Any]] = [
    (
        engine,
        DOCKER,
        "docker.DockerHost",
        {
            "packages": {"docker.io": {"version": "1", "held": True}},
            "files": {},
            "runtimes": ["runc"],
            "daemon": '{"insecure-registries": ["r:5000", "other:1"]}',
            "active": True,
            "enabled": True,
            "insecure_registries": ["other:1", "r:5000"],
        },
    ),
    (pulled, {"reference": IMAGE}, "docker.ImagePresent", True),
    (
        serving,
        SERVING,
        "engine.EngineUnit",
        {
            "files": on_host(UNIT, FIREWALL),
            "active": True,
            "enabled": True,
            "needs_reload": False,
            "release": "0123456789ab",
        },
    ),
    (
        configured,
        {"packages": ["haproxy"], "config": CONFIG, "drop_in": DROP_IN, "others": [PROGRAM]},
        "haproxy.HaproxyHost",
        {
            "packages": {"haproxy": {"version": "1", "held": True}},
            "files": on_host(CONFIG, DROP_IN, PROGRAM),
            "active": True,
            "enabled": True,
            "needs_reload": False,
            "drop_ins": [DROP_IN.path],
        },
    ),
    (answers, GATE, "completion.Answers", True),
]
NAMES = [one[0]._inner.__module__.rsplit(".", 1)[1] + "." + one[0]._inner.__name__ for one in DONE]


def run(operation: Any, arguments: dict[str, Any], fact: str, value: Any) -> list[Any]:
    """The commands of an operation on a host called gpu-h1."""
    state = FakeState()
    host = create_host(state, facts={fact: {}} if fact else {})
    host.name = "gpu-h1"
    if fact:
        host.fact.facts[fact].data = AnyArguments(value)
    with ctx_state.use(state), ctx_host.use(host):
        return parse_commands(list(operation._inner(**arguments)))


@pytest.mark.parametrize(("operation", "arguments", "fact", "value"), DONE, ids=NAMES)
def test_nothing_to_do_no_command(operation: Any, arguments: dict[str, Any], fact: str, value: Any) -> None:
    assert run(operation, arguments, fact, value) == []


@pytest.mark.parametrize(("operation", "arguments", "fact", "value"), DONE, ids=NAMES)
def test_what_cannot_be_read_is_not_changed(operation: Any, arguments: dict[str, Any], fact: str, value: Any) -> None:
    with pytest.raises(
        OperationError, match=r"^gpu-h1: the state of .* could not be read; see the error above, mend it"
    ):
        run(operation, arguments, fact, None)


def test_a_barrier_has_no_command() -> None:
    assert run(barrier, {}, "", None) == []


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "1"])
def test_a_daemon_json_that_is_none_is_left_alone(text: str) -> None:
    facts = DONE[0][3] | {"daemon": text}
    with pytest.raises(
        OperationError, match=r"^gpu-h1: /etc/docker/daemon.json is no JSON object .*; correct it by hand"
    ):
        run(engine, DOCKER, "docker.DockerHost", facts)


def test_docker_that_runs_but_is_not_enabled_takes_new_registries_over_in_the_same_run() -> None:
    facts = DONE[0][3] | {"enabled": False, "daemon": "{}", "insecure_registries": []}
    assert "systemctl reload docker.service" in run(engine, DOCKER, "docker.DockerHost", facts)


# --- What the commands do ----------------------------------------------------------------------------------------------


def managed(file: ManagedFile) -> tuple[str, str]:
    (command,) = parse_commands([file.write()])
    return command["command"], command["_stdin"]


@pytest.mark.parametrize("mode", ["644", "600", "755"])
def test_a_managed_file_is_written_whole_with_its_mode(
    shell: Shell, programs: Programs, tmp_path: Path, mode: str
) -> None:
    programs(chown="echo $@ > owner")  # needs root
    path = tmp_path / "a folder" / "it's a file"
    content = "line\n$HOME `id` \\ 'x' \"y\"\nno newline at the end"
    command, stdin = managed(ManagedFile(str(path), content, mode=mode))

    done = shell(command, stdin=stdin)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert path.read_text() == content
    assert f"{path.stat().st_mode & 0o777:o}" == mode
    assert [one.name for one in path.parent.iterdir()] == ["it's a file"]
    assert (tmp_path / "owner").read_text().startswith("root:root ")
    assert content not in command


def test_a_managed_file_that_cannot_be_finished_leaves_the_old_one(
    shell: Shell, programs: Programs, tmp_path: Path
) -> None:
    programs(chown="exit 1")
    path = tmp_path / "file"
    path.write_text("old")
    command, stdin = managed(ManagedFile(str(path), "new"))
    assert shell(command, stdin=stdin).returncode != 0
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    "changes",
    [{"mode": "600"}, {"owner": "ops"}, {"group": "ops"}, {"sha256": "0" * 64}],
    ids=lambda one: next(iter(one)),
)
def test_a_managed_file_differs_in_content_mode_and_owner(changes: dict[str, str]) -> None:
    same = on_host(CONFIG)
    assert not CONFIG.differs(same)
    assert CONFIG.differs({CONFIG.path: same[CONFIG.path] | changes})
    assert CONFIG.differs({})


def take_over(shell: Shell, programs: Programs, path: Path, **scripts: str) -> subprocess.CompletedProcess[str]:
    """Replace the configuration "old" at a path by "new", with programs that stand for the host's."""
    path.write_text("old")
    packages = {"haproxy": {"version": "1", "held": True}}
    facts = {"packages": packages, "files": {}, "active": True, "enabled": True, "needs_reload": False, "drop_ins": []}
    config = ManagedFile(str(path), "new")
    _, replace = run(configured, {"packages": [], "config": config}, "haproxy.HaproxyHost", facts)
    path.with_name(path.name + ".candidate").write_text("new")
    programs(**{"haproxy": "", "systemctl": "echo $@ > asked", "journalctl": "echo parsing error", **scripts})
    return shell(replace)


def test_a_new_configuration_replaces_the_one_in_use(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    path = tmp_path / "haproxy.cfg"
    assert take_over(shell, programs, path).returncode == 0
    assert path.read_text() == "new"
    assert (tmp_path / "asked").read_text() == "reload-or-restart haproxy.service\n"
    assert sorted(one.name for one in tmp_path.iterdir() if "haproxy" in one.name) == ["haproxy.cfg"]


def test_a_configuration_that_haproxy_refuses_never_replaces_the_one_in_use(
    shell: Shell, programs: Programs, tmp_path: Path
) -> None:
    path = tmp_path / "haproxy.cfg"
    done = take_over(shell, programs, path, haproxy="echo 'parsing error' >&2; exit 1")
    assert done.returncode != 0
    assert path.read_text() == "old"
    assert not (tmp_path / "asked").exists()
    assert "gpu-h1: HAProxy refuses the new configuration, see above; the old one stays in use" in done.stderr


def test_a_configuration_that_is_not_taken_over_is_put_back_so_that_the_next_deploy_tries_again(
    shell: Shell, programs: Programs, tmp_path: Path
) -> None:
    path = tmp_path / "haproxy.cfg"
    done = take_over(shell, programs, path, systemctl="exit 1")
    assert done.returncode != 0
    assert path.read_text() == "old"
    assert done.stderr.splitlines()[-2:] == [
        "parsing error",
        "gpu-h1: HAProxy did not take the new configuration over, see above; the old one is back",
    ]


def wait_for_engine(shell: Shell, programs: Programs, timeout: int = 3600, **host: str) -> Any:
    """Run the gate with a clock that goes one minute further at every look."""
    (command,) = run(answers, GATE | {"timeout": timeout}, "completion.Answers", False)
    programs(
        **{
            "curl": "echo 'Connection refused' >&2; exit 7",
            "systemctl": unit_is("active"),
            "journalctl": "echo 'RuntimeError: out of memory'",
            "sleep": "",
            "date": "echo x >> looks; echo $(($(wc -l < looks) * 60))",
        }
        | host
    )
    return shell(command)


def test_the_gate_opens_when_the_engine_answers(shell: Shell, programs: Programs) -> None:
    curl = 'echo x >> tries; [ $(wc -l < tries) -ge 3 ] && echo \'{"usage": {"completion_tokens": 1}}\''
    done = wait_for_engine(shell, programs, curl=curl)
    assert (done.returncode, done.stderr) == (0, "")
    assert shell("wc -l < tries").stdout.strip() == "3"


def unit_is(state: str, restarts: int = 0) -> str:
    """A unit that had been restarted seven times before, and is restarted so many times while the gate looks."""
    count = f"echo x >> asked; n=$(($(wc -l < asked) - 1)); [ $n -gt {restarts} ] && n={restarts}; echo $((7 + n))"
    return f'case "$*" in *NRestarts*) {count};; *) echo {state};; esac'


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ({"systemctl": unit_is("failed")}, "its unit failed."),
        ({"systemctl": unit_is("activating", 2)}, "its unit was restarted 2 times."),
        ({"systemctl": unit_is("active")}, "the time limit of 3600 s is over."),
        ({"systemctl": "exit 1"}, "the time limit of 3600 s is over."),
    ],
    ids=["failed", "restarted", "time", "no systemctl"],
)
def test_the_gate_gives_up_with_reason_and_log(
    shell: Shell, programs: Programs, host: dict[str, str], why: str
) -> None:
    done = wait_for_engine(shell, programs, **host)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "RuntimeError: out of memory"
    assert lines[1].startswith(f"gpu-h1: http://10.0.0.11:8000 does not answer: {why} Last answer: Connection refused")
    assert lines[-1] == "gpu-h1: the log above ends with the reason; more of it: journalctl -u e.service"


def test_one_restart_is_forgiven(shell: Shell, programs: Programs) -> None:
    curl = 'echo x >> tries; [ $(wc -l < tries) -ge 5 ] && echo \'{"usage": {"completion_tokens": 1}}\''
    done = wait_for_engine(shell, programs, systemctl=unit_is("active", 1), curl=curl)
    assert done.returncode == 0
