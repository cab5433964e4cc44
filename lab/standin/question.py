"""What a client asks for: bodies read and judged as vLLM does, in its words."""

import json
import re
from dataclasses import dataclass
from typing import Any

from lab.standin.settings import Settings

Json = dict[str, Any]

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
MODEL_EFFORTS = ("none", "high")  # Mistral Medium 3.5's
ROLES = ("system", "developer", "user", "assistant", "tool")
UNTOLD = 64  # tokens of a chat answer whose length nobody names
UNTOLD_COMPLETION = 16  # tokens; vLLM's own default
IMAGE_TOKENS = 256
CHAT_TOKENS = 3  # around the words of a conversation


class Problem(Exception):
    """An answer that is an error. `kind` and `param` as the API names them."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError", param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": status}}


@dataclass(frozen=True)
class Question:
    """A request for text that vLLM would take."""

    chat: bool
    model: str
    stream: bool
    usage: bool  # a last chunk with the usage
    continuous_usage: bool
    sequences: int  # answers
    prompt: int  # tokens
    tokens: int  # of each answer
    finish: str  # why it ends there: "length" or "stop"
    reasons: bool
    tool: Json | None = None  # the function to call
    choice: str = "auto"  # who chose it: "named" or "required" by the client, "auto" by the model


def read(settings: Settings, context: int, path: str, content_type: str, body: bytes) -> Question:
    """A question out of a request's body; `context` is the longest a request may be, in tokens.

    Raises:
        Problem: vLLM would refuse it.
    """
    document = _document(content_type, body)
    chat = path == "/v1/chat/completions"
    if chat:
        _check_chat(document)
    wanted = _length(document, chat)
    model = document.get("model") or settings.names[0]
    if model not in settings.names:
        names = ", ".join(settings.names)
        raise Problem(404, f"The model `{model}` does not exist. Valid aliases: {names}.", "NotFoundError", "model")
    prompts = 1
    if chat:
        prompt = _conversation(settings, document)
    else:
        texts = _prompts(document)
        prompts, prompt = len(texts), sum(1 + _count(text) for text in texts)
    _check_sizes(document, wanted, prompt, context)
    room = context - prompt
    tool, choice = _tool(settings, document) if chat else (None, "auto")
    options = document.get("stream_options") or {}
    untold = UNTOLD if chat else UNTOLD_COMPLETION
    return Question(
        chat=chat,
        model=model,
        stream=bool(document.get("stream")),
        usage=bool(options.get("include_usage")),
        continuous_usage=bool(options.get("continuous_usage_stats")),
        sequences=prompts * int(document.get("n") or 1),
        prompt=prompt,
        tokens=min(wanted or untold, room),
        finish="length" if wanted or not chat else "stop",
        reasons=chat and document.get("reasoning_effort") == "high" and settings.reasoning_parser is not None,
        tool=tool,
        choice=choice,
    )


def _invalid(kind: str, place: str, message: str, given: str, more: str = "") -> Problem:
    """A request that pydantic refuses, as vLLM words it."""
    text = f"{{'type': '{kind}', 'loc': '{place}', 'msg': {message!r}, 'input': {given}{more}}}"
    return Problem(400, f"1 validation error:\n  {text}", "Bad Request", place)


def _parameter(name: str, message: str, value: Any = None) -> Problem:
    shown = f"parameter={name}" + ("" if value is None else f", value={value}")
    return Problem(400, f"{message} ({shown})", param=name)


def _document(content_type: str, body: bytes) -> Json:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        text = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed"
        raise Problem(400, text, "Bad Request")
    if not body:
        raise _invalid("missing", "body", "Field required", "'None'")
    try:
        found = json.loads(body)
    except json.JSONDecodeError as error:
        more = f", 'ctx': {{'error': {error.msg!r}}}"
        raise _invalid("json_invalid", f"body.{error.pos}", "JSON decode error", "'<dict of 0 items>'", more) from None
    except UnicodeDecodeError:
        raise Problem(400, "There was an error parsing the body", "Bad Request") from None
    if not isinstance(found, dict):
        finding = "Input should be a valid dictionary or object to extract fields from"
        given = repr(f"<list of {len(found)} items>" if isinstance(found, list) else found)
        raise _invalid("model_attributes_type", "body", finding, given)
    return found


def _check_chat(document: Json) -> None:
    if "messages" not in document:
        raise _invalid("missing", "body.messages", "Field required", repr(f"<dict of {len(document)} items>"))
    if not isinstance(document["messages"], list):
        raise _invalid("list_type", "body.messages", "Input should be a valid list", repr(document["messages"]))
    effort = document.get("reasoning_effort")
    if effort is not None and effort not in EFFORTS:
        *others, last = (repr(one) for one in EFFORTS)
        expected = f"{', '.join(others)} or {last}"
        more = f", 'ctx': {{'expected': {expected!r}}}"
        raise _invalid("literal_error", "body.reasoning_effort", f"Input should be {expected}", repr(effort), more)
    choice = document.get("tool_choice")
    if choice not in (None, "none", "auto"):
        if not document.get("tools"):
            raise _parameter("tool_choice", "When using `tool_choice`, `tools` must be set.")
        if isinstance(choice, dict) and _named(document["tools"], choice.get("function", {}).get("name")) is None:
            finding = "The tool specified in `tool_choice` does not match any of the specified `tools`"
            raise _parameter("tool_choice", finding)


def _length(document: Json, chat: bool) -> int | None:
    for name in ("max_tokens", "max_completion_tokens", "n"):
        value = document.get(name)
        if isinstance(value, str) and not re.fullmatch(r"-?\d+", value):
            finding = "Input should be a valid integer, unable to parse string as an integer"
            raise _invalid("int_parsing", f"body.{name}", finding, repr(value))
        if value is not None and not isinstance(value, int | str):
            raise _invalid("int_type", f"body.{name}", "Input should be a valid integer", repr(value))
    found = (document.get("max_completion_tokens") if chat else None) or document.get("max_tokens")
    return None if found is None else int(found)


def _check_sizes(document: Json, wanted: int | None, prompt: int, context: int) -> None:
    temperature = document.get("temperature")
    if isinstance(temperature, int | float) and temperature < 0:
        shown = float(temperature)
        raise _parameter("temperature", f"temperature must be non-negative, got {shown}.", shown)
    if wanted is not None and wanted > context:
        finding = f"max_tokens={wanted} cannot be greater than max_model_len={context}."
        raise _parameter("max_tokens", f"{finding} Please request fewer output tokens.", wanted)
    if prompt >= context:
        raise _parameter(
            "input_tokens",
            f"This model's maximum context length is {context} tokens. However, your prompt contains {prompt} input "
            "tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input "
            "prompt.",
            prompt,
        )
    if wanted is not None and wanted < 1:
        raise _parameter("max_tokens", f"max_tokens must be at least 1, got {wanted}.", wanted)
    if document.get("n") is not None and int(document["n"]) < 1:
        raise _parameter("n", f"n must be at least 1, got {document['n']}.", document["n"])


def _conversation(settings: Settings, document: Json) -> int:
    """Tokens of the messages and tools."""
    messages = document["messages"]
    if not messages:
        raise Problem(400, "list index out of range")
    tokens, images = CHAT_TOKENS, 0
    for message in messages:
        if message.get("role") not in ROLES:
            raise Problem(400, f"Unknown message role: {message.get('role')}")
        content = message.get("content") or ""
        for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
            if part.get("type") == "text":
                tokens += _count(part.get("text", ""))
            elif part.get("type") == "image_url":
                images += 1
            else:
                raise Problem(400, f"Unknown part type: {part.get('type')}")
    if images > settings.images:
        remedy = "Set `--limit-mm-per-prompt` to increase this limit."
        raise _parameter("image", f"At most {settings.images} image(s) may be provided in one prompt. {remedy}")
    effort = document.get("reasoning_effort")
    if effort is not None and effort not in MODEL_EFFORTS:
        known = ", ".join(f"<ReasoningEffort.{one}: '{one}'>" for one in MODEL_EFFORTS)
        raise Problem(400, f"reasoning_effort should be one of [{known}], got {effort}.")
    tools = document.get("tools")
    return tokens + images * IMAGE_TOKENS + (_count(json.dumps(tools)) if tools else 0)


def _prompts(document: Json) -> list[str]:
    found = document.get("prompt")
    if not found:
        finding = "Either prompt or prompt_embeds must be provided and non-empty."
        raise _parameter("prompt", finding)
    if isinstance(found, str):
        return [found]
    if all(isinstance(one, int) for one in found):  # one prompt of token numbers
        return ["x " * len(found)]
    return [one if isinstance(one, str) else "x " * len(one) for one in found]


def _tool(settings: Settings, document: Json) -> tuple[Json | None, str]:
    """The function that the answer calls, and who chose it."""
    tools, choice = document.get("tools"), document.get("tool_choice")
    if not tools or choice == "none" or settings.tool_parser is None:
        return None, "auto"
    if isinstance(choice, dict):
        return _named(tools, choice["function"]["name"]), "named"
    if choice == "required":
        return _named(tools, None), "required"
    last = json.dumps(document["messages"][-1].get("content"))
    called = [tool["function"] for tool in tools if tool["function"]["name"] in last]
    return (called[0] if called and settings.auto_tools else None), "auto"


def _named(tools: list[Json], name: str | None) -> Json | None:
    functions = [tool.get("function", {}) for tool in tools]
    return next((one for one in functions if name is None or one.get("name") == name), None)


def _count(text: str) -> int:
    """Tokens of a text, near enough: words and signs."""
    return len(re.findall(r"\w+|[^\w\s]", text))
