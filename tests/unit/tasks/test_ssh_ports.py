"""Where a host's sshd answers, so that its packet filter leaves it open."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from barewind.tasks.run import TimedFacts
from barewind.tasks.steps import release


@pytest.mark.parametrize(
    ("data", "facts", "ports"),
    [
        ({}, {"ssh_ports": [22]}, {22}),
        ({"ssh_port": 22022}, {"ssh_ports": [22, 22022]}, {22, 22022}),
        ({"ssh_port": 2222}, {"ssh_ports": [22022]}, {2222, 22022}),  # another port is passed on to the host's
        ({"ssh_port": "22022"}, None, {22022}),
        ({}, None, {22}),
    ],
)
def test_the_inventorys_port_and_those_that_the_host_tells(
    monkeypatch: pytest.MonkeyPatch, data: dict[str, Any], facts: dict[str, Any] | None, ports: set[int]
) -> None:
    inventory = SimpleNamespace(get_host=lambda _: SimpleNamespace(data=data))
    monkeypatch.setattr(release, "state", SimpleNamespace(inventory=inventory))
    monkeypatch.setattr(release, "host_facts", lambda: {"gpu1": TimedFacts(facts, 0.0)})
    assert release.ssh_ports("gpu1") == ports
