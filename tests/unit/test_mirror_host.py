"""A host of the group `mirrors`: keys, files, firewall, the maintenance program in a real shell, the operation."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyinfra.api import OperationError
from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.facts import make_fact_tests
from pyinfra_testing.operations import make_operation_tests, parse_commands
from pyinfra_testing.util import FakeState, create_host

from barewind.errors import BarewindError
from barewind.facts.mirror import MirrorHost
from barewind.mirror.host import KEY_FILE, PACKAGES, PROGRAM, TIMERS, UNIT, MirrorPlan, plan
from barewind.operations import ManagedFile
from barewind.operations.mirror import serving
from barewind.spec import MirrorSpec
from tests.unit.any_arguments import AnyArguments
from tests.unit.conftest import Programs, Shell

DATA = Path(__file__).parent

TestMirrorHost = make_fact_tests("barewind.facts", "mirror.MirrorHost", DATA / "facts" / "mirror.MirrorHost")
TestMirrorServing = make_operation_tests(
    "barewind.operations", "mirror.serving", DATA / "operations" / "mirror.serving"
)

pytestmark = pytest.mark.filterwarnings("ignore:No command set for test")


def spec(**changes: Any) -> MirrorSpec:
    return MirrorSpec(**{"host": "m1", "groups": ("mirrors",), "address": "10.0.0.5", "mirror_tls": False} | changes)


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "mirror.pem").write_text("-----BEGIN CERTIFICATE-----\nx\n")
    (tmp_path / "mirror.key").write_text("-----BEGIN PRIVATE KEY-----\nsecret\n")
    (tmp_path / "mirror.key").chmod(0o600)
    return {"mirror_certificate": str(tmp_path / "mirror.pem"), "mirror_key": str(tmp_path / "mirror.key")}


# --- Files -------------------------------------------------------------------------------------------------------------


def contents(made: MirrorPlan) -> dict[str, str]:
    return {Path(file.path).name: file.content for file in made.files}


def test_plain_http_listens_on_the_private_address_alone() -> None:
    config = yaml.safe_load(contents(plan(spec(), []))["mirror.yml"])
    assert config["http"] == {"addr": "10.0.0.5:5000"}
    assert config["storage"]["delete"] == {"enabled": True}
    assert "cache" not in config["storage"]
    assert yaml.safe_load(contents(plan(spec(address="fd00::5"), []))["mirror.yml"])["http"]["addr"] == "[fd00::5]:5000"


def test_the_firewall_lets_the_fleet_in_and_nobody_else() -> None:
    made = plan(spec(mirror_clients=["10.9.0.0/16", "fd00::9/128"]), ["10.0.0.12", "10.0.0.11", "10.0.0.5"])
    rules = [line.strip() for line in contents(made)["mirror.nft"].splitlines()]
    assert [line for line in rules if "dport" in line] == [
        "ip saddr 10.0.0.11 tcp dport 5000 accept",
        "ip saddr 10.0.0.12 tcp dport 5000 accept",
        "ip saddr 10.0.0.5 tcp dport 5000 accept",
        "ip saddr 10.9.0.0/16 tcp dport 5000 accept",
        "ip6 saddr fd00::9/128 tcp dport 5000 accept",
        "tcp dport 5000 drop",
    ]
    assert made.files[0] is made.firewall


def test_tls_files_are_roots_alone_and_nothing_else_holds_the_key(tls: dict[str, str]) -> None:
    made = plan(spec(mirror_tls=True, **tls), [])
    (key,) = [file for file in made.files if file.path == KEY_FILE]
    assert (key.mode, key.content) == ("600", "-----BEGIN PRIVATE KEY-----\nsecret\n")
    assert [file.path for file in made.files if "secret" in file.content] == [KEY_FILE]
    files = contents(made)
    assert "certificate: /run/barewind-mirror/mirror.pem" in files["mirror.yml"]
    assert "/etc/barewind/mirror.pem /etc/barewind/mirror.key /run/barewind-mirror" in files["barewind.conf"]
    assert "tls" not in contents(plan(spec(), []))["mirror.yml"]
    assert "RuntimeDirectory" not in contents(plan(spec(), []))["barewind.conf"]


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_a_key_that_others_can_read_is_refused(tls: dict[str, str], mode: int) -> None:
    Path(tls["mirror_key"]).chmod(mode)
    with pytest.raises(BarewindError, match=rf"mirror_key .*: mode 0{mode:o} lets others read it; run: chmod 600"):
        plan(spec(mirror_tls=True, **tls), [])


def test_a_certificate_that_is_missing_or_none(tls: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(BarewindError, match=r"mirror_certificate /nowhere: cannot be read .*; correct the key"):
        plan(spec(mirror_tls=True, mirror_certificate="/nowhere", mirror_key=tls["mirror_key"]), [])
    with pytest.raises(BarewindError, match="has no '-----BEGIN CERTIFICATE-----' in it; name the file in PEM format"):
        plan(spec(mirror_tls=True, mirror_certificate=tls["mirror_key"], mirror_key=tls["mirror_key"]), [])


# --- The program on the host -------------------------------------------------------------------------------------------


def program(tmp_path: Path) -> str:
    """The maintenance program with the mirror's directory here."""
    path = tmp_path / "maintenance"
    path.write_text(
        next(file for file in plan(spec(mirror_dir=str(tmp_path / "images")), []).files if file.path == PROGRAM).content
    )
    return f"sh {path}"


