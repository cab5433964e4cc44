"""Requests for text: bodies read and validated as SGLang does, with its messages."""

import json
from typing import Any

from lab.standin import question
from lab.standin.question import (
    CHAT_TOKENS,
    IMAGE_TOKENS,
    MODEL_EFFORTS,
    UNTOLD,
    UNTOLD_COMPLETION,
    Problem,
    Question,
    count,
)
from lab.standin.settings import Settings
from lab.standin.sglang.validation import validated

Json = dict[str, Any]

CHAT = "/v1/chat/completions"
MODEL = "default"  # what a request that names no model gets in its answer
# Any name of a model is taken, but what stands behind a colon is an adapter's.
NO_LORA = (
    "LoRA adapter '{adapter}' was requested, but LoRA is not enabled. Please launch the server with --enable-lora flag and "
    "preload adapters using --lora-paths or /load_lora_adapter endpoint."
)


def problem(message: str, kind: str = "BadRequestError", status: int = 400) -> Problem:
    """An error of SGLang's. `kind` as the API names it."""
    return Problem(status, error(status, message, kind))


def error(status: int, message: str, kind: str = "InternalServerError") -> Json:
    """Body of an error, as the API words it."""
    return {"object": "error", "message": message, "type": kind, "param": None, "code": status}


def read(settings: Settings, context: int, path: str, content_type: str, body: bytes) -> Question:
    """The request for text in a body. `context`: tokens that a request may have at most.

    Raises:
        Problem: SGLang would refuse it.
    """
    chat = path == CHAT
    document = validated(path, content_type, body)
    model = document.get("model", MODEL)
    if ":" in model:
        raise problem(NO_LORA.format(adapter=model.partition(":")[2]))
    wanted = (document.get("max_completion_tokens") if chat else None) or document.get("max_tokens")
    wanted = None if wanted is None else int(wanted)
    if chat:
        _check_chat(settings, document, wanted, context)
        prompts, images = 1, question.conversation(document["messages"]).images * IMAGE_TOKENS
        prompt = _conversation(document) + images
    else:
        if not document["prompt"]:
            raise problem("Prompt cannot be empty")
        texts = question.texts(document["prompt"])
        prompts, images = len(texts), 0
        prompt = sum(count(text) + (0 if _numbers(document["prompt"]) else 1) for text in texts)
    untold = UNTOLD if chat else UNTOLD_COMPLETION
    _check_sizes(document, untold if wanted is None and not chat else wanted, prompt, context)
    tool, choice = question.called(document, parsed=settings.auto_tools) if chat else (None, "auto")
    options = document.get("stream_options") or {}
    return Question(
        chat=chat,
        model=model,
        stream=bool(document.get("stream")),
        usage=bool(options.get("include_usage")),
        continuous_usage=bool(options.get("continuous_usage_stats")),
        sequences=prompts * max(int(document.get("n") or 1), 1),
        prompt=prompt,
        tokens=min(untold if wanted is None else wanted, context - prompt),
        finish="length" if wanted is not None or not chat else "stop",
        reasons=chat and document.get("reasoning_effort") == "high" and settings.reasoning_parser is not None,
        tool=tool,
        choice=choice,
        images=images,
    )


def _check_chat(settings: Settings, document: Json, wanted: int | None, context: int) -> None:
    messages, tools, choice = document["messages"], document.get("tools"), document.get("tool_choice")
    if not messages:
        raise problem("Messages cannot be empty.")
    images = question.conversation(messages).images
    if images > settings.images:
        raise problem(f"Image count {images} exceeds limit {settings.images} per request.")
    if choice == "required" and not tools:
        raise problem("Tools cannot be empty if tool choice is set to required.")
    if isinstance(choice, dict):
        if not tools:
            raise problem("Tools cannot be empty if tool choice is set to a specific tool.")
        name = choice["function"]["name"]
        if question.named(tools, name) is None:
            raise problem(f"Tool '{name}' not found in tools list.")
    if wanted and wanted > context:
        finding = f"max_completion_tokens is too large: {wanted}."
        raise problem(f"{finding}This model supports at most {context} completion tokens.")
    form = document.get("response_format") or {}
    if form.get("type") == "json_schema" and "schema" not in form.get("json_schema", {}):
        raise problem("schema_ is required for json_schema response format request.")
    effort = document.get("reasoning_effort")
    if effort is not None and effort not in MODEL_EFFORTS:
        raise problem(f"reasoning_effort should be one of {list(MODEL_EFFORTS)}, got {effort}.", "BadRequest")


def _conversation(document: Json) -> int:
    """Number of tokens of the messages and tools."""
    tools = document.get("tools") if document.get("tool_choice") != "none" else None
    held = question.conversation(document["messages"])
    return CHAT_TOKENS + held.words + (count(json.dumps(tools)) if tools else 0)


def _check_sizes(document: Json, wanted: int | None, prompt: int, context: int) -> None:
    if document.get("n") is not None and int(document["n"]) == 0:
        raise problem("range() arg 3 must not be zero", "BadRequest")
    if prompt >= context:
        raise problem(f"The input ({prompt} tokens) is longer than the model's context length ({context} tokens).")
    if wanted is not None and prompt + wanted > context:
        raise problem(
            f"Requested token count exceeds the model's maximum context length of {context} tokens. You requested a total "
            f"of {prompt + wanted} tokens: {prompt} tokens from the input messages and {wanted} tokens for the completion. "
            "Please reduce the number of tokens in the input messages or the completion to fit within the limit."
        )
    temperature = document.get("temperature")
    if isinstance(temperature, int | float) and temperature < 0:
        raise problem(f"temperature must be a non-negative finite number, got {float(temperature)}.")
    if wanted is not None and wanted < 0:
        raise problem(f"max_new_tokens must be at least 0, got {wanted}.")


def _numbers(prompts: Any) -> bool:
    """Whether a prompt is given as its tokens' numbers: it needs no mark of its begin."""
    return isinstance(prompts, list) and not any(isinstance(prompt, str) for prompt in prompts)
