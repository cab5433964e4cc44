"""The pull of an image as an operation: started once and waited for; images that go afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import OperationError
from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.operations import parse_commands
from pyinfra_testing.util import FakeState, create_host

from barewind.hosts.operations import ManagedFile
from barewind.hosts.shell import Answer
from barewind.images import operations
from barewind.images.commands import print_status, start
from barewind.images.operations import pruned, pulled
from tests.support.any_arguments import AnyArguments
from tests.support.clock import Clock, keep_time
from tests.support.data_files import operation_tests, settled_tests
from tests.support.pull_answers import ERROR, answer, says

HERE = Path(__file__).parent
DIGEST = "sha256:" + "5e" * 32
IMAGE = f"10.0.0.5:5000/docker.io/vllm/vllm-openai@{DIGEST}"
MIB = 2**20

TestPulled = operation_tests(pulled, HERE)
TestPulledSettled = settled_tests(pulled, {"image": IMAGE}, "facts.ImagePresent", True, subject=f"image {IMAGE}")
TestPruned = operation_tests(pruned, HERE)


def test_images_that_cannot_be_read_are_not_removed() -> None:
    state = FakeState()
    host = create_host(state, facts={"facts.ImageHost": None})
    host.fact.facts["facts.ImageHost"].data = None
    host.get_fact = lambda *_, **__: None
    with (
        ctx_state.use(state),
        ctx_host.use(host),
        pytest.raises(OperationError, match="state of the images could not be"),
    ):
        list(pruned._inner(repositories=[], wanted=[], keep=1))


# --- Waiting for it ----------------------------------------------------------------------------------------------------


@dataclass
class Host:
    """A host whose answers are given; the clock is the test's."""

    answers: list[list[str] | str]
    name: str = "gpu-h1"
    print_prefix: str = ""
    clock: Clock = field(default_factory=Clock)
    started: int = 0
    messages: list[str] = field(default_factory=list)

    def log(self, message: str) -> None:
        self.messages.append(message)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[bool, Host]]:
    def wait(*answers: list[str] | str, timeout: int = 7200, repeat: bool = True) -> tuple[bool, Host]:
        host = Host(list(answers))

        def run(_state: Any, _host: Host, command: str, stdin: str | None = None) -> Answer:
            if command == start(IMAGE):
                host.started += 1
                return Answer("", "")
            assert command == print_status(IMAGE)
            reply = host.answers.pop(0) if len(host.answers) > 1 or not repeat else host.answers[0]
            return Answer("", reply) if isinstance(reply, str) else Answer("\n".join(reply), "")

        monkeypatch.setattr(operations, "run", run)
        keep_time(monkeypatch, host.clock, host.clock.pause)
        monkeypatch.setattr(operations.logger, "error", host.messages.append)
        done = operations.pull(None, host, IMAGE, 1000, timeout)  # type: ignore[arg-type]
        return done, host

    return wait


IDLE = answer(state="inactive")
RUNS = answer(says("Downloading", "a", 30, 100), sizes=(says("Downloading", "a", 30, 100),))
THERE = answer(state="inactive", present=True)


def test_a_pull_is_started_once_and_waited_for(waiting: Callable[..., tuple[bool, Host]]) -> None:
    done, host = waiting(IDLE, RUNS, RUNS, THERE)
    assert (done, host.started) == (True, 1)


def test_a_pull_that_runs_already_is_waited_for(waiting: Callable[..., tuple[bool, Host]]) -> None:
    done, host = waiting(RUNS, RUNS, THERE)
    assert (done, host.started) == (True, 0)


