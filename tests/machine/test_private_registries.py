"""Private registries: a real one behind the challenges of Harbor, GitLab, ECR and ACR, with logins as group data names them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from barewind.progress.transfers import Transfers
from barewind.registry.client import Refused
from barewind.registry.copy import copy_image, is_complete
from barewind.registry.lookup import repository, resolve
from barewind.registry.repository import Repository
from tests.support import private_registry, registry_server
from tests.support.private_registry import PRODUCTS, Front

NAME = "engines/vllm-openai"
LAYERS = tuple(hashlib.shake_128(bytes([number])).digest(200_000) for number in range(3))
LOGINS = {
    "harbor": "robot$engines+barewind:Sec:ret",
    "gitlab": "gitlab+deploy-token-7:gldt-abcdef",
    "ecr": "AWS:eyJwYXlsb2FkIjoi" + "A" * 2700 + "=",
    "acr": "3f1c9a0e-0000-4000-8000-000000000001:s3cr3t~value",
}
IDENTITY = "refresh-token-of-az-acr-login"


@pytest.fixture(params=PRODUCTS)
def product(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def front(product: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with private_registry.running(product, tmp_path, LOGINS[product], IDENTITY) as front:
        yield front


def login_file(tmp_path: Path, text: str) -> str:
    """As for `engine_secrets`: a file that its owner alone reads."""
    file = tmp_path / "login"
    file.write_text(f"{text}\n")
    file.chmod(0o600)
    return str(file)


def pushed(front: Front, login: str) -> str:
    """An image that was pushed by this very client; its digest."""
    with registry_server.running() as upstream:
        digest = upstream.image(NAME, "nightly", *LAYERS)
        source = Repository(upstream.name, NAME, plain=True)
        target = Repository(front.name, NAME, plain=True, login=login)
        copy_image(source, target, digest, "image", Transfers(Console(quiet=True)))
        target.put_manifest("nightly", target.manifest(digest))
    return digest


def test_a_login_locks_pulls_and_fills(front: Front, tmp_path: Path) -> None:
    login = login_file(tmp_path, front.login)
    digest = pushed(front, login)
    reference, logins = f"{front.name}/{NAME}:nightly", {front.name: login}
    locked = resolve(reference, insecure_registries=(front.name,), logins=logins)
    assert (locked.digest, locked.size) == (digest, sum(map(len, LAYERS)))
    there = repository(reference, (front.name,), logins)
    assert is_complete(there, digest)
    contents = [b"".join(there.read(blob)) for blob in there.manifest(digest).blobs]
    assert set(contents) >= set(LAYERS)  # where blobs lie elsewhere, that place is not shown the login
    assert set(front.asked) <= {f"repository:{NAME}:pull", f"repository:{NAME}:pull,push"}


def test_a_wrong_login_says_which_file_it_is_from(front: Front, tmp_path: Path) -> None:
    login = login_file(tmp_path, front.login + "x")
    reference = f"{front.name}/{NAME}:nightly"
    with pytest.raises(Refused) as caught:
        resolve(reference, insecure_registries=(front.name,), logins={front.name: login})
    message = str(caught.value)
    assert message.startswith(f"image {reference}: ")
    assert (
        f"check the login in {login} (registry_logins): its rights to this repository, whether it has run out"
        in message
    )
    assert front.login not in message


def test_without_a_login_it_is_said_where_one_goes(front: Front) -> None:
    with pytest.raises(
        Refused, match=r"no login was shown; name one \(registry_logins: a file that holds user:password\)"
    ):
        resolve(f"{front.name}/{NAME}:nightly", insecure_registries=(front.name,))


@pytest.mark.parametrize("product", ["acr"])
def test_what_az_acr_login_left_is_enough(front: Front, tmp_path: Path) -> None:
    digest = pushed(front, login_file(tmp_path, front.login))
    nobody = base64.b64encode(b"00000000-0000-0000-0000-000000000000:").decode()
    config = {"auths": {front.name: {"auth": nobody, "identitytoken": IDENTITY}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert resolve(f"{front.name}/{NAME}:nightly", insecure_registries=(front.name,)).digest == digest
