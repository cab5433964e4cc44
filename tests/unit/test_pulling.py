"""A pull that runs on a host by itself: the program in a real shell, what is made of its words, and the wait for it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import FactProcessError
from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.operations import make_operation_tests, parse_commands
from pyinfra_testing.util import FakeState, create_host

from barewind import pulling
from barewind.operations import ManagedFile, image
from barewind.operations.image import pulled
from barewind.operations.shell import Answer
from barewind.pulling import Look, describe, look, read, start
from tests.unit.any_arguments import AnyArguments
from tests.unit.conftest import Programs, Shell

DIGEST = "sha256:" + "5e" * 32
IMAGE = f"10.0.0.5:5000/docker.io/vllm/vllm-openai@{DIGEST}"
MIB = 2**20

TestImagePulled = make_operation_tests(
    "barewind.operations", "image.pulled", Path(__file__).parent / "operations" / "image.pulled"
)


def says(status: str, layer: str, current: int | None = None, total: int | None = None) -> str:
    detail = {} if total is None else {"current": current, "total": total}
    return json.dumps({"status": status, "progressDetail": detail, "id": layer}, separators=(",", ":"))


# --- The program -------------------------------------------------------------------------------------------------------

STREAM = [
    says("Pulling from vllm/vllm-openai", DIGEST),
    says("Pulling fs layer", "aaa"),
    says("Already exists", "bbb"),
    says("Downloading", "aaa", 10, 100),
    says("Downloading", "aaa", 90, 100),
    says("Verifying Checksum", "aaa"),
    says("Extracting", "aaa", 32, 100),
    json.dumps({"status": f"Digest: {DIGEST}"}, separators=(",", ":")),
]


@pytest.fixture
def run_program(shell: Shell, programs: Programs, tmp_path: Path) -> Callable[..., Any]:
    """Run it with a Docker that behaves as told; its folder is `seen`."""

    def run(curl: str, inspect: str = "[ -e here ]", docker_pull: str = "exit 1") -> Any:
        programs(
            curl=f'echo "$*" >> urls; {curl}',
            docker=f"case $1 in image) {inspect} ;; pull) echo pull >> urls; {docker_pull} ;; esac",
            sleep="echo $1 >> slept",
            grep=f'case $* in */root/.docker*) exec /bin/grep {tmp_path}/config.json ;; *) exec /bin/grep "$@" ;; esac',
        )
        (tmp_path / "seen").mkdir(exist_ok=True)
        (tmp_path / "program").write_text(
            pulling.PROGRAM.replace("/root/.docker/config.json", f"{tmp_path}/config.json")
        )
        return shell(f"PATH={tmp_path}/bin:$PATH sh program {shlex.quote(IMAGE)} {tmp_path}/seen")

    return run


def seen(tmp_path: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (tmp_path / "seen").iterdir()}


def stream(*lines: str, end: str = "") -> str:
    return "".join(f"printf '%s\\r\\n' {shlex.quote(line)}; " for line in lines) + end


def test_each_layers_last_words_are_kept(run_program: Callable[..., Any], tmp_path: Path) -> None:
    assert run_program(stream(*STREAM, end="touch here")).returncode == 0
    kept = seen(tmp_path)
    assert set(kept) == {f"last-{DIGEST}", "last-aaa", "last-bbb", "size-aaa", "error"}
    assert kept["last-aaa"].strip() == STREAM[6]
    assert kept["size-aaa"].strip() == STREAM[4]
    (url,) = (tmp_path / "urls").read_text().splitlines()
    assert url.endswith(f"/images/create?fromImage=10.0.0.5:5000/docker.io/vllm/vllm-openai&tag={DIGEST}")


ERROR = '{"errorDetail":{"message":"toomanyrequests: limit"},"error":"toomanyrequests: limit"}'


@pytest.mark.parametrize(
    "words", ["manifest unknown", "no space left on device", "toomanyrequests: limit", "unauthorized", "access denied"]
)
def test_what_will_not_get_better_ends_at_once(run_program: Callable[..., Any], tmp_path: Path, words: str) -> None:
    assert run_program(stream(json.dumps({"errorDetail": {"message": words}, "error": words}))).returncode == 1
    assert not (tmp_path / "slept").exists()
    assert words in seen(tmp_path)["error"]


def test_what_may_get_better_is_tried_again(run_program: Callable[..., Any], tmp_path: Path) -> None:
    broken = '{"errorDetail":{"message":"unexpected EOF"},"error":"unexpected EOF"}'
    curl = stream(broken, end='[ "$(wc -l < urls)" -lt 3 ] || touch here')
    assert run_program(curl).returncode == 0
    assert (tmp_path / "slept").read_text().split() == ["5", "30"]


def test_a_docker_that_is_down(run_program: Callable[..., Any], tmp_path: Path) -> None:
    done = run_program('echo "curl: (7) Couldn\'t connect to server" >&2; exit 7')
    assert done.returncode == 1
    assert "connect to server" in seen(tmp_path)["error"]


@pytest.mark.parametrize("name", ["10.0.0.5:5000", "https://10.0.0.5:5000"])
def test_a_login_on_the_host_is_used(run_program: Callable[..., Any], tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"auths": {name: {"auth": "eA=="}}}))
    (tmp_path / "bin" / "grep").unlink(missing_ok=True)
    assert run_program("exit 9", docker_pull="touch here").returncode == 0
    assert (tmp_path / "urls").read_text() == "pull\n"


def test_the_start_leaves_a_pull_that_runs_alone(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(systemctl="exit 0", systemd_run="echo started >> asked")
    assert shell(start(IMAGE)).returncode == 0
    assert not (tmp_path / "asked").exists()


def test_the_start_writes_the_program_and_runs_it_as_a_unit(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(systemctl="exit 3", systemd_run='for one in "$@"; do echo "$one" >> asked; done')
    command = start(IMAGE).replace("/run/barewind", str(tmp_path / "run"))
    assert shell(command).returncode == 0
    asked = (tmp_path / "asked").read_text().splitlines()
    folder = tmp_path / "run/pull/5e5e5e5e5e5e"
    assert "--unit=barewind-pull-5e5e5e5e5e5e.service" in asked
    assert asked[-4:] == ["sh", f"{folder}/program", IMAGE, str(folder)]
    assert (folder / "program").read_text() == pulling.PROGRAM
    assert folder.stat().st_mode & 0o077 == 0


# --- What its words mean -----------------------------------------------------------------------------------------------


def answer(
    *last: str, sizes: tuple[str, ...] = (), state: str = "active", present: bool = False, error: str = ""
) -> list[str]:
    return [
        "@@barewind:pull",
        state,
        "@@barewind:present",
        *(["present"] if present else []),
        "@@barewind:last",
        *last,
        "@@barewind:size",
        *sizes,
        "@@barewind:error",
        *([error] if error else []),
        "@@barewind:end",
    ]


def test_a_look_in_the_middle() -> None:
    found = read(
        answer(
            says("Pulling from a", DIGEST),
            says("Downloading", "a", 30, 100),
            says("Waiting", "b"),
            says("Extracting", "c", 5, 50),
            says("Already exists", "d"),
            sizes=(says("Downloading", "a", 30, 100), says("Downloading", "c", 49, 50)),
        ),
        expected=1000,
    )
    assert found == Look(running=True, present=False, error="", downloaded=80, total=1000, layers=4, unpacked=1)


def test_when_every_layers_size_is_known_the_total_is_exact() -> None:
    found = read(
        answer(
            says("Downloading", "a", 30, 100),
            says("Retrying in 4 seconds", "b"),
            sizes=(says("Downloading", "a", 30, 100), says("Downloading", "b", 20, 60)),
        ),
        expected=1000,
    )
    assert (found.downloaded, found.total) == (50, 160)


def test_without_the_locked_size_nothing_is_guessed() -> None:
    found = read(
        answer(says("Waiting", "a"), says("Downloading", "b", 1, 9), sizes=(says("Downloading", "b", 1, 9),)), 0
    )
    assert found.total == 0


@pytest.mark.parametrize("broken", ["", "{", '{"status":"Waiting"}', "[]", '{"id": 3}'])
def test_a_line_that_is_being_written_is_passed_over(broken: str) -> None:
    assert read(answer(broken, says("Waiting", "a")), 0).layers == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (ERROR, "toomanyrequests: limit"),
        ('{"message":"invalid reference format"}', "invalid reference format"),
        ("curl: (7) refused", "curl: (7) refused"),
        ("", ""),
        ("{", "{"),
    ],
)
def test_an_error_in_its_own_words(line: str, said: str) -> None:
    assert read(answer(error=line, state="failed"), 0).error == said


def test_an_answer_that_breaks_off_is_none() -> None:
    with pytest.raises(FactProcessError):
        read(answer()[:-1], 0)


def test_what_is_said_while_it_runs() -> None:
    base = {"running": True, "present": False, "error": "", "layers": 4, "unpacked": 1}
    assert describe(Look(**base, downloaded=300 * MIB, total=1200 * MIB), ", 10.0 MiB/s, 90 s left") == (
        "pulls the image: 25 % of 1.2 GiB, 10.0 MiB/s, 90 s left, 1 of 4 layers unpacked"
    )
    assert describe(Look(**base, downloaded=5, total=5)) == "has downloaded 5 B; 1 of 4 layers unpacked"
    assert describe(Look(**base, downloaded=2 * MIB, total=0)) == "pulls the image: 2.0 MiB, 1 of 4 layers unpacked"
    assert describe(Look(True, False, "", 0, 0, 0, 0)) == "pulls the image"


# --- Waiting for it ----------------------------------------------------------------------------------------------------


@dataclass
class Host:
    """A host whose answers are given; the clock is the test's."""

    answers: list[list[str] | str]
    name: str = "gpu-h1"
    print_prefix: str = ""
    clock: float = 0
    started: int = 0
    said: list[str] = field(default_factory=list)

    def log(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[bool, Host]]:
    def wait(*answers: list[str] | str, timeout: int = 7200, repeat: bool = True) -> tuple[bool, Host]:
        host = Host(list(answers))

        def run(state: Any, one: Host, command: str) -> Answer:
            if command == start(IMAGE):
                host.started += 1
                return Answer("", "")
            assert command == look(IMAGE)
            found = host.answers.pop(0) if len(host.answers) > 1 or not repeat else host.answers[0]
            return Answer("", found) if isinstance(found, str) else Answer("\n".join(found), "")

        def sleep(seconds: float) -> None:
            host.clock += seconds

        monkeypatch.setattr(image, "run", run)
        monkeypatch.setattr(image, "monotonic", lambda: host.clock)
        monkeypatch.setattr(image.gevent, "sleep", sleep)
        monkeypatch.setattr(image.logger, "error", host.said.append)
        done = image.pull(None, host, IMAGE, 1000, timeout)  # type: ignore[arg-type]
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