def test_progress_is_logged_now_and_then(waiting: Callable[..., tuple[bool, Host]]) -> None:
    later = [
        answer(says("Downloading", "a", n, 100 * MIB), sizes=(says("Downloading", "a", n * MIB, 100 * MIB),))
        for n in range(60)
    ]
    done, host = waiting(IDLE, *later, THERE)
    assert done
    assert 10 <= len(host.messages) <= 13
    assert host.messages[
        -1
    ] == "pulls the image: 55 % of 100.0 MiB, 341.3 KiB/s, 135 s left, 0 of 1 layers unpacked" or (
        "% of 100.0 MiB" in host.messages[-1] and "left" in host.messages[-1]
    )


def test_a_lost_connection_is_no_failure(waiting: Callable[..., tuple[bool, Host]]) -> None:
    done, host = waiting(IDLE, RUNS, *["no route to host"] * 100, RUNS, THERE)
    assert (done, host.started) == (True, 1)


def test_a_host_that_stays_away_is_given_up_on(waiting: Callable[..., tuple[bool, Host]]) -> None:
    done, host = waiting(IDLE, RUNS, "no route to host")
    assert not done
    assert 900 < host.clock.now < 1000
    assert "the host cannot be reached; the pull goes on there. Deploy again" in host.messages[-1]


def test_a_failure_says_why_and_what_to_do(waiting: Callable[..., tuple[bool, Host]]) -> None:
    done, host = waiting(IDLE, RUNS, answer(state="failed", error=ERROR))
    assert (done, host.started) == (False, 1)
    assert host.messages[-1].startswith(
        f"gpu-h1: image {IMAGE} cannot be pulled (toomanyrequests: limit). Nothing that runs was touched."
    )


def test_an_old_failure_does_not_stop_a_new_attempt(waiting: Callable[..., tuple[bool, Host]]) -> None:
    done, host = waiting(answer(state="failed", error=ERROR), RUNS, THERE)
    assert (done, host.started) == (True, 1)


def test_a_host_that_was_restarted_in_the_middle_begins_anew(waiting: Callable[..., tuple[bool, Host]]) -> None:
    done, host = waiting(IDLE, RUNS, "connection reset", IDLE, RUNS, THERE)
    assert (done, host.started) == (True, 2)


def test_a_pull_that_ends_without_a_word_again_and_again(waiting: Callable[..., tuple[bool, Host]]) -> None:
    done, host = waiting(IDLE)
    assert (done, host.started) == (False, 3)
    assert "it ended without a word" in host.messages[-1]


def test_one_that_takes_too_long(waiting: Callable[..., tuple[bool, Host]]) -> None:
    done, host = waiting(IDLE, RUNS, timeout=60)
    assert not done
    assert "it takes longer than 60 s and goes on there; deploy again to wait for it" in host.messages[-1]


# --- The operation -----------------------------------------------------------------------------------------------------


def commands(**arguments: Any) -> list[Any]:
    docker = {
        "packages": {},
        "files": {},
        "daemon": '{"debug": true}',
        "active": True,
        "enabled": True,
        "insecure_registries": [],
        "runtimes": [],
    }
    state = FakeState()
    host = create_host(state, facts={"facts.ImagePresent": {}, "facts.DockerHost": {}})
    host.fact.facts["facts.ImagePresent"].data = AnyArguments(False)
    host.fact.facts["facts.DockerHost"].data = AnyArguments(docker)
    with ctx_state.use(state), ctx_host.use(host):
        return parse_commands(list(pulled._inner(image=IMAGE, **arguments)))


def test_docker_is_told_of_a_plain_mirror_before_the_pull() -> None:
    write, reload, pull = commands(insecure=["10.0.0.5:5000"])
    assert json.loads(write["_stdin"]) == {"debug": True, "insecure-registries": ["10.0.0.5:5000"]}
    assert reload == "systemctl reload docker.service"
    assert pull[0] == "pull"


def test_the_mirrors_certificate_is_there_before_the_pull() -> None:
    file = ManagedFile("/etc/docker/certs.d/10.0.0.5:5000/ca.crt", "-----BEGIN CERTIFICATE-----")
    write, pull = commands(certificate=file)
    assert file.path in write["command"]
    assert pull[0] == "pull"
