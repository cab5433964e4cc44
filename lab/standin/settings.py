"""Settings of an engine, whichever it is. Its own module reads them out of its command line and environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FAILURES = ("", "crash", "hang", "oom", "garbage", "slow", "no-tools", "errors", "hang-on-stop")


class SettingsError(Exception):
    """A variable of the environment has an invalid value; the message says which."""


@dataclass(frozen=True)
class Settings:
    """Settings of an engine. Times are in seconds.

    The first ones every engine is told; those with a default may be left untold.
    """

    model: str
    names: tuple[str, ...]  # clients ask for any of them
    host: str
    port: int
    max_num_seqs: int  # requests at a time
    version: str
    world_size: int = 1  # accelerators that a replica needs
    max_model_len: int | None = None  # tokens; None: the model's own
    auto_tools: bool = False
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    images: int = 999  # a prompt may hold
    draft: str | None = None
    draft_tokens: int = 0  # drafted per step
    shutdown_timeout: int = 0
    health_seconds: float = 0  # until /health gives up, where it has the engine generate a token
    stop_seconds: float = 0  # between two looks whether requests are left, where it lets them end
    api_keys: tuple[str, ...] = ()
    metrics: bool = True
    access_log: bool = True
    keep_alive: float = 5
    needs_accelerators: bool = True
    long_contexts: bool = False  # max_model_len may exceed the model's own
    tokens_per_second: float = 50  # of each request
    start_seconds: float = 0.5
    fail: str = ""
    fail_after: float = 0


def of_standin(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings that are the stand-in's own, for any engine.

    Raises:
        SettingsError: a variable has an invalid value.
    """
    fail = environment.get("STANDIN_FAIL", "")
    if fail not in FAILURES:
        raise SettingsError(f"STANDIN_FAIL must be one of {', '.join(FAILURES[1:])}, not '{fail}'")
    return {
        "tokens_per_second": number(environment, "STANDIN_TOKENS_PER_SECOND", Settings.tokens_per_second, above=0.01),
        "start_seconds": number(environment, "STANDIN_START_SECONDS", Settings.start_seconds),
        "fail": fail,
        "fail_after": number(environment, "STANDIN_FAIL_AFTER", 0),
    }


def number(environment: Mapping[str, str], name: str, default: float, above: float = 0) -> float:
    """A number out of the environment.

    Raises:
        SettingsError: it is none, or too small.
    """
    text = environment.get(name)
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1
    if not value >= above:
        raise SettingsError(f"{name} must be a number of at least {above:g}, not '{text}'")
    return value
