"""The files an engine host gets, whole."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from barewind.checksums import STAT
from barewind.errors import BarewindError
from barewind.lock.file import Lock
from barewind.plan.engine import plan_host
from barewind.plan.names import CHECK_PROGRAM, DIVIDE_PROGRAM, PREPARE_PROGRAM, UNIT
from barewind.release.unit import (
    admin_key_program,
    check_weights,
    engine_firewall,
    engine_unit,
    stop_drop_in,
    stopping_rules,
    systemd_quoted,
)
from barewind.weights.commands import INTACT
from tests.support.factories import balancer_spec, engine_spec, lab_spec, monitor_spec, plan
from tests.support.units import exec_start, words

SYN = "tcp flags & (fin | syn | rst | ack) == syn"
EXPECTED = Path(__file__).parent / "expected"
NASTY = [
    "plain",
    "",
    " ",
    "two words",
    "100%",
    "%n %H",
    "$HOME ${PATH}",
    "a$b",
    'say "hello"',
    "it's",
    "back\\slash",
    "end\\",
    "\\n is no newline",
    ";",
    "a;b",
    "#no comment",
    "[1, 2]",
    "*",
    "tab\there",
    "größe",
    json.dumps({"model": "/models/a b", "text": 'q"$%\\', "n": 3}),
]


def test_the_whole_unit() -> None:
    expected = (EXPECTED / "engine.service").read_text()
    made = plan(engine_spec())
    assert engine_unit(made) == expected.replace("RELEASE", str(made.release))


def test_the_whole_drop_in() -> None:
    assert stop_drop_in(engine_unit(plan(engine_spec()))) == (EXPECTED / "drop-in.conf").read_text()
    assert stopping_rules(engine_spec()) == (EXPECTED / "engine-stopping.nft").read_text()


def test_the_whole_unit_without_hardening_is_that_of_before() -> None:
    expected = (EXPECTED / "engine-root.service").read_text()
    values: dict[str, Any] = {"max_num_batched_tokens": 16384, "gpu_memory_utilization": 0.85, "max_num_seqs": 128}
    values["engine_args"] = {"safetensors-load-strategy": False}  # defaults of before
    made = plan(engine_spec(container_hardening=False, **values))
    assert engine_unit(made) == expected.replace("RELEASE", str(made.release))


@pytest.mark.parametrize(
    ("keys", "file", "arguments"),
    [
        (
            {"replicas": 2, "replica": 1, "engine_port": 8001},
            "/run/barewind/engine-part-%i",
            "gpu-h1-%i %i 2 8000 8 all",
        ),
        ({"accelerators": [4, 5, 6, 7]}, "/run/barewind/engine-part", "gpu-h1 0 1 8000 8 4,5,6,7"),
        (
            {"engine": "sglang", "speculative": False, "replicas": 2, "replica": 0, "accelerators": [0, 1]},
            "/run/barewind/engine-part-%i",
            "gpu-h1-%i %i 2 8000 8 0,1 SGLANG_TCP_STORE_PORT=29600",
        ),
    ],
)
def test_a_part_of_the_host_is_found_once_what_had_it_is_gone(keys: dict[str, Any], file: str, arguments: str) -> None:
    unit = engine_unit(plan(engine_spec(**keys)))
    before = re.findall(r"^(?:ExecStartPre|EnvironmentFile|ExecStart)=(.*?)(?: \\)?$", unit, re.MULTILINE)
    at = 1 + next(number for number, line in enumerate(before) if "docker rm" in line)
    assert before[at : at + 2] == [f"{DIVIDE_PROGRAM} {file} {arguments}", f"-{file}"]
    assert "\n  $BAREWIND_HOST_PART \\\n" in unit


@pytest.mark.parametrize("hardening", [True, False])
def test_a_host_with_one_engine_is_not_divided(hardening: bool) -> None:
    assert not re.search(
        r"divide-host|engine-part|HOST_PART", engine_unit(plan(engine_spec(container_hardening=hardening)))
    )


def test_engines_of_a_host_have_the_same_unit() -> None:
    plans = [plan(engine_spec(replicas=2, replica=number, engine_port=8000 + number)) for number in range(2)]
    assert len({engine_unit(made) for made in plans}) == 1


def test_the_whole_firewall() -> None:
    balancers = [
        balancer_spec(host="lb2", address="192.0.2.3"),
        balancer_spec(),
        balancer_spec(host="lb3", address="fd00::2"),
    ]
    assert engine_firewall(engine_spec(), balancers, [22]) == (EXPECTED / "engine.nft").read_text()
    assert engine_firewall(engine_spec(), balancers[::-1], [22]) == (EXPECTED / "engine.nft").read_text()


def test_a_firewall_without_balancers_shuts_the_port_for_all_but_the_host_itself() -> None:
    rules = engine_firewall(engine_spec(engine_port=8100), [], [])
    assert re.findall(r"^ {4}(.*dport.*)$", rules, re.MULTILINE) == [
        "tcp dport 8100 drop",
        "tcp dport 8010 accept",
        f"{SYN} tcp dport 20000-65535 drop",
    ]


def test_what_is_the_hosts_own_stays_open() -> None:
    spec = engine_spec(engine_port=25000, weights_port=30500, open_ports=[30001, "30000-30100", 9100])
    rules = engine_firewall(spec, [balancer_spec()], [22022, 22])
    assert re.findall(r"^ {4}(.*dport.*)$", rules, re.MULTILINE) == [
        "ip saddr 192.0.2.2 tcp dport 25000 accept",
        "tcp dport 25000 drop",
        "tcp dport 22 accept",
        "tcp dport 9100 accept",
        "tcp dport 22022 accept",
        "tcp dport 30000-30100 accept",
        "tcp dport 30001 accept",
        "tcp dport 30500 accept",
        f"{SYN} tcp dport 20000-65535 drop",
    ]


def test_new_connections_are_refused_before_the_engine_stops() -> None:
    unit = engine_unit(plan(lab_spec(shutdown_timeout=30)))
    stops = re.findall(r"^ExecStop=(.*)$", stop_drop_in(unit), re.MULTILINE)
    assert stops[:2] == ["", "-/usr/sbin/nft -f /etc/barewind/engine-stopping.nft"]
    assert stops[3:] == re.findall(r"^ExecStop=(.*)$", unit, re.MULTILINE)


def test_a_release_of_before_is_stopped_as_its_own_unit_says() -> None:
    stops = re.findall(r"^ExecStop=(.+)$", stop_drop_in("[Service]\nExecStop=-/x -t 660 c\nTimeoutStopSec=720\n"), re.M)
    assert stops[-1] == "-/x -t 660 c"


def test_the_admin_key_is_for_the_user_that_the_container_runs_as() -> None:
    start = "ExecStartPre=/usr/local/lib/barewind/admin-key /run/barewind/engine/sglang.yaml"
    assert f"{start} 64000:64000 admin-api-key\n" in engine_unit(plan(engine_spec(engine="sglang")))
    before = plan(engine_spec(engine="sglang", container_hardening=False))
    assert f"{start} 0:0 admin-api-key\n" in engine_unit(before)
    assert "admin" not in engine_unit(plan(engine_spec()))


def test_an_admin_key_is_another_at_each_start_and_readable_for_its_user_alone(tmp_path: Path) -> None:
    program, file = tmp_path / "admin-key", tmp_path / "run" / "sglang.yaml"
    program.write_text(admin_key_program())
    keys = set()
    for _ in range(2):
        subprocess.run(["sh", program, file, f"{os.getuid()}:{os.getgid()}", "admin-api-key"], check=True)
        match = re.fullmatch(r'admin-api-key: "([0-9a-f]{64})"\n', file.read_text())
        assert match
        keys.add(match[1])
    assert len(keys) == 2
    assert file.stat().st_mode & 0o777 == 0o400
    assert [path.name for path in file.parent.iterdir()] == ["sglang.yaml"]


def test_the_unit_runs_exactly_the_planned_command() -> None:
    made = plan(engine_spec(engine_args={"hf-overrides": {"a": '50% of $x \\ "y"'}}, engine_env={"A": "b c $d %e"}))
    assert exec_start(engine_unit(made)) == [
        "/usr/bin/docker",
        "run",
        *made.container,
        f"--label=barewind.release={made.release}",
        made.pinned_image,
        *made.command.argv,
    ]


@pytest.mark.parametrize("argument", NASTY)
def test_systemd_hands_on_each_argument_unchanged(argument: str) -> None:
    assert words(f"/bin/x {systemd_quoted(argument)} y") == ["/bin/x", argument, "y"]


@pytest.mark.parametrize(
    ("argument", "written"),
    [
        ("a-b/c:d=e@f,g+h.i", "a-b/c:d=e@f,g+h.i"),
        ("50%", "50%%"),
        ("$x", "$$x"),
        ("a b", '"a b"'),
        ('{"a": 1}', '"{\\"a\\": 1}"'),
        ("a\\b", '"a\\\\b"'),
    ],
)
def test_systemd_quoting(argument: str, written: str) -> None:
    assert systemd_quoted(argument) == written


def test_engines_end_their_requests_before_anything_around_them_gives_up() -> None:
    unit = engine_unit(plan(lab_spec(shutdown_timeout=30)))
    own = int(exec_start(unit)[exec_start(unit).index("--shutdown-timeout") + 1])
    docker = int(re.findall(r"docker stop -t (\d+)", unit)[0])
    systemd = int(re.findall(r"TimeoutStopSec=(\d+)", unit)[0])
    assert own == 30
    assert own < docker < systemd


def test_without_a_locked_image_there_is_no_unit() -> None:
    with pytest.raises(BarewindError, match="is not locked"):
        engine_unit(plan_host(engine_spec(), Lock()))


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: only the text of the unit was compared")
    text = engine_unit(plan(engine_spec(engine_args={"hf-overrides": {"a": "50% $x \\ 'y'"}})))
    for program in (
        "/usr/sbin/nft",
        CHECK_PROGRAM,
        PREPARE_PROGRAM,
        "/usr/bin/docker",
    ):  # need not be on the machine that tests
        text = text.replace(f"={program} ", "=/bin/true ").replace(f"=-{program} ", "=-/bin/true ")
    text = text.replace("Requires=docker.service\n", "")
    (tmp_path / UNIT).write_text(text)
    (tmp_path / f"{UNIT}.d").mkdir()
    (tmp_path / f"{UNIT}.d" / "barewind.conf").write_text(stop_drop_in(text).replace("/usr/sbin/nft", "/bin/true"))

    done = subprocess.run([analyze, "verify", "--man=no", str(tmp_path / UNIT)], capture_output=True, text=True)

    assert [line for line in done.stderr.splitlines() if UNIT in line] == []


@pytest.fixture
def check_program(tmp_path: Path) -> Path:
    program = tmp_path / "check-weights"
    program.write_text(check_weights(INTACT))
    program.chmod(0o755)
    return program


def weights(directory: Path, size: int = 5) -> Path:
    directory.mkdir()
    file = directory / "params.json"
    file.write_bytes(b"x" * size)
    (directory / "SHA256SUMS").write_text(f"{'0' * 64}  params.json\n")
    subprocess.run(["sh", "-c", f"{STAT} params.json > .verified"], cwd=directory, check=True)
    return directory


def test_the_check_before_the_start_lets_intact_weights_pass(check_program: Path, tmp_path: Path) -> None:
    both = [str(weights(tmp_path / "model")), str(weights(tmp_path / "draft"))]
    assert subprocess.run([check_program, *both]).returncode == 0


@pytest.mark.parametrize("harm", ["missing directory", "missing file", "changed", "never checked"])
def test_the_check_before_the_start_refuses_the_second_directory_too(
    check_program: Path, tmp_path: Path, harm: str
) -> None:
    model, draft = weights(tmp_path / "model"), weights(tmp_path / "draft")
    if harm == "missing directory":
        shutil.rmtree(draft)
    elif harm == "missing file":
        (draft / "params.json").unlink()
    elif harm == "changed":
        (draft / "params.json").write_bytes(b"yyyyy")
    else:
        (draft / ".verified").unlink()

    done = subprocess.run([check_program, model, draft], capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"{draft}: missing, or changed since its SHA-256 was checked.")


def test_monitors_ask_engines_for_their_metrics() -> None:
    rules = engine_firewall(engine_spec(), [balancer_spec()], [22], [monitor_spec()])
    assert "ip saddr 10.0.0.7 tcp dport 8000 accept" in rules
    assert "answers the balancers, the monitors and the host itself" in rules
