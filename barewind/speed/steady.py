"""What an engine does when a number of requests is always in flight: a closed formula over the law of a step."""

from __future__ import annotations

from dataclasses import dataclass

from barewind.speed.step import Runner, draft_time, step_time

# Seconds of HTTP, chat template and tokenizer before a prompt is scheduled: four H200 are published with 96 ms to the
# first token, of which the law explains 61 (bench/estimate/published.yaml).
REQUEST = 0.03


@dataclass(frozen=True)
class Steady:
    """Tokens per second of the engine, seconds per token of a request."""

    tokens_per_second: float
    per_token: float


def steady_state(runner: Runner, in_flight: int, *, prompt: int, output: int) -> Steady:
    """What an engine does while `in_flight` requests run, each with so many tokens of prompt and of output.

    No prefix is found in a cache, and each prompt is read at once, beside the sequences that run. While a request makes its
    tokens every other one is replaced once: so it waits for the prompts of all others, and they are read in its steps.
    """
    decoding = step_time(runner, sequences=in_flight, kv_tokens=in_flight * (prompt + output / 2))
    decoding += draft_time(runner, in_flight)
    reading = _prompt_time(runner, prompt)
    # A prompt that is read in a step of others costs what it adds: part of the time goes for weights that are read anyway.
    added = reading - min(step_time(runner), reading) / 2
    per_token = decoding / runner.accepted + (in_flight - 1) / output * added
    first = REQUEST + reading + decoding / 2
    return Steady(in_flight * output / (first + output * per_token), per_token)


def first_token(runner: Runner, prompt: int) -> float:
    """Seconds until the first token of a prompt on an engine that does nothing else."""
    return REQUEST + _prompt_time(runner, prompt)


def _prompt_time(runner: Runner, prompt: int) -> float:
    return step_time(runner, prompt_tokens=prompt, attended=prompt * prompt / 2)
