"""Bodies of requests: what pydantic finds wrong with them, in SGLang's words."""

import json
import re
from typing import Any

from lab.standin.question import Problem

Json = dict[str, Any]
Finding = dict[str, Any]

# Path -> its function in SGLang, and the line of it.
ROUTES = {
    "/v1/completions": ("openai_v1_completions", 1860),
    "/v1/chat/completions": ("openai_v1_chat_completions", 1870),
}
FILE = "/sgl-workspace/sglang/python/sglang/srt/entrypoints/http_server.py"
# What Python says to invalid JSON -> what the reader of SGLang says; to the rest: that something was unexpected.
JSON_ERRORS = {
    "Expecting property name enclosed in double quotes": "unexpected character, expected a string key",
    "Expecting value": "unexpected character, expected a JSON value",
    "Expecting ':' delimiter": "unexpected character, expected ':' after key",
    "Extra data": "unexpected content after document",
}
UNKNOWN_JSON_ERROR = "unexpected end of data"
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "ultra", "max")
ROLES = ("system", "assistant", "tool", "function", "developer", "latest_reminder", "root")
GENERIC = "function-after[validate_thinking_parts_role(), ChatCompletionMessageGenericParam]"
USER = "function-after[validate_thinking_parts_role(), ChatCompletionMessageUserParam]"
NO_OBJECT = "Input should be a valid dictionary or object to extract fields from"


def validated(path: str, content_type: str, body: bytes) -> Json:
    """The JSON object in a body.

    Raises:
        Problem: SGLang would refuse it before it looks at what is wanted.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        message = "Unsupported Media Type: Only 'application/json' is allowed"
        finding = {"loc": ["header", "content-type"], "msg": message, "type": "value_error"}
        raise Problem(400, _error(f"{_listed([finding])} {[finding]}"))
    chat = path.startswith("/v1/chat")
    document = _document(path, body, chat=chat)
    findings = [*_of_fields(document), *(_of_chat(document) if chat else _of_completion(document))]
    if findings:
        raise _invalid(path, findings)
    return document


def _document(path: str, body: bytes, *, chat: bool) -> Json:
    if not body:
        raise _invalid(path, [_finding("missing", ("body",), "Field required", None)])
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        reason = JSON_ERRORS.get(error.msg, UNKNOWN_JSON_ERROR)
        finding = _finding("json_invalid", ("body", error.pos), "JSON decode error", {}, error=reason)
        raise _invalid(path, [finding]) from None
    if isinstance(document, dict):
        return document
    if chat:
        raise Problem(500, "Internal Server Error")
    raise _invalid(path, [_finding("model_attributes_type", ("body",), NO_OBJECT, document)])


def _of_fields(document: Json) -> list[Finding]:
    findings = []
    if not isinstance(document.get("model", ""), str):
        findings.append(_finding("string_type", ("body", "model"), "Input should be a valid string", document["model"]))
    for name in ("max_tokens", "max_completion_tokens", "n"):
        value = document.get(name)
        if isinstance(value, str) and not re.fullmatch(r"-?\d+", value):
            message = "Input should be a valid integer, unable to parse string as an integer"
            findings.append(_finding("int_parsing", ("body", name), message, value))
        elif value is not None and not isinstance(value, int | str):
            findings.append(_finding("int_type", ("body", name), "Input should be a valid integer", value))
    options = document.get("stream_options")
    if options is not None and not isinstance(options, dict):
        findings.append(_finding("model_attributes_type", ("body", "stream_options"), NO_OBJECT, options))
    return findings


def _of_completion(document: Json) -> list[Finding]:
    return [] if "prompt" in document else [_finding("missing", ("body", "prompt"), "Field required", document)]


def _of_chat(document: Json) -> list[Finding]:
    messages = document.get("messages")
    if "messages" not in document:
        given = {**document, "tool_choice": document.get("tool_choice", "auto" if document.get("tools") else "none")}
        return [_finding("missing", ("body", "messages"), "Field required", given)]
    if not isinstance(messages, list):
        return [_finding("list_type", ("body", "messages"), "Input should be a valid list", messages)]
    findings = [finding for place, message in enumerate(messages) for finding in _of_message(place, message)]
    for place, tool in enumerate(document.get("tools") or []):
        if "function" not in tool:
            findings.append(_finding("missing", ("body", "tools", place, "function"), "Field required", tool))
    return findings + _of_effort(document.get("reasoning_effort"))


def _of_message(place: int, message: Any) -> list[Finding]:
    at = ("body", "messages", place)
    if not isinstance(message, dict):
        return [_finding("model_attributes_type", (*at, kind), NO_OBJECT, message) for kind in (GENERIC, USER)]
    role = message.get("role")
    if role == "user" or str(role).lower() in ROLES:
        return []
    text = f"'role' must be one of {', '.join(map(repr, ROLES))} (case-insensitive)."
    return [
        _finding("value_error", (*at, GENERIC, "role"), f"Value error, {text}", role, error=ValueError(text)),
        _finding("literal_error", (*at, USER, "role"), "Input should be 'user'", role, expected="'user'"),
    ]


def _of_effort(effort: Any) -> list[Finding]:
    if effort is None or effort in EFFORTS:
        return []
    at = ("body", "reasoning_effort")
    *others, last = map(repr, EFFORTS)
    expected = f"{', '.join(others)} or {last}"
    kind = f"literal[{','.join(map(repr, EFFORTS))}]"
    number = "Input should be a valid number, unable to parse string as a number"
    return [
        _finding("literal_error", (*at, kind), f"Input should be {expected}", effort, expected=expected),
        _finding("float_parsing", (*at, "constrained-float"), number, effort),
    ]


def _finding(kind: str, place: tuple[str | int, ...], message: str, given: Any, **context: Any) -> Finding:
    return {"type": kind, "loc": place, "msg": message, "input": given, **({"ctx": context} if context else {})}


def _invalid(path: str, findings: list[Finding]) -> Problem:
    function, line = ROUTES[path]
    source = f'\n\n  File "{FILE}", line {line}, in {function}\n    POST {path} {findings}'
    return Problem(400, _error(f"{_listed(findings)}{source}"))


def _listed(findings: list[Finding]) -> str:
    plural = "" if len(findings) == 1 else "s"
    return "\n".join([f"{len(findings)} validation error{plural}:", *(f"  {finding}" for finding in findings)])


def _error(message: str) -> Json:
    return {"object": "error", "message": message, "type": "Bad Request", "param": None, "code": 400}
