"""Who asks a registry, and how it wants to know: challenges of every shape, logins under every name, and what is said without."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barewind.registry.client import Refused
from barewind.registry.logins import Login, credentials, docker_config
from barewind.registry.lookup import resolve
from barewind.registry.reference import login_of
from barewind.registry.repository import Repository
from tests.support.registry_server import RegistryServer, running

pytestmark = pytest.mark.slow


REPOSITORY = "vllm/vllm-openai"
BASIC = 'Basic realm="registry"'
BEARER = 'Bearer realm="{token}",service="registry.example",scope="repository:vllm/vllm-openai:pull"'
NO_SCOPE = 'Bearer realm="{token}",service="registry.example"'
GUID = "00000000-0000-0000-0000-000000000000"
ECR_PASSWORD = "eyJwYXlsb2FkIjoi" + "A" * 2700 + "="  # as long as `aws ecr get-login-password` prints


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RegistryServer]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with running() as server:
        server.image(REPOSITORY, "nightly", b"layer")
        yield server


def config(tmp_path: Path, **document: Any) -> None:
    (tmp_path / "config.json").write_text(json.dumps(document))


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def login_file(tmp_path: Path, text: str) -> str:
    file = tmp_path / "login"
    file.write_text(text + "\n")
    file.chmod(0o600)
    return str(file)


def ask(registry: RegistryServer, login: str | None = None) -> int:
    """The image's size: the registry has opened."""
    logins = {} if login is None else {registry.name: login}
    reference = f"{registry.name}/{REPOSITORY}:nightly"
    return resolve(reference, insecure_registries=(registry.name,), logins=logins).size


@pytest.mark.parametrize(
    "challenges",
    [
        [BEARER],
        [f"{BASIC}, {BEARER}"],
        [f"{BEARER}, {BASIC}"],
        [BASIC, BEARER],
        [BEARER, BASIC],
        ["Negotiate", BEARER],
        [NO_SCOPE],
        [BASIC, NO_SCOPE],
        [BEARER.replace("Bearer", "bearer")],
        [BEARER.replace('"registry.example"', "registry.example").replace(",", " , ")],
    ],
)
@pytest.mark.parametrize("login", [None, "bot:pass:word"], ids=["anonymous", "login"])
def test_a_token_is_had_whatever_the_shape_of_the_challenge(
    registry: RegistryServer, tmp_path: Path, challenges: list[str], login: str | None
) -> None:
    registry.token, registry.login, registry.challenges = "pull", login, challenges
    assert ask(registry, login and login_file(tmp_path, login)) == 5
    (question,) = registry.requests("GET", "/token*")
    assert question.path == "/token?service=registry.example&scope=repository%3Avllm%2Fvllm-openai%3Apull"


def test_who_writes_has_a_token_for_writing_where_the_challenge_does_not_say(registry: RegistryServer) -> None:
    registry.token, registry.challenges = "push", [NO_SCOPE]
    target = Repository(registry.name, REPOSITORY, plain=True)
    target.put_manifest("copy", target.manifest("nightly"))
    registry.token = registry.token[::-1]  # the first has run out
    target.put_manifest("copy", target.manifest("nightly"))
    scopes = [request.path.rpartition("scope=")[2] for request in registry.requests("GET", "/token*")]
    assert scopes == ["repository%3Avllm%2Fvllm-openai%3Apull"] * 2


@pytest.mark.parametrize(
    "login",
    ["robot$lab+barewind:secret", "gitlab+deploy-token-7:gldt-abc:def", f"AWS:{ECR_PASSWORD}"],
    ids=["Harbor", "GitLab", "ECR"],
)
@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_logins_of_private_registries_are_shown_as_they_are(
    registry: RegistryServer, tmp_path: Path, login: str, scheme: str
) -> None:
    if scheme == "basic":
        registry.basic = encoded(login)
        registry.challenges = ['Basic realm="https://lab.example/",service="ecr.amazonaws.com"']
    else:
        registry.token, registry.login = "pull", login
    assert ask(registry, login_file(tmp_path, login)) == 5


def test_an_identity_token_is_exchanged_for_one_that_pulls(registry: RegistryServer, tmp_path: Path) -> None:
    """What `az acr login` leaves: a user without a password, and a refresh token."""
    registry.token, registry.identity = "pull", "refresh-me"
    registry.challenges = ['Bearer realm="{token}",service="lab.azurecr.io",scope="repository:vllm/vllm-openai:pull"']
    config(tmp_path, auths={registry.name: {"auth": encoded(f"{GUID}:"), "identitytoken": "refresh-me"}})
    assert ask(registry) == 5
    assert registry.forms == [
        {
            "grant_type": "refresh_token",
            "refresh_token": "refresh-me",
            "client_id": "barewind",
            "service": "lab.azurecr.io",
            "scope": "repository:vllm/vllm-openai:pull",
        }
    ]


HUB = (
    "https://index.docker.io/v1/",
    "index.docker.io",
    "docker.io",
    "registry-1.docker.io",
    "https://index.docker.io/v1",
)


