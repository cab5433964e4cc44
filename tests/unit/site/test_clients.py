"""Engines that ask everybody for a key, behind balancers that take it away: refused at plan, with both ways on."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.errors import BarewindError
from barewind.site.read import read_site
from tests.support.factories import engine_entry, entry

KEY = {"VLLM_API_KEY": "~/secrets/engine"}


def problems(engine: dict[str, Any], *open_: bool) -> list[str]:
    balancers = [
        entry(f"lb{at}", "balancers", address=f"192.0.2.{at + 2}", endpoint_open=value)
        for at, value in enumerate(open_)
    ]
    hosts = [engine_entry("gpu1", address="192.0.2.11", engine_secrets=engine), engine_entry("192.0.2.12")]
    try:
        read_site([*hosts, *balancers])
    except BarewindError as error:
        return str(error).splitlines()
    return []


def test_it_is_refused_with_both_ways_on_and_the_hosts_that_have_it() -> None:
    (problem,) = problems(KEY, True, False)
    assert problem.startswith("key 'engine_secrets': with VLLM_API_KEY engines ask for a key")
    for part in ("(lb1)", "leave VLLM_API_KEY out", "endpoint_open = True", "(on gpu1)"):
        assert part in problem


@pytest.mark.parametrize(
    ("secrets", "balancers"),
    [(KEY, ()), (KEY, (True, True)), ({"HF_TOKEN": "~/secrets/hf"}, (False,)), ({}, (False,))],
)
def test_who_asks_alone_is_let_be(secrets: dict[str, str], balancers: tuple[bool, ...]) -> None:
    assert problems(secrets, *balancers) == []
