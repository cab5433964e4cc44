"""What profile and expected load make of a host: tokens of a step, draft or not, sequences at a time.

Each goes by the law of a step (barewind/speed/) where something is known of the hardware, and by what is said here where not. The
profile `recipe` is none of this: it is the published command (barewind/catalog/engines.yaml).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from barewind.speed.steady import steady_state
from barewind.speed.step import Runner, step_time

Profile = Literal["latency", "balanced", "throughput"]

EXPECTED = 32  # requests in flight on a host, where no key says how many
LEAST_AT_A_TIME = 8  # requests that an engine takes whatever is expected
TOKENS = 1024  # of a prompt, and of its answer: those of the published table of MI300X
MOST_SEQUENCES = 512  # engines capture graphs for no larger steps (fit.py)

# Seconds that a step may take: so long every running stream stands still while prompts are read. It is that of 32 streams with
# 4096 tokens each beside a long prompt; the tokens of a step are the most of these that keep to it.
_STEP_SECONDS = {"latency": 0.25, "balanced": 0.5, "throughput": 1.0}
_STREAMS, _STREAM_TOKENS = 32, 4096
_STEPS = (16384, 12288, 8192, 6144, 4096, 3072, 2048, 1536, 1024, 512)
_UNKNOWN_STEP = 4096  # of hardware that nothing is known of
_IMAGE_STEP = 8192  # at least: a step must hold the tokens of a whole image

_SEQUENCES = (MOST_SEQUENCES, 384, 256, 192, *range(128, 32, -8), *range(32, 16, -4), *range(16, 0, -1))

# Times as many tokens per second: less is not worth a draft, whose accepted tokens are known of one benchmark only.
_WORTH = 1.05
_DRAFTING_UP_TO = (
    32  # requests in flight on an engine, where nothing is known: worth it up to there wherever something is
)


def step_tokens(law: Runner | None, profile: Profile, *, images: bool) -> tuple[int, str]:
    """Tokens of a step, and why so many; `law` is None where nothing is known of the hardware."""
    if law is None:
        tokens = _IMAGE_STEP if images else _UNKNOWN_STEP
        return tokens, "steps so short that streams go on while prompts are read"
    tokens = next((tokens for tokens in _STEPS if _longest(law, tokens) <= _STEP_SECONDS[profile]), _STEPS[-1])
    if images and tokens < _IMAGE_STEP:
        return _IMAGE_STEP, "a step holds the tokens of a whole image"
    return tokens, f"streams stand still for {_longest(law, tokens):.2f} s at most while prompts are read (estimate)"


def worth_drafting(plain: Runner | None, drafting: Runner | None, profile: Profile, in_flight: int) -> tuple[bool, str]:
    """Whether a draft is worth it with so many requests in flight on an engine, and why; None where nothing is known."""
    if plain is None or drafting is None:
        few = in_flight <= _DRAFTING_UP_TO
        return (
            few,
            f"a draft pays while few requests are in flight: {in_flight} on an engine are {'few' if few else 'not'}",
        )
    with_draft, without = (steady_state(law, in_flight, prompt=TOKENS, output=TOKENS) for law in (drafting, plain))
    times = with_draft.tokens_per_second / without.tokens_per_second
    what = "the tokens/s"
    if profile == "latency":
        times, what = without.per_token / with_draft.per_token, "as fast for one request"
    return times >= _WORTH, f"{times:.2f} times {what} with {in_flight} in flight on an engine (estimate)"


def within(law: Runner, milliseconds: float, tokens: int) -> int:
    """The most requests that an engine runs at a time with no more than so many milliseconds per token; 0 where one takes longer.

    + tokens: of a prompt, and of its answer
    """
    fitting = 0
    for count in reversed(_SEQUENCES):
        if steady_state(law, count, prompt=tokens, output=tokens).per_token * 1000 > milliseconds:
            break
        fitting = count
    return fitting


def sequence_counts(
    kv_tokens: int, context_length: int, *, batched_tokens: int, rows: int, most: int = MOST_SEQUENCES
) -> Iterator[int]:
    """The numbers of sequences that a cache of so many tokens holds, the largest first; never fewer than one.

    A sequence is counted with 2048 tokens, those of a prompt and its answer, or with the whole context where that is less. Half
    of a step is left to prompts: `rows` are the tokens of a sequence in a step.
    """
    held = min(kv_tokens // min(2 * TOKENS, context_length), batched_tokens // (2 * rows), most)
    return (count for count in _SEQUENCES if count <= max(1, held))


def _longest(law: Runner, tokens: int) -> float:
    """Seconds of a step of so many tokens."""
    prompt = tokens - _STREAMS
    return step_time(
        law,
        sequences=_STREAMS,
        kv_tokens=_STREAMS * _STREAM_TOKENS,
        prompt_tokens=prompt,
        attended=prompt * _STREAM_TOKENS,
    )
