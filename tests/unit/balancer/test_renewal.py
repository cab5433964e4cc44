"""The certificate on a balancer: only another one is brought there, and none is left where none is wanted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from barewind.balancer import renewal
from barewind.balancer.certificate import Certificate
from barewind.balancer.facts import EndpointCertificate
from barewind.balancer.names import ENDPOINT_PEM
from barewind.balancer.operations.certificate import certified, uncertified
from barewind.balancer.renewal import Shown
from barewind.hosts.operations import ManagedFile
from tests.support.data_files import fact_tests, settled_tests
from tests.support.operations import on_host, run

BEGINS, EXPIRES = datetime(2026, 11, 30, 8, 54, 7, tzinfo=UTC), datetime(2026, 12, 2, 8, 54, 7, tzinfo=UTC)
SHA1 = "11F4644B77F440FD1040397C394CC1A9CE71DDCB"
CERTIFICATE = Certificate("-----BEGIN\n", SHA1, BEGINS, EXPIRES)
FILE = ManagedFile(ENDPOINT_PEM, CERTIFICATE.pem, mode="600")
SHOWN = Shown(SHA1, BEGINS, EXPIRES)
FACT = "facts.EndpointCertificate"

TestEndpointCertificate = fact_tests(EndpointCertificate, Path(__file__).parent)
TestCertifiedSettled = settled_tests(
    certified,
    {"certificate": CERTIFICATE},
    FACT,
    {"files": on_host(FILE), "shown": SHOWN},
    subject="the certificate",
)
TestUncertifiedSettled = settled_tests(uncertified, {}, FACT, {"files": {}, "shown": None}, subject="the certificate")


@pytest.mark.parametrize(
    ("files", "shown", "brought"),
    [
        ({}, None, True),
        (on_host(FILE), None, False),  # HAProxy is stopped, or still speaks plain HTTP: it will read the file
        (on_host(FILE), Shown("0" * 40, BEGINS, EXPIRES), True),  # somebody has told its process another
        (on_host(ManagedFile(ENDPOINT_PEM, CERTIFICATE.pem)), SHOWN, True),  # others can read the key
        (on_host(ManagedFile(ENDPOINT_PEM, "another", mode="600")), SHOWN, True),
    ],
)
def test_a_certificate_is_brought_where_it_differs(files: Any, shown: Shown | None, brought: bool) -> None:
    commands = run(certified, {"certificate": CERTIFICATE}, FACT, {"files": files, "shown": shown}, says_why=True)
    assert len(commands) == brought
    assert CERTIFICATE.pem not in str(
        commands and commands[0].get("command", commands[0])
    )  # it has travelled on its input


def test_plain_http_keeps_no_key_on_the_balancer() -> None:
    assert run(uncertified, {}, FACT, {"files": on_host(FILE), "shown": SHOWN}) == [f"rm -f {ENDPOINT_PEM}"]


def test_what_haproxy_tells_of_a_certificate() -> None:
    lines = ["notBefore: Nov 30 08:54:07 2026 GMT", "notAfter: Dec  2 08:54:07 2026 GMT", f"SHA1 FingerPrint: {SHA1}"]
    assert renewal.read(lines) == SHOWN
    assert renewal.read(lines[:2]) is None
    assert renewal.read(["notBefore: soon", *lines[1:]]) is None
