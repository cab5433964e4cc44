"""What tests/verify makes of a host: a fake one answers, and what is wrong with it must be found."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from barewind.errors import BarewindError
from barewind.hosts.file import HostFile
from barewind.mirror.plan import KEY_FILE
from barewind.mirror.plan import firewall as mirror_firewall
from barewind.plan.engine import plan_host
from barewind.plan.names import FIREWALL_FILE
from barewind.release.unit import engine_firewall
from barewind.spec.keys import KNOWN_KEYS, MirrorSpec
from barewind.verify import secrets
from barewind.verify.findings import firewall, health, leaks, listening
from barewind.verify.secrets import Secret
from tests.support.factories import balancer_spec, engine_spec, locked, plan


@dataclass
class FakeHost:
    """A host of testinfra that answers a command by the first of these texts that is in it."""

    answers: Mapping[str, str]
    commands: list[str] = field(default_factory=list)

    def run(self, command: str) -> Any:
        self.commands.append(command)
        answer = next((text for part, text in self.answers.items() if part in command), None)
        return SimpleNamespace(stdout=answer or "", stderr="", rc=int(answer is None))


# --- Packet filters ----------------------------------------------------------------------------------------------------

BALANCERS = [balancer_spec(), balancer_spec(host="lb2", address="fd00::2")]
ENGINE = HostFile(FIREWALL_FILE, engine_firewall(engine_spec(), BALANCERS, [22]))
MIRROR = mirror_firewall(
    MirrorSpec(
        host="m1",
        groups=("mirrors",),
        address="10.0.0.5",
        mirror_tls=False,
        mirror_clients=["10.9.0.0/16", "10.0.0.9/32", "fd00::9/128", "fd00::/32"],
    ),
    ["10.0.0.12"],
)
# As `nft list table` (1.0.6) prints what these files load.
LOADED = {
    "barewind_engine": """table inet barewind_engine {
	chain input {
		type filter hook input priority filter; policy accept;
		iif "lo" accept
		ip saddr 192.0.2.2 tcp dport 8000 accept
		ip6 saddr fd00::2 tcp dport 8000 accept
		tcp dport 8000 drop
		tcp dport 22 accept
		tcp dport 8010 accept
		tcp flags & (fin | syn | rst | ack) == syn tcp dport 20000-65535 drop
	}
}
""",
    "barewind_mirror": """table inet barewind_mirror {
	chain input {
		type filter hook input priority filter; policy accept;
		iif "lo" accept
		ip saddr 10.0.0.12 tcp dport 5000 accept
		ip saddr 10.0.0.5 tcp dport 5000 accept
		ip saddr 10.0.0.9 tcp dport 5000 accept
		ip saddr 10.9.0.0/16 tcp dport 5000 accept
		ip6 saddr fd00::/32 tcp dport 5000 accept
		ip6 saddr fd00::9 tcp dport 5000 accept
		tcp dport 5000 drop
	}
}
""",
}
LISTED = "the rules of /etc/barewind/engine.nft in force (nft list table inet barewind_engine)"
OPEN = "ip saddr 198.51.100.0/24 tcp dport 8000 accept"


def filtering(file: HostFile, table: str, **answers: str | None) -> FakeHost:
    """A host that filters as planned, but for what is given: None where it has nothing."""
    right: dict[str, str | None] = {"cat": file.content, "stat": "644 root root\n", "nft": LOADED[table]}
    commands = {"cat": "cat /etc", "stat": "stat -c", "nft": "nft list"}
    return FakeHost({commands[name]: text for name, text in (right | answers).items() if text is not None})


@pytest.mark.parametrize(("file", "table"), [(ENGINE, "barewind_engine"), (MIRROR, "barewind_mirror")])
def test_a_filter_as_planned(file: HostFile, table: str) -> None:
    assert firewall(filtering(file, table), file, table) == []


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("answers", "differences"),
    [
        # open to addresses that are no balancer's: in the file, in force, in both
        (
            {"cat": changed(ENGINE.content, "192.0.2.2 ", "192.0.2.0/24 ")},
            {
                "/etc/barewind/engine.nft as planned": "too much: ip saddr 192.0.2.0/24 tcp dport 8000 accept; "
                "lacking: ip saddr 192.0.2.2 tcp dport 8000 accept"
            },
        ),
        (
            {
                "nft": changed(
                    LOADED["barewind_engine"], "\t\ttcp dport 8000 drop", f"\t\t{OPEN}\n\t\ttcp dport 8000 drop"
                )
            },
            {LISTED: f"too much: {OPEN}"},
        ),
        (
            {"nft": changed(LOADED["barewind_engine"], "ip saddr 192.0.2.2 ", "ip saddr 192.0.2.2/31 ")},
            {
                LISTED: "too much: ip saddr 192.0.2.2/31 tcp dport 8000 accept; lacking: ip saddr 192.0.2.2 tcp dport 8000 accept"
            },
        ),
        # closed to a balancer
        (
            {"nft": changed(LOADED["barewind_engine"], "\t\tip6 saddr fd00::2 tcp dport 8000 accept\n", "")},
            {LISTED: "lacking: ip6 saddr fd00::2 tcp dport 8000 accept"},
        ),
        # another order: everything is dropped before it could be accepted
        (
            {
                "nft": changed(
                    changed(LOADED["barewind_engine"], "\t\ttcp dport 8000 drop\n", ""),
                    '\t\tiif "lo" accept\n',
                    '\t\ttcp dport 8000 drop\n\t\tiif "lo" accept\n',
                )
            },
            {LISTED: "the lines in another order"},
        ),
        # the file of another port, which is as it was when it was loaded
        (
            {"nft": changed(LOADED["barewind_engine"], "8000 drop", "8001 drop")},
            {LISTED: "too much: tcp dport 8001 drop; lacking: tcp dport 8000 drop"},
        ),
        ({"nft": None}, {LISTED: "no such table"}),
        ({"cat": None}, {"/etc/barewind/engine.nft as planned": "no such file"}),
        ({"stat": "666 root root\n"}, {"/etc/barewind/engine.nft of mode 644, owner and group root": "666 root root"}),
        ({"stat": "644 ops root\n"}, {"/etc/barewind/engine.nft of mode 644, owner and group root": "644 ops root"}),
    ],
)
def test_a_filter_that_is_not_as_planned_is_found(answers: dict[str, str | None], differences: dict[str, str]) -> None:
    findings = firewall(filtering(ENGINE, "barewind_engine", **answers), ENGINE, "barewind_engine")
    assert {finding.expectation: finding.actual for finding in findings} == differences


def test_a_mirror_that_is_open_to_a_wider_network_is_found() -> None:
    loaded = changed(LOADED["barewind_mirror"], "fd00::9 ", "fd00::/16 ")
    (finding,) = firewall(filtering(MIRROR, "barewind_mirror", nft=loaded), MIRROR, "barewind_mirror")
    assert finding.actual.startswith("too much: ip6 saddr fd00::/16 tcp dport 5000 accept; lacking: ")


# --- Ports ---------------------------------------------------------------------------------------------------------------

SOCKETS = """\
LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=7,fd=3))
LISTEN 0 128 192.0.2.11:8000 0.0.0.0:* users:(("python3",pid=10,fd=3))
LISTEN 0 128 *:29853 *:* users:(("python3",pid=12,fd=3),("python3",pid=11,fd=3))
LISTEN 0 128 127.0.0.1:39001 0.0.0.0:* users:(("python3",pid=10,fd=3))
LISTEN 0 128 [::1]:39002 [::]:* users:(("python3",pid=10,fd=3))
LISTEN 0 128 [::ffff:127.0.0.1]:39003 *:* users:(("python3",pid=10,fd=3))
LISTEN 0 128 0.0.0.0:9100 0.0.0.0:* users:(("node",pid=9,fd=3))
"""


def test_what_the_containers_processes_listen_on_for_others() -> None:
    members = "/proc/10/cgroup\n/proc/11/cgroup\n"
    assert listening(FakeHost({"docker inspect": "0badc0de\n", "grep": members, "ss -H": SOCKETS}), plan()) == [
        8000,
        29853,
    ]
    assert listening(FakeHost({"ss -H": SOCKETS}), plan()) == []  # no container


# --- Health ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("engine", "path"), [("vllm", "/health"), ("sglang", "/ready")])
def test_an_engine_is_asked_at_its_own_health_path(engine: str, path: str) -> None:
    made = plan(engine_spec(engine=engine))
    host = FakeHost({f"http://192.0.2.11:8000{path}": "200"})
    assert health(host, made) == []
    assert host.commands[0].endswith(path)


@pytest.mark.parametrize(("answer", "actual"), [("503", "503"), ("404", "404"), ("", "no answer")])
def test_an_engine_that_is_not_healthy(answer: str, actual: str) -> None:
    (finding,) = health(FakeHost({"curl": answer}), plan())
    assert (finding.expectation, finding.actual) == ("http://192.0.2.11:8000/health to answer 200", actual)


# --- Secrets -----------------------------------------------------------------------------------------------------------

BODY = "MHcCAQEEIBarewindBarewindBarewindBarewindBarewindBarewindBarewin\nlastLineOfTheKey=="
KIND = "EC PRIVATE KEY"  # apart from its dashes: the key is made up, and no scanner for secrets shall stop at it
PEM = f"-----BEGIN {KIND}-----\n{BODY}\n-----END {KIND}-----\n"


def inventory(folder: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Data of three hosts and what each secret is called, with everything that it names in a folder."""
    contents = {"hub_token_file": "hf_abcdefgh\n", "mirror_key": PEM, "ssh_key": PEM.replace("Barewind", "Operator")}
    for key, text in contents.items():
        (folder / key).write_text(text)
        (folder / key).chmod(0o600)
    files = {key: str(folder / key) for key in contents}
    token, key, ssh = files["hub_token_file"], files["mirror_key"], files["ssh_key"]
    data: list[dict[str, Any]] = [
        {"hub_token_file": token, "ssh_key": ssh},
        {"hub_token_file": token},
        {"mirror_key": key},
        {},
    ]
    for key, use, text in (
        ("engine_secrets", "API_KEY", "engine key\n"),
        ("registry_logins", "r.example", "bot:its password"),
    ):
        (folder / key).write_text(text)
        (folder / key).chmod(0o600)
        data.append({key: {use: str(folder / key)}})
        files[f"{key}[{use!r}]"] = str(folder / key)
    return data, {name.partition("[")[0]: f"{name} {file}" for name, file in files.items()}


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[tuple[Secret, ...], dict[str, str]]:
    """The secrets of an inventory with logins for its image's registry and its mirror, and what each is called."""
    data, names = inventory(tmp_path)
    auths = {"registry.example": "puller:long password", "10.0.0.5:5000": "fleet:short"}
    encoded = {name: {"auth": base64.b64encode(login.encode()).decode()} for name, login in auths.items()}
    (tmp_path / "config.json").write_text(json.dumps({"auths": encoded | {"other.example": {"auth": "eDp5"}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    spec = engine_spec(image="registry.example/vllm:nightly", mirror="10.0.0.5:5000")
    of_inventory = secrets.of_inventory(data, [plan_host(spec, locked(spec))])
    return of_inventory, names | {"login": "login of registry.example", "mirror login": "login of 10.0.0.5:5000"}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_every_secret_that_the_inventory_names_is_looked_for(named: tuple[tuple[Secret, ...], dict[str, str]]) -> None:
    of_inventory, names = named
    assert sorted(secret.name for secret in of_inventory) == sorted(names.values())


def test_no_key_of_a_secret_is_forgotten() -> None:
    words = ("token", "secret", "passw", "credential", "key", "login")
    named_like_one = {key for key in KNOWN_KEYS if any(word in key for word in words)}
    harmless = {"repository_keys", "max_num_batched_tokens", "endpoint_keys"}  # public keys, tokens of text, SHA-256
    assert named_like_one - harmless == {*secrets.FILE_KEYS, *secrets.FILES_KEYS} - {"ssh_key"}  # which is pyinfra's


@pytest.mark.parametrize(
    ("secret", "printed"),
    [
        ("hub_token_file", "curl -H 'Authorization: Bearer hf_abcdefgh' https://huggingface.co"),
        ("hub_token_file", f"TOKEN={encoded('hf_abcdefgh')}"),
        ("mirror_key", PEM),
        ("mirror_key", f"cat > /tmp/key <<END\n  {BODY.replace(chr(10), chr(10) + '  ')}\nEND"),
        ("mirror_key", json.dumps({"Env": [f"KEY={PEM}"]})),
        ("mirror_key", encoded(PEM)),
        ("ssh_key", PEM.replace("Barewind", "Operator")),
        ("engine_secrets", "docker run --env=API_KEY='engine key'"),
        ("registry_logins", "its password"),
        ("registry_logins", json.dumps({"auth": encoded("bot:its password")})),
        ("login", "docker login -u puller -p 'long password' registry.example"),
        ("login", json.dumps({"auth": encoded("puller:long password")})),
        ("mirror login", json.dumps({"auth": encoded("fleet:short")})),
    ],
)
@pytest.mark.parametrize(
    ("command", "place"),
    [
        ("ps ", "the process list"),
        ("docker inspect", "docker inspect"),
        ("cat /etc/systemd", "systemd units"),
        ("journalctl", "the journal"),
        ("find /etc/barewind", "files of ours"),
    ],
)
def test_a_secret_that_a_host_shows_is_found(
    named: tuple[tuple[Secret, ...], dict[str, str]], secret: str, printed: str, command: str, place: str
) -> None:
    of_inventory, names = named
    host = FakeHost({command: f"before\n{printed}\nafter\n"})
    assert [finding.expectation for finding in leaks(host, of_inventory)] == [f"no {names[secret]} in {place}"]
    assert not any("hf_abcdefgh" in command or "password" in command for command in host.commands)


@pytest.mark.parametrize(
    "printed", ["", "fleet short", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"]
)
def test_a_host_without_secrets(named: tuple[tuple[Secret, ...], dict[str, str]], printed: str) -> None:
    assert leaks(FakeHost({"": printed}), named[0]) == []


@pytest.mark.parametrize(
    ("mode", "actual"), [("600 root root\n", []), ("644 root root\n", ["644 root root"]), ("", ["no such file"])]
)
def test_a_key_that_a_mirror_keeps_is_for_root_alone(
    named: tuple[tuple[Secret, ...], dict[str, str]], mode: str, actual: list[str]
) -> None:
    host = FakeHost({"stat": mode})
    assert [finding.actual for finding in leaks(host, named[0], kept=[KEY_FILE])] == actual
    assert any(f"-not -path {KEY_FILE} " in command for command in host.commands)


def wrong_mode(folder: Path) -> None:
    (folder / "mirror_key").chmod(0o644)


def missing(folder: Path) -> None:
    (folder / "mirror_key").unlink()


@pytest.mark.parametrize("damage", [wrong_mode, missing])
def test_a_secret_that_cannot_be_read_is_not_passed_over(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    data, _ = inventory(tmp_path)
    damage(tmp_path)
    with pytest.raises(BarewindError, match=r"^mirror_key "):
        secrets.of_inventory(data, [])


def test_of_an_inventory_without_secrets_there_are_none() -> None:
    assert secrets.of_inventory([{}, {"hub_token_file": None}], [plan()]) == ()
