"""Load on an engine, as the load generator puts it that the engine's own images bring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What a generator asks for: prompts of random words, of which another seed makes others.

    + url: base URL of what answers
    + model: the name that is asked for
    + weights: where the generator's container finds the model's files; it needs their tokenizer
    + mistral: whether they are in Mistral's own layout
    + requests, at_a_time: in all, in flight
    + prompt, output: tokens of each prompt, of each answer
    + tpot_limit: milliseconds per token within which a request counts as goodput; None: each does
    """

    url: str
    model: str
    weights: str
    mistral: bool
    requests: int
    at_a_time: int
    prompt: int
    output: int
    seed: int
    tpot_limit: float | None = None


# The words of a generator, by the load and the file that it shall write its result to: JSON in the last line, with the names
# below, and `errors`, a list of what went wrong with requests. It reads the key that it shows out of OPENAI_API_KEY.
Generator = Callable[[Load, str], list[str]]
KEY_VARIABLE = "OPENAI_API_KEY"

# Name of a figure -> its name in a generator's result: the same for every engine's, since one was made after the other.
FIGURES = {
    "seconds": "duration",
    "completed": "completed",
    "prompt_tokens": "total_input_tokens",
    "output_tokens": "total_output_tokens",
    "ms_per_token": "mean_tpot_ms",
    "ms_per_token_p99": "p99_tpot_ms",
    "first_token_ms": "mean_ttft_ms",
    "first_token_ms_p99": "p99_ttft_ms",
}
GOODPUT = "request_goodput"  # requests a second within the limits, where there are any
