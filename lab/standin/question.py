"""Requests for text, as the engine takes them. An engine's own module reads and validates their bodies."""

import json
import re
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

UNTOLD = 64  # tokens of a chat answer without max_tokens
UNTOLD_COMPLETION = 16  # tokens; the engines' own default
IMAGE_TOKENS = 256
CHAT_TOKENS = 3  # around the words of a conversation
MODEL_EFFORTS = ("none", "high")  # Mistral Medium 3.5's


class Problem(Exception):
    """The request is answered with an error. `body`: JSON, or plain text."""

    def __init__(self, status: int, body: Json | str) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


@dataclass(frozen=True)
class Question:
    """A request for text that the engine would accept."""

    chat: bool
    model: str
    stream: bool
    usage: bool  # a last chunk with the usage
    continuous_usage: bool
    sequences: int  # answers
    prompt: int  # tokens
    tokens: int  # of each answer
    finish: str  # reason of its end: "length" or "stop"
    reasons: bool
    tool: Json | None = None  # the function to call
    choice: str = "auto"  # who chose the function: "named" or "required" by the client, "auto" by the model
    images: int = 0  # tokens of the prompt that are images


@dataclass(frozen=True)
class Conversation:
    """What the messages of a request hold, in numbers."""

    words: int  # tokens
    images: int


def conversation(messages: list[Json]) -> Conversation:
    """Count what messages hold.

    Raises:
        ValueError: a part of a message is of an unknown type, which is named.
    """
    words = images = 0
    for message in messages:
        content = message.get("content") or ""
        for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
            if part.get("type") == "text":
                words += count(part.get("text", ""))
            elif part.get("type") == "image_url":
                images += 1
            else:
                raise ValueError(str(part.get("type")))
    return Conversation(words, images)


def texts(prompts: Any) -> list[str]:
    """The prompts of a request for completions: a text, its tokens' numbers, or several of either."""
    if isinstance(prompts, str):
        return [prompts]
    if all(isinstance(prompt, int) for prompt in prompts):  # a single prompt, of token numbers
        return ["x " * len(prompts)]
    return [prompt if isinstance(prompt, str) else "x " * len(prompt) for prompt in prompts]


def called(document: Json, *, parsed: bool) -> tuple[Json | None, str]:
    """The function that the answer calls, if any, and who chose it.

    + parsed: the engine looks for calls where the client demands none
    """
    tools, choice = document.get("tools"), document.get("tool_choice")
    if not tools or choice == "none":
        return None, "auto"
    if isinstance(choice, dict):
        return named(tools, choice["function"]["name"]), "named"
    if choice == "required":
        return named(tools, None), "required"
    last = json.dumps(document["messages"][-1].get("content"))
    mentioned = [tool["function"] for tool in tools if tool["function"]["name"] in last]
    return (mentioned[0] if mentioned and parsed else None), "auto"


def named(tools: list[Json], name: str | None) -> Json | None:
    """The function of this name among tools, or the first one."""
    functions = [tool.get("function", {}) for tool in tools]
    return next((function for function in functions if name is None or function.get("name") == name), None)


def count(text: str) -> int:
    """Number of tokens of a text, about: words and punctuation marks."""
    return len(re.findall(r"\w+|[^\w\s]", text))
