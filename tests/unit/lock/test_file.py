"""The lock file on disk."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from barewind.engines import image, sizing
from barewind.errors import BarewindError
from barewind.lock import file as lock
from barewind.lock.file import Lock
from barewind.lock.manifest import Manifest
from barewind.registry.image import LockedImage
from barewind.spec.keys import EngineSpec
from tests.support.factories import DIGEST, LAB_IMAGE, MEDIUM, REVISION, SHA256, engine_spec, lab_spec, locked


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    written = locked(engine_spec(), lab_spec()).model_copy(
        update={"created": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}
    )
    path = tmp_path / "lock.yaml"

    lock.write(written, path)

    assert lock.read(path) == written
    assert path.read_text().startswith("# Written by 'barewind lock'. Review it and commit it")
    assert [file.name for file in tmp_path.iterdir()] == ["lock.yaml"]


def test_everything_that_is_known_of_an_image_is_written(tmp_path: Path) -> None:
    now = datetime(2026, 11, 22, 6, 7, 8, tzinfo=UTC)
    image = LockedImage(
        digest=DIGEST,
        platform_digest="sha256:" + "2b" * 32,
        size=7,
        created=now,
        version="v0.32.0",
        cuda="13.0.1",
        rocm=None,
        locked=now,
    )
    lock.write(Lock(images={"a": image}), tmp_path / "lock.yaml")
    assert lock.read(tmp_path / "lock.yaml").images == {"a": image}


def test_a_lock_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    (tmp_path / "lock.yaml").write_text(
        f"version: 1\ncreated: '2026-01-02T03:04:05Z'\nimages:\n  a: {{digest: '{DIGEST}', size: 5}}\nweights: []\n"
    )
    assert lock.read(tmp_path / "lock.yaml").images == {"a": LockedImage(digest=DIGEST, size=5)}


def test_writing_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "lock.yaml"
    lock.write(locked(engine_spec()), path)
    lock.write(locked(lab_spec()), path)
    assert list(lock.read(path).images) == [LAB_IMAGE]


def test_the_lock_holds_no_secret(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("hf_secret")
    spec = engine_spec(hub_token_file=str(token))
    lock.write(locked(spec), tmp_path / "lock.yaml")
    assert "hf_secret" not in (tmp_path / "lock.yaml").read_text()


def test_a_missing_lock_is_an_empty_one(tmp_path: Path) -> None:
    assert lock.read(tmp_path / "none.yaml") == Lock()


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("images: [", "not YAML"),
        ("- a\n", "Input should be a valid dictionary"),
        ("", "Input should be a valid dictionary"),
        ("version: 2\n", "key 'version': Input should be less than or equal to 1"),
        ("imagse: {}\n", "key 'imagse': Extra inputs are not permitted"),
        ("images: {a: {digest: latest, size: 1}}\n", "key 'images.a.digest': String should match pattern"),
        (f"images: {{a: {{digest: '{DIGEST}', size: -1}}}}\n", "key 'images.a.size': Input should be greater than"),
        ("weights: [{model: m}]\n", "key 'weights.0.requested': Field required"),
    ],
)
def test_a_damaged_lock_names_the_key_and_the_way_out(tmp_path: Path, text: str, finding: str) -> None:
    path = tmp_path / "lock.yaml"
    path.write_text(text)
    with pytest.raises(BarewindError) as caught:
        lock.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert finding in str(caught.value)
    assert str(caught.value).endswith("; write it again with 'barewind lock INVENTORY --update'.")


@pytest.mark.parametrize("field", ["revision", "sha256"])
def test_a_manifest_is_pinned_to_a_commit_and_checksums(field: str) -> None:
    good = {
        "model": "m",
        "requested": "main",
        "revision": REVISION,
        "layout": "mistral",
        "files": {"a": {"size": 1, "sha256": SHA256}},
    }
    Manifest.model_validate(good)
    bad = yaml.safe_load(yaml.safe_dump(good))
    (bad if field == "revision" else bad["files"]["a"])[field] = "main"
    with pytest.raises(ValueError, match=field):
        Manifest.model_validate(bad)


def test_checksums_are_what_sha256sum_reads() -> None:
    manifest = locked(engine_spec()).weights[0]
    assert manifest.checksums == f"{SHA256}  consolidated.safetensors\n{SHA256}  params.json\n"
    assert manifest.size == 60 * 2**30 + 1200


@pytest.mark.parametrize(
    ("changes", "reference"),
    [
        ({}, "docker.io/vllm/vllm-openai:nightly"),
        ({"channel": "stable"}, "docker.io/vllm/vllm-openai:v0.32.0"),
        ({"accelerator": "mi300x"}, "docker.io/vllm/vllm-openai-rocm:nightly"),
        ({"accelerator": "b200"}, "docker.io/vllm/vllm-openai:nightly"),
        ({"image": "r/x:1", "channel": "stable"}, "r/x:1"),
    ],
)
def test_the_image_a_host_asks_for(changes: dict[str, str], reference: str) -> None:
    assert image.reference(engine_spec(**changes)) == reference


def wanted(spec: EngineSpec) -> list[lock.WeightsName]:
    return lock.wanted_weights(spec, sizing.size(spec).draft)


def test_the_weights_a_host_asks_for() -> None:
    commit = "c4be198050fb5789774a55b92ed697becfbf20ae"
    draft = (f"{MEDIUM}-EAGLE", "main", "mistral")
    assert wanted(engine_spec()) == [(MEDIUM, commit, "mistral"), draft]
    assert wanted(engine_spec(engine="sglang")) == [(MEDIUM, commit, "hf"), draft]  # a draft has no other layout
    assert wanted(engine_spec(speculative=False, model_revision="v2")) == [(MEDIUM, "v2", "mistral")]
    assert wanted(engine_spec(speculative=2, draft_revision="v3"))[1] == (f"{MEDIUM}-EAGLE", "v3", "mistral")
    # one MI300X holds 131072 tokens only without the draft: nothing is downloaded that is not served
    assert wanted(engine_spec(accelerator="mi300x", accelerator_count=1)) == [(MEDIUM, commit, "mistral")]
