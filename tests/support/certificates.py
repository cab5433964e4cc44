"""Certificates for tests, of an authority of their own."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
NAME = "llm.example.com"


class Authority:
    """Who issues certificates, each with a key of its own."""

    def __init__(self, name: str = "Test Authority", above: Authority | None = None, expires: int = 3650) -> None:
        self.name, self.above = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), above
        self.key = ec.generate_private_key(ec.SECP256R1())
        signer = above or self
        self.certificate = _signed(self.name, signer.name, self.key, signer.key, -3650, expires, authority=True)

    @property
    def pem(self) -> str:
        """Its certificate, and those of who stands above it, but for the one at the top."""
        return _text(self.certificate) + (self.above.pem if self.above and self.above.above else "")

    def issue(
        self,
        folder: Path,
        names: Sequence[str] = (NAME,),
        *,
        begins: int = -1,
        expires: int = 90,
        name: str = "endpoint",
        key: Key | None = None,
        passphrase: bytes | None = None,
    ) -> tuple[str, str]:
        """The files of a certificate with its chain, and of its key; `begins` and `expires` are days from now."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, (names or [NAME])[0])])
        made = _signed(subject, self.name, key, self.key, begins, expires, names)
        certificate_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
        certificate_file.write_text(_text(made) + self.pem)
        lock = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
        key_file.chmod(0o600)
        return str(certificate_file), str(key_file)


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: Key,
    signing: Key,
    begins: int,
    expires: int,
    names: Sequence[str] = (),
    *,
    authority: bool = False,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins))
        .not_valid_after(now + timedelta(days=expires, hours=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    return builder.sign(signing, SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
