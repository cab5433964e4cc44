"""A host of the group `mirrors`: its files, its firewall, the maintenance program in a real shell."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from barewind.errors import BarewindError
from barewind.mirror.plan import KEY_FILE, PROGRAM, MirrorPlan, plan, read_config
from barewind.spec.keys import MirrorSpec
from tests.support.shell import Programs, Shell

pytestmark = pytest.mark.slow


def spec(**changes: Any) -> MirrorSpec:
    return MirrorSpec(**{"host": "m1", "groups": ("mirrors",), "address": "10.0.0.5", "mirror_tls": False} | changes)


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "mirror.pem").write_text("-----BEGIN CERTIFICATE-----\nx\n")
    (tmp_path / "mirror.key").write_text("-----BEGIN PRIVATE KEY-----\nsecret\n")
    (tmp_path / "mirror.key").chmod(0o600)
    return {"mirror_certificate": str(tmp_path / "mirror.pem"), "mirror_key": str(tmp_path / "mirror.key")}


# --- Files -------------------------------------------------------------------------------------------------------------


def contents(mirror: MirrorPlan) -> dict[str, str]:
    return {Path(file.path).name: file.content for file in mirror.files}


def test_plain_http_listens_on_the_private_address_alone() -> None:
    config = yaml.safe_load(contents(plan(spec(), []))["mirror.yml"])
    assert config["http"] == {"addr": "10.0.0.5:5000"}
    assert "cache" not in config["storage"]
    assert yaml.safe_load(contents(plan(spec(address="fd00::5"), []))["mirror.yml"])["http"]["addr"] == "[fd00::5]:5000"


@pytest.mark.parametrize("tls_wanted", [False, True])
@pytest.mark.parametrize("address", ["10.0.0.5", "fd00::5"])
def test_what_is_configured_is_read_again(tls: dict[str, str], tls_wanted: bool, address: str) -> None:
    keys = {"mirror_port": 5001, "mirror_dir": "/srv/images", "mirror_tls": tls_wanted}
    assert read_config(contents(plan(spec(address=address, **keys, **tls), []))["mirror.yml"]) == keys


@pytest.mark.parametrize("tls_wanted", [False, True])
def test_what_the_fleet_reaches_can_be_read_and_what_can_be_written_is_on_the_host_alone(
    tls: dict[str, str], tls_wanted: bool
) -> None:
    files = contents(plan(spec(mirror_tls=tls_wanted, **tls), []))
    reading, writing = yaml.safe_load(files["mirror.yml"]), yaml.safe_load(files["mirror-fill.yml"])
    assert reading["storage"]["maintenance"]["readonly"] == {"enabled": True}
    assert "delete" not in reading["storage"]
    assert writing["http"] == {"addr": "127.0.0.1:5099", "relativeurls": True}
    assert writing["storage"]["delete"] == {"enabled": True}
    assert reading["storage"]["filesystem"] == writing["storage"]["filesystem"]
    assert ("tls" in reading["http"]) == tls_wanted


def test_the_writable_registry_never_starts_by_itself() -> None:
    unit = contents(plan(spec(), []))["barewind-mirror-fill.service"]
    assert "[Install]" not in unit
    assert "Restart" not in unit


def test_the_firewall_lets_the_fleet_in_and_nobody_else() -> None:
    mirror = plan(spec(mirror_clients=["10.9.0.0/16", "fd00::9/128"]), ["10.0.0.12", "10.0.0.11", "10.0.0.5"])
    rules = [line.strip() for line in contents(mirror)["mirror.nft"].splitlines()]
    assert [line for line in rules if "dport" in line] == [
        "ip saddr 10.0.0.11 tcp dport 5000 accept",
        "ip saddr 10.0.0.12 tcp dport 5000 accept",
        "ip saddr 10.0.0.5 tcp dport 5000 accept",
        "ip saddr 10.9.0.0/16 tcp dport 5000 accept",
        "ip6 saddr fd00::9/128 tcp dport 5000 accept",
        "tcp dport 5000 drop",
    ]
    assert mirror.files[0] is mirror.firewall


def test_tls_files_are_roots_alone_and_nothing_else_holds_the_key(tls: dict[str, str]) -> None:
    mirror = plan(spec(mirror_tls=True, **tls), [])
    (key,) = [file for file in mirror.files if file.path == KEY_FILE]
    assert (key.mode, key.content) == ("600", "-----BEGIN PRIVATE KEY-----\nsecret\n")
    assert [file.path for file in mirror.files if "secret" in file.content] == [KEY_FILE]
    files = contents(mirror)
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
    ("eligible", "connected", "frees"),
    [("", "", False), (ELIGIBLE, "ESTAB 0 0", False), (ELIGIBLE, "", True)],
    ids=["nothing to free", "somebody is connected", "free"],
)
def test_collecting_stops_no_registry_and_frees_only_what_nobody_uses(
    shell: Shell, programs: Programs, tmp_path: Path, eligible: str, connected: str, frees: bool
) -> None:
    programs(runuser=f"echo \"$*\" >> runs; echo '{eligible}'", ss=f"echo '{connected}'", systemctl="echo $@ >> asked")
    assert shell(f"BAREWIND_LOCK=lock {program(tmp_path)} collect").returncode == 0
    assert not (tmp_path / "asked").exists()
    runs = (tmp_path / "runs").read_text().splitlines()
    assert runs[0].endswith("docker-registry garbage-collect --dry-run /etc/barewind/mirror.yml")
    assert len(runs) == (2 if frees else 1)


def test_collecting_waits_while_the_mirror_is_filled(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(runuser='echo "$*" >> runs', ss="")
    done = shell(f"flock lock env BAREWIND_LOCK=lock {program(tmp_path)} collect")
    assert (done.returncode, done.stdout) == (0, "the mirror is being filled: later\n")
    assert not (tmp_path / "runs").exists()


def test_collecting_that_cannot_look_says_why(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(runuser="echo 'failed to garbage collect: unknown blob' >&2; exit 1", ss="")
    done = shell(f"BAREWIND_LOCK=lock {program(tmp_path)} collect")
    assert (done.returncode, "unknown blob" in done.stderr) == (1, True)


def test_a_writable_registry_that_does_not_start_says_why(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    programs(runuser="exit 1", ss="", sleep="")
    done = shell(f"BAREWIND_LOCK=lock {program(tmp_path)} fill")
    assert (done.returncode, "port 5099 taken?" in done.stderr) == (1, True)


@pytest.mark.parametrize("user", ["", "root", "0 }; flush ruleset; {"])
def test_only_a_number_is_admitted(shell: Shell, programs: Programs, tmp_path: Path, user: str) -> None:
    programs(nft="echo $@ >> asked")
    assert shell(f"{program(tmp_path)} admit '{user}'").returncode == 2
    assert not (tmp_path / "asked").exists()
    assert shell(f"{program(tmp_path)} admit 1000").returncode == 0
    assert (tmp_path / "asked").read_text() == "add element inet barewind_mirror_fill fillers { 1000 }\n"


@pytest.mark.parametrize(("listener", "status"), [("docker-registry", 0), ("sshd", 1)])
def test_the_unit_has_started_when_the_registry_listens(
    shell: Shell, programs: Programs, tmp_path: Path, listener: str, status: int
) -> None:
    programs(ss=f"echo 'LISTEN users:((\"{listener}\",pid=1))'", sleep="")
    assert shell(f"{program(tmp_path)} listening").returncode == status


def test_another_word_is_wrong_use(shell: Shell, tmp_path: Path) -> None:
    assert shell(f"{program(tmp_path)} 'rm -rf /'").returncode == 2
