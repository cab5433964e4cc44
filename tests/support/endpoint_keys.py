"""A HAProxy of this machine that asks for keys, before an engine that imitates, and what it logs of requests."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from barewind.balancer import commands as balancer
from barewind.keys.entry import Key, map_line
from lab import wait
from tests.support.endpoint_client import CHAT, Answer, ask
from tests.support.endpoint_engine import FakeEngine
from tests.support.haproxy import HAProxy, engine_at

Start = Callable[..., int]


def text_of(id: str) -> str:
    """The key of an id."""
    return f"sk-bw-{id}"


def key(id: str, **values: Any) -> Key:
    """A key that is good, without limits but for these."""
    return Key(id, hashlib.sha256(text_of(id).encode()).hexdigest(), "", datetime.now(UTC), "", **values)


def configure(haproxy: HAProxy, engine: FakeEngine, *keys: Key, slots: int = 16, **own: Any) -> int:
    """Have HAProxy ask for these keys when it starts; its port."""
    haproxy.use([engine_at("gpu1", engine.port, max_num_seqs=slots)], endpoint_open=False, **own)
    (haproxy.path / "keys.map").write_text("".join(f"{map_line(one)}\n" for one in keys))
    return haproxy.port


@pytest.fixture
def start(haproxy: HAProxy, engine: FakeEngine) -> Start:
    """Run HAProxy with these keys."""

    def run(*keys: Key, slots: int = 16, **own: Any) -> int:
        port = configure(haproxy, engine, *keys, slots=slots, **own)
        haproxy.start()
        haproxy.until(balancer.wait_checked)
        return port

    return run


def chat(port: int, id: str, *headers: str, target: str = CHAT, **where: str) -> Answer:
    """A chat completion for the key of an id."""
    return ask(port, target, "POST", f"Authorization: Bearer {text_of(id)}", *headers, body="{}", **where)


def lines(haproxy: HAProxy) -> list[dict[str, Any]]:
    """What is logged of requests."""
    return [json.loads(re.sub(r"^<\d+>", "", line)) for line in haproxy.log() if '"at"' in line]


def line_of(haproxy: HAProxy, answer: Answer) -> dict[str, Any]:
    """What is logged of a request."""
    mark = answer.headers["x-request-id"]
    wait.until(lambda: mark in "".join(haproxy.log()), 60, "the request is not logged")
    return next(line for line in lines(haproxy) if line["id"] == mark)
