"""Keys about mirrors: what is refused, and what a plan makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.errors import BarewindError
from barewind.plan.engine import plan_host
from barewind.registry.image import LockedImage
from barewind.site.read import read_site
from tests.support.factories import DIGEST, engine_entry, engine_spec, entry, locked

OURS = "sha256:" + "2b" * 32


def problems(*entries: Any) -> list[str]:
    with pytest.raises(BarewindError) as caught:
        read_site(list(entries))
    return str(caught.value).splitlines()


def test_hosts_of_the_group_are_mirrors_and_serve_no_engine() -> None:
    site = read_site([engine_entry("10.0.0.1"), entry("10.0.0.5", "mirrors", mirror_tls=False)])
    assert (list(site.engines), list(site.mirrors), list(site.balancers)) == (["10.0.0.1"], ["10.0.0.5"], [])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "key 'mirror_certificate': not set; name the file (PEM) on the controller, or set mirror_tls = False"),
        ({"mirror_certificate": "c.pem"}, "key 'mirror_key': not set; name the file (PEM) on the controller"),
        (
            {"mirror_tls": False, "address": "8.8.8.8"},
            "key 'mirror_tls': plain HTTP on 8.8.8.8: only on a private address",
        ),
        (
            {"mirror_tls": False, "mirror_port": 5099},
            "key 'mirror_port': 5099 is where the mirror is filled on its own host",
        ),
        ({"mirror_tls": False, "mirror_port": 0}, "key 'mirror_port': Input should be greater than or equal to 1"),
        ({"mirror_tls": False, "mirror_dir": "images"}, "key 'mirror_dir': found 'images'; write an absolute path"),
        (
            {"mirror_tls": False, "mirror_clients": ["controller"]},
            "key 'mirror_clients.0': found 'controller'; write a network",
        ),
        (
            {"mirror_tls": False, "mirror_clients": ["10.0.0.1/8"]},
            "key 'mirror_clients.0': found '10.0.0.1/8'; write a network",
        ),
    ],
)
def test_a_mirror_without_protection_is_refused(data: dict[str, Any], message: str) -> None:
    lines = problems(engine_entry("10.0.0.1"), entry("10.0.0.5", "mirrors", **data))
    assert [line for line in lines if message in line], lines


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"mirror": "10.0.0.5:5000/x"}, "key 'mirror': found '10.0.0.5:5000/x'; write a registry's name"),
        (
            {"mirror": "registry"},
            "Docker takes 'registry' for a name on Docker Hub; write it with its port: registry:5000",
        ),
        (
            {"mirror": "m.example:5000", "mirror_tls": False},
            "plain HTTP to m.example:5000: only to a private IP address",
        ),
        ({"mirror": "8.8.8.8:5000", "mirror_tls": False}, "plain HTTP to 8.8.8.8:5000: only to a private IP address"),
        ({"keep_releases": 0}, "key 'keep_releases': Input should be greater than or equal to 1"),
    ],
)
def test_an_engine_hosts_mirror(data: dict[str, Any], message: str) -> None:
    lines = problems(engine_entry("10.0.0.1", **data))
    assert message in lines[0]


def test_docker_is_told_of_a_mirror_that_speaks_plain_http() -> None:
    engines = read_site(
        [
            engine_entry("10.0.0.1", mirror="10.0.0.5:5000", mirror_tls=False, insecure_registries=["r:1"]),
            engine_entry("10.0.0.2", mirror="[fd00::5]:5000", mirror_tls=False),
            engine_entry("10.0.0.3", mirror="10.0.0.6:5000"),
        ]
    ).engines
    assert [spec.insecure_registries for spec in engines.values()] == [["r:1", "10.0.0.5:5000"], ["[fd00::5]:5000"], []]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"mirror_tls": False},
            "key 'mirror_tls': must be the same on every host that pulls from 10.0.0.5:5000, but is False on 10.0.0.1 "
            "(group_data/site.py) and not set on 10.0.0.2; set it beside 'mirror'",
        ),
        (
            {"mirror_ca": "ca.pem"},
            "key 'mirror_ca': must be the same on every host that pulls from 10.0.0.5:5000, but is 'ca.pem' on 10.0.0.1 "
            "(group_data/site.py) and not set on 10.0.0.2; set it beside 'mirror'",
        ),
    ],
)
def test_hosts_of_one_mirror_must_agree_on_how_it_is_spoken_to(data: dict[str, Any], message: str) -> None:
    mirror = {"mirror": "10.0.0.5:5000"}
    other = engine_entry("10.0.0.3", mirror="10.0.0.6:5000", mirror_ca="other.pem")
    assert problems(engine_entry("10.0.0.1", **mirror, **data), engine_entry("10.0.0.2", **mirror), other) == [message]


def test_a_host_cannot_balance_and_mirror() -> None:
    lines = problems(engine_entry("10.0.0.1"), entry("10.0.0.5", "balancers", "mirrors", mirror_tls=False))
    assert "is in both 'balancers' and 'mirrors'" in lines[0]


def test_mirrors_alone_serve_nothing() -> None:
    assert "no engine host" in problems(entry("10.0.0.5", "mirrors", mirror_tls=False))[0]


# --- Plans -------------------------------------------------------------------------------------------------------------


def test_a_mirror_changes_where_an_image_is_from_and_not_the_release() -> None:
    spec = engine_spec()
    lock = locked(spec)
    upstream, mirrored = plan_host(spec, lock), plan_host(engine_spec(mirror="m.example:5000"), lock)
    assert upstream.pinned_image == f"docker.io/vllm/vllm-openai@{DIGEST}"
    assert mirrored.pinned_image == f"m.example:5000/docker.io/vllm/vllm-openai@{DIGEST}"
    assert mirrored.release == upstream.release is not None


def test_of_an_index_the_mirror_has_our_platform() -> None:
    spec = engine_spec(mirror="m.example:5000")
    images = {"docker.io/vllm/vllm-openai:nightly": LockedImage(digest=DIGEST, platform_digest=OURS, size=1)}
    lock = locked(spec).model_copy(update={"images": images})
    assert plan_host(spec, lock).pinned_image.endswith(f"@{OURS}")
    assert plan_host(engine_spec(), lock).pinned_image.endswith(f"@{DIGEST}")


def test_a_digest_that_a_user_wrote_has_the_last_word() -> None:
    own = "sha256:" + "9" * 64
    spec = engine_spec(image=f"vllm/vllm-openai@{own}", mirror="m.example:5000")
    images = {f"vllm/vllm-openai@{own}": LockedImage(digest=DIGEST, platform_digest=OURS, size=1)}
    lock = locked(spec).model_copy(update={"images": images})
    assert plan_host(spec, lock).pinned_image.endswith(f"@{own}")
