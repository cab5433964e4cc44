"""Answers of a host about the pull of an image, as the program on it and Docker write them."""

from __future__ import annotations

import json


def says(status: str, layer: str, current: int | None = None, total: int | None = None) -> str:
    detail = {} if total is None else {"current": current, "total": total}
    return json.dumps({"status": status, "progressDetail": detail, "id": layer}, separators=(",", ":"))


ERROR = '{"errorDetail":{"message":"toomanyrequests: limit"},"error":"toomanyrequests: limit"}'


def answer(
    *last: str, sizes: tuple[str, ...] = (), state: str = "active", present: bool = False, error: str = ""
) -> list[str]:
    return [
        "@@barewind:pull",
        state,
        "@@barewind:present",
        *(["present"] if present else []),
        "@@barewind:last",
        *last,
        "@@barewind:size",
        *sizes,
        "@@barewind:error",
        *([error] if error else []),
        "@@barewind:end",
    ]
