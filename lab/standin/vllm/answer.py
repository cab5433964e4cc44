"""Answers in the form of vLLM's, whole or as server-sent events.

Field names, their order and which of them are null are those of vLLM 0.32.
"""

import json
import os
from typing import Any

from lab.standin.answer import DONE, Answer, dumps
from lab.standin.question import Question

Json = dict[str, Any]

DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."


class VllmAnswer(Answer):
    """An answer of vLLM."""

    def __init__(self, question: Question, version: str, asked_id: str | None, *, garbage: bool, parser: bool) -> None:
        super().__init__(question, version, asked_id, garbage=garbage, parser=parser)
        self.fingerprint = f"vllm-{version}-standin"
        self._id = ("chatcmpl-" if question.chat else "cmpl-") + (asked_id or os.urandom(8).hex())
        self._call_id = os.urandom(5).hex()[:9]  # Mistral's have nine letters and digits
        kind = "chat.completion.chunk" if question.chat else "text_completion"
        self._head = (
            f'{{"id":{dumps(self._id)},"object":"{kind}","created":{self.created},"model":{dumps(question.model)}'
        )

    def first(self) -> bytes:
        """The event before the first token."""
        if not self.question.chat:
            return b""
        choice = '{"index":%d,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
        rest = ',"prompt_token_ids":null,"prompt_text":null'
        return b"".join(self._event(choice % index, rest) for index in range(self.question.sequences))

    def token(self, place: int, last: str | None) -> bytes:
        """The events of a token. `last`: reason of the end, with the last token."""
        self.took(place, last)
        delta = self._delta(place)
        return self._events(delta, self.word(place), last)

    def cut(self, reason: str) -> bytes:
        """The events of an end without a token; none if there was no token before."""
        self.last = reason
        return self._events("{}", "", reason) if self.generated else b""

    def end(self) -> bytes:
        """The events after the last token."""
        if not self.question.usage:
            return DONE
        usage = {name: value for name, value in self.usage().items() if value is not None}
        return self._event("", f',"usage":{dumps(usage)},"system_fingerprint":{dumps(self.fingerprint)}') + DONE

    def dead(self) -> bytes:
        """The events at the end of a stream when the engine has died."""
        return b"data: " + json.dumps(error(500, DEAD)).encode() + b"\n\n" + DONE

    def usage(self) -> Json:
        """Usage: tokens of the prompt and of the answer."""
        prompt, completion = self.question.prompt, self.generated * self.question.sequences
        counted = self.parser and self.question.chat
        details = {"reasoning_tokens": min(self.generated, self.thoughts)} if counted else None
        return {
            "prompt_tokens": prompt,
            "total_tokens": prompt + completion,
            "completion_tokens": completion,
            "prompt_tokens_details": None,
            "completion_tokens_details": details,
        }

    def whole(self) -> Json:
        """The answer as it is sent without streaming."""
        question = self.question
        choice = self._message if question.chat else self._text
        rest = {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}
        of_prompt = {"prompt_logprobs": None, "prompt_token_ids": None, "prompt_text": None}
        return {
            "id": self._id,
            "object": "chat.completion" if question.chat else "text_completion",
            "created": self.created,
            "model": question.model,
            "choices": [choice(index) for index in range(question.sequences)],
            "service_tier": None,
            "system_fingerprint": self.fingerprint,
            "usage": self.usage(),
            **(of_prompt if question.chat else {}),
            **rest,
        }

    def _message(self, index: int) -> Json:
        called = self.call_is_whole()
        content: str | None = self.said()
        if self.question.tool:
            content = None if called and self.question.choice == "auto" else ""
        call = {"id": self._call_id, "type": "function", "function": self.function()}
        message = {
            "role": "assistant",
            "content": content,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            **({"tool_calls": [call]} if called else {}),
            "reasoning": self.thought() or None,
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
            "text": self.said(),
            "logprobs": None,
            "finish_reason": self.last,
            "stop_reason": None,
            "token_ids": None,
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "routed_experts": None,
        }

    def _delta(self, place: int) -> str:
        if self.question.tool:
            return dumps({"tool_calls": [self._called(place)]})
        return f'{{"{"reasoning" if place < self.thoughts else "content"}":{dumps(self.word(place))}}}'

    def _called(self, place: int) -> Json:
        if place:
            return {"index": 0, "function": {"arguments": self.call[place]}}
        function = {"name": self.call[0], "arguments": ""}
        return {"id": self._call_id, "type": "function", "index": 0, "function": function}

    def _reason(self, last: str | None) -> str | None:
        if last == "stop" and self.call_is_whole() and self.question.choice != "named":
            return "tool_calls"
        return last

    def _events(self, delta: str, text: str, last: str | None) -> bytes:
        reason = dumps(self._reason(last))
        if self.question.chat:
            finish = f'"finish_reason":{reason}' + (',"stop_reason":null' if last else "") + ',"token_ids":null}'
            rest = f'"delta":{delta},"logprobs":null,{finish}'
        else:
            of_prompt = '"stop_reason":null,"prompt_token_ids":null,"token_ids":null}'
            rest = f'"text":{dumps(text)},"logprobs":null,"finish_reason":{reason},{of_prompt}'
        after = ""
        if last and not self.question.usage:
            after = f',"system_fingerprint":{dumps(self.fingerprint)}'
        if self.question.continuous_usage:
            after += f',"usage":{dumps({name: value for name, value in self.usage().items() if value is not None})}'
        return b"".join(self._event(f'{{"index":{index},{rest}', after) for index in range(self.question.sequences))

    def _event(self, choices: str, after: str) -> bytes:
        return f'data: {self._head},"choices":[{choices}]{after}}}\n\n'.encode()


def error(status: int, message: str, kind: str = "InternalServerError", param: str | None = None) -> Json:
    """Body of an error, as the API words it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}
