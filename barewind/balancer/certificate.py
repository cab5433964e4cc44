"""The certificate of the endpoint, read from the controller's files, and refused before a client would. Pure but for these."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from barewind import secrets
from barewind.errors import BarewindError
from barewind.spec.keys import BalancerSpec

_SOON = timedelta(days=21)  # who renews 90 days' certificates does so 30 days before their end


@dataclass(frozen=True)
class Certificate:
    """A certificate with its chain and its key. `pem` is what HAProxy reads: all of them, without an empty line, which would
    end what its runtime API is told."""

    pem: str = field(repr=False)
    sha1: str  # of the certificate alone, hexadecimal in capitals, as HAProxy tells it
    begins: datetime
    expires: datetime


def read(spec: BalancerSpec, now: datetime | None = None) -> Certificate | None:
    """The certificate that a balancer shall show; None for plain HTTP.

    + now: for tests

    Raises:
        BarewindError: whatever clients would refuse, or HAProxy: everything that is wrong with the two files, a line each.
    """
    if not spec.endpoint_tls:
        return None
    certificate_file, key_file = str(spec.endpoint_certificate), str(spec.endpoint_key)
    problems: list[str] = []
    chain, key = [], None
    try:
        chain = _chain(certificate_file)
    except BarewindError as error:
        problems.append(str(error))
    try:
        key = _key(key_file)
    except BarewindError as error:
        problems.append(str(error))
    if chain:
        found = _problems(chain, str(spec.endpoint_name), now or datetime.now(UTC))
        problems += [f"endpoint_certificate {certificate_file}: {problem}" for problem in found]
        if key is not None and key[0] != _public(chain[0]):
            problems.append(
                f"endpoint_key {key_file}: is not the key of the certificate in {certificate_file}; name the two that were "
                "made together"
            )
    if problems or key is None:
        raise BarewindError("\n".join(problems))
    pem = "".join(each.public_bytes(Encoding.PEM).decode() for each in chain) + key[1]
    return Certificate(
        pem,
        hashlib.sha1(chain[0].public_bytes(Encoding.DER), usedforsecurity=False).hexdigest().upper(),
        chain[0].not_valid_before_utc,
        chain[0].not_valid_after_utc,
    )


def problems(spec: BalancerSpec) -> list[str]:
    """What is wrong with a balancer's certificate, each with its remedy behind the last semicolon; none for plain HTTP."""
    try:
        read(spec)
    except BarewindError as error:
        return str(error).splitlines()
    return []


def soon(spec: BalancerSpec) -> str:
    """What a person should know of when a balancer's certificate ends; "" while there is time, or for `problems` to tell."""
    try:
        certificate = read(spec)
    except BarewindError:
        return ""
    return expiry(certificate.begins, certificate.expires, datetime.now(UTC)) if certificate is not None else ""


def expiry(begins: datetime, expires: datetime, now: datetime) -> str:
    """What a person should know of a certificate that ends soon, or has ended; "" while there is time. One that is good for
    weeks only is told of in the last third of them."""
    left = expires - now
    if left < timedelta(0):
        return f"has expired on {expires:%Y-%m-%d %H:%M} UTC: clients refuse it"
    if left > min(_SOON, (expires - begins) / 3):
        return ""
    return f"expires on {expires:%Y-%m-%d %H:%M} UTC, in {told(left)}"


def told(left: timedelta) -> str:
    """How long that is, for people."""
    number, unit = (left.days, "day") if left.days else (left.seconds // 3600, "hour")
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _chain(file: str) -> list[x509.Certificate]:
    path = Path(file).expanduser()
    try:
        chain = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise BarewindError(f"endpoint_certificate {path}: {error.strerror}; correct the key.") from error
    except ValueError as error:
        raise BarewindError(
            f"endpoint_certificate {path}: has no certificate in PEM format in it; name the file with it and its chain"
        ) from error
    return chain


def _key(file: str) -> tuple[bytes, str]:
    """The public part of a key, and the key as PEM."""
    text = secrets.read("endpoint_key", file)
    path = Path(file).expanduser()
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except TypeError as error:  # wants a password, which HAProxy could not be asked for
        raise BarewindError(
            f"endpoint_key {path}: is locked by a passphrase; write it without: openssl pkey -in {path}"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BarewindError(f"endpoint_key {path}: has no private key in PEM format in it; correct the key.") from error
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), pem


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _problems(chain: list[x509.Certificate], name: str, now: datetime) -> Iterator[str]:
    first = chain[0]
    if now < first.not_valid_before_utc:
        yield f"is not good before {first.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; look at this machine's clock"
    for certificate in chain:
        if now > certificate.not_valid_after_utc:
            whose = "" if certificate is first else f"{_subject(certificate)}, which is in its chain, "
            yield f"{whose}has expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; renew it"
    names = _names(first)
    if not any(_covers(each, name) for each in names):
        yield f"is for {', '.join(names) or 'no name'}, and clients connect to {name} (endpoint_name); get one for it"
    for certificate, issuer in pairwise(chain):
        if not _issued(certificate, issuer):
            yield (
                f"{_subject(issuer)} has not issued {_subject(certificate)}, which stands before it; write the certificate "
                "first, then who issued it, and so on"
            )
            return
    if len(chain) == 1 and not _issued(first, first):
        yield (
            f"is without its chain: who issued it ({first.issuer.rfc4514_string()}) is not in the file; name the full chain "
            "(fullchain.pem), or clients that do not know the issuer refuse it"
        )


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _names(certificate: x509.Certificate) -> list[str]:
    """The names and addresses that it is for. Clients look at no others: the common name has been out of use for years."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [
        *extension.value.get_values_for_type(x509.DNSName),
        *(str(address) for address in extension.value.get_values_for_type(x509.IPAddress)),
    ]


def _covers(pattern: str, name: str) -> bool:
    """Whether a name of a certificate is good for another: a star stands for one label (RFC 6125, 6.4.3)."""
    if pattern.startswith("*.") and not _address(name):
        _, _, name = name.partition(".")
        pattern = pattern[2:]
    return pattern.lower() == name.lower()


def _address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "a certificate without a subject"
