"""Facts: what is made of a host's output (data files under facts/), and what their scripts print in a real shell."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import FactProcessError
from pyinfra_testing.facts import make_fact_tests

from barewind.facts import script, split
from barewind.facts.completion import Answers
from barewind.facts.docker import DockerHost, ImagePresent
from barewind.facts.engine import EngineUnit
from barewind.facts.haproxy import HaproxyHost
from barewind.facts.host import HostFacts
from barewind.facts.weights import WeightDirectories
from tests.unit.conftest import Programs, Shell

pytestmark = pytest.mark.filterwarnings("ignore:No command set for test")  # commands are run below

FACTS = Path(__file__).parent / "facts"

TestDockerHost = make_fact_tests("barewind.facts", "docker.DockerHost", FACTS / "docker.DockerHost")
TestImagePresent = make_fact_tests("barewind.facts", "docker.ImagePresent", FACTS / "docker.ImagePresent")
TestEngineUnit = make_fact_tests("barewind.facts", "engine.EngineUnit", FACTS / "engine.EngineUnit")
TestHaproxyHost = make_fact_tests("barewind.facts", "haproxy.HaproxyHost", FACTS / "haproxy.HaproxyHost")
TestWeightDirectories = make_fact_tests(
    "barewind.facts", "weights.WeightDirectories", FACTS / "weights.WeightDirectories"
)
TestAnswers = make_fact_tests("barewind.facts", "completion.Answers", FACTS / "completion.Answers")
TestHostFacts = make_fact_tests("barewind.facts", "host.HostFacts", FACTS / "host.HostFacts")


def mark(section: str, *lines: str) -> list[str]:
    return [f"@@barewind:{section}", *lines, "@@barewind:end"]


DAMAGED: list[tuple[Any, list[str]]] = [
    (HostFacts, mark("memory", "lots")),
    (HostFacts, mark("clock", "noon")),
    (HostFacts, mark("disks", "/var/lib/barewind ")),
    (HostFacts, mark("disks", "/var/lib/barewind 12 /mnt/my disk")),
    (HostFacts, mark("disks", "/var/lib/barewind - /")),
    (HostFacts, mark("pci", "lspci: not found")),
    (DockerHost, mark("registries", "[1]")),
    (DockerHost, mark("registries", '{"a": null}')),
    (DockerHost, mark("registries", '"x"')),
    (EngineUnit, mark("files", "stat: cannot read")),
    (HaproxyHost, mark("files", "644 root")),
    (WeightDirectories, mark("weights", "intact")),
]


@pytest.mark.parametrize(("fact", "output"), DAMAGED, ids=[f"{one.__name__} {said[-2]}" for one, said in DAMAGED])
def test_damaged_output_does_not_raise(fact: Any, output: list[str]) -> None:
    fact().process(output)


@pytest.mark.parametrize("output", [["Welcome!"], ["@@barewind:os", "debian 12"], ["@@barewind:os", "@@barewind:en"]])
@pytest.mark.parametrize(
    "fact", [HostFacts, DockerHost, ImagePresent, EngineUnit, HaproxyHost, WeightDirectories, Answers]
)
def test_an_answer_that_breaks_off_is_no_answer(fact: Any, output: list[str]) -> None:
    with pytest.raises(FactProcessError, match="breaks off"):
        fact().process(output)


def printed(shell: Shell, command: str) -> list[str]:
    done = shell(command)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_script_keeps_what_each_section_prints_apart(shell: Shell) -> None:
    command = script(one="echo a; echo b", two="echo noise >&2; false", three="echo 'c d'")
    assert split(printed(shell, command)) == {"one": ["a", "b"], "two": [], "three": ["c d"]}


def test_a_section_may_end_without_a_newline(shell: Shell) -> None:
    command = script(one="printf 'no newline'", two="echo b")
    assert split(printed(shell, command)) == {"one": ["no newline"], "two": ["b"]}


HOST_ARGUMENTS: dict[str, Any] = {
    "port": 8000,
    "container": "barewind-engine",
    "image": "r/x@sha256:12",
}
BARE = {"docker": "exit 127", "ss": "", "dpkg_query": ""}


def host_facts(shell: Shell, tmp_path: Path, **arguments: Any) -> dict[str, Any]:
    wanted = {"paths": [str(tmp_path / "not" / "there"), str(tmp_path)], "weights": []} | HOST_ARGUMENTS | arguments
    return HostFacts().process(printed(shell, HostFacts().command(**wanted)))


def test_host_facts_of_this_very_machine(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(**{name: text for name, text in BARE.items() if name != "docker"})
    facts = host_facts(shell, tmp_path)

    assert facts["machine"] == os.uname().machine
    assert facts["memory_kib"] > 0
    assert facts["clock"] > 1.7e9
    assert set(facts["disks"]) == {str(tmp_path / "not" / "there"), str(tmp_path)}
    nearest = facts["disks"][str(tmp_path / "not" / "there")]
    assert nearest["mount"] == facts["disks"][str(tmp_path)]["mount"]
    assert nearest["free"] == pytest.approx(os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize, rel=0.1)
    assert (facts["listener"], facts["image_present"]) == (None, False)
    assert facts["accelerators"] is None
    assert host_facts(shell, tmp_path, with_accelerators=True)["accelerators"]["gpus"] == []


def test_a_host_without_docker(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(**{name: text for name, text in BARE.items() if name != "docker"})
    command = HostFacts().command(paths=[], weights=[], **HOST_ARGUMENTS)
    found = printed(shell, command.replace("command -v docker", "command -v no-such-docker"))
    assert HostFacts().process(found)["docker"] is None


def test_host_facts_of_a_host_that_serves(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    weights = tmp_path / "weights dir"
    weights.mkdir()
    (weights / ".verified").write_text("")
    programs(
        docker='case "$*" in "--version") echo Docker version 28.1.1, build 4eba377;; '
        '"image inspect"*) echo present;; "inspect"*) echo 0badc0de;; esac',
        ss="echo 'LISTEN 0 4096 10.0.0.11:8000 0.0.0.0:* users:((\"vllm\",pid=1234,fd=3))'",
        grep='[ "$1" = -q ] && exit 0; exec /bin/grep "$@"',  # the container's id is in the process's cgroup
    )
    facts = host_facts(shell, tmp_path, weights=[str(weights), str(tmp_path / "none")])
    assert facts["docker"]["program"].endswith("/docker")
    assert facts["docker"]["version"] == "28.1.1"
    assert facts["image_present"] is True
    assert facts["weights_present"] == [str(weights)]
    assert facts["listener"] == "container"


@pytest.mark.parametrize(
    ("socket", "listener"),
    [
        ("10.0.0.11:8000", "stranger"),
        ("[::]:8000", "stranger"),
        ("*:8000", "stranger"),
        ("10.0.0.11:18000", None),
        ("10.0.0.11:80", None),
    ],
)
def test_who_listens_on_the_port(
    shell: Shell, programs: Programs, tmp_path: Path, socket: str, listener: str | None
) -> None:
    line = f'LISTEN 0 4096 {socket} 0.0.0.0:8000 users:(("x",pid={os.getpid()},fd=3))'
    programs(**BARE | {"ss": f"echo '{line}'", "cat": 'case "$1" in /proc/*/comm) echo stranger;; esac'})
    assert host_facts(shell, tmp_path)["listener"] == listener


def test_docker_facts(shell: Shell, programs: Programs) -> None:
    programs(
        docker="""echo '{"r:5000": {"Secure": false}, "docker.io": {"Secure": true}}'; echo '{"nvidia": {}, "runc": {}}'""",
        dpkg_query="echo 'hi  20.10.24 docker.io'",
        systemctl="echo $1 | sed 's/^is-//; s/active/active/; s/enabled/enabled/'",
    )
    facts = DockerHost().process(printed(shell, DockerHost().command(packages=["docker.io"], paths=[])))
    assert facts | {"daemon": ""} == {
        "packages": {"docker.io": {"version": "20.10.24", "held": True}},
        "files": {},
        "daemon": "",
        "active": True,
        "enabled": True,
        "insecure_registries": ["r:5000"],
        "runtimes": ["nvidia", "runc"],
    }


def test_image_facts(shell: Shell, programs: Programs) -> None:
    programs(docker='[ "$5" = "r/x@sha256:12" ] && echo present')
    for reference, present in (("r/x@sha256:12", True), ("r/x@sha256:34", False)):
        assert ImagePresent().process(printed(shell, ImagePresent().command(reference))) is present


def test_engine_facts(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    file = tmp_path / "a unit.service"
    file.write_text("[Unit]\n")
    file.chmod(0o640)
    programs(
        systemctl="echo ActiveState=active; echo UnitFileState=enabled; echo NeedDaemonReload=no",
        docker="echo 0123456789ab",
    )
    command = EngineUnit().command(unit="e.service", paths=[str(file), str(tmp_path / "none")], container="e")
    facts = EngineUnit().process(printed(shell, command))
    assert list(facts["files"]) == [str(file)]
    assert facts["files"][str(file)]["mode"] == "640"
    assert facts["files"][str(file)]["sha256"] == hashlib.sha256(b"[Unit]\n").hexdigest()
    assert (facts["active"], facts["enabled"], facts["needs_reload"]) == (True, True, False)
    assert facts["release"] == "0123456789ab"


def test_weights_facts(shell: Shell, tmp_path: Path) -> None:
    states = {}
    for name in ("intact", "changed", "unchecked"):
        directory = tmp_path / f"{name} dir"
        directory.mkdir()
        (directory / "params.json").write_text(name)
        (directory / "SHA256SUMS").write_text(f"{'0' * 64}  params.json\n")
        stat = (directory / "params.json").stat()
        line = f"params.json {stat.st_size} {stat.st_mtime_ns // 10**9}.{stat.st_mtime_ns % 10**9:09d}\n"
        if name != "unchecked":
            (directory / ".verified").write_text(line)
        states[str(directory)] = name == "intact"
    os.utime(tmp_path / "changed dir" / "params.json", ns=(0, 0))
    directories = [*states, str(tmp_path / "none")]

    facts = WeightDirectories().process(printed(shell, WeightDirectories().command(directories)))

    assert {directory: found["intact"] for directory, found in facts.items()} == states
    sums = hashlib.sha256(f"{'0' * 64}  params.json\n".encode()).hexdigest()
    assert {found["checksums"] for found in facts.values()} == {sums}


def test_haproxy_facts(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text("global\n")
    programs(dpkg_query="echo ii  2.6.12 haproxy; echo iH  1.7 socat", systemctl="echo inactive; exit 3")
    facts = HaproxyHost().process(printed(shell, HaproxyHost().command(["haproxy", "socat"], [str(config)])))
    assert list(facts["packages"]) == ["haproxy"]
    assert list(facts["files"]) == [str(config)]
    assert (facts["active"], facts["enabled"]) == (False, False)


@pytest.mark.parametrize(
    ("curl", "answers"),
    [
        ("""echo '{"choices": [{}], "usage": {"completion_tokens": 1}}'""", True),
        ("""echo '{"choices": [{}], "usage": {"completion_tokens": 1}}'; exit 22""", True),
        ("echo 'curl: (7) Failed to connect' >&2; exit 7", False),
        ("""echo '{"error": "overloaded"}'; exit 22""", False),
    ],
)
def test_answers(shell: Shell, programs: Programs, curl: str, answers: bool) -> None:
    programs(curl=curl)
    assert Answers().process(printed(shell, Answers().command("http://10.0.0.11:8000", "m"))) is answers


def test_the_request_is_one_token_of_the_named_model(shell: Shell, programs: Programs) -> None:
    programs(curl='for one in "$@"; do echo "<$one>"; done')
    sent = printed(shell, Answers().command("http://10.0.0.11:8000", "it's a model"))
    assert (
        '<{"model": "it\'s a model", "max_tokens": 1, "messages": [{"role": "user", "content": "Say hello."}]}>' in sent
    )
    assert "<http://10.0.0.11:8000/v1/chat/completions>" in sent
    assert "<--fail-with-body>" in sent
