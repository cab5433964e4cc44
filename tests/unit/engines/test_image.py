"""Which image a host asks for, and the version that its tag names."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.engines.image import reference, software_version, version
from barewind.lock.file import Lock
from barewind.plan import checks
from barewind.plan.engine import plan_host
from tests.support.factories import DIGEST, engine_spec


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("r/v:v0.32.0", "0.32.0"),
        ("r/v:0.32.0", "0.32.0"),
        ("r/v:v0.32.0-cu129", "0.32.0"),
        ("r/v:v0.33.0rc1", "0.33.0"),
        ("r/v:v0.5.23-rocm720-mi30x", "0.5.23"),
        ("r.example:5000/v:v0.5.19-cu130", "0.5.19"),
        (f"r/v:v0.26.0@{DIGEST}", "0.26.0"),
        ("r/v:v0.102.13", "0.102.13"),
        ("r/v:nightly", None),
        ("r/v:cu129-nightly", None),
        ("r/v:nightly-" + "0" * 40, None),
        ("r/v:nightly-dev-cu13-20260930-0a1b2c3d", None),
        ("r/v:latest", None),
        ("r/v", None),
        ("10.20.30.40:5000/v", None),
        (f"r/v@{DIGEST}", None),
    ],
)
def test_the_version_is_read_from_the_tag(image: str, expected: str | None) -> None:
    assert version(engine_spec(image=image)) == expected


def test_numbers_of_something_else_in_the_tag_are_no_version() -> None:
    assert version(engine_spec(image="r/v:rocm7.0.0_vllm_0.32.0")) != "7.0.0"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "docker.io/vllm/vllm-openai:nightly"),
        ({"channel": "stable"}, "docker.io/vllm/vllm-openai:v0.32.0"),
        ({"accelerator": "mi355x", "channel": "stable"}, "docker.io/vllm/vllm-openai-rocm:v0.32.0"),
        ({"engine": "sglang"}, "docker.io/lmsysorg/sglang:nightly-dev-cu13"),
        ({"engine": "sglang", "channel": "stable"}, "docker.io/lmsysorg/sglang:v0.5.23-cu130"),
        (
            {"engine": "sglang", "channel": "stable", "accelerator": "mi300x"},
            "docker.io/lmsysorg/sglang:v0.5.23-rocm720-mi30x",
        ),
        ({"engine": "sglang", "image": f"r/s@{DIGEST}"}, f"r/s@{DIGEST}"),
    ],
)
def test_the_image_of_engine_channel_and_vendor(changes: dict[str, Any], expected: str) -> None:
    assert reference(engine_spec(**changes)) == expected


@pytest.mark.parametrize(
    ("engine", "image", "cuda"),
    [
        ("vllm", "docker.io/vllm/vllm-openai:v0.32.0-cu129", "12.9"),
        ("vllm", "docker.io/vllm/vllm-openai:cu129-nightly", "12.9"),
        ("vllm", "docker.io/vllm/vllm-openai:v0.32.0-cu130", "13.0"),
        ("vllm", "docker.io/vllm/vllm-openai:v0.32.0", None),  # the newest
        ("vllm", "docker.io/vllm/vllm-openai:nightly", None),
        ("vllm", "registry.example.org/own:v1-cuda128", "12.8"),
        ("sglang", "docker.io/lmsysorg/sglang:v0.5.23", "12.9"),
        ("sglang", "docker.io/lmsysorg/sglang:latest", "12.9"),
        ("sglang", "docker.io/lmsysorg/sglang:v0.5.23-cu130", "13.0"),
        ("sglang", "docker.io/lmsysorg/sglang:nightly-dev-cu13-20261120-0123abcd", "13"),
        ("sglang", "docker.io/lmsysorg/sglang:nightly-dev-20261120-0123abcd", "12.9"),
        ("sglang", "registry.example.org/sglang:v0.5.23", None),
        ("sglang", "docker.io/lmsysorg/sglang@sha256:" + "1a" * 32, None),
    ],
)
def test_the_version_of_cuda_by_the_tag(engine: str, image: str, cuda: str | None) -> None:
    assert software_version(engine_spec(engine=engine, image=image)) == cuda


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"image": "docker.io/vllm/vllm-openai:v0.32.0-cu129", "nvidia_driver": "570.195.03"}, False),
        ({"image": "docker.io/vllm/vllm-openai:cu129-nightly", "nvidia_driver": "570.195.03"}, False),
        ({"engine": "sglang", "image": "docker.io/lmsysorg/sglang:v0.5.23", "nvidia_driver": "570.195.03"}, False),
        ({"image": "docker.io/vllm/vllm-openai:v0.32.0", "nvidia_driver": "570.195.03"}, True),
        ({"image": "docker.io/vllm/vllm-openai:v0.32.0-cu129", "nvidia_driver": "520.1"}, True),
    ],
)
def test_a_driver_is_held_against_what_the_tag_says(changes: dict[str, Any], told: bool) -> None:
    unlocked = plan_host(engine_spec(**changes), Lock())
    assert [problem.partition(":")[0] for problem in checks.problems(unlocked)] == ["key 'nvidia_driver'"] * told
