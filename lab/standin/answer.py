"""Answers of the engine: meaningless words, and who is to send them. An engine's own module gives them its form."""

import json
import time
from abc import ABC, abstractmethod
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
DONE = b"data: [DONE]\n\n"


class Answer(ABC):
    """An answer that is being generated: its tokens, and the form in which they are sent.

    + version: of the engine
    + asked_id: the id that the caller gave the request, if any
    + garbage: it says nonsense
    + parser: the engine parses reasoning
    """

    def __init__(self, question: Question, version: str, asked_id: str | None, *, garbage: bool, parser: bool) -> None:
        self.question = question
        self.version = version
        self.asked_id = asked_id
        self.parser = parser
        self.generated = 0  # tokens so far
        self.last: str | None = None  # reason of its end
        self.created = int(time.time())
        self.call = _call(question.tool) if question.tool else []
        self.tokens = min(question.tokens, len(self.call)) if question.tool else question.tokens
        self.finish = "stop" if question.tool and self.tokens == len(self.call) else question.finish
        self.thoughts = (self.tokens + 1) // 2 if question.reasons else 0
        self._garbage = garbage

    @abstractmethod
    def first(self) -> bytes:
        """The event before the first token."""

    @abstractmethod
    def token(self, place: int, last: str | None) -> bytes:
        """The events of a token. `last`: reason of the end, with the last token."""

    @abstractmethod
    def cut(self, reason: str) -> bytes:
        """The events of an end without a token."""

    @abstractmethod
    def end(self) -> bytes:
        """The events after the last token."""

    @abstractmethod
    def dead(self) -> bytes:
        """The events at the end of a stream when the engine has died."""

    @abstractmethod
    def whole(self) -> Json:
        """The answer as it is sent without streaming."""

    def took(self, place: int, last: str | None) -> None:
        """Count a token. `last`: reason of the end, with the last token."""
        self.generated = min(place + 1, self.tokens)  # none where none were asked for
        self.last = last

    def word(self, place: int) -> str:
        """The word of a token, with the space before it."""
        if self._garbage:
            return NONSENSE
        if place < self.thoughts:
            words, at = THOUGHTS, place
        else:
            words, at = WORDS, place - self.thoughts
        word = words[at % len(words)]
        return word if at == 0 else f" {word}"

    def said(self) -> str:
        """All words so far that are no reasoning."""
        return "".join(self.word(place) for place in range(self.thoughts, self.generated))

    def thought(self) -> str:
        """All words of reasoning so far."""
        return "".join(self.word(place) for place in range(min(self.generated, self.thoughts)))

    def function(self) -> Json:
        """The function that is called: {"name", "arguments"}; empty if none is."""
        return {"name": self.call[0], "arguments": "".join(self.call[1:])} if self.call else {}

    def call_is_whole(self) -> bool:
        """Whether all tokens of a tool's call have been generated."""
        return bool(self.call) and self.generated >= len(self.call)


def dumps(value: object) -> str:
    """JSON as engines write it: no spaces, letters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _call(function: Json) -> list[str]:
    """The tokens of a tool's call: the name, then its arguments in pieces."""
    text = json.dumps(_example(function.get("parameters") or {"type": "object"}))
    return [str(function.get("name")), *(text[at : at + PIECE] for at in range(0, len(text), PIECE))]


def _example(schema: Json) -> Any:
    """A value that fits a JSON schema, as far as tools use it."""
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("type") == "object" or "properties" in schema:
        wanted = schema.get("required", list(schema.get("properties", {})))
        return {name: _example(value) for name, value in schema.get("properties", {}).items() if name in wanted}
    if schema.get("type") == "array":
        return [_example(schema["items"])] if isinstance(schema.get("items"), dict) else []
    simple = {"integer": 1, "number": 1.5, "boolean": True, "null": None}
    return simple.get(str(schema.get("type")), "stand-in")
