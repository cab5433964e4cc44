"""Whether an endpoint answers a real request."""

from __future__ import annotations

import json
import shlex

from pyinfra.api import FactBase

from barewind.facts import script, split

_TIMEOUT = 60  # seconds for one token; a loaded 128B engine answers within a few


def request(url: str, model: str) -> str:
    """The shell command that asks for one token of a chat completion; fails unless the answer is HTTP 200."""
    body = json.dumps({"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "Say hello."}]})
    return (
        f"curl -sS --noproxy '*' --fail-with-body -m {_TIMEOUT} -H 'Content-Type: application/json' "
        f"-d {shlex.quote(body)} {shlex.quote(url + '/v1/chat/completions')}"
    )


class Answers(FactBase[bool]):
    """Whether a one-token chat completion succeeds, asked from the host itself.

    + url: base URL
    + model: name of the model as clients write it
    """

    abstract = False

    def command(self, url: str, model: str) -> str:
        return script(answer=request(url, model))

    def process(self, output: list[str]) -> bool:
        return is_completion("\n".join(split(output).get("answer", [])))


def is_completion(text: str) -> bool:
    """Whether a response body is a chat completion that generated at least one token."""
    try:
        document = json.loads(text)
        return bool(document["choices"]) and document["usage"]["completion_tokens"] >= 1
    except (ValueError, KeyError, TypeError):
        return False
