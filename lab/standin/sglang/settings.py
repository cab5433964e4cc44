"""SGLang's settings, out of its command line and environment."""

import argparse
from collections.abc import Mapping
from typing import Any

from lab.standin.settings import Settings, number, of_standin

VERSION = "0.5.23"
HOST = "127.0.0.1"
PORT = 30000
MAX_RUNNING_REQUESTS = 2048  # what SGLang works out where much memory is left
HEALTH_SECONDS = 20
STOP_SECONDS = 5
QUIET = ("warning", "error", "critical")  # log levels without a line for each request


def read(options: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Settings out of parsed options and the environment.

    Raises:
        SettingsError: a variable of the stand-in has an invalid value.
    """
    limits: dict[str, Any] = options.limit_mm_data_per_request or {}
    on_cpu = options.device == "cpu" or environment.get("SGLANG_USE_CPU_ENGINE") == "1"
    return Settings(
        model=options.model_path,
        names=(options.served_model_name or options.model_path,),
        host=options.host or HOST,
        port=PORT if options.port is None else options.port,
        world_size=(options.tp_size or 1) * (options.pp_size or 1),
        max_model_len=options.context_length,
        max_num_seqs=options.max_running_requests or MAX_RUNNING_REQUESTS,
        auto_tools=options.tool_call_parser is not None,
        tool_parser=options.tool_call_parser,
        reasoning_parser=options.reasoning_parser,
        images=int(limits.get("image", Settings.images)),
        draft=options.speculative_draft_model_path,
        draft_tokens=options.speculative_num_draft_tokens or 0,
        api_keys=(options.api_key,) if options.api_key else (),
        metrics=options.enable_metrics,
        access_log=(options.log_level_http or options.log_level) not in QUIET,
        keep_alive=number(environment, "SGLANG_TIMEOUT_KEEP_ALIVE", Settings.keep_alive),
        needs_accelerators=environment.get("STANDIN_ACCELERATORS") != "none" and not on_cpu,
        health_seconds=number(environment, "SGLANG_HEALTH_CHECK_TIMEOUT", HEALTH_SECONDS),
        stop_seconds=number(environment, "STANDIN_STOP_SECONDS", STOP_SECONDS, above=0.01),
        version=environment.get("STANDIN_VERSION") or VERSION,
        long_contexts=environment.get("SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN") == "1",
        **of_standin(environment),
    )
