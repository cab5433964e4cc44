"""Which images a host loses, and what is read of its images; the operation around it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import OperationError
from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.facts import make_fact_tests
from pyinfra_testing.operations import make_operation_tests
from pyinfra_testing.util import FakeState, create_host

from barewind.facts.image import ImageHost
from barewind.operations.image import pruned
from barewind.retention import removable
from tests.unit.conftest import Programs, Shell

DATA = Path(__file__).parent
pytestmark = pytest.mark.filterwarnings("ignore:No command set for test")

TestImageHost = make_fact_tests("barewind.facts", "image.ImageHost", DATA / "facts" / "image.ImageHost")
TestImagePruned = make_operation_tests("barewind.operations", "image.pruned", DATA / "operations" / "image.pruned")

VLLM = "docker.io/vllm/vllm-openai"


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


def image(letter: str, name: str | None = VLLM, tag: str | None = None, identity: str | None = None) -> dict[str, Any]:
    return {"name": name, "tag": tag, "digest": digest(letter), "id": f"sha256:id-{identity or letter}"}


def history(*letters: str, name: str = VLLM) -> list[dict[str, str]]:
    """Newest first."""
    return [{"release": f"release-{number}", "image": f"{name}@{digest(one)}"} for number, one in enumerate(letters)]


def left(
    images: list[dict[str, Any]], past: list[dict[str, str]], wanted: str = "a", keep: int = 3, **more: Any
) -> list[str]:
    facts = {"images": images, "used": more.get("used", []), "history": past}
    return removable(
        facts, repositories=more.get("repositories", [VLLM]), wanted=[f"{VLLM}@{digest(wanted)}"], keep=keep
    )


ALL = [image(one) for one in "abcde"]


def test_the_last_releases_stay() -> None:
    assert left(ALL, history(*"abcde")) == [f"{VLLM}@{digest('d')}", f"{VLLM}@{digest('e')}"]
    assert left(ALL, history(*"abcde"), keep=1) == [f"{VLLM}@{digest(one)}" for one in "bcde"]


@pytest.mark.parametrize("known", ["", "a", "ab"])
def test_while_the_history_is_shorter_than_the_window_all_stay(known: str) -> None:
    assert left(ALL, history(*known)) == []


def test_releases_count_not_images() -> None:
    """Three releases of one image are three ways back, and the image before them is a fourth."""
    assert left(ALL, history("a", "a", "a", "b"), keep=3) == [f"{VLLM}@{digest(one)}" for one in "bcde"]
    assert f"{VLLM}@{digest('b')}" not in left(ALL, history("a", "a", "a", "b"), keep=4)


def test_a_release_that_served_twice_counts_once() -> None:
    past = [*history("a", "b"), *history("a", "b"), {"release": "old", "image": f"{VLLM}@{digest('c')}"}]
    assert left(ALL, past) == [f"{VLLM}@{digest('d')}", f"{VLLM}@{digest('e')}"]


def test_what_is_wanted_stays_though_it_has_no_history_yet() -> None:
    assert digest("e") not in str(left(ALL, history(*"abcd"), wanted="e"))


def test_what_a_container_uses_stays() -> None:
    assert left(ALL, history(*"abcde"), used=["sha256:id-e"]) == [f"{VLLM}@{digest('d')}"]


def test_images_of_others_stay() -> None:
    foreign = [image("f", "docker.io/library/postgres", "16"), image("g", None)]
    assert left([*ALL, *foreign], history(*"abc")) == [f"{VLLM}@{digest('d')}", f"{VLLM}@{digest('e')}"]


def test_a_repository_that_was_served_earlier_is_ours() -> None:
    sglang = "docker.io/lmsysorg/sglang"
    past = [*history("a", "b", "c"), {"release": "old", "image": f"{sglang}@{digest('f')}"}]
    assert left([image("f", sglang)], past) == [f"{sglang}@{digest('f')}"]


def test_an_image_with_two_names_stays_under_both() -> None:
    """The same image, pulled from upstream by the index and from a mirror by the platform's manifest."""
    mirrored = image("f", "10.0.0.5:5000/docker.io/vllm/vllm-openai", identity="a")
    ours = [VLLM, "10.0.0.5:5000/docker.io/vllm/vllm-openai"]
    assert left([*ALL, mirrored], history(*"abcde"), repositories=ours) == [f"{VLLM}@{digest(one)}" for one in "de"]


def test_a_tag_without_a_digest_is_removed_by_its_tag() -> None:
    built = {"name": VLLM, "tag": "mine", "digest": None, "id": "sha256:x"}
    nameless = {"name": VLLM, "tag": None, "digest": None, "id": "sha256:y"}
    assert left([built, nameless], history(*"abc")) == [f"{VLLM}:mine"]


def test_images_that_cannot_be_read_are_not_removed() -> None:
    state = FakeState()
    host = create_host(state, facts={"image.ImageHost": None})
    host.fact.facts["image.ImageHost"].data = None
    host.get_fact = lambda *_, **__: None
    with (
        ctx_state.use(state),
        ctx_host.use(host),
        pytest.raises(OperationError, match="state of the images could not be"),
    ):
        list(pruned._inner(repositories=[], wanted=[], keep=1))


# --- The fact in a real shell ------------------------------------------------------------------------------------------


def test_history_comes_newest_first(shell: Shell, programs: Programs, tmp_path: Path) -> None:
    folder = tmp_path / "releases"
    folder.mkdir()
    for number, name in enumerate(["old", "newest", "middle"]):
        (folder / f"{name}.json").write_text(json.dumps({"release": name, "image": f"x@{digest('a')}"}, indent=1))
        when = {"old": 1, "middle": 2, "newest": 3}[name] * 1000 + number
        shell(f"touch -d @{when} {folder}/{name}.json")
    (folder / "broken.json").write_text("{")
    programs(docker="true")
    command = ImageHost().command().replace("/etc/barewind/releases", str(folder))
    found = ImageHost().process(shell(command).stdout.splitlines())
    assert found is not None
    assert [one["release"] for one in found["history"]] == ["newest", "middle", "old"]


@pytest.mark.parametrize("broken", ["image", "ps", "inspect"])
def test_a_docker_that_does_not_answer_is_no_empty_host(shell: Shell, programs: Programs, broken: str) -> None:
    programs(docker=f"case $1 in {broken}) exit 1 ;; ps) echo abc ;; esac")
    assert ImageHost().process(shell(ImageHost().command()).stdout.splitlines()) is None
