"""Hosts as they are reached, beside what each shall be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from testinfra.host import Host

from barewind.plan.engine import EnginePlan
from barewind.spec.keys import BalancerSpec, MirrorSpec
from barewind.spec.site import Site
from barewind.verify.findings import Finding


@dataclass(frozen=True)
class Engine:
    """An engine on its host, what it shall serve, and the inventory that it is in."""

    host: Host
    plan: EnginePlan
    site: Site
    ssh_port: int  # where the inventory says that its sshd is

    @property
    def log(self) -> str:
        """Where to look when it does not answer, as a remedy."""
        return f"read the log: journalctl -u {self.plan.names.unit}"

    def expect(self, holds: bool, expectation: str, actual: object, remedy: str) -> None:
        """Fail unless it holds, with host, expectation, what is there instead, and the next step."""
        _expect(self.plan.name, holds, expectation, actual, remedy)

    def refuse(self, findings: list[Finding]) -> None:
        """Fail with each of the findings, if there are any."""
        _refuse(self.plan.name, findings)


@dataclass(frozen=True)
class Balancer:
    """A balancer host, its spec, and the fleet behind it."""

    host: Host
    spec: BalancerSpec
    plans: dict[str, EnginePlan]
    site: Site

    def expect(self, holds: bool, expectation: str, actual: object, remedy: str) -> None:
        """Fail unless it holds, with host, expectation, what is there instead, and the next step."""
        _expect(self.spec.host, holds, expectation, actual, remedy)

    def refuse(self, findings: list[Finding]) -> None:
        """Fail with each of the findings, if there are any."""
        _refuse(self.spec.host, findings)


@dataclass(frozen=True)
class Mirror:
    """A mirror host, its spec, and the fleet that pulls from it."""

    host: Host
    spec: MirrorSpec
    plans: dict[str, EnginePlan]
    site: Site

    def expect(self, holds: bool, expectation: str, actual: object, remedy: str) -> None:
        """Fail unless it holds, with host, expectation, what is there instead, and the next step."""
        _expect(self.spec.host, holds, expectation, actual, remedy)

    def refuse(self, findings: list[Finding]) -> None:
        """Fail with each of the findings, if there are any."""
        _refuse(self.spec.host, findings)


@dataclass(frozen=True)
class Expected:
    """The whole inventory as it shall be."""

    site: Site
    plans: dict[str, EnginePlan]
    data: dict[str, dict[str, Any]]


def _refuse(host: str, findings: list[Finding]) -> None:
    if findings:
        lines = [
            f"{host}: expected {finding.expectation}; found {finding.actual}. Next: {finding.remedy}"
            for finding in findings
        ]
        pytest.fail("\n".join(lines), pytrace=False)


def _expect(host: str, holds: bool, expectation: str, actual: object, remedy: str) -> None:
    _refuse(host, [] if holds else [Finding(expectation, str(actual), remedy)])
