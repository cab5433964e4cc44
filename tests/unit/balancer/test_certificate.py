"""Certificates of the endpoint: what clients would refuse is refused here, before anything changes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from barewind.balancer import certificate
from barewind.balancer.certificate import expiry
from barewind.errors import BarewindError
from barewind.spec.keys import BalancerSpec
from tests.support.certificates import NAME, Authority
from tests.support.factories import balancer_spec

DAY = timedelta(days=1)


def spec(files: tuple[str, str], name: str = NAME) -> BalancerSpec:
    return balancer_spec(endpoint_tls=True, endpoint_name=name, endpoint_certificate=files[0], endpoint_key=files[1])


def problems(files: tuple[str, str], name: str = NAME) -> list[str]:
    with pytest.raises(BarewindError) as caught:
        certificate.read(spec(files, name))
    assert certificate.problems(spec(files, name)) == str(caught.value).splitlines()
    return str(caught.value).replace(str(Path(files[0]).parent), "DIR").splitlines()


def test_plain_http_has_no_certificate() -> None:
    assert certificate.read(balancer_spec()) is None
    assert certificate.problems(balancer_spec()) == []


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ([NAME], NAME),
        (["LLM.example.com"], NAME),
        (["other.example.com", NAME], NAME),
        (["*.example.com"], NAME),
        (["10.0.0.9"], "10.0.0.9"),
        (["fd00::9"], "fd00::9"),
    ],
)
def test_a_certificate_of_the_name_is_taken(tmp_path: Path, names: list[str], name: str) -> None:
    read = certificate.read(spec(Authority().issue(tmp_path, names), name))
    assert read is not None
    assert read.pem.count("-----BEGIN CERTIFICATE-----") == 2
    assert read.pem.count("-----BEGIN PRIVATE KEY-----") == 1
    assert "\n\n" not in read.pem  # which would end what HAProxy is told
    assert read.pem not in repr(read)


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["other.example.com"], NAME),
        (["*.example.com"], "a.b.example.com"),
        (["*.example.com"], "example.com"),
        (["*.0.0.9"], "10.0.0.9"),
        (["10.0.0.9"], "10.0.0.10"),
        ([], NAME),
    ],
)
def test_a_certificate_of_another_name_is_refused(tmp_path: Path, names: list[str], name: str) -> None:
    assert problems(Authority().issue(tmp_path, names), name) == [
        f"endpoint_certificate DIR/endpoint.pem: is for {', '.join(names) or 'no name'}, and clients connect to {name} "
        "(endpoint_name); get one for it"
    ]


def test_one_without_its_chain_is_refused_and_one_that_signed_itself_has_none(tmp_path: Path) -> None:
    files = Authority("Middle", Authority()).issue(tmp_path)
    alone = Path(files[0]).read_text().partition("-----END CERTIFICATE-----\n")
    Path(files[0]).write_text(alone[0] + alone[1])
    (problem,) = problems(files)
    assert "is without its chain: who issued it (CN=Middle) is not in the file; name the full chain" in problem


def test_a_chain_in_another_order_is_refused(tmp_path: Path) -> None:
    middle = Authority("Middle", Authority("Upper", Authority()))
    files = middle.issue(tmp_path)
    own, first, second = re.findall(r"-----BEGIN.*?-----END CERTIFICATE-----\n", Path(files[0]).read_text(), re.DOTALL)
    Path(files[0]).write_text(own + second + first)
    assert problems(files) == [
        f"endpoint_certificate DIR/endpoint.pem: CN=Upper has not issued CN={NAME}, which stands before it; write the "
        "certificate first, then who issued it, and so on"
    ]


def test_an_expired_one_is_refused_and_so_is_one_whose_chain_has_expired(tmp_path: Path) -> None:
    (problem,) = problems(Authority().issue(tmp_path, begins=-90, expires=-1))
    assert re.search(r"endpoint.pem: has expired on \d{4}-\d\d-\d\d \d\d:\d\d UTC; renew it$", problem)
    (problem,) = problems(Authority("Middle", Authority(), expires=-2).issue(tmp_path))
    assert re.search(r"endpoint.pem: CN=Middle, which is in its chain, has expired on .* UTC; renew it$", problem)
    (problem,) = problems(Authority().issue(tmp_path, begins=2))
    assert re.search(r"endpoint.pem: is not good before .* UTC; look at this machine's clock$", problem)


def test_the_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    authority = Authority()
    (certificate_file, _), (_, key_file) = authority.issue(tmp_path), authority.issue(tmp_path, name="other")
    assert problems((certificate_file, key_file)) == [
        "endpoint_key DIR/other.key: is not the key of the certificate in DIR/endpoint.pem; name the two that were made together"
    ]


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    files = Authority().issue(tmp_path, ["other.example.com"], begins=-90, expires=-1)
    Path(files[1]).chmod(0o644)
    assert [re.sub(" on .* UTC", "", problem) for problem in problems(files)] == [
        "endpoint_key DIR/endpoint.key: mode 0644 lets others read it; run: chmod 600 DIR/endpoint.key",
        "endpoint_certificate DIR/endpoint.pem: has expired; renew it",
        f"endpoint_certificate DIR/endpoint.pem: is for other.example.com, and clients connect to {NAME} (endpoint_name); "
        "get one for it",
    ]


@pytest.mark.parametrize("what", ["certificate", "key"])
@pytest.mark.parametrize(
    "content", [None, "", "no PEM\n", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_pem_is_refused_without_a_traceback(tmp_path: Path, what: str, content: str | None) -> None:
    files = Authority().issue(tmp_path)
    file = Path(files[what == "key"])
    file.write_text(content or "") if content is not None else file.unlink()
    (problem,) = problems(files)
    assert problem.startswith(f"endpoint_{what} DIR/endpoint.{'pem' if what == 'certificate' else 'key'}: ")


def test_a_key_behind_a_passphrase_is_refused(tmp_path: Path) -> None:
    (problem,) = problems(Authority().issue(tmp_path, passphrase=b"secret"))
    assert problem.startswith(
        "endpoint_key DIR/endpoint.key: is locked by a passphrase; write it without: openssl pkey"
    )


@pytest.mark.parametrize(
    ("life", "left", "told"),
    [
        (90 * DAY, 22 * DAY, None),
        (90 * DAY, 20.5 * DAY, "expires on 2026-12-20 12:00 UTC, in 20 days"),
        (90 * DAY, 1.5 * DAY, "expires on 2026-12-20 12:00 UTC, in 1 day"),
        (90 * DAY, DAY / 8, "expires on 2026-12-20 12:00 UTC, in 3 hours"),
        (90 * DAY, -DAY / 8, "has expired on 2026-12-20 12:00 UTC: clients refuse it"),
        (6 * DAY, 2.5 * DAY, None),
        (6 * DAY, 1.5 * DAY, "expires on 2026-12-20 12:00 UTC, in 1 day"),
    ],
)
def test_when_a_person_is_told_of_its_end(life: Any, left: Any, told: str | None) -> None:
    expires = datetime(2026, 12, 20, 12, tzinfo=UTC)
    assert expiry(expires - life, expires, expires - left) == (told or "")


def test_one_that_ends_soon_is_told_of_and_a_wrong_one_is_for_the_plan(tmp_path: Path) -> None:
    assert certificate.soon(balancer_spec()) == ""
    assert certificate.soon(spec(Authority().issue(tmp_path))) == ""
    assert certificate.soon(spec(Authority().issue(tmp_path, begins=-80, expires=10))).endswith("in 10 days")
    assert certificate.soon(spec(("/nowhere", "/nowhere"))) == ""
