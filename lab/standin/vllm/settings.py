"""vLLM's settings, out of its command line and environment."""

import argparse
from collections.abc import Mapping
from typing import Any

from lab.standin.settings import Settings, number, of_standin

VERSION = "0.32.0"
DEFAULT_MODEL = "Qwen/Qwen3-0.6B"  # vLLM's own, when none is named
PORT = 8000
MAX_NUM_SEQS = 256


def read(options: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Settings out of parsed options and the environment.

    Raises:
        SettingsError: a variable of the stand-in has an invalid value.
    """
    model = options.model_tag or DEFAULT_MODEL
    speculation: dict[str, Any] = options.speculative_config or {}
    context = options.max_model_len
    keys = options.api_key or [environment.get("VLLM_API_KEY", "")]
    limits: dict[str, Any] = options.limit_mm_per_prompt or {}
    return Settings(
        model=model,
        names=tuple(options.served_model_name or [model]),
        host=options.host or "",
        port=PORT if options.port is None else options.port,
        world_size=(options.tensor_parallel_size or 1) * (options.pipeline_parallel_size or 1),
        max_model_len=None if context in (None, -1) else context,
        max_num_seqs=options.max_num_seqs or MAX_NUM_SEQS,
        auto_tools=bool(options.enable_auto_tool_choice),
        tool_parser=options.tool_call_parser,
        reasoning_parser=options.reasoning_parser,
        images=0 if options.language_model_only else _limit(limits.get("image")),
        draft=speculation.get("model"),
        draft_tokens=int(speculation.get("num_speculative_tokens") or 0),
        shutdown_timeout=options.shutdown_timeout or 0,
        api_keys=tuple(key for key in keys if key),
        access_log=not options.disable_uvicorn_access_log,
        keep_alive=number(environment, "VLLM_HTTP_TIMEOUT_KEEP_ALIVE", Settings.keep_alive),
        needs_accelerators=environment.get("STANDIN_ACCELERATORS") != "none"
        and environment.get("VLLM_TARGET_DEVICE") != "cpu",
        version=environment.get("STANDIN_VERSION") or VERSION,
        long_contexts=environment.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN") == "1",
        **of_standin(environment),
    )


def _limit(value: Any) -> int:
    """A limit: a number, or an object with the number under "count"."""
    if isinstance(value, dict):
        value = value.get("count")
    return int(value) if value is not None else Settings.images