def test_progress_is_said_now_and_then(waiting: Callable[..., tuple[bool, Host]]) -> None:
    later = [
        answer(says("Downloading", "a", n, 100 * MIB), sizes=(says("Downloading", "a", n * MIB, 100 * MIB),))
        for n in range(60)
    ]
    done, host = waiting(IDLE, *later, THERE)
    assert done
    assert 10 <= len(host.said) <= 13
    assert host.said[-1] == "pulls the image: 55 % of 100.0 MiB, 341.3 KiB/s, 135 s left, 0 of 1 layers unpacked" or (
        "% of 100.0 MiB" in host.said[-1] and "left" in host.said[-1]
    )


def test_a_lost_connection_is_no_failure(waiting: Callable[..., tuple[bool, Host]]) -> None:
    done, host = waiting(IDLE, RUNS, *["no route to host"] * 100, RUNS, THERE)
    assert (done, host.started) == (True, 1)


def test_a_host_that_stays_away_is_given_up_on(waiting: Callable[..., tuple[bool, Host]]) -> None:
    done, host = waiting(IDLE, RUNS, "no route to host")
    assert not done
    assert 900 < host.clock < 1000
    assert "the host cannot be reached; the pull goes on there. Deploy again" in host.said[-1]


def test_a_failure_says_why_and_what_to_do(waiting: Callable[..., tuple[bool, Host]]) -> None:
    done, host = waiting(IDLE, RUNS, answer(state="failed", error=ERROR))
    assert (done, host.started) == (False, 1)
    assert host.said[-1].startswith(
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
    assert "it ended without a word" in host.said[-1]


def test_one_that_takes_too_long(waiting: Callable[..., tuple[bool, Host]]) -> None:
    done, host = waiting(IDLE, RUNS, timeout=60)
    assert not done
    assert "it takes longer than 60 s and goes on there; deploy again to wait for it" in host.said[-1]


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
    host = create_host(state, facts={"docker.ImagePresent": {}, "docker.DockerHost": {}})
    host.fact.facts["docker.ImagePresent"].data = AnyArguments(False)
    host.fact.facts["docker.DockerHost"].data = AnyArguments(docker)
    with ctx_state.use(state), ctx_host.use(host):
        return parse_commands(list(pulled._inner(reference=IMAGE, **arguments)))


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
