"""The program that pulls an image on a host by itself, in a real shell, and what is made of its words."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import FactProcessError

from barewind.images.commands import PROGRAM, PullStatus, describe, read_status, start
from barewind.registry.logins import docker_config
from tests.support.pull_answers import ERROR, answer, says
from tests.support.shell import Programs, Shell

pytestmark = pytest.mark.slow


DIGEST = "sha256:" + "5e" * 32
IMAGE = f"10.0.0.5:5000/docker.io/vllm/vllm-openai@{DIGEST}"
MIB = 2**20

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

    def run(curl: str, inspect: str = "[ -e here ]", docker_pull: str = "exit 1", image: str = IMAGE) -> Any:
        programs(
            curl=f'echo "$*" >> urls; {curl}',
            docker=f"case $1 in image) {inspect} ;; pull) echo pull >> urls; {docker_pull} ;; esac",
            sleep="echo $1 >> slept",
            grep=f'case $* in */root/.docker*) exec /bin/grep {tmp_path}/config.json ;; *) exec /bin/grep "$@" ;; esac',
        )
        (tmp_path / "seen").mkdir(exist_ok=True)
        (tmp_path / "program").write_text(PROGRAM.replace("/root/.docker/config.json", f"{tmp_path}/config.json"))
        return shell(f"PATH={tmp_path}/bin:$PATH sh program {shlex.quote(image)} {tmp_path}/seen")

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


HUB_IMAGE = f"docker.io/vllm/vllm-openai@{DIGEST}"


@pytest.mark.parametrize(
    ("config", "image", "used"),
    [
        (
            {"auths": {"https://index.docker.io/v1/": {"auth": "eA=="}}},
            HUB_IMAGE,
            True,
        ),  # docker's own name for its hub
        ({"auths": {"index.docker.io": {"auth": "eA=="}}}, HUB_IMAGE, True),
        ({"auths": {"docker.io": {"auth": "eA=="}}}, HUB_IMAGE, True),
        ({"auths": {"https://index.docker.io/v1/": {"auth": "eA=="}}}, IMAGE, False),
        ({"auths": {"ghcr.io": {"auth": "eA=="}}}, HUB_IMAGE, False),
        ({"credsStore": "ecr-login"}, IMAGE, True),  # docker asks the helper
        ({"credHelpers": {"10.0.0.5:5000": "ecr-login"}}, IMAGE, True),
        ({"credHelpers": {"ghcr.io": "x"}}, IMAGE, False),
        ({}, HUB_IMAGE, False),
    ],
)
def test_a_login_on_the_host_is_known_by_each_name_of_its_registry(
    run_program: Callable[..., Any], tmp_path: Path, config: dict[str, Any], image: str, used: bool
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config, indent=2))
    assert run_program(stream(*STREAM, end="touch here"), docker_pull="touch here", image=image).returncode == 0
    assert ((tmp_path / "urls").read_text() == "pull\n") is used


def test_a_login_that_came_along_is_used_and_gone_afterwards(run_program: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "seen").mkdir()
    (tmp_path / "seen" / "config.json").write_text("{}")
    done = run_program("exit 9", docker_pull='cp "$DOCKER_CONFIG/config.json" used; touch here')
    assert done.returncode == 0
    assert (tmp_path / "used").exists()
    assert (tmp_path / "urls").read_text() == "pull\n"
    assert "config.json" not in seen(tmp_path)


def test_a_login_is_gone_as_well_when_the_pull_fails(run_program: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "seen").mkdir()
    (tmp_path / "seen" / "config.json").write_text("{}")
    assert run_program("exit 9", docker_pull="echo denied >&2; exit 1").returncode == 1
    assert "config.json" not in seen(tmp_path)


def test_the_start_leaves_a_pull_that_runs_alone(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(systemctl="exit 0", systemd_run="echo started >> asked")
    assert shell(start(IMAGE)).returncode == 0
    assert not (tmp_path / "asked").exists()


def test_the_start_writes_the_program_and_runs_it_as_a_unit(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(systemctl="exit 3", systemd_run='for word in "$@"; do echo "$word" >> asked; done')
    command = start(IMAGE).replace("/run/barewind", str(tmp_path / "run"))
    assert shell(command).returncode == 0
    asked = (tmp_path / "asked").read_text().splitlines()
    folder = tmp_path / "run/pull/5e5e5e5e5e5e"
    assert "--unit=barewind-pull-5e5e5e5e5e5e.service" in asked
    assert asked[-4:] == ["sh", f"{folder}/program", IMAGE, str(folder)]
    assert (folder / "program").read_text() == PROGRAM
    assert folder.stat().st_mode & 0o077 == 0


def test_a_login_travels_on_standard_input(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(systemctl="exit 3", systemd_run='for word in "$@"; do echo "$word" >> asked; done')
    command = start(IMAGE, login=True).replace("/run/barewind", str(tmp_path / "run"))
    config = docker_config("10.0.0.5:5000", ("bot", "a:b c"))
    assert shell(command, stdin=config).returncode == 0
    file = tmp_path / "run/pull/5e5e5e5e5e5e/config.json"
    assert json.loads(file.read_text()) == {"auths": {"10.0.0.5:5000": {"auth": "Ym90OmE6YiBj"}}}
    assert file.stat().st_mode & 0o077 == 0
    # One that is killed cannot remove it: its unit does.
    asked = (tmp_path / "asked").read_text().splitlines()
    assert f"--property=ExecStopPost=-/bin/rm -f {file}" in asked
    assert not [word for word in asked if "Ym90" in word]


def test_a_login_does_not_stay_where_the_pull_cannot_start(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(systemctl="exit 3", systemd_run="exit 1")
    command = start(IMAGE, login=True).replace("/run/barewind", str(tmp_path / "run"))
    assert shell(command, stdin="{}").returncode == 1
    assert not list(tmp_path.glob("run/pull/*/config.json"))


def test_docker_hub_has_a_name_of_its_own_in_dockers_file() -> None:
    assert list(json.loads(docker_config("docker.io", ("bot", "p")))["auths"]) == ["https://index.docker.io/v1/"]


# --- What its words mean -----------------------------------------------------------------------------------------------


def test_a_look_in_the_middle() -> None:
    status = read_status(
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
    assert status == PullStatus(running=True, present=False, error="", downloaded=80, total=1000, layers=4, unpacked=1)


def test_when_every_layers_size_is_known_the_total_is_exact() -> None:
    status = read_status(
        answer(
            says("Downloading", "a", 30, 100),
            says("Retrying in 4 seconds", "b"),
            sizes=(says("Downloading", "a", 30, 100), says("Downloading", "b", 20, 60)),
        ),
        expected=1000,
    )
    assert (status.downloaded, status.total) == (50, 160)


def test_without_the_locked_size_nothing_is_guessed() -> None:
    status = read_status(
        answer(says("Waiting", "a"), says("Downloading", "b", 1, 9), sizes=(says("Downloading", "b", 1, 9),)), 0
    )
    assert status.total == 0


@pytest.mark.parametrize("broken", ["", "{", '{"status":"Waiting"}', "[]", '{"id": 3}'])
def test_a_line_that_is_being_written_is_passed_over(broken: str) -> None:
    assert read_status(answer(broken, says("Waiting", "a")), 0).layers == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (ERROR, "toomanyrequests: limit"),
        ('{"message":"invalid reference format"}', "invalid reference format"),
        ("curl: (7) refused", "curl: (7) refused"),
        ("", ""),
        ("{", "{"),
    ],
)
def test_an_error_in_its_own_words(line: str, message: str) -> None:
    assert read_status(answer(error=line, state="failed"), 0).error == message


def test_an_answer_that_breaks_off_is_none() -> None:
    with pytest.raises(FactProcessError):
        read_status(answer()[:-1], 0)


def test_what_is_logged_while_it_runs() -> None:
    base = {"running": True, "present": False, "error": "", "layers": 4, "unpacked": 1}
    assert describe(PullStatus(**base, downloaded=300 * MIB, total=1200 * MIB), ", 10.0 MiB/s, 90 s left") == (
        "pulls the image: 25 % of 1.2 GiB, 10.0 MiB/s, 90 s left, 1 of 4 layers unpacked"
    )
    assert describe(PullStatus(**base, downloaded=5, total=5)) == "has downloaded 5 B; 1 of 4 layers unpacked"
    assert (
        describe(PullStatus(**base, downloaded=2 * MIB, total=0)) == "pulls the image: 2.0 MiB, 1 of 4 layers unpacked"
    )
    assert describe(PullStatus(True, False, "", 0, 0, 0, 0)) == "pulls the image"
