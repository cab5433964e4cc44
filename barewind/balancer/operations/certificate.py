"""The certificate of the endpoint on a balancer."""

from __future__ import annotations

import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand, operation

from barewind.balancer import renewal
from barewind.balancer.certificate import Certificate
from barewind.balancer.facts import EndpointCertificate
from barewind.balancer.names import ENDPOINT_PEM
from barewind.hosts.file import HostFile
from barewind.hosts.operations import known


@operation()
def certified(certificate: Certificate) -> Generator[StringCommand, None, None]:
    """Have a balancer show a certificate, without a reload where it shows one already.

    + certificate: with its chain and its key

    **Example:**

    .. code:: python

        certified(name="Certificate", certificate=certificate.read(spec))
    """
    facts = known(host.get_fact(EndpointCertificate, path=ENDPOINT_PEM), host.name, "the certificate")
    shown = facts["shown"]
    file = HostFile(ENDPOINT_PEM, certificate.pem, mode="600")
    if not file.differs(facts["files"]) and (shown is None or shown.sha1 == certificate.sha1):
        host.noop("the balancer already has this certificate")
        return
    yield StringCommand(renewal.renew(certificate.sha1), _stdin=certificate.pem)


@operation()
def uncertified() -> Generator[StringCommand, None, None]:
    """Have no certificate, and no key, on a balancer that speaks plain HTTP.

    **Example:**

    .. code:: python

        uncertified(name="Certificate")
    """
    facts = known(host.get_fact(EndpointCertificate, path=ENDPOINT_PEM), host.name, "the certificate")
    if ENDPOINT_PEM in facts["files"]:
        yield StringCommand(f"rm -f {shlex.quote(ENDPOINT_PEM)}")
    else:
        host.noop("no certificate is there")
