"""The endpoint over TLS, and its certificate renewed under streams, on a real HAProxy."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from barewind.balancer import certificate, renewal
from barewind.balancer import commands as balancer
from barewind.balancer.certificate import Certificate
from barewind.balancer.config import curl_options
from barewind.gate.facts import request
from barewind.keys.entry import Key, map_line
from barewind.spec.keys import BalancerSpec
from lab import wait
from tests.support.certificates import NAME, Authority
from tests.support.endpoint_client import CHAT, ask
from tests.support.endpoint_engine import FakeEngine
from tests.support.factories import balancer_spec
from tests.support.haproxy import HAProxy, engine_at

STREAMS = 30
DAYS = 90


_HEADERS, _SETTINGS = 1, 4  # frames of HTTP/2
_END_HEADERS = 4


def _frame(kind: int, payload: bytes, stream: int = 0) -> bytes:
    flags = _END_HEADERS if kind == _HEADERS else 0
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


class Refused(Exception):
    """A stream of HTTP/2 was ended by HAProxy."""


class Endpoint:
    """A HAProxy that speaks TLS, and what its clients trust."""

    def __init__(self, haproxy: HAProxy, engine: FakeEngine, folder: Path, **own: Any) -> None:
        self.haproxy, self.engine, self.folder = haproxy, engine, folder
        self.controller = folder / "controller"
        self.controller.mkdir()
        self.authority = Authority("Middle", Authority())
        (folder / "ca.pem").write_text(self.authority.pem)
        self.files = self.authority.issue(self.controller)
        haproxy.use(
            [engine_at("gpu1", engine.port, max_num_seqs=256)], **self.keys, **{"trusted_clients": ["127.0.0.1"]} | own
        )

    @property
    def keys(self) -> dict[str, str | bool]:
        certificate_file, key_file = self.files
        tls = {"endpoint_name": NAME, "endpoint_certificate": certificate_file, "endpoint_key": key_file}
        return {"endpoint_tls": True, **tls}

    @property
    def spec(self) -> BalancerSpec:
        return balancer_spec(address="127.0.0.1", endpoint_port=self.haproxy.port, **self.keys)

    @property
    def file(self) -> Path:
        """The file on the balancer."""
        return self.folder / "endpoint.pem"

    def certificate(self) -> Certificate:
        read = certificate.read(self.spec)
        assert read is not None
        return read

    def renew(self, new: Certificate) -> subprocess.CompletedProcess[str]:
        """Bring a certificate to the balancer, as a deploy does."""
        return self.haproxy.shell(self.haproxy.here(renewal.renew(new.sha1)), new.pem)

    def renewed(self, days: int, key: rsa.RSAPrivateKey | None = None) -> Certificate:
        """Another certificate, which must be taken."""
        self.files = self.authority.issue(self.controller, expires=days, key=key)
        new = self.certificate()
        done = self.renew(new)
        assert done.returncode == 0, done.stderr
        return new

    def start(self) -> None:
        assert self.renew(self.certificate()).returncode == 0
        self.haproxy.start()
        self.haproxy.until(balancer.wait_checked)

    def shows(self) -> str:
        """The certificate that a client gets, by its SHA-1."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        with (
            socket.create_connection(("127.0.0.1", self.haproxy.port), timeout=60) as plain,
            context.wrap_socket(plain, server_hostname=NAME) as client,
        ):
            found = subprocess.run(
                ["openssl", "x509", "-inform", "DER", "-noout", "-fingerprint", "-sha1"],
                input=client.getpeercert(binary_form=True),
                capture_output=True,
                check=True,
            )
        return found.stdout.decode().strip().partition("=")[2].replace(":", "")

    def curl(self, path: str, *options: str, stdin: str = "", count: int = 1) -> list[str]:
        """The HTTP version and status of each of so many requests at a time."""
        done = subprocess.run(self.command(path, *options, count=count), input=stdin, capture_output=True, text=True)
        if "was not closed cleanly: CANCEL" in done.stderr:
            raise Refused
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def command(self, path: str, *options: str, count: int = 1) -> list[str]:
        """The command of a client that prints the HTTP version and status of each of so many requests at a time."""
        port = self.haproxy.port
        there = ["--connect-to", f"{NAME}:{port}:127.0.0.1:{port}", "--cacert", f"{self.folder}/ca.pem"]
        asked = ["--parallel", "--parallel-max", str(count), *options]
        asked += ["-o", "/dev/null", f"https://{NAME}:{port}{path}"] * count
        return ["curl", "-sS", "--noproxy", "*", "-m", "60", "-w", "%{http_version} %{http_code}\n", *there, *asked]

    def begun(self, path: str, *, count: int, length: int) -> list[int]:
        """The statuses, as they come, of POSTs over one connection of HTTP/2 that tell a length and send no body."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.set_alpn_protocols(["h2"])
        fields = {
            ":method": "POST",
            ":scheme": "https",
            ":authority": NAME,
            ":path": path,
            "content-length": str(length),
        }
        words = [word.encode() for field in fields.items() for word in field]
        block = b"".join(b"\0" * (at % 2 == 0) + bytes([len(word)]) + word for at, word in enumerate(words))
        statuses: list[int] = []
        with (
            socket.create_connection(("127.0.0.1", self.haproxy.port), timeout=60) as plain,
            context.wrap_socket(plain, server_hostname=NAME) as client,
            client.makefile("rb") as answers,
        ):
            client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, b""))
            client.sendall(b"".join(_frame(_HEADERS, block, 2 * at + 1) for at in range(count)))
            while len(statuses) < count:
                head = answers.read(9)
                frame = answers.read(int.from_bytes(head[:3]))
                if head[3] == _HEADERS:  # the status as HAProxy writes it: by its name's index, in plain digits
                    statuses.append(int(frame[2:5]))
        return statuses

    def pid(self) -> int:
        """The process that takes connections."""
        return next(one.pid for one in self.haproxy.look().workers if one.current)


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine(seconds=3, tokens=30) as engine:
        yield engine


@pytest.fixture
def endpoint(haproxy: HAProxy, engine: FakeEngine, tmp_path: Path) -> Endpoint:
    made = Endpoint(haproxy, engine, tmp_path)
    made.start()
    return made


def streams(endpoint: Endpoint, pool: ThreadPoolExecutor) -> list[str]:
    """Begin streams, all of HTTP/2 over one connection and some of HTTP/1.1 beside them; wait until an engine has them all."""
    over_two = pool.submit(endpoint.curl, CHAT, "--http2", "-d", "{}", count=STREAMS)
    over_one = pool.submit(endpoint.curl, CHAT, "--http1.1", "-d", "{}", count=STREAMS // 2)
    wait.until(lambda: endpoint.engine.open == STREAMS + STREAMS // 2, 30, "the streams do not begin")
    endpoint_streams = over_two, over_one
    return [line for each in endpoint_streams for line in each.result()]


def test_clients_of_both_versions_are_answered_and_engines_see_the_same_of_them(endpoint: Endpoint) -> None:
    endpoint.engine.seconds = 0
    assert endpoint.curl(CHAT, "--http2", "-d", "{}") == ["2 200"]
    assert endpoint.curl(CHAT, "--http1.1", "-d", "{}") == ["1.1 200"]
    two, one = endpoint.engine.requests
    assert two.line == one.line == f"POST {CHAT} HTTP/1.1"
    assert (two.body, one.body) == (2, 2)
    differing = {"x-request-id", "user-agent"}
    assert {name: value for name, value in two.headers.items() if name not in differing} == {
        name: value for name, value in one.headers.items() if name not in differing
    }


def test_plain_http_is_not_spoken_where_tls_is(endpoint: Endpoint) -> None:
    with pytest.raises(ConnectionError):
        ask(endpoint.haproxy.port, "/health")
    assert endpoint.curl("/health", "--http2") == ["2 200"]


@pytest.mark.parametrize("version", ["--http2", "--http1.1"])
def test_what_is_closed_stays_closed_in_both_versions(endpoint: Endpoint, version: str) -> None:
    said = "2" if version == "--http2" else "1.1"
    assert endpoint.curl("/metrics", version) == [f"{said} 404"]
    assert endpoint.curl(CHAT, version, "-X", "DELETE") == [f"{said} 405"]
    assert endpoint.curl("/v1/models", version, "-H", f"X-Long: {'x' * 20000}") == [f"{said} 431"]
    assert endpoint.engine.requests == []


@pytest.mark.parametrize("trusted", [[], ["127.0.0.1"]], ids=["anybody", "trusted"])
def test_refusals_of_short_bodies_are_seen_over_http_2(
    haproxy: HAProxy, engine: FakeEngine, tmp_path: Path, trusted: list[str]
) -> None:
    """HAProxy 2.6 ends the stream of a request that it answers before its body is there: curl saw 14 of 25 refusals then."""
    endpoint = Endpoint(haproxy, engine, tmp_path, endpoint_open=False, trusted_clients=trusted)
    key = Key("alpha", hashlib.sha256(b"sk-alpha").hexdigest(), "", datetime.now(UTC), "", requests_per_minute=1)
    over = Key("old", hashlib.sha256(b"sk-old").hexdigest(), "", datetime.now(UTC), "", expires=datetime.now(UTC))
    (tmp_path / "keys.map").write_text("".join(f"{map_line(one)}\n" for one in (key, over)))
    endpoint.start()
    engine.seconds = 0
    assert endpoint.curl(CHAT, "--http2", "-H", "X-Api-Key: sk-alpha", "-d", "{}") == ["2 200"]
    for length in (2000, 60000):
        for text, status in (("sk-nobody", 401), ("sk-old", 401), ("sk-alpha", 429)):
            asked = "--http2", "-H", f"X-Api-Key: {text}", "-d", "@-"
            assert endpoint.curl(CHAT, *asked, stdin="x" * length, count=25) == [f"2 {status}"] * 25
    assert len(engine.requests) == 1


def test_without_a_key_bodies_that_come_slowly_over_http_2_hold_half_of_an_addresses_places_for_moments(
    haproxy: HAProxy, engine: FakeEngine, tmp_path: Path
) -> None:
    endpoint = Endpoint(haproxy, engine, tmp_path, endpoint_open=False, trusted_clients=[], requests_per_client=8)
    endpoint.start()
    statuses = endpoint.begun(CHAT, count=12, length=1000)
    # Those at once are answered first: nobody waits beyond half of the places.
    assert statuses == [401] * 8 + [408] * 4
    assert engine.requests == []


def test_a_body_without_a_length_reaches_no_engine(endpoint: Endpoint) -> None:
    assert endpoint.curl(CHAT, "--http1.1", "-X", "POST", "-T", "-", stdin="{}") == ["1.1 411"]
    # Over HTTP/2, HAProxy ends a stream whose body it has not read: a client may see that before the answer.
    with contextlib.suppress(Refused):
        assert endpoint.curl(CHAT, "--http2", "-X", "POST", "-T", "-", stdin="{}") == ["2 411"]
    assert endpoint.engine.requests == []


@pytest.mark.parametrize("version", ["--http2", "--http1.1"])
def test_large_headers_and_bodies_pass_in_both_versions(endpoint: Endpoint, version: str) -> None:
    endpoint.engine.seconds, body = 0, "x" * 2**20
    headers = [part for number in range(2) for part in ("-H", f"X-Long-{number}: {'x' * 7000}")]
    assert endpoint.curl(CHAT, version, *headers, "-d", "@-", stdin=body)[0].endswith(" 200")
    assert endpoint.engine.requests[0].body == 2**20
    assert len(endpoint.engine.requests[0].headers["x-long-1"]) == 7000


def test_a_renewal_reloads_nothing_and_cuts_no_stream(endpoint: Endpoint) -> None:
    before, pid = endpoint.shows(), endpoint.pid()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(streams, endpoint, pool)
        wait.until(lambda: endpoint.engine.open == STREAMS + STREAMS // 2, 30, "the streams do not begin")
        new = endpoint.renewed(DAYS + 1)
        assert endpoint.engine.whole == 0  # none of them has ended yet
        assert before != new.sha1 == endpoint.shows()
        assert running.result() == ["2 200"] * STREAMS + ["1.1 200"] * (STREAMS // 2)
    assert endpoint.engine.whole == STREAMS + STREAMS // 2
    assert (endpoint.pid(), len(endpoint.haproxy.look().workers)) == (pid, 1)
    assert endpoint.file.stat().st_mode & 0o777 == 0o600
    assert endpoint.file.read_text() == new.pem
    assert sorted(file.name for file in endpoint.folder.glob("endpoint.pem*")) == ["endpoint.pem"]
    endpoint.haproxy.hook("ExecReload")
    wait.until(lambda: endpoint.pid() != pid, 60, "it does not reload")
    assert endpoint.shows() == new.sha1


def test_a_process_that_read_the_old_file_while_it_was_replaced_is_told_too(
    endpoint: Endpoint, haproxy: HAProxy
) -> None:
    master, before, pid = haproxy.master, endpoint.shows(), endpoint.pid()
    assert master is not None
    # HAProxy reloads when its process has the new certificate and the file is still the old one.
    proc = f"echo 'show proc' | socat - UNIX-CONNECT:{endpoint.folder}/master.sock"
    current = f"{proc} | awk '/^# workers/ {{ getline; print $1 + 0 }}'"
    reloads = (
        f"kill -USR2 {master.pid}; until c=$({current}) && [ ${{c:-0}} -gt 0 ] && [ $c != {pid} ]; do sleep 0.1; done"
    )
    once = f"[ -e {endpoint.folder}/reloaded ] || {{ touch {endpoint.folder}/reloaded; {reloads}; }}"
    (endpoint.folder / "bin" / "cp").write_text(f'#!/bin/sh\n{once}\nexec /bin/cp "$@"\n')
    (endpoint.folder / "bin" / "cp").chmod(0o755)
    with ThreadPoolExecutor() as pool:  # the old process lives as long as they do
        running = pool.submit(endpoint.curl, CHAT, "-d", "{}")
        wait.until(lambda: endpoint.engine.open == 1, 30, "the stream does not begin")
        new = endpoint.renewed(DAYS + 1)
        assert endpoint.pid() != pid
        assert before != new.sha1 == endpoint.shows()
        assert running.result()[0].endswith(" 200")


def test_a_chain_too_long_to_be_told_is_taken_over_by_a_reload_which_cuts_no_stream_either(
    endpoint: Endpoint, haproxy: HAProxy
) -> None:
    master = haproxy.master
    assert master is not None
    (endpoint.folder / "bin" / "systemctl").write_text(
        f"#!/bin/sh\ncase $1 in reload) kill -USR2 {master.pid} ;; *) echo active ;; esac\n"
    )
    pid, authority = endpoint.pid(), endpoint.authority
    for number in range(40):
        authority = Authority(f"Issuer {number}", authority)
    endpoint.authority = authority
    with ThreadPoolExecutor() as pool:
        running = pool.submit(streams, endpoint, pool)
        wait.until(lambda: endpoint.engine.open == STREAMS + STREAMS // 2, 30, "the streams do not begin")
        new = endpoint.renewed(DAYS + 1)
        assert len(new.pem) > 16384
        assert running.result() == ["2 200"] * STREAMS + ["1.1 200"] * (STREAMS // 2)
    assert endpoint.shows() == new.sha1
    assert endpoint.pid() != pid


def test_a_large_key_is_told_too(endpoint: Endpoint) -> None:
    pid = endpoint.pid()
    new = endpoint.renewed(DAYS + 1, key=rsa.generate_private_key(65537, 4096))
    assert (endpoint.shows(), endpoint.pid()) == (new.sha1, pid)


def test_what_haproxy_refuses_changes_nothing(endpoint: Endpoint) -> None:
    before, shown = endpoint.file.read_text(), endpoint.shows()
    other = Authority().issue(endpoint.folder, name="other")
    mixed = Path(other[0]).read_text() + Path(endpoint.files[1]).read_text()
    done = endpoint.renew(Certificate(mixed, "0" * 40, endpoint.certificate().begins, endpoint.certificate().expires))
    assert done.returncode == 1
    assert done.stderr.startswith("HAProxy refuses the new certificate, the old one stays in use: ")
    assert endpoint.file.read_text() == before
    assert endpoint.shows() == shown
    assert sorted(file.name for file in endpoint.folder.glob("endpoint.pem*")) == ["endpoint.pem"]
    assert endpoint.renewed(DAYS + 1).sha1 == endpoint.shows() != shown  # the next one is taken


def test_what_a_balancer_shows_is_told(endpoint: Endpoint, haproxy: HAProxy) -> None:
    new = endpoint.certificate()
    shown = renewal.read(haproxy.ask(renewal.look()).splitlines())
    assert shown is not None
    assert (shown.sha1, shown.begins, shown.expires) == (new.sha1, new.begins, new.expires)
    haproxy.stop()
    assert renewal.read(haproxy.shell(haproxy.here(renewal.look())).stdout.splitlines()) is None


def test_a_gate_on_the_balancer_asks_as_clients_do_and_trusts_the_balancers_own_certificate_alone(
    endpoint: Endpoint, haproxy: HAProxy
) -> None:
    endpoint.engine.seconds = 0
    command = haproxy.here(request(endpoint.spec.endpoint_url, "m", through=curl_options(endpoint.spec)))
    assert haproxy.shell(command).returncode == 0
    other = Authority("Another").issue(endpoint.folder, name="other")
    endpoint.file.write_text(Path(other[0]).read_text())
    done = haproxy.shell(command)
    assert done.returncode == 60  # curl: the peer's certificate cannot be authenticated
