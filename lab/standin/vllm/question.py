"""Requests for text: bodies read and validated as vLLM does, with its messages."""

import json
import re
from typing import Any

from lab.standin import question
from lab.standin.question import CHAT_TOKENS, IMAGE_TOKENS, MODEL_EFFORTS, UNTOLD, UNTOLD_COMPLETION, Question, count
from lab.standin.settings import Settings

Json = dict[str, Any]

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
MOST = 2**64  # what its msgpack takes for a number, exclusive
ROLES = ("system", "developer", "user", "assistant", "tool")


class Problem(question.Problem):
    """An error of vLLM's. `kind` and `param` as the API names them."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError", param: str | None = None) -> None:
        super().__init__(status, {"error": {"message": message, "type": kind, "param": param, "code": status}})


def read(settings: Settings, context: int, path: str, content_type: str, body: bytes) -> Question:
    """The request for text in a body. `context`: tokens that a request may have at most.

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
        prompts, prompt = len(texts), sum(1 + count(text) for text in texts)
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
    """The error of a request that pydantic refuses, as vLLM words it."""
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
        document = json.loads(body)
    except json.JSONDecodeError as error:
        more = f", 'ctx': {{'error': {error.msg!r}}}"
        raise _invalid("json_invalid", f"body.{error.pos}", "JSON decode error", "'<dict of 0 items>'", more) from None
    except UnicodeDecodeError:
        raise Problem(400, "There was an error parsing the body", "Bad Request") from None
    if not isinstance(document, dict):
        finding = "Input should be a valid dictionary or object to extract fields from"
        given = repr(f"<list of {len(document)} items>" if isinstance(document, list) else document)
        raise _invalid("model_attributes_type", "body", finding, given)
    return document


def _check_chat(document: Json) -> None:
    if "messages" not in document:
        raise _invalid("missing", "body.messages", "Field required", repr(f"<dict of {len(document)} items>"))
    if not isinstance(document["messages"], list):
        raise _invalid("list_type", "body.messages", "Input should be a valid list", repr(document["messages"]))
    effort = document.get("reasoning_effort")
    if effort is not None and effort not in EFFORTS:
        *others, last = (repr(known) for known in EFFORTS)
        expected = f"{', '.join(others)} or {last}"
        more = f", 'ctx': {{'expected': {expected!r}}}"
        raise _invalid("literal_error", "body.reasoning_effort", f"Input should be {expected}", repr(effort), more)
    choice = document.get("tool_choice")
    if choice not in (None, "none", "auto"):
        if not document.get("tools"):
            raise _parameter("tool_choice", "When using `tool_choice`, `tools` must be set.")
        if (
            isinstance(choice, dict)
            and question.named(document["tools"], choice.get("function", {}).get("name")) is None
        ):
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
    tokens = (document.get("max_completion_tokens") if chat else None) or document.get("max_tokens")
    return None if tokens is None else int(tokens)


def _check_sizes(document: Json, wanted: int | None, prompt: int, context: int) -> None:
    temperature = document.get("temperature")
    if isinstance(temperature, int | float) and temperature < 0:
        shown = float(temperature)
        raise _parameter("temperature", f"temperature must be non-negative, got {shown}.", shown)
    top_k = document.get("top_k")
    if isinstance(top_k, int) and top_k >= MOST:
        raise Problem(500, "", "InternalServerError")  # the client's fault, and told as the server's
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
    """Number of tokens of the messages and tools."""
    messages = document["messages"]
    if not messages:
        raise Problem(400, "list index out of range")
    for message in messages:
        if message.get("role") not in ROLES:
            raise Problem(400, f"Unknown message role: {message.get('role')}")
    try:
        held = question.conversation(messages)
    except ValueError as error:
        raise Problem(400, f"Unknown part type: {error}") from None
    if held.images > settings.images:
        remedy = "Set `--limit-mm-per-prompt` to increase this limit."
        raise _parameter("image", f"At most {settings.images} image(s) may be provided in one prompt. {remedy}")
    effort = document.get("reasoning_effort")
    if effort is not None and effort not in MODEL_EFFORTS:
        known = ", ".join(f"<ReasoningEffort.{name}: '{name}'>" for name in MODEL_EFFORTS)
        raise Problem(400, f"reasoning_effort should be one of [{known}], got {effort}.")
    tools = document.get("tools")
    return CHAT_TOKENS + held.words + held.images * IMAGE_TOKENS + (count(json.dumps(tools)) if tools else 0)


def _prompts(document: Json) -> list[str]:
    prompts = document.get("prompt")
    if not prompts:
        finding = "Either prompt or prompt_embeds must be provided and non-empty."
        raise _parameter("prompt", finding)
    return question.texts(prompts)


def _tool(settings: Settings, document: Json) -> tuple[Json | None, str]:
    """The function that the answer calls, if any, and who chose it."""
    if settings.tool_parser is None:
        return None, "auto"
    return question.called(document, parsed=settings.auto_tools)
