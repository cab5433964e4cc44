"""Image references, read as Docker reads them."""

from __future__ import annotations

import pytest

from barewind.images import parse, pinned
from tests.unit.factories import DIGEST


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
