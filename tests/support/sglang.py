"""The real SGLang on lab hosts, as tests ask it: on its host, as nobody else reaches its port but the balancers."""

from __future__ import annotations

import json
import re
import runpy
from typing import Any, NamedTuple

from lab import topology
from lab.hosts import hosts
from tests.support.commands import Run

PORT = 8000
# What inventory/lab.py gives its engine to run on a processor.
ENGINE_ARGS: dict[str, Any] = runpy.run_path("inventory/lab.py")["_sglang"]["engine_args"]


class FirstDeploy(NamedTuple):
    """The first deploy of a session, and the files that it has fetched from the hub."""

    run: Run
    fetched: set[str]


class Answer(NamedTuple):
    """An answer. `status` is 0 where there was none."""

    status: int
    text: str

    @property
    def message(self) -> dict[str, Any]:
        """The message of a chat completion."""
        assert self.status == 200, self.text
        return dict(json.loads(self.text)["choices"][0]["message"])


def ask(host: str, path: str, body: str | None = None, *, seconds: int = 120, key: str | None = None) -> Answer:
    """A request to a host's engine, without the balancer between. With a body it is a POST."""
    url = f"http://{topology.find(host).address}:{PORT}{path}"
    bearer = "" if key is None else f"-H 'Authorization: Bearer {key}'"
    post = "" if body is None else "-H 'Content-Type: application/json' --data-binary @-"
    output = hosts.exec(
        host, f"curl -s -m {seconds} -w '\\n%{{http_code}}' {bearer} {post} {url}", text=body or "", check=False
    ).stdout
    text, _, status = output.rpartition("\n")
    return Answer(int(status or 0), text)


def admin_key(host: str) -> str:
    """The key of its administration, which root alone can read."""
    (key,) = re.findall(
        r'^admin-api-key: "(\w+)"$', hosts.exec(host, "cat /run/barewind/engine/sglang.yaml").stdout, re.M
    )
    return str(key)


def chat(host: str, question: str = "Who are you?", **more: Any) -> Answer:
    """A chat completion of a host's engine."""
    body = {"model": topology.MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": question}], **more}
    return ask(host, "/v1/chat/completions", json.dumps(body))