def blob(tmp_path: Path, content: bytes, name: str | None = None) -> Path:
    digest = name or hashlib.sha256(content).hexdigest()
    path = tmp_path / "images/docker/registry/v2/blobs/sha256" / digest[:2] / digest
    path.mkdir(parents=True)
    (path / "data").write_bytes(content)
    return path


def test_a_check_takes_away_what_is_damaged_and_leaves_the_rest(shell: Shell, tmp_path: Path) -> None:
    good, bad = blob(tmp_path, b"good"), blob(tmp_path, b"bad", "ab" * 32)
    link = tmp_path / f"images/docker/registry/v2/repositories/a/b/_manifests/revisions/sha256/{'ab' * 32}/link"
    link.parent.mkdir(parents=True)
    link.write_text("sha256:" + "ab" * 32)

    done = shell(f"{program(tmp_path)} check")

    assert done.returncode == 1
    assert (
        done.stderr == f"sha256:{'ab' * 32} was damaged and is gone; run on the controller: barewind mirror INVENTORY\n"
    )
    assert good.is_dir()
    assert not bad.exists()
    assert not link.exists()
    assert shell(f"{program(tmp_path)} check").returncode == 0


def test_an_empty_mirror_is_in_order(shell: Shell, tmp_path: Path) -> None:
    assert shell(f"{program(tmp_path)} check").returncode == 0


ELIGIBLE = "blob eligible for deletion: sha256:00"


@pytest.mark.parametrize(
    ("found", "connected", "asked"),
    [
        ("", "", []),
        (ELIGIBLE, "ESTAB 0 0", []),
        (ELIGIBLE, "", ["stop docker-registry.service", "start docker-registry.service"]),
    ],
    ids=["nothing to free", "somebody is connected", "free"],
)
def test_collecting_stops_the_registry_only_when_it_must(
    shell: Shell, programs: Programs, tmp_path: Path, found: str, connected: str, asked: list[str]
) -> None:
    programs(
        runuser=f"echo \"$*\" >> runs; echo '{found}'",
        ss=f"echo '{connected}'",
        systemctl="echo $@ >> asked",
    )
    assert shell(f"{program(tmp_path)} collect").returncode == 0
    said = (tmp_path / "asked").read_text().splitlines() if (tmp_path / "asked").exists() else []
    assert said == asked
    runs = (tmp_path / "runs").read_text().splitlines()
    assert runs[0].endswith("docker-registry garbage-collect --dry-run /etc/barewind/mirror.yml")
    assert len(runs) == (2 if asked else 1)


