"""Asking a hub what a revision holds, with the hub's real client against a hub on this machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from barewind import catalog, resolver
from barewind.errors import BarewindError
from barewind.hub import resolve
from barewind.lock import read_token
from barewind.weights import Manifest
from tests.unit.conftest import COMMIT, FILES, REPOSITORY, LocalHub
from tests.unit.factories import engine_spec

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


def test_a_hub_that_is_down(hub: LocalHub, unused_url: str) -> None:
    with pytest.raises(BarewindError) as caught:
        ask(unused_url)
    said = str(caught.value)
    assert said.startswith(f"weights {REPOSITORY}@main on {unused_url}: the hub did not answer (")
    assert said.endswith("check 'hub_endpoint' and the network.")


def test_a_hub_that_fails_while_small_files_are_hashed(hub: LocalHub) -> None:
    hub.fault("*/resolve/*/tekken.json", "status", status=500, times=1000)
    with pytest.raises(BarewindError, match="the hub did not answer"):
        ask(hub.url)


def test_a_site_is_locked_once_per_image_and_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from barewind.lock import LockedImage
    from barewind.site import Site
    from tests.unit.factories import DIGEST, MEDIUM, SHA256

    asked: list[str] = []

    def image(reference: str, *, insecure_registries: tuple[str, ...]) -> LockedImage:
        asked.append(f"{reference} {insecure_registries}")
        return LockedImage(digest=DIGEST, size=7)

    def weights(model: str, revision: str, layout: str, patterns: tuple[str, ...], **_: object) -> Manifest:
        asked.append(f"{model}@{revision} {layout} {patterns[0]}")
        files = {"params.json": {"size": 1, "sha256": SHA256}}
        return Manifest.model_validate(
            {"model": model, "requested": revision, "revision": COMMIT, "layout": layout, "files": files}
        )

    monkeypatch.setattr("barewind.registry.resolve", image)
    monkeypatch.setattr("barewind.hub.resolve", weights)
    specs = [
        engine_spec(host="a"),
        engine_spec(host="b", insecure_registries=["r:5000"]),
        engine_spec(host="c", accelerator="mi300x", speculative=False),
    ]

    lock = resolver.resolve(Site({one.host: one for one in specs}, {}, "x.yaml"))

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
        BarewindError, match=r"hub_token_file .*/none: No such file or directory; write the token to it"
    ):
        read_token(engine_spec(hub_token_file=str(tmp_path / "none")))
    with pytest.raises(BarewindError, match=r"hub_token_file .*/token: is empty; write the token to it"):
        read_token(engine_spec(hub_token_file=str(token_file(tmp_path, " \n", 0o600))))
