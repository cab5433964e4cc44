"""What every host's keys have in common: its name, its groups, its address on the fleet's network."""

from __future__ import annotations

import ipaddress

from pydantic import BaseModel, ConfigDict, field_validator

from barewind.spec.names import host_name_problem, shown
from barewind.spec.values import url_host


class HostSpec(BaseModel):
    """The keys that every host has, whatever it is there for."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    host: str
    groups: tuple[str, ...]
    address: str  # the host's IP address on the fleet's network: engines listen on it, balancers connect to it

    @property
    def url_host(self) -> str:
        """The address as a URL or host:port has it: IPv6 in brackets (RFC 3986, 3.2.2)."""
        return url_host(self.address)

    @field_validator("host")
    @classmethod
    def _host_name(cls, name: str) -> str:
        if problem := host_name_problem(name):
            raise ValueError(problem)
        return name

    @field_validator("address")
    @classmethod
    def _ip_address(cls, address: str) -> str:
        try:  # a zone (fe80::1%eth0) may be any text, and means something on one host only
            return str(ipaddress.ip_address(address.replace("%", " ")))
        except ValueError:
            raise ValueError(
                f"{shown(address)} is no IP address; set 'address' to the host's IP address on the fleet's network"
            ) from None


def tls_or_private(tls: bool, address: str | None) -> bool:
    """Whether a program of a host speaks TLS; `address` is None where the host's is not right.

    Raises:
        ValueError: it speaks plain HTTP on an address that is not private.
    """
    if not tls and address is not None and not private(address):
        raise ValueError(
            f"plain HTTP on {address}: only on a private address; use TLS, or set 'address' to a private one"
        )
    return tls


def private(address: str) -> bool:
    """Whether it is a private IP address; a name can come to stand for any."""
    try:
        return ipaddress.ip_address(address).is_private
    except ValueError:
        return False
