"""Which images a host loses: what is beyond the releases that it keeps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from barewind.images.retention import removable

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
    events = more.get("events", [(entry["release"], "serving") for entry in reversed(past)])
    facts = {
        "images": images,
        "used": more.get("used", []),
        "history": past,
        "events": [
            json.dumps({"at": "2026-11-22T09:00:00Z", "release": release, "event": event, "by": "ann@ws1"})
            for release, event in events
        ],
    }
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


LOST = {
    "all": [],
    "all, and the next release failed": [("release-0", "started"), ("release-0", "failed")],
    "all but the last": [("release-0", "serving")],
}


@pytest.mark.parametrize("name", LOST)
def test_without_events_no_image_is_known_to_be_old(name: str) -> None:
    """A power cut has damaged the list of events: each record without one may be of the release that served last."""
    assert left(ALL, history(*"abcd"), events=LOST[name], keep=2) == [f"{VLLM}@{digest('e')}"]


def test_events_that_reach_far_enough_show_which_images_are_old() -> None:
    """The list of events is cut off at its length; what it does not name any more is older than the rest."""
    served = [("release-1", "serving"), ("release-0", "serving")]
    assert left(ALL, history(*"abcd"), events=served, keep=2) == [f"{VLLM}@{digest(one)}" for one in "cde"]


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
