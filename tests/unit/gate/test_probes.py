"""What counts as an answer to a probe."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from barewind.gate import probes
from barewind.gate.probes import Probe

COMPLETION = probes.completion("m")
TOOL, LOOSE_TOOL = probes.tool("m", strict=True, effort="none"), probes.tool("m", strict=False)
ON = probes.reasoning_on("m", strict=True, field="reasoning")
OFF = probes.reasoning_off("m", strict=True, field="reasoning")


def completion(finish: str = "stop", tokens: int = 1, **message: Any) -> str:
    message = {"role": "assistant", "content": "Hi"} | message
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"choices": [choice], "usage": {"completion_tokens": tokens}})


def call(name: str = "set_unit", arguments: Any = '{"unit": "celsius"}') -> list[dict[str, Any]]:
    return [{"id": "x", "type": "function", "function": {"name": name, "arguments": arguments}}]


@pytest.mark.parametrize(
    ("probe", "answer"),
    [
        (COMPLETION, completion()),
        (COMPLETION, completion(content="")),  # a first token may be no letter
        (TOOL, completion(content=None, tool_calls=call())),
        (TOOL, completion("tool_calls", content=None, tool_calls=call())),
        (LOOSE_TOOL, completion("length", content="[{ ")),  # what the lab's random weights make of it
        (LOOSE_TOOL, completion("length", tool_calls=call(arguments='{"un'))),
        (ON, completion(reasoning="9.9 is")),
        (probes.reasoning_on("m", strict=False, field="reasoning"), completion(reasoning=None)),
        (probes.reasoning_on("m", strict=True, field="reasoning_content"), completion(reasoning_content="9.9 is")),
        (OFF, completion(reasoning=None)),
        (probes.reasoning_off("m", strict=False, field="reasoning"), completion(content="")),
    ],
)
def test_a_right_answer(probe: Probe, answer: str) -> None:
    assert probes.problem(probe, 200, answer) == ""


@pytest.mark.parametrize(
    ("probe", "status", "answer", "problem"),
    [
        (COMPLETION, 0, "curl: (28) Operation timed out", "a completion: no answer (curl: (28) Operation timed out)"),
        (COMPLETION, 0, "", "a completion: no answer (the connection was closed)"),
        (COMPLETION, 500, '{"error": {"message": "EngineCore died"}}', "a completion: HTTP 500 (EngineCore died)"),
        (COMPLETION, 401, '{"error": "Unauthorized"}', "a completion: HTTP 401 (Unauthorized)"),
        (COMPLETION, 502, "<html>", "a completion: HTTP 502 (<html>)"),
        (COMPLETION, 200, "<html>", "a completion: the answer is no chat completion (<html>)"),
        (COMPLETION, 200, '{"choices": []}', "a completion: the answer is no chat completion"),
        (COMPLETION, 200, '{"choices": [{"message": null}], "usage": {"completion_tokens": 1}}', "no chat completion"),
        (COMPLETION, 200, completion(tokens=0), "a completion: the answer holds no token"),
        (TOOL, 200, completion(), "the call of a tool: the answer holds no call"),
        (TOOL, 200, completion("length", content="[{"), "the answer holds no call"),
        (LOOSE_TOOL, 200, completion("stop"), "the answer holds no call"),
        (TOOL, 200, completion(tool_calls=call("x")), "it calls 'x', not 'set_unit'"),
        (TOOL, 200, completion(tool_calls=[{}]), "the call does not have the form of a call"),
        (TOOL, 200, completion(tool_calls=call(arguments="{")), "the call's arguments are no JSON"),
        (TOOL, 200, completion(tool_calls=call(arguments=None)), "the call's arguments are no JSON"),
        (TOOL, 200, completion(tool_calls=call(arguments="{}")), "the call's arguments are not those of its schema"),
        (ON, 200, completion(reasoning=None), "an answer with reasoning: 'reasoning' is empty"),
        (
            ON,
            200,
            completion(content="[THINK]9.9"),
            "reasoning comes inside of the text, the engine's parser does not find it",
        ),
        (OFF, 200, completion(reasoning="9.9"), "there is reasoning in it, though none was asked for"),
        (OFF, 200, completion(content="<think>"), "there is reasoning in it, though none was asked for"),
        (OFF, 200, completion(content=""), "an answer without reasoning: the text is empty"),
    ],
)
def test_a_wrong_answer_says_which_probe_and_what(probe: Probe, status: int, answer: str, problem: str) -> None:
    assert problem in probes.problem(probe, status, answer)


def test_the_image_is_a_picture_that_any_decoder_takes() -> None:
    part = json.loads(probes.image("m").body)["messages"][0]["content"][1]
    kind, _, data = part["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    png = probes._png()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(png[16:20]) == int.from_bytes(png[20:24]) == 56
    at = png.index(b"IDAT")
    length = int.from_bytes(png[at - 4 : at])
    assert len(zlib.decompress(png[at + 4 : at + 4 + length])) == 56 * (1 + 3 * 56)
    assert len(data) < 400


def test_a_model_of_random_weights_is_asked_for_fewer_tokens() -> None:
    assert json.loads(LOOSE_TOOL.body)["max_tokens"] < json.loads(TOOL.body)["max_tokens"]
    assert "reasoning_effort" not in json.loads(LOOSE_TOOL.body)
    assert json.loads(TOOL.body)["reasoning_effort"] == "none"
