"""No secret of the inventory can be read on a host."""

from __future__ import annotations

import base64
import shlex
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from barewind.plan import CONTAINER
from tests.verify.conftest import Balancer, Engine

# Where a secret would turn up if a step leaked it: process lists, container settings, units, logs, files of ours.
_PLACES = {
    "the process list": "ps -ewwo args",
    "docker inspect": f"docker inspect {CONTAINER}",
    "systemd units": "cat /etc/systemd/system/*.service",
    "the journal": "journalctl -o cat --no-pager -n 20000",
    "files of ours": "find /etc/barewind /usr/local/lib/barewind /tmp /var/tmp -xdev -type f -size -1024k -exec cat {} +",
}


def test_hub_token_cannot_be_read_on_engines(engine: Engine) -> None:
    _check(engine, engine.host, engine.plan.spec.hub_token_file)


def test_hub_token_is_not_on_balancers(balancer: Balancer) -> None:
    _check(balancer, balancer.host, balancer.data.get("hub_token_file"))


def _check(checked: Any, host: Host, token_file: str | None) -> None:
    if token_file is None:
        pytest.skip("the inventory sets no hub_token_file: there is no secret to look for")
    token = Path(token_file).expanduser().read_text().strip()
    for place, command in _PLACES.items():
        # The token itself never goes into a command line: the output is searched here.
        output = host.run(command).stdout
        leaked = token in output or base64.b64encode(token.encode()).decode() in output
        remedy = f"find it with: {shlex.quote(command)}; then replace the token"
        checked.expect(not leaked, f"no hub token in {place}", "the token", remedy)
