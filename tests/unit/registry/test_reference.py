"""Image references, read as Docker reads them, and their names in a mirror."""

from __future__ import annotations

import re

import pytest

from barewind.registry.reference import mirror_repository, mirrored, parse, pinned
from tests.support.factories import DIGEST

# A repository's name as the distribution specification has it.
_PART = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(/{_PART})*")


@pytest.mark.parametrize(
    ("reference", "registry", "repository", "tag", "digest"),
    [
        ("debian", "docker.io", "library/debian", "latest", None),
        ("debian:12", "docker.io", "library/debian", "12", None),
        ("vllm/vllm-openai:nightly", "docker.io", "vllm/vllm-openai", "nightly", None),
        ("docker.io/vllm/vllm-openai", "docker.io", "vllm/vllm-openai", "latest", None),
        ("localhost/x:1", "localhost", "x", "1", None),
        ("10.0.0.2:5000/a/b:1", "10.0.0.2:5000", "a/b", "1", None),
        ("10.0.0.2:5000/a/b", "10.0.0.2:5000", "a/b", "latest", None),
        (f"quay.io/a/b@{DIGEST}", "quay.io", "a/b", None, DIGEST),
        (f"quay.io/a/b:1@{DIGEST}", "quay.io", "a/b", "1", DIGEST),
    ],
)
def test_parse(reference: str, registry: str, repository: str, tag: str | None, digest: str | None) -> None:
    parsed = parse(reference)
    assert (parsed.registry, parsed.repository, parsed.tag, parsed.digest) == (registry, repository, tag, digest)


@pytest.mark.parametrize(
    "reference", ["vllm/vllm-openai", "vllm/vllm-openai:nightly", f"vllm/vllm-openai:x@{'sha256:' + '0' * 64}"]
)
def test_pinned_drops_tag_and_old_digest(reference: str) -> None:
    assert pinned(reference, DIGEST) == f"docker.io/vllm/vllm-openai@{DIGEST}"


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("vllm/vllm-openai:nightly", "docker.io/vllm/vllm-openai"),
        ("debian:12", "docker.io/library/debian"),
        ("nvcr.io/nim/mistral@sha256:00", "nvcr.io/nim/mistral"),
        ("172.30.77.2:5000/vllm/vllm-openai:nightly", "172.30.77.2-5000/vllm/vllm-openai"),
        ("[fd00::1]:5000/a:1", "fd00-1-5000/a"),
        ("Registry.Example:443/a:1", "registry.example-443/a"),
    ],
)
def test_the_name_in_a_mirror_says_where_an_image_is_from(reference: str, name: str) -> None:
    assert mirror_repository(reference) == name
    assert _REPOSITORY.fullmatch(name)
    assert mirrored("10.0.0.5:5000", reference, DIGEST) == f"10.0.0.5:5000/{name}@{DIGEST}"


def test_an_image_that_lives_in_the_mirror_keeps_its_name() -> None:
    assert mirrored("10.0.0.5:5000", "10.0.0.5:5000/own/vllm:1", DIGEST) == f"10.0.0.5:5000/own/vllm@{DIGEST}"
