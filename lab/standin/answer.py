"""What the engine says: made-up words in the shapes of vLLM's answers, whole or as server-sent events.

Field names, their order and which of them are null are those of vLLM 0.32.
"""

import json
import os
import time
from typing import Any

from lab.standin.question import Question

Json = dict[str, Any]

WORDS: tuple[str, ...] = (
    *("This", "is", "a", "stand-in", "for", "the", "engine:", "it", "read", "your", "question,", "counted", "its"),
    *("words", "and", "understood", "nothing.", "It", "says", "the", "same", "to", "everybody,", "one", "word", "at"),
    *("a", "time,", "until", "the", "tokens", "that", "were", "asked", "for", "are", "used", "up."),
)
THOUGHTS: tuple[str, ...] = (
    "The",
    "question",
    "has",
    "words,",
    "words",
    "can",
    "be",
    "counted,",
    "so",
    "I",
    "count",
    "them.",
)
NONSENSE = "!"
PIECE = 6  # characters of a tool's arguments per token
DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."
DONE = b"data: [DONE]\n\n"


class Answer:
    """One answer in the making: which token is which, and how it is sent."""

    def __init__(self, question: Question, version: str, asked_id: str | None, *, garbage: bool, parser: bool) -> None:
        self.question = question
        self.said = 0  # tokens so far
        self.last: str | None = None  # why it ended
        self.fingerprint = f"vllm-{version}-standin"
        self._garbage = garbage
        self._details = parser and question.chat  # usage tells reasoning tokens apart
        self._id = ("chatcmpl-" if question.chat else "cmpl-") + (asked_id or os.urandom(8).hex())
        self._created = int(time.time())
        self._call = _call(question.tool) if question.tool else []
        self._call_id = os.urandom(5).hex()[:9]  # Mistral's have nine letters and digits
        self.tokens = min(question.tokens, len(self._call)) if question.tool else question.tokens
        self.finish = "stop" if question.tool and self.tokens == len(self._call) else question.finish
        self._thoughts = (self.tokens + 1) // 2 if question.reasons else 0
        kind = "chat.completion.chunk" if question.chat else "text_completion"
        self._head = (
            f'{{"id":{_dumps(self._id)},"object":"{kind}","created":{self._created},"model":{_dumps(question.model)}'
        )

    def first(self) -> bytes:
        """The event before any token."""
        if not self.question.chat:
            return b""
        choice = '{"index":%d,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
        rest = ',"prompt_token_ids":null,"prompt_text":null'
        return b"".join(self._event(choice % index, rest) for index in range(self.question.sequences))

    def token(self, place: int, last: str | None) -> bytes:
        """The events of one token."""
        self.said = place + 1
        self.last = last
        delta = self._delta(place)
        return self._events(delta, self._word(place), last)

    def cut(self, reason: str) -> bytes:
        """The events of an end without a token; none where none was sent before, as in vLLM."""
        self.last = reason
        return self._events("{}", "", reason) if self.said else b""

    def end(self) -> bytes:
        """What follows the last token."""
        if not self.question.usage:
            return DONE
        usage = {name: value for name, value in self.usage().items() if value is not None}
        return self._event("", f',"usage":{_dumps(usage)},"system_fingerprint":{_dumps(self.fingerprint)}') + DONE

    def dead(self) -> bytes:
        """What a stream ends with when the engine dies."""
        return b"data: " + json.dumps(error(500, DEAD)).encode() + b"\n\n" + DONE

    def usage(self) -> Json:
        """Tokens in and out."""
        prompt, said = self.question.prompt, self.said * self.question.sequences
        details = {"reasoning_tokens": min(self.said, self._thoughts)} if self._details else None
        return {
            "prompt_tokens": prompt,
            "total_tokens": prompt + said,
            "completion_tokens": said,
            "prompt_tokens_details": None,
            "completion_tokens_details": details,
        }

    def whole(self) -> Json:
        """The answer without streaming."""
        question = self.question
        choice = self._message if question.chat else self._text
        rest = {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}
        of_prompt = {"prompt_logprobs": None, "prompt_token_ids": None, "prompt_text": None}
        return {
            "id": self._id,
            "object": "chat.completion" if question.chat else "text_completion",
            "created": self._created,
            "model": question.model,
            "choices": [choice(index) for index in range(question.sequences)],
            "service_tier": None,
            "system_fingerprint": self.fingerprint,
            "usage": self.usage(),
            **(of_prompt if question.chat else {}),
            **rest,
        }

    def _message(self, index: int) -> Json:
        called = self._call_is_whole()
        spoken = [self._word(place) for place in range(self._thoughts, self.said)]
        content: str | None = "".join(spoken)
        if self.question.tool:
            content = None if called and self.question.choice == "auto" else ""
        thoughts = "".join(self._word(place) for place in range(min(self.said, self._thoughts)))
        call = {"id": self._call_id, "type": "function", "function": self._function()}
        message = {
            "role": "assistant",
            "content": content,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            **({"tool_calls": [call]} if called else {}),
            "reasoning": thoughts or None,
        }
        return {
            "index": index,
            "message": message,
            "logprobs": None,
            "finish_reason": self._reason(self.last),
            "stop_reason": None,
            "token_ids": None,
            "routed_experts": None,
        }

    def _text(self, index: int) -> Json:
        return {
            "index": index,
            "text": "".join(self._word(place) for place in range(self.said)),
            "logprobs": None,
            "finish_reason": self.last,
            "stop_reason": None,
            "token_ids": None,
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "routed_experts": None,
        }

    def _word(self, place: int) -> str:
        if self._garbage:
            return NONSENSE
        if place < self._thoughts:
            words, at = THOUGHTS, place
        else:
            words, at = WORDS, place - self._thoughts
        word = words[at % len(words)]
        return word if at == 0 else f" {word}"

    def _delta(self, place: int) -> str:
        if self.question.tool:
            return _dumps({"tool_calls": [self._called(place)]})
        return f'{{"{"reasoning" if place < self._thoughts else "content"}":{_dumps(self._word(place))}}}'

    def _called(self, place: int) -> Json:
        if place:
            return {"index": 0, "function": {"arguments": self._call[place]}}
        function = {"name": self._call[0], "arguments": ""}
        return {"id": self._call_id, "type": "function", "index": 0, "function": function}

    def _function(self) -> Json:
        return {"name": self._call[0], "arguments": "".join(self._call[1:])} if self._call else {}

    def _call_is_whole(self) -> bool:
        return bool(self._call) and self.said >= len(self._call)

    def _reason(self, last: str | None) -> str | None:
        if last == "stop" and self._call_is_whole() and self.question.choice != "named":
            return "tool_calls"
        return last

    def _events(self, delta: str, text: str, last: str | None) -> bytes:
        reason = _dumps(self._reason(last))
        if self.question.chat:
            finish = f'"finish_reason":{reason}' + (',"stop_reason":null' if last else "") + ',"token_ids":null}'
            rest = f'"delta":{delta},"logprobs":null,{finish}'
        else:
            of_prompt = '"stop_reason":null,"prompt_token_ids":null,"token_ids":null}'
            rest = f'"text":{_dumps(text)},"logprobs":null,"finish_reason":{reason},{of_prompt}'
        after = ""
        if last and not self.question.usage:
            after = f',"system_fingerprint":{_dumps(self.fingerprint)}'
        if self.question.continuous_usage:
            after += f',"usage":{_dumps({name: value for name, value in self.usage().items() if value is not None})}'
        return b"".join(self._event(f'{{"index":{index},{rest}', after) for index in range(self.question.sequences))

    def _event(self, choices: str, after: str) -> bytes:
        return f'data: {self._head},"choices":[{choices}]{after}}}\n\n'.encode()


def error(status: int, message: str, kind: str = "InternalServerError", param: str | None = None) -> Json:
    """An error as the API words it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


def _call(function: Json) -> list[str]:
    """The tokens of a call: the name, then its arguments in pieces."""
    text = json.dumps(_example(function.get("parameters") or {"type": "object"}))
    return [str(function.get("name")), *(text[at : at + PIECE] for at in range(0, len(text), PIECE))]


def _example(schema: Json) -> Any:
    """A value that fits a JSON schema, as far as tools need it."""
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("type") == "object" or "properties" in schema:
        wanted = schema.get("required", list(schema.get("properties", {})))
        return {name: _example(one) for name, one in schema.get("properties", {}).items() if name in wanted}
    if schema.get("type") == "array":
        return [_example(schema["items"])] if isinstance(schema.get("items"), dict) else []
    simple = {"integer": 1, "number": 1.5, "boolean": True, "null": None}
    return simple.get(str(schema.get("type")), "stand-in")


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
