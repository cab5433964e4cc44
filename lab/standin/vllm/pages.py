"""Pages of vLLM's server."""

import os
import time
from collections.abc import Mapping
from typing import Any

from lab.standin.pages import VARY, Page, Response, State, document, empty, fixed

PROMETHEUS = ("content-type", "text/plain; version=1.0.0; charset=utf-8")


def models(state: State) -> Response:
    """The list of models: a card for each name."""
    now = int(time.time())
    permission = {
        "object": "model_permission",
        "created": now,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    card = {"object": "model", "created": now, "owned_by": "vllm", "root": state.settings.model, "parent": None}
    data: list[dict[str, Any]] = [
        {"id": name, **card, "max_model_len": state.context, "permission": [{"id": _permission(), **permission}]}
        for name in state.settings.names
    ]
    return document({"object": "list", "data": data})


def _permission() -> str:
    return f"modelperm-{os.urandom(8).hex()}"


PAGES: Mapping[str, Page] = {
    "/health": empty,
    "/ping": empty,
    "/version": lambda state: document({"version": state.settings.version}),
    "/load": fixed({"server_load": 0}),
    "/v1/models": models,
    "/metrics": lambda state: Response([PROMETHEUS, VARY], state.engine.metrics.text()),
}
