"""Answers in the form of SGLang's, whole or as server-sent events.

Field names, their order and which of them are null are those of SGLang 0.5.23.
"""

import os
from typing import Any

from lab.standin.answer import DONE, Answer, dumps
from lab.standin.question import Question

Json = dict[str, Any]

END_OF_TEXT = 2  # number of the token that ends an answer, in Mistral's vocabulary


class SglangAnswer(Answer):
    """An answer of SGLang. Each of several has an id of its own in a stream."""

    def __init__(self, question: Question, version: str, asked_id: str | None, *, garbage: bool, parser: bool) -> None:
        super().__init__(question, version, asked_id, garbage=garbage, parser=parser)
        self._ids = [os.urandom(16).hex() for _ in range(question.sequences)]
        self._call_id = f"call_{os.urandom(12).hex()}"

    def first(self) -> bytes:
        """Nothing: the first event comes with the first token."""
        return b""

    def token(self, place: int, last: str | None) -> bytes:
        """The events of a token. `last`: reason of the end, with the last token."""
        self.took(place, last)
        events = self._each({"reasoning_content": None, "role": "assistant", "content": ""}) if place == 0 else b""
        if not self.question.chat:
            return b"".join(self._event(self._text_choice(index, place), {"usage": None}) for index in self._all())
        if self.generated:  # none where no token was asked for
            events += self._said(place)
        return events + (self._ended() if last else b"")

    def cut(self, reason: str) -> bytes:
        """The events of an end without a token: SGLang has no such end, it lets requests finish."""
        self.last = reason
        return b""

    def end(self) -> bytes:
        """The events after the last token."""
        if not self.question.usage:
            return DONE
        usage = self.usage()
        if not self.question.chat:
            usage = {name: value for name, value in usage.items() if value is not None}
        head = self._head(self._ids[-1])
        return f"data: {dumps({**head, 'choices': [], 'usage': usage})}\n\n".encode() + DONE

    def dead(self) -> bytes:
        """Nothing: when SGLang dies its connections break off."""
        return b""

    def usage(self) -> Json:
        """Usage: tokens of the prompt and of the answer."""
        prompt, completion = self.question.prompt, self.generated * self.question.sequences
        reasoning = min(self.generated, self.thoughts) * self.question.sequences
        images = self.question.images
        return {
            "prompt_tokens": prompt,
            "total_tokens": prompt + completion,
            "completion_tokens": completion,
            "prompt_tokens_details": {"cached_tokens": 0, "image_tokens": images} if images else None,
            "reasoning_tokens": reasoning,
            "completion_tokens_details": {"reasoning_tokens": reasoning} if reasoning else None,
        }

    def whole(self) -> Json:
        """The answer as it is sent without streaming."""
        choice = self._message if self.question.chat else self._text
        weights = {"version": "default", "start": 0, "end": self.generated}
        return {
            **self._head(self._ids[0], streamed=False),
            "choices": [choice(index) for index in self._all()],
            "usage": self.usage(),
            "metadata": {"weight_version": "default", "weight_versions": [weights]},
        }

    def _all(self) -> range:
        return range(self.question.sequences)

    def _head(self, id_: str, *, streamed: bool = True) -> Json:
        chat = "chat.completion.chunk" if streamed else "chat.completion"
        kind = chat if self.question.chat else "text_completion"
        return {"id": id_, "object": kind, "created": self.created, "model": self.question.model}

    def _message(self, index: int) -> Json:
        called = self.call_is_whole()
        call = {"id": self._call_id, "index": 0, "type": "function", "function": self.function()}
        message = {
            "role": "assistant",
            "content": "" if self.question.tool else self.said(),
            "reasoning_content": self.thought() or None,
            **({"tool_calls": [call]} if called else {}),
        }
        stopped = self.last == "stop" and not called
        return {"index": index, "message": message, **self._finish(self._reason(), stopped=stopped)}

    def _text(self, index: int) -> Json:
        return {"index": index, "text": self.said(), **self._finish(self.last, stopped=self.last == "stop")}

    def _text_choice(self, index: int, place: int) -> Json:
        word = self.word(place) if self.generated else ""
        return {"index": index, "text": word, **self._finish(self.last, stopped=self.last == "stop")}

    def _finish(self, reason: str | None, *, stopped: bool) -> Json:
        return {"logprobs": None, "finish_reason": reason, "matched_stop": END_OF_TEXT if stopped else None}

    def _reason(self) -> str | None:
        return "tool_calls" if self.last == "stop" and self.call_is_whole() else self.last

    def _said(self, place: int) -> bytes:
        """The events with a token's text, or with its part of a tool's call."""
        if self.question.tool:
            part = {"role": None, "content": None, "reasoning_content": None, "tool_calls": [self._called(place)]}
            return self._each(part, usage=None)
        word = self.word(place)
        delta: Json = {"reasoning_content": word}
        if place >= self.thoughts:
            delta = {"reasoning_content": None, "content": word}
        return self._each(delta, **({"usage": self.usage()} if self.question.continuous_usage else {}))

    def _called(self, place: int) -> Json:
        first = place == 0
        function = {"name": self.call[0] if first else None, "arguments": "" if first else self.call[place]}
        return {"id": self._call_id if first else None, "index": 0, "type": "function", "function": function}

    def _ended(self) -> bytes:
        finish = self._finish(self._reason(), stopped=self.last == "stop")
        choices = ({"index": index, "delta": {"reasoning_content": None}, **finish} for index in self._all())
        return b"".join(self._event(choice, {}) for choice in choices)

    def _each(self, delta: Json, **after: Any) -> bytes:
        """An event for each answer."""
        finish = self._finish(None, stopped=False)
        return b"".join(self._event({"index": index, "delta": delta, **finish}, after) for index in self._all())

    def _event(self, choice: Json, after: Json) -> bytes:
        event = {**self._head(self._ids[choice["index"]]), "choices": [choice], **after}
        return f"data: {dumps(event)}\n\n".encode()
