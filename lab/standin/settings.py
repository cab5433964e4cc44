"""What one engine is to be: command line and environment, read once."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FAILURES = ("", "crash", "hang", "oom", "garbage", "slow", "no-tools", "errors", "hang-on-stop")
VERSION = "0.32.0"
DEFAULT_MODEL = "Qwen/Qwen3-0.6B"  # vLLM's own, when none is named
MAX_NUM_SEQS = 256


class SettingsError(Exception):
    """The environment cannot be meant; the text says what is wrong."""


@dataclass(frozen=True)
class Settings:
    """One engine. Times are in seconds."""

    model: str
    names: tuple[str, ...]  # clients ask for any of them
    host: str = ""
    port: int = 8000
    world_size: int = 1  # accelerators one replica needs
    max_model_len: int | None = None  # tokens; None: what the model says
    max_num_seqs: int = MAX_NUM_SEQS
    auto_tools: bool = False
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    images: int = 999  # a prompt may hold
    draft: str | None = None
    draft_tokens: int = 0  # drafted per step
    shutdown_timeout: int = 0
    api_keys: tuple[str, ...] = ()
    access_log: bool = True
    keep_alive: float = 5
    tokens_per_second: float = 50  # of each request
    start_seconds: float = 0.5
    needs_accelerators: bool = True
    version: str = VERSION
    fail: str = ""
    fail_after: float = 0
    long_contexts: bool = False  # beyond what the model says


def version(environment: Mapping[str, str]) -> str:
    """The version this engine says it has."""
    return environment.get("STANDIN_VERSION") or VERSION


def read(given: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Settings out of parsed arguments and the environment.

    Raises:
        SettingsError: a variable of the stand-in has a value it cannot have.
    """
    model = given.model_tag or DEFAULT_MODEL
    speculation: dict[str, Any] = given.speculative_config or {}
    context = given.max_model_len
    keys = given.api_key or [environment.get("VLLM_API_KEY", "")]
    limits: dict[str, Any] = given.limit_mm_per_prompt or {}
    fail = environment.get("STANDIN_FAIL", "")
    if fail not in FAILURES:
        raise SettingsError(f"STANDIN_FAIL must be one of {', '.join(FAILURES[1:])}, not '{fail}'")
    return Settings(
        model=model,
        names=tuple(given.served_model_name or [model]),
        host=given.host or "",
        port=Settings.port if given.port is None else given.port,
        world_size=(given.tensor_parallel_size or 1) * (given.pipeline_parallel_size or 1),
        max_model_len=None if context in (None, -1) else context,
        max_num_seqs=given.max_num_seqs or MAX_NUM_SEQS,
        auto_tools=bool(given.enable_auto_tool_choice),
        tool_parser=given.tool_call_parser,
        reasoning_parser=given.reasoning_parser,
        images=0 if given.language_model_only else _limit(limits.get("image")),
        draft=speculation.get("model"),
        draft_tokens=int(speculation.get("num_speculative_tokens") or 0),
        shutdown_timeout=given.shutdown_timeout or 0,
        api_keys=tuple(key for key in keys if key),
        access_log=not given.disable_uvicorn_access_log,
        keep_alive=_number(environment, "VLLM_HTTP_TIMEOUT_KEEP_ALIVE", Settings.keep_alive),
        tokens_per_second=_number(environment, "STANDIN_TOKENS_PER_SECOND", Settings.tokens_per_second, above=0.01),
        start_seconds=_number(environment, "STANDIN_START_SECONDS", Settings.start_seconds),
        needs_accelerators=environment.get("STANDIN_ACCELERATORS") != "none"
        and environment.get("VLLM_TARGET_DEVICE") != "cpu",
        version=version(environment),
        fail=fail,
        fail_after=_number(environment, "STANDIN_FAIL_AFTER", 0),
        long_contexts=environment.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN") == "1",
    )


def _limit(value: Any) -> int:
    """A limit is a number, or a description that holds one under "count"."""
    if isinstance(value, dict):
        value = value.get("count")
    return int(value) if value is not None else Settings.images


def _number(environment: Mapping[str, str], name: str, default: float, above: float = 0) -> float:
    text = environment.get(name)
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1
    if not value >= above:
        raise SettingsError(f"{name} must be a number of at least {above:g}, not '{text}'")
    return value
