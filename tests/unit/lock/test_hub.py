"""Asking a hub what a revision holds, with the hub's real client against a hub on this machine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from barewind import catalog
from barewind.errors import BarewindError
from barewind.lock import resolve as resolver
from barewind.lock.file import read_token
from barewind.lock.hub import resolve
from barewind.lock.manifest import Manifest
from lab.services import hub as lab_hub
from tests.support.factories import engine_spec
from tests.support.hub import COMMIT, FILES, REPOSITORY, LocalHub

pytestmark = pytest.mark.slow

LAYOUTS = catalog.models()[REPOSITORY].layouts


def ask(url: str, revision: str = "main", layout: str = "mistral", model: str = REPOSITORY) -> Manifest:
    return resolve(model, revision, layout, LAYOUTS[layout], endpoint=url, token=None)  # type: ignore[index]


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        ("mistral", {"params.json", "consolidated.safetensors", "tekken.json"}),
        ("hf", {"config.json", "model-00001-of-00001.safetensors", "tekken.json"}),
    ],
)
def test_a_manifest_holds_the_files_of_one_layout_with_size_and_sha256(
    hub: LocalHub, layout: str, names: set[str]
) -> None:
    manifest = ask(hub.url, layout=layout)

    assert (manifest.model, manifest.requested, manifest.revision) == (REPOSITORY, "main", COMMIT)
    assert manifest.layout == layout
    assert {name: (file.size, file.sha256) for name, file in manifest.files.items()} == {
        name: (len(FILES[name]), hashlib.sha256(FILES[name]).hexdigest()) for name in names
    }


def test_large_files_are_not_downloaded_to_be_locked(hub: LocalHub) -> None:
    ask(hub.url)
    assert sorted(hub.downloads()) == ["params.json", "tekken.json"]


def test_a_revision_that_is_not_there(hub: LocalHub) -> None:
    with pytest.raises(BarewindError) as caught:
        ask(hub.url, revision="v9")
    assert str(caught.value) == (
        f"weights {REPOSITORY}@v9 on {hub.url}: no such revision; correct 'model_revision' or 'draft_revision'."
    )


def test_a_repository_that_is_not_there(hub: LocalHub) -> None:
    with pytest.raises(BarewindError, match=r"nobody/nothing@main on .*: no such repository, or it is gated"):
        ask(hub.url, model="nobody/nothing")


def test_a_repository_without_the_layout(hub: LocalHub) -> None:
    with pytest.raises(BarewindError, match=r"no file of the other layout \(nothing\*\.bin\); check the model id"):
        resolve(REPOSITORY, "main", "other", ("nothing*.bin",), endpoint=hub.url, token=None)


def test_a_repository_with_a_rest_of_the_layout(hub: LocalHub) -> None:
    with pytest.raises(BarewindError) as caught:
        resolve(
            REPOSITORY, "main", "hf", ("config.json", "shard*.safetensors", "tekken.json"), endpoint=hub.url, token=None
        )
    assert str(caught.value) == (
        f"weights {REPOSITORY}@main on {hub.url}: no complete hf layout: no file is called shard*.safetensors; it has weights in "
        "another layout (consolidated.safetensors, model-00001-of-00001.safetensors); name another repository or revision, or an "
        "engine that loads what is there."
    )


def test_a_hub_that_is_down(hub: LocalHub, unused_url: str) -> None:
    with pytest.raises(BarewindError) as caught:
        ask(unused_url)
    message = str(caught.value)
    assert message.startswith(f"weights {REPOSITORY}@main on {unused_url}: the hub did not answer (")
    assert message.endswith("check 'hub_endpoint' and the network.")


@pytest.mark.parametrize(
    ("fault", "token", "message"),
    [
        (
            {"status": 401, "message": "Invalid credentials in Authorization header"},
            "hf_old",
            "the hub does not take the token (Invalid credentials in Authorization header): it is wrong, revoked or has run out; "
            "write a new one to 'hub_token_file'.",
        ),
        (
            {"status": 403, "message": "Please enable access to gated repositories in your fine-grained token"},
            "hf_fine",
            "the token may not read this repository (Please enable access to gated repositories in your fine-grained token); "
            "a fine-grained token must name this repository, or be allowed to read public gated ones; "
            "check 'hub_token_file'.",
        ),
        (
            {"status": 403, "message": ""},
            None,
            "the hub lets nobody read this repository without a token; name the file of one in 'hub_token_file'.",
        ),
        (
            {"status": 401, "code": "GatedRepo", "message": "Access to model a/b is restricted."},
            "hf_mine",
            "the repository is gated, and this token does not open it (Access to model a/b is restricted.); ask for access on "
            "its page on the hub with the token's account, then lock again; check 'hub_token_file'.",
        ),
        (
            {"status": 403, "message": "Access to this resource is disabled."},
            None,
            "the hub has disabled this repository (Access to this resource is disabled.); name another one.",
        ),
        (
            {"status": 429, "message": "We had to rate limit you", "retry_after": 0},
            None,
            "the hub has had too many requests from here (We had to rate limit you); try again in 0 s; with a token it takes "
            "more: "
            "'hub_token_file' (no token was shown).",
        ),
        (
            {"status": 429, "message": ""},
            "hf_x",
            "the hub has had too many requests from here; try again in some minutes; with a",
        ),
        (
            {"status": 401, "message": ""},
            None,
            "no such repository, or it is gated and the token does not open it; check the id and",
        ),
        ({"status": 418, "message": ""}, None, "the hub refuses with 418; check the id and 'hub_endpoint'."),
        (
            {"status": 500, "message": ""},
            None,
            "the hub did not answer, or fails itself (500); try again later, or check 'hub_end",
        ),
        (
            {"kind": "html"},
            None,
            "what answered is no hub (no JSON of one): a proxy's or a login page; check 'hub_endpoint' and what",
        ),
        (
            {"kind": "html", "status": 403},
            "hf_x",
            "the token may not read this repository; a fine-grained token must name",
        ),
        ({"kind": "html", "status": 502}, None, "the hub did not answer, or fails itself (502)"),
    ],
)
def test_each_refusal_has_a_sentence_of_its_own(
    hub: LocalHub, fault: dict[str, Any], token: str | None, message: str
) -> None:
    hub.fault("/api/*", **{"kind": "status", "times": 1000} | fault)
    with pytest.raises(BarewindError) as caught:
        resolve(REPOSITORY, "main", "mistral", LAYOUTS["mistral"], endpoint=hub.url, token=token)
    assert str(caught.value).startswith(f"weights {REPOSITORY}@main on {hub.url}: {message}")


@pytest.mark.parametrize("document", [b"[]", b"null", b'"yes"', b'{"siblings": 7}', b"{}"])
def test_json_that_is_no_hubs(hub: LocalHub, monkeypatch: pytest.MonkeyPatch, document: bytes) -> None:
    hub.fault("/api/*", "html", times=1000)
    monkeypatch.setattr(lab_hub, "PAGE", document)
    with pytest.raises(BarewindError, match=r"what answered is no hub|no file of the mistral layout"):
        ask(hub.url)


def test_a_hub_whose_files_alone_are_closed_says_so_too(hub: LocalHub) -> None:
    hub.fault("*/resolve/*", "status", status=403, message="Access to model is restricted", times=1000)
    with pytest.raises(BarewindError, match="the hub lets nobody read this repository without a token"):
        ask(hub.url)


def test_a_hub_that_fails_while_small_files_are_hashed(hub: LocalHub) -> None:
    hub.fault("*/resolve/*/tekken.json", "status", status=500, times=1000)
    with pytest.raises(BarewindError, match="the hub did not answer"):
        ask(hub.url)


def test_a_site_is_locked_once_per_image_and_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from barewind.registry.image import LockedImage
    from barewind.spec.site import Site
    from tests.support.factories import DIGEST, MEDIUM, SHA256

    asked: list[str] = []

    def image(reference: str, *, insecure_registries: tuple[str, ...], **_: object) -> LockedImage:
        asked.append(f"{reference} {insecure_registries}")
        return LockedImage(digest=DIGEST, size=7)

    def weights(model: str, revision: str, layout: str, patterns: tuple[str, ...], **_: object) -> Manifest:
        asked.append(f"{model}@{revision} {layout} {patterns[0]}")
        files = {"params.json": {"size": 1, "sha256": SHA256}}
        return Manifest.model_validate(
            {"model": model, "requested": revision, "revision": COMMIT, "layout": layout, "files": files}
        )

    monkeypatch.setattr("barewind.registry.lookup.resolve", image)
    monkeypatch.setattr("barewind.lock.hub.resolve", weights)
    specs = [
        engine_spec(host="a"),
        engine_spec(host="b", insecure_registries=["r:5000"]),
        engine_spec(host="c", accelerator="mi300x", speculative=False),
    ]

    lock = resolver.resolve(Site({spec.host: spec for spec in specs}, {}, "x.yaml"))

    assert asked == [
        "docker.io/vllm/vllm-openai:nightly ()",
        "docker.io/vllm/vllm-openai-rocm:nightly ()",
        f"{MEDIUM}@c4be198050fb5789774a55b92ed697becfbf20ae mistral params.json",
        f"{MEDIUM}-EAGLE@main mistral params.json",
    ]
    assert list(lock.images) == ["docker.io/vllm/vllm-openai:nightly", "docker.io/vllm/vllm-openai-rocm:nightly"]
    assert lock.created is not None


def token_file(tmp_path: Path, text: str, mode: int) -> Path:
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_no_token_file_no_token() -> None:
    assert read_token(engine_spec()) is None


def test_a_token_is_read_without_its_newline(tmp_path: Path) -> None:
    assert read_token(engine_spec(hub_token_file=str(token_file(tmp_path, "hf_abc\n", 0o600)))) == "hf_abc"


def test_a_token_file_may_be_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    token_file(tmp_path, "hf_abc", 0o400)
    assert read_token(engine_spec(hub_token_file="~/token")) == "hf_abc"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_token_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = token_file(tmp_path, "hf_abc", mode)
    with pytest.raises(BarewindError) as caught:
        read_token(engine_spec(hub_token_file=str(path)))
    assert str(caught.value) == f"hub_token_file {path}: mode 0{mode:o} lets others read it; run: chmod 600 {path}"


def test_a_missing_or_empty_token_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BarewindError, match=r"hub_token_file .*/none: No such file or directory; write the secret to it"
    ):
        read_token(engine_spec(hub_token_file=str(tmp_path / "none")))
    with pytest.raises(BarewindError, match=r"hub_token_file .*/token: is empty; write the secret to it"):
        read_token(engine_spec(hub_token_file=str(token_file(tmp_path, " \n", 0o600))))
