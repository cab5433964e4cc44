"""Pages of SGLang's server."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.standin.pages import VARY, Page, Response, State, document, fixed

PROMETHEUS = ("content-type", "text/plain; version=0.0.4; charset=utf-8")
HEALTHY = 1  # seconds that /health takes: it has the engine generate a token
MODELS = "/v1/models"


def ready(state: State) -> Response:
    """Whether the server takes requests: from the end of its warm-up until SIGTERM."""
    return Response([VARY], status=200 if state.ready else 503)


def health(state: State) -> Response:
    """Whether the engine generates: 503 at once while it starts or stops, later where it hangs."""
    if not state.ready:
        return Response([VARY], status=503)
    if state.engine.fails("hang"):
        return Response([VARY], status=503, wait=state.settings.health_seconds)
    return Response([VARY], wait=HEALTHY)


def models(state: State) -> Response:
    """The list of models: one card."""
    return document({"object": "list", "data": [_card(state)]})


def model(state: State) -> Response:
    """The card of a model by its name."""
    name = state.path.removeprefix(f"{MODELS}/")
    if name in state.settings.names:
        return document(_card(state))
    message = f"The model '{name}' does not exist"
    error = {"message": message, "type": "invalid_request_error", "param": "model", "code": "model_not_found"}
    return document({"error": error}, 404)


def model_info(state: State) -> Response:
    """What is served, by the model's files and the options."""
    settings = state.settings
    config: dict[str, Any] = json.loads((Path(settings.model) / "config.json").read_text())
    return document(
        {
            "model_path": settings.model,
            "served_model_name": settings.names[0],
            "tokenizer_path": settings.model,
            "is_generation": True,
            "preferred_sampling_params": None,
            "weight_version": "default",
            "load_format": "auto",
            "reasoning_parser": settings.reasoning_parser,
            "tool_call_parser": settings.tool_parser,
            "disaggregation_mode": "null",
            "has_image_understanding": "vision_config" in config,
            "has_audio_understanding": False,
            "model_type": config["model_type"],
            "architectures": config.get("architectures"),
        }
    )


def metrics(state: State) -> Response:
    """The metrics, where they are enabled."""
    if not state.settings.metrics:
        return document({"detail": "Not Found"}, 404)
    return Response([PROMETHEUS, VARY], state.engine.metrics.text(), chunked=True)


def _card(state: State) -> dict[str, Any]:
    name = state.settings.names[0]
    card = {"id": name, "object": "model", "created": int(time.time()), "owned_by": "sglang", "root": name}
    return card | {"parent": None, "max_model_len": state.context}


PAGES: Mapping[str, Page] = {
    "/": fixed("SGLang is running"),
    "/ready": ready,
    "/health": health,
    "/ping": ready,
    "/model_info": model_info,
    "/get_model_info": model_info,
    MODELS: models,
    "/metrics": metrics,
    "/metrics/": metrics,
}
BELOW: Mapping[str, Page] = {f"{MODELS}/": model}