def test_the_registry_starts_again_when_collecting_fails(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(
        runuser=f"case $* in *dry-run*) echo '{ELIGIBLE}' ;; *) exit 1 ;; esac",
        ss="",
        systemctl="echo $@ >> asked",
    )
    assert shell(f"{program(tmp_path)} collect").returncode != 0
    assert (tmp_path / "asked").read_text().splitlines()[-1] == "start docker-registry.service"


def test_collecting_that_cannot_look_says_why(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(runuser="echo 'failed to garbage collect: unknown blob' >&2; exit 1", ss="", systemctl="echo $@ >> asked")
    done = shell(f"{program(tmp_path)} collect")
    assert (done.returncode, "unknown blob" in done.stderr) == (1, True)
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(("listener", "status"), [("docker-registry", 0), ("sshd", 1)])
def test_the_unit_has_started_when_the_registry_listens(
    shell: Shell, programs: Programs, tmp_path: Path, listener: str, status: int
) -> None:
    programs(ss=f"echo 'LISTEN users:((\"{listener}\",pid=1))'", sleep="")
    assert shell(f"{program(tmp_path)} listening").returncode == status


def test_another_word_is_wrong_use(shell: Shell, tmp_path: Path) -> None:
    assert shell(f"{program(tmp_path)} 'rm -rf /'").returncode == 2


# --- The operation -----------------------------------------------------------------------------------------------------

MADE = plan(spec(), ["10.0.0.11"])
FILES = {file.path: ManagedFile(file.path, file.content, file.mode) for file in MADE.files}
ARGUMENTS: dict[str, Any] = {
    "packages": list(PACKAGES),
    "firewall": FILES[MADE.firewall.path],
    "registry": [FILES[file.path] for file in MADE.registry],
    "units": [FILES[file.path] for file in MADE.units],
    "others": [FILES[PROGRAM]],
    "unit": UNIT,
    "timers": list(TIMERS),
}


def facts(**changes: Any) -> dict[str, Any]:
    """A mirror as it shall be."""
    on_host = {
        path: {
            "mode": file.mode,
            "owner": "root",
            "group": "root",
            "sha256": hashlib.sha256(file.content.encode()).hexdigest(),
        }
        for path, file in FILES.items()
    }
    units = [UNIT, *TIMERS]
    return {
        "packages": {name: {"version": "1", "held": False} for name in PACKAGES},
        "files": on_host,
        "needs_reload": False,
        "enabled": units,
        "running": units,
        "firewall": True,
    } | changes


def run(found: Any) -> list[str]:
    state = FakeState()
    host = create_host(state, facts={"mirror.MirrorHost": {}})
    host.name = "m1"
    host.fact.facts["mirror.MirrorHost"].data = AnyArguments(found)
    with ctx_state.use(state), ctx_host.use(host):
        commands = parse_commands(list(serving._inner(**ARGUMENTS)))
    return [str(one["command"] if isinstance(one, dict) else one).split(" || ")[0] for one in commands]


def without(*paths: str) -> dict[str, Any]:
    return {"files": {path: one for path, one in facts()["files"].items() if path not in paths}}


def test_a_mirror_that_is_right_is_left_alone() -> None:
    assert run(facts()) == []


def test_a_bare_host_gets_its_files_before_the_package() -> None:
    commands = run(facts(packages={}, files={}, enabled=[], running=[], firewall=False))
    writes = [one for one in commands if "cat >" in one]
    assert commands[: len(writes)] == writes
    assert "/etc/barewind/mirror.nft" in writes[0]
    assert "apt-get" in commands[len(writes)]
    assert commands[-4:] == [
        "systemctl daemon-reload",
        f"systemctl enable --now {' '.join(TIMERS)}",
        f"systemctl enable {UNIT}",
        f"systemctl restart {UNIT}",
    ]


@pytest.mark.parametrize(
    ("changes", "commands"),
    [
        ({"firewall": False}, ["nft -f /etc/barewind/mirror.nft"]),
        ({"running": list(TIMERS)}, [f"systemctl restart {UNIT}"]),
        ({"running": [UNIT, TIMERS[1]]}, [f"systemctl enable --now {TIMERS[0]}"]),
        ({"enabled": list(TIMERS)}, [f"systemctl enable {UNIT}"]),
        ({"needs_reload": True}, ["systemctl daemon-reload"]),
        (without("/etc/barewind/mirror.nft"), ["WRITE", "nft -f /etc/barewind/mirror.nft"]),
        (without("/etc/barewind/mirror.yml"), ["WRITE", f"systemctl restart {UNIT}"]),
        (without(PROGRAM), ["WRITE"]),
        (without(f"/etc/systemd/system/{TIMERS[0]}"), ["WRITE", "systemctl daemon-reload"]),
        (
            without(f"/etc/systemd/system/{UNIT}.d/barewind.conf"),
            ["WRITE", "systemctl daemon-reload", f"systemctl restart {UNIT}"],
        ),
    ],
)
def test_only_the_difference_is_put_right(changes: dict[str, Any], commands: list[str]) -> None:
    assert ["WRITE" if "cat >" in one else one for one in run(facts(**changes))] == commands


def test_a_mirror_that_cannot_be_read_is_not_changed() -> None:
    with pytest.raises(OperationError, match="m1: the state of the mirror could not be read"):
        run(None)


def test_the_fact_asks_for_every_file() -> None:
    command = MirrorHost().command(list(PACKAGES), list(FILES), UNIT, list(TIMERS))
    assert all(path in command for path in FILES)