@pytest.mark.parametrize(
    ("name", "entry", "registry_name", "login"),
    [
        *((name, {"auth": encoded("me:word")}, "docker.io", Login("me", "word")) for name in HUB),
        ("https://r.example/v2/", {"auth": encoded("me:wo:rd")}, "r.example", Login("me", "wo:rd")),
        ("http://r.example:5000", {"auth": encoded("me:word")}, "r.example:5000", Login("me", "word")),
        ("r.example", {"username": "me", "password": "word"}, "r.example", Login("me", "word")),
        ("r.example", {"auth": "", "username": "me", "password": "word"}, "r.example", Login("me", "word")),
        ("r.example", {"auth": encoded(f"{GUID}:"), "identitytoken": "t"}, "r.example", Login(GUID, "", "t")),
        ("r.example", {"auth": encoded(f"{GUID}:") + "", "identitytoken": ""}, "r.example", None),
        ("r.example", {}, "r.example", None),  # a credential helper has it
        ("r.example", None, "r.example", None),
        ("r.example", {"auth": "no base64!"}, "r.example", None),
        ("other.example", {"auth": encoded("me:word")}, "r.example", None),
        ("r.example.evil", {"auth": encoded("me:word")}, "r.example", None),
    ],
)
def test_what_docker_login_left_is_known_by_each_of_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, entry: Any, registry_name: str, login: Login | None
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    config(tmp_path, auths={"another.example": {"auth": encoded("x:y")}, name: entry})
    assert credentials(registry_name) == login


@pytest.mark.parametrize("text", ["", "[]", '{"auths": []}', '{"auths": null}', "{", '{"auths": {"r.example": []}}'])
def test_a_config_of_another_shape_holds_no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(text)
    assert credentials("r.example") is None


def test_a_login_of_group_data_is_known_by_each_name_of_docker_hub(tmp_path: Path) -> None:
    assert [login_of("docker.io", {name: "f"}) for name in ("docker.io", "index.docker.io", "r.example")] == [
        "f",
        "f",
        None,
    ]
    assert json.loads(docker_config("docker.io", ("me", "word")))["auths"] == {HUB[0]: {"auth": encoded("me:word")}}


@pytest.mark.parametrize(
    ("document", "login", "advice"),
    [
        (
            {},
            None,
            "check access to it: no login was shown; name one (registry_logins: a file that holds user:password).",
        ),
        (
            {"credsStore": "desktop"},
            None,
            "check access to it: no login was shown; docker-credential-desktop, which docker asks here, is not asked; name one",
        ),
        (
            {"credHelpers": {"NAME": "ecr-login"}},
            None,
            "docker-credential-ecr-login, which docker asks here, is not asked",
        ),
        (
            {"auths": {"NAME": {"auth": encoded("me:old")}}},
            None,
            "what `docker login` left on this machine was shown; log in anew",
        ),
        ({}, "me:old", "(registry_logins): its rights to this repository, whether it has run out"),
    ],
)
@pytest.mark.parametrize("how", ["basic", "token server", "forbidden"])
def test_one_that_stays_closed_says_whose_login_was_shown(
    registry: RegistryServer, tmp_path: Path, document: dict[str, Any], login: str | None, advice: str, how: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(document).replace("NAME", registry.name))
    if how == "basic":
        registry.basic = encoded("me:new")
    elif how == "token server":
        registry.token, registry.login = "pull", "me:new"
    else:
        registry.fault("GET", "*/manifests/*", "status", status=403, times=9)
    with pytest.raises(Refused) as caught:
        ask(registry, login and login_file(tmp_path, login))
    assert advice in str(caught.value)


def test_a_token_server_that_has_had_too_many_requests(registry: RegistryServer) -> None:
    registry.token, registry.token_status = "pull", 429
    with pytest.raises(
        Refused, match=r"the token server has had too many requests \(429\); log in \(registry_logins\), or try"
    ):
        ask(registry)


@pytest.mark.parametrize("answer", [b"[]", b"{}", b'{"token": 7}', b"<html>"])
def test_a_token_server_that_answers_something_else(registry: RegistryServer, answer: bytes) -> None:
    registry.token, registry.token_answer = "pull", answer
    with pytest.raises(Refused, match="no token could be had"):
        ask(registry)


@pytest.mark.parametrize("platform", [None, {}, "missing"])
def test_an_index_whose_entries_do_not_name_their_platforms(registry: RegistryServer, platform: Any) -> None:
    """Each entry's configuration is asked; what attests to an image is none."""
    arm = registry.image(REPOSITORY, None, b"arm", architecture="arm64")
    amd = registry.image(REPOSITORY, None, b"amd64")
    attestation = registry.image(REPOSITORY, None, b"in-toto")
    entries: list[dict[str, Any]] = [
        {"digest": attestation, "size": 1, "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
        {"digest": arm, "size": 1},
        {"digest": amd, "size": 1},
    ]
    if platform != "missing":
        entries = [entry | {"platform": platform} for entry in entries]
    registry.put(
        REPOSITORY,
        "nightly",
        {"schemaVersion": 2, "manifests": entries},
        "application/vnd.oci.image.index.v1+json",
    )
    found = resolve(f"{registry.name}/{REPOSITORY}:nightly", insecure_registries=(registry.name,))
    assert (found.platform_digest, found.size) == (amd, 5)


@pytest.mark.parametrize(
    ("media_types", "zstd"),
    [
        (["application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+zstd"], True),
        (["application/vnd.docker.image.rootfs.diff.tar.zstd"], True),
        (["application/vnd.docker.image.rootfs.diff.tar.gzip"], False),
        ([None], False),
    ],
)
def test_how_layers_are_compressed_is_known_before_they_are_pulled(
    registry: RegistryServer, media_types: list[str | None], *, zstd: bool
) -> None:
    layers = [{"digest": f"sha256:{7:064x}", "size": 1} | ({"mediaType": kind} if kind else {}) for kind in media_types]
    registry.put(REPOSITORY, "nightly", {"schemaVersion": 2, "layers": layers})
    assert resolve(f"{registry.name}/{REPOSITORY}:nightly", insecure_registries=(registry.name,)).zstd is zstd
