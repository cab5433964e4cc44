"""The files a host gets, whole."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from barewind import render
from barewind.errors import BarewindError
from barewind.facts.weights import INTACT
from barewind.lock import Lock
from barewind.plan import plan_host
from tests.unit.factories import balancer_spec, engine_spec, lab_spec, plan

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


def words(line: str) -> list[str]:
    """A command line as systemd reads it (systemd.service, "Command lines"; systemd.unit, specifiers): written anew here."""
    found: list[str] = []
    word, quote, started, at = "", "", False, 0
    while at < len(line):
        char = line[at]
        if char == "\\":
            at += 1
            word, started = word + {"n": "\n", "t": "\t", "s": " "}.get(line[at], line[at]), True
        elif quote:
            if char == quote:
                quote = ""
            else:
                word += char
        elif char in "'\"":
            quote, started = char, True
        elif char.isspace():
            if started:
                found.append(word)
            word, started = "", False
        elif char == ";" and not started and line[at + 1 : at + 2] in ("", " "):
            raise AssertionError("a command ends here")
        else:
            word, started = word + char, True
        at += 1
    assert not quote
    found += [word] if started else []
    assert not any(re.search(r"(?<![%])%(%%)*(?!%)", one) for one in found), "a specifier would be expanded"
    assert not any(re.search(r"(?<![$])\$(\$\$)*(?!\$)", one) for one in found), "a variable would be expanded"
    return [one.replace("%%", "%").replace("$$", "$") for one in found]


def exec_start(unit: str) -> list[str]:
    command = re.search(r"^ExecStart=((?:.*\\\n)*.*)$", unit, re.MULTILINE)
    assert command
    return words(command[1].replace("\\\n", " "))


def test_the_whole_unit() -> None:
    expected = (EXPECTED / "engine.service").read_text()
    made = plan(engine_spec())
    assert render.engine_unit(made) == expected.replace("RELEASE", str(made.release))


def test_the_whole_firewall() -> None:
    balancers = [
        balancer_spec(host="lb2", address="192.0.2.3"),
        balancer_spec(),
        balancer_spec(host="lb3", address="fd00::2"),
    ]
    assert render.engine_firewall(engine_spec(), balancers) == (EXPECTED / "engine.nft").read_text()
    assert render.engine_firewall(engine_spec(), balancers[::-1]) == (EXPECTED / "engine.nft").read_text()


def test_the_whole_balancer_configuration() -> None:
    engines = [engine_spec(), engine_spec(host="gpu-h2", address="192.0.2.12")]
    assert render.haproxy_config(balancer_spec(), engines) == (EXPECTED / "haproxy.cfg").read_text()


def test_a_balancers_own_settings() -> None:
    text = render.haproxy_config(
        balancer_spec(endpoint_port=80, stream_timeout=900, queue_timeout=5), [engine_spec(engine_port=8100)]
    )
    assert "    bind *:80\n" in text
    assert "    timeout queue 5s\n" in text
    assert "    timeout client 900s\n    timeout server 900s\n" in text
    assert "    server gpu-h1 192.0.2.11:8100\n" in text
    assert "    server gpu-h1 192.0.2.11:8000 weight 0\n" in render.haproxy_config(
        balancer_spec(), [engine_spec(standby=True)]
    )


def test_the_whole_drop_in_of_haproxys_unit() -> None:
    assert render.haproxy_drop_in() == (EXPECTED / "haproxy-service.conf").read_text()


def test_haproxys_state_is_saved_after_its_configuration_was_found_good_and_before_it_reloads() -> None:
    reload = re.findall(r"^ExecReload=(.*)$", render.haproxy_drop_in(), re.MULTILINE)
    assert [line.split()[:2] for line in reload] == [
        [],  # forgets what the package's unit says
        ["/usr/sbin/haproxy", "-Ws"],
        ["/usr/local/lib/barewind/haproxy-state", "save"],
        ["/bin/kill", "-USR2"],
    ]


def test_a_firewall_without_balancers_shuts_the_port_for_all_but_the_host_itself() -> None:
    rules = render.engine_firewall(engine_spec(engine_port=8100), [])
    assert re.findall(r"^ {4}(.*(?:accept|drop))$", rules, re.MULTILINE) == ["iif lo accept", "tcp dport 8100 drop"]


def test_the_unit_runs_exactly_the_planned_command() -> None:
    made = plan(engine_spec(engine_args={"hf-overrides": {"a": '50% of $x \\ "y"'}}, engine_env={"A": "b c $d %e"}))
    assert exec_start(render.engine_unit(made)) == [
        "/usr/bin/docker",
        "run",
        *made.container,
        f"--label=barewind.release={made.release}",
        made.pinned_image,
        *made.command.argv,
    ]


@pytest.mark.parametrize("argument", NASTY)
def test_systemd_hands_on_each_argument_unchanged(argument: str) -> None:
    assert words(f"/bin/x {render.systemd_quoted(argument)} y") == ["/bin/x", argument, "y"]


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
    assert render.systemd_quoted(argument) == written


def test_engines_end_their_requests_before_anything_around_them_gives_up() -> None:
    unit = render.engine_unit(plan(lab_spec(shutdown_timeout=30)))
    own = int(exec_start(unit)[exec_start(unit).index("--shutdown-timeout") + 1])
    docker = int(re.findall(r"docker stop -t (\d+)", unit)[0])
    systemd = int(re.findall(r"TimeoutStopSec=(\d+)", unit)[0])
    assert own == 30
    assert own < docker < systemd


def test_without_a_locked_image_there_is_no_unit() -> None:
    with pytest.raises(BarewindError, match="is not locked"):
        render.engine_unit(plan_host(engine_spec(), Lock()))


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: only the text of the unit was compared")
    text = render.engine_unit(plan(engine_spec(engine_args={"hf-overrides": {"a": "50% $x \\ 'y'"}})))
    for program in ("/usr/sbin/nft", render.CHECK_PROGRAM, "/usr/bin/docker"):  # need not be on the machine that tests
        text = text.replace(f"={program} ", "=/bin/true ").replace(f"=-{program} ", "=-/bin/true ")
    text = text.replace("Requires=docker.service\n", "")
    (tmp_path / render.UNIT).write_text(text)

    said = subprocess.run([analyze, "verify", "--man=no", str(tmp_path / render.UNIT)], capture_output=True, text=True)

    assert [line for line in said.stderr.splitlines() if render.UNIT in line] == []


def test_haproxy_accepts_the_configuration(tmp_path: Path) -> None:
    haproxy = shutil.which("haproxy")
    if haproxy is None:
        pytest.skip(
            "haproxy is not installed: only the text was compared; every deploy runs `haproxy -c` on the balancer"
        )
    config = render.haproxy_config(balancer_spec(), [engine_spec(), engine_spec(host="gpu-6", address="fd00::6")])
    config = config.replace("user haproxy\n", "").replace("group haproxy\n", "").replace("/run/haproxy", str(tmp_path))
    (tmp_path / "haproxy.cfg").write_text(config)
    said = subprocess.run([haproxy, "-c", "-f", str(tmp_path / "haproxy.cfg")], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


@pytest.fixture
def check_weights(tmp_path: Path) -> Path:
    program = tmp_path / "check-weights"
    program.write_text(render.check_weights(INTACT))
    program.chmod(0o755)
    return program


def weights(directory: Path, size: int = 5) -> Path:
    directory.mkdir()
    file = directory / "params.json"
    file.write_bytes(b"x" * size)
    (directory / "SHA256SUMS").write_text(f"{'0' * 64}  params.json\n")
    stat = subprocess.run(["stat", "-c", "%n %s %.9Y", "params.json"], cwd=directory, capture_output=True, check=True)
    (directory / ".verified").write_bytes(stat.stdout)
    return directory


def test_the_check_before_the_start_lets_intact_weights_pass(check_weights: Path, tmp_path: Path) -> None:
    both = [str(weights(tmp_path / "model")), str(weights(tmp_path / "draft"))]
    assert subprocess.run([check_weights, *both]).returncode == 0


@pytest.mark.parametrize("harm", ["missing directory", "missing file", "changed", "never checked"])
def test_the_check_before_the_start_refuses_the_second_directory_too(
    check_weights: Path, tmp_path: Path, harm: str
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

    said = subprocess.run([check_weights, model, draft], capture_output=True, text=True)

    assert said.returncode == 1
    assert said.stderr.splitlines()[-1].startswith(f"{draft}: missing, or changed since its SHA-256 was checked.")
