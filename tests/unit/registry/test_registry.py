"""Asking a registry and taking from it, against one on this machine that has faults; the clock is the test's."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from barewind.errors import BarewindError
from barewind.registry import client, repository
from barewind.registry.auth import authorization
from barewind.registry.client import NotThere, Refused
from barewind.registry.image import LockedImage
from barewind.registry.lookup import resolve
from barewind.registry.repository import Blob, Repository, sha256
from tests.support.registry_server import OCI_INDEX, RegistryServer, digest_of, running

pytestmark = pytest.mark.slow


REPOSITORY = "vllm/vllm-openai"
CONTENT = hashlib.shake_128(b"a layer").digest(300_000)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(client, "sleep", waited.append)
    monkeypatch.setattr(repository, "CHUNK", 50_000)
    return waited


@pytest.fixture
def registry(waits: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RegistryServer]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with running() as server:
        yield server


VARIABLES = ("ENGINE_VERSION", "ENGINE_COMMIT")


def manifest(*sizes: int) -> dict[str, Any]:
    return {"schemaVersion": 2, "layers": [{"digest": f"sha256:{size:064x}", "size": size} for size in sizes]}


def ask(registry: RegistryServer, reference: str = f"{REPOSITORY}:nightly") -> LockedImage:
    return resolve(f"{registry.name}/{reference}", insecure_registries=(registry.name,), version_variables=VARIABLES)


def repo(registry: RegistryServer) -> Repository:
    return Repository(registry.name, REPOSITORY, plain=True, subject="image x")


def login(tmp_path: Path, name: str, user: str, password: str) -> None:
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {name: {"auth": auth}}}))


# --- What a name stands for --------------------------------------------------------------------------------------------


def test_a_single_manifest(registry: RegistryServer) -> None:
    digest = registry.put(REPOSITORY, "nightly", manifest(100, 23))
    assert ask(registry) == LockedImage(digest=digest, size=123)


def test_a_reference_by_digest(registry: RegistryServer) -> None:
    digest = registry.put(REPOSITORY, None, manifest(7))
    assert ask(registry, f"{REPOSITORY}@{digest}") == LockedImage(digest=digest, size=7)


def test_an_index_keeps_its_own_digest_and_names_that_of_our_platform(registry: RegistryServer) -> None:
    arm = registry.put(REPOSITORY, None, manifest(1))
    amd = registry.put(REPOSITORY, None, manifest(500, 5))
    windows = {"digest": arm, "platform": {"os": "windows", "architecture": "amd64"}}
    attestation = {"digest": arm, "platform": {"os": "unknown", "architecture": "unknown"}}
    ours = {"digest": amd, "platform": {"os": "linux", "architecture": "amd64"}}
    index = registry.put(
        REPOSITORY, "nightly", {"schemaVersion": 2, "manifests": [windows, attestation, ours]}, OCI_INDEX
    )
    assert ask(registry) == LockedImage(digest=index, platform_digest=amd, size=505)


def test_an_index_without_our_platform(registry: RegistryServer) -> None:
    entries = [{"digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "arm64"}}]
    registry.put(REPOSITORY, "nightly", {"schemaVersion": 2, "manifests": entries}, OCI_INDEX)
    with pytest.raises(BarewindError, match="has no amd64 variant; name an image that has one"):
        ask(registry)


@pytest.mark.parametrize(
    ("config", "values"),
    [
        ({}, {}),
        ({"config": None}, {}),
        ({"config": {"Env": ["PATH=/bin", "CUDA_VERSION=13.0.1", "ODD"]}}, {"cuda": "13.0.1"}),
        ({"config": {"Env": ["ROCM_VERSION=7.2.3"]}}, {"rocm": "7.2.3"}),
        ({"created": "2026-11-05T06:07:08.123456789Z"}, {"created": datetime(2026, 11, 5, 6, 7, 8, tzinfo=UTC)}),
        ({"created": "1970-01-01T00:00:00Z"}, {}),
        ({"created": "0001-01-01T00:00:00Z"}, {}),
        ({"created": "yesterday"}, {}),
        ({"config": {"Labels": {"org.opencontainers.image.version": "0.32.0"}}}, {"version": "0.32.0"}),
        (
            {"config": {"Labels": {"org.opencontainers.image.version": "vllm/vllm-openai:v0.32.0"}}},
            {"version": "v0.32.0"},
        ),
        # Ubuntu's own label, inherited by every image built on it
        ({"config": {"Labels": {"org.opencontainers.image.version": "22.04"}}}, {}),
        (
            {
                "config": {
                    "Labels": {"org.opencontainers.image.version": "local/vllm-openai:dev"},
                    "Env": ["ENGINE_COMMIT=0961bbae2894d574be790d219651824eb199318e"],
                }
            },
            {"version": "0961bbae2894d574be790d219651824eb199318e"},
        ),
        ({"config": {"Env": ["ENGINE_COMMIT=unknown"]}}, {}),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) and "created" not in str(value) else None,
)
def test_what_the_configuration_tells(registry: RegistryServer, config: Any, values: dict[str, Any]) -> None:
    digest = registry.image(REPOSITORY, "nightly", b"layer", **config)
    assert ask(registry) == LockedImage(digest=digest, size=5, **values)


def test_a_configuration_with_wrong_bytes_is_refused(registry: RegistryServer) -> None:
    registry.image(REPOSITORY, "nightly", b"layer")
    registry.fault("GET", "*/blobs/*", "corrupt")
    with pytest.raises(BarewindError, match="its configuration is not what its digest says; lock again"):
        ask(registry)


def test_a_platform_manifest_with_wrong_bytes_is_refused(registry: RegistryServer) -> None:
    amd = registry.image(REPOSITORY, None, b"layer")
    registry.index(REPOSITORY, "nightly", amd64=amd)
    media_type, body = registry.repositories[REPOSITORY].manifests[amd]
    registry.repositories[REPOSITORY].manifests[amd] = (media_type, body.replace(b'"size": 5', b'"size": 6'))
    with pytest.raises(BarewindError, match=f"the registry sent another manifest than {amd}"):
        ask(registry)


def test_what_is_no_registry(registry: RegistryServer) -> None:
    registry.repository(REPOSITORY).manifests[digest_of(b"<html>")] = (OCI_INDEX, b"<html>")
    registry.repository(REPOSITORY).tags["nightly"] = digest_of(b"<html>")
    with pytest.raises(BarewindError, match="what answered is no registry"):
        ask(registry)


def test_no_such_tag(registry: RegistryServer) -> None:
    with pytest.raises(NotThere) as caught:
        ask(registry, f"{REPOSITORY}:nigthly")
    assert str(caught.value) == (
        f"image {registry.name}/{REPOSITORY}:nigthly: the registry has no such tag or digest; "
        "correct 'image' or the lock file."
    )


# --- Who we are --------------------------------------------------------------------------------------------------------


def test_a_login_by_file_is_shown_when_it_is_asked_for(registry: RegistryServer, tmp_path: Path) -> None:
    registry.token = "bot-pull"  # noqa: S105
    registry.login = "bot:pass:word"
    digest = registry.put(REPOSITORY, "nightly", manifest(9))
    file = tmp_path / "login"
    file.write_text("bot:pass:word\n")
    file.chmod(0o600)
    reference, logins = f"{registry.name}/{REPOSITORY}:nightly", {registry.name: str(file)}
    assert resolve(reference, insecure_registries=(registry.name,), logins=logins).digest == digest
    with pytest.raises(BarewindError, match="no token could be had"):
        resolve(reference, insecure_registries=(registry.name,), logins={"other.example": str(file)})


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("bot:word\n", 0o644, "mode 0644 lets others read it"),
        ("word\n", 0o600, "is no login; write user:password to it, in one line."),
        ("bot:\n", 0o600, "is no login"),
    ],
)
def test_a_login_file_that_will_not_do(
    registry: RegistryServer, tmp_path: Path, text: str, mode: int, message: str
) -> None:
    registry.token = "bot-pull"  # noqa: S105
    file = tmp_path / "login"
    file.write_text(text)
    file.chmod(mode)
    reference, logins = f"{registry.name}/{REPOSITORY}:nightly", {registry.name: str(file)}
    with pytest.raises(BarewindError, match=re.escape(f"registry_logins {file}: {message}")):
        resolve(reference, insecure_registries=(registry.name,), logins=logins)


def test_a_password_goes_to_no_token_server_over_plain_http(tmp_path: Path) -> None:
    file = tmp_path / "login"
    file.write_text("bot:word")
    file.chmod(0o600)
    challenge = 'Bearer realm="http://evil.example/token",service="x"'
    with pytest.raises(ValueError, match="plain HTTP"):
        authorization(requests.Session(), "r.example", challenge, login_file=str(file))


def test_token_authentication(registry: RegistryServer) -> None:
    registry.token = "anonymous-pull"  # noqa: S105
    digest = registry.put(REPOSITORY, "nightly", manifest(9))

    assert ask(registry) == LockedImage(digest=digest, size=9)

    assert [request.path for request in registry.asked] == [
        f"/v2/{REPOSITORY}/manifests/nightly",
        "/token?service=registry.example&scope=repository%3Avllm%2Fvllm-openai%3Apull",
        f"/v2/{REPOSITORY}/manifests/nightly",
    ]
    assert registry.asked[1].authorization is None
    assert registry.asked[-1].authorization == "Bearer anonymous-pull"


def test_a_token_that_ran_out_is_replaced(registry: RegistryServer) -> None:
    registry.token = "first"  # noqa: S105
    registry.put(REPOSITORY, "nightly", manifest(9))
    source = repo(registry)
    source.manifest("nightly")
    registry.token = "second"  # noqa: S105
    source.manifest("nightly")
    assert registry.asked[-1].authorization == "Bearer second"


def test_the_token_is_asked_for_with_what_docker_login_left(registry: RegistryServer, tmp_path: Path) -> None:
    registry.token = "mine"  # noqa: S105
    login(tmp_path, registry.name, "user", "secret")
    registry.put(REPOSITORY, "nightly", manifest(9))
    ask(registry)
    assert registry.requests("GET", "/token*")[0].authorization == "Basic " + base64.b64encode(b"user:secret").decode()


def test_basic_authentication(registry: RegistryServer, tmp_path: Path) -> None:
    registry.basic = base64.b64encode(b"user:secret").decode()
    registry.put(REPOSITORY, "nightly", manifest(9))
    with pytest.raises(Refused, match="the registry answered 401; check access to it"):
        ask(registry)
    login(tmp_path, registry.name, "user", "secret")
    assert ask(registry).size == 9


def test_a_token_server_that_refuses(registry: RegistryServer) -> None:
    registry.token = "x"  # noqa: S105
    registry.put(REPOSITORY, "nightly", manifest(9))
    registry.fault("GET", "/token", "close", times=9)
    with pytest.raises(Refused, match=r"no token could be had \(ConnectionError\); check access to it"):
        ask(registry)


def test_a_token_goes_nowhere_but_to_its_registry(registry: RegistryServer) -> None:
    with running() as storage:
        registry.token = "mine"  # noqa: S105
        registry.put(REPOSITORY, "nightly", manifest(9))
        source = repo(registry)
        source.manifest("nightly")
        source.send("POST", f"http://{storage.name}/v2/a/blobs/uploads/", body=b"", expected=(202,))
        assert storage.asked[-1].authorization is None


# --- One that refuses, is busy, or is down -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_a_registry_that_refuses(registry: RegistryServer, status: int) -> None:
    registry.put(REPOSITORY, "nightly", manifest(1))
    registry.fault("GET", "*", "status", status=status, times=99)
    advice = "its log says why" if status >= 500 else "check access to it"
    with pytest.raises(Refused, match=rf"the registry answered {status} \(as a test asked\); {advice}"):
        ask(registry)


def test_one_that_is_busy_is_asked_again_after_the_time_it_names(registry: RegistryServer, waits: list[float]) -> None:
    digest = registry.put(REPOSITORY, "nightly", manifest(1))
    registry.fault("GET", "*", "status", status=429, retry_after="7")
    registry.fault("GET", "*", "status", status=503)
    assert ask(registry).digest == digest
    assert waits == [7, 2]


def test_one_that_is_busy_for_an_hour_is_not_waited_for(registry: RegistryServer, waits: list[float]) -> None:
    registry.put(REPOSITORY, "nightly", manifest(1))
    registry.fault("GET", "*", "status", status=429, retry_after="3600")
    with pytest.raises(Refused, match=r"429 .*: log in \(registry_logins\), or try again in 3600 s"):
        ask(registry)
    assert waits == []


@pytest.mark.parametrize("retry_after", ["Wed, 21 Oct 2015 07:28:00 GMT", "soon", ""])
def test_a_time_to_wait_that_is_past_or_none(registry: RegistryServer, waits: list[float], retry_after: str) -> None:
    registry.put(REPOSITORY, "nightly", manifest(1))
    registry.fault("GET", "*", "status", status=429, retry_after=retry_after)
    ask(registry)
    assert len(waits) == 1
    assert waits[0] <= 1


def test_a_registry_that_is_down(unused_url: str) -> None:
    name = unused_url.removeprefix("http://")
    with pytest.raises(BarewindError) as caught:
        resolve(f"{name}/a:1", insecure_registries=(name,))
    message = str(caught.value)
    assert message.startswith(f"image {name}/a:1: the registry did not answer (ConnectionError); check its name")
    assert "'insecure_registries' if it speaks plain HTTP" in message


def test_plain_http_is_only_spoken_where_it_is_allowed(registry: RegistryServer) -> None:
    registry.put(REPOSITORY, "nightly", manifest(1))
    with pytest.raises(BarewindError, match="the registry did not answer"):
        resolve(f"{registry.name}/{REPOSITORY}:nightly")
    assert registry.asked == []


def test_a_certificate_file_that_is_not_there() -> None:
    with pytest.raises(BarewindError, match="correct 'mirror_ca'"):
        Repository("127.0.0.1:1", "a", ca="/nowhere/ca.pem").tags()


# --- Blobs -------------------------------------------------------------------------------------------------------------


def described(registry: RegistryServer, content: bytes = CONTENT) -> Blob:
    return Blob(**registry.blob(REPOSITORY, content))


def test_a_blob_comes_in_pieces(registry: RegistryServer) -> None:
    pieces = list(repo(registry).read(described(registry)))
    assert b"".join(pieces) == CONTENT
    assert len(pieces) > 1


def test_an_empty_blob(registry: RegistryServer) -> None:
    assert list(repo(registry).read(described(registry, b""))) == []


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_a_transfer_that_breaks_off_goes_on_where_it_was(
    registry: RegistryServer, waits: list[float], ranges: bool
) -> None:
    blob = described(registry)
    registry.ranges = ranges
    registry.fault("GET", "*/blobs/*", "truncate")
    assert b"".join(repo(registry).read(blob)) == CONTENT
    begun = int(str(registry.asked[-1].range).removeprefix("bytes=").rstrip("-"))
    assert 0 < begun <= len(CONTENT) // 2
    assert len(waits) == 1


def test_a_registry_that_is_away_for_a_while(registry: RegistryServer) -> None:
    blob = described(registry)
    registry.fault("GET", "*/blobs/*", "close", times=3)
    assert b"".join(repo(registry).read(blob)) == CONTENT


def test_a_registry_that_stays_away(registry: RegistryServer) -> None:
    blob = described(registry)
    registry.fault("GET", "*/blobs/*", "close", times=99)
    with pytest.raises(BarewindError, match="image x: the registry did not answer"):
        list(repo(registry).read(blob))


@pytest.mark.parametrize("wrong", ["corrupt", "longer", "shorter"])
def test_wrong_bytes_never_come_whole(registry: RegistryServer, wrong: str) -> None:
    blob = described(registry)
    if wrong == "corrupt":
        registry.fault("GET", "*/blobs/*", "corrupt", times=9)
    else:
        blob = Blob(blob.digest, len(CONTENT) - 1 if wrong == "longer" else len(CONTENT) + 1)
        registry.ranges = False
    got = []
    with pytest.raises(BarewindError):
        got.extend(repo(registry).read(blob))
    assert len(b"".join(got)) < blob.size


def test_reading_goes_on_after_what_is_there_already(registry: RegistryServer) -> None:
    blob = described(registry)
    rest = b"".join(repo(registry).read(blob, 1000, [CONTENT[:1000]]))
    assert CONTENT[:1000] + rest == CONTENT
    with pytest.raises(BarewindError, match="is damaged"):
        list(repo(registry).read(blob, 1000, [b"x" * 1000]))


def upload(registry: RegistryServer, blob: Blob, *contents: list[bytes]) -> None:
    left = list(contents)
    repo(registry).upload(blob, lambda: iter(left.pop(0)))


def test_a_blob_is_uploaded_with_its_length(registry: RegistryServer) -> None:
    pieces = [CONTENT[:100], CONTENT[100:]]
    upload(registry, Blob(sha256(CONTENT), len(CONTENT)), pieces)
    assert registry.repositories[REPOSITORY].blobs == {sha256(CONTENT): CONTENT}


def test_an_empty_blob_is_uploaded(registry: RegistryServer) -> None:
    upload(registry, Blob(sha256(b""), 0), [])
    assert registry.repositories[REPOSITORY].blobs == {sha256(b""): b""}


def test_an_upload_that_breaks_off_begins_anew(registry: RegistryServer) -> None:
    registry.fault("PUT", "*", "close")
    upload(registry, Blob(sha256(CONTENT), len(CONTENT)), [CONTENT], [CONTENT])
    assert registry.repositories[REPOSITORY].blobs == {sha256(CONTENT): CONTENT}


def test_an_upload_whose_source_fails_leaves_nothing(registry: RegistryServer) -> None:
    def broken() -> Iterator[bytes]:
        yield CONTENT[:100]
        raise BarewindError("the source is damaged")

    with pytest.raises(BarewindError, match="the source is damaged"):
        repo(registry).upload(Blob(sha256(CONTENT), len(CONTENT)), broken)
    assert not registry.repositories.get(REPOSITORY)


def test_a_registry_that_takes_nothing_says_why(registry: RegistryServer) -> None:
    registry.fault("POST", "*", "status", status=405)
    with pytest.raises(Refused, match=r"answered 405 \(as a test asked\)"):
        upload(registry, Blob(sha256(CONTENT), len(CONTENT)), [CONTENT])


def test_tags_come_in_pages(registry: RegistryServer) -> None:
    for tag in "abcde":
        registry.put(REPOSITORY, tag, manifest(1))
    assert repo(registry).tags() == list("abcde")
    assert Repository(registry.name, "none", plain=True).tags() == []
