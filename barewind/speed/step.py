"""How long one step of an engine takes: a law that fits what is published of dense FP8 models of 70 to 405 billion parameters.

    step = max(reading the weights, multiplying them) + reading KV cache + attention of prompts
           + layers x (a constant + two all-reduces) + sequences x a constant + a constant

More accelerators divide the first line. The second does not shrink with them, it grows: so one engine over eight accelerators is
the fastest for one user, and the slowest for a full host. Constants and their sources: barewind/catalog/speeds.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass

from barewind.catalog import Speed
from barewind.catalog.models import Shape

_FP8, _BF16 = 1, 2  # bytes of an element: the layers' weights; embeddings, output layer, what layers pass on

# Share of `bf16_tflops` that attention over a prompt reaches: FlashAttention with 1k to 16k tokens, measurements of components.
_ATTENTION_SHARE = 0.45

# Seconds to draft a token that no weight explains. Four H200 with a draft are published with 9.73 ms a token at 1.72 tokens a
# step: 16.7 ms a step, of which 14.2 are the model's own (bench/estimate/published.yaml).
_DRAFTING = 0.30e-3


@dataclass(frozen=True)
class Draft:
    """A draft head: its bytes and layers, the tokens that it drafts each step, and those that a step brings on average."""

    weights: int
    layers: int
    tokens: int
    accepted: float


@dataclass(frozen=True)
class Runner:
    """One engine as the law sees it: a model in FP8 over `tensor_parallel` accelerators; `kv_bytes` of a KV cache element."""

    shape: Shape
    speed: Speed
    tensor_parallel: int
    kv_bytes: int = _BF16
    draft: Draft | None = None

    @property
    def rows(self) -> int:
        """Tokens of a sequence that a step multiplies: the next one, and those that were drafted."""
        return 1 + (self.draft.tokens if self.draft else 0)

    @property
    def accepted(self) -> float:
        """Tokens that a step brings each sequence, on average."""
        return self.draft.accepted if self.draft else 1.0


def step_time(
    runner: Runner, *, sequences: int = 0, kv_tokens: float = 0, prompt_tokens: int = 0, attended: float = 0
) -> float:
    """Seconds of a step of the model itself, without drafting.

    + sequences: of which the next token is worked out
    + kv_tokens: tokens of KV cache that they read together
    + prompt_tokens: tokens of prompts that are read beside them
    + attended: sum of the tokens before each of those, n * n / 2 for a whole prompt of n
    """
    shape, speed, parallel = runner.shape, runner.speed, runner.tensor_parallel
    rows = sequences * runner.rows + prompt_tokens
    memory = speed.memory_tb_s * 1e12
    reading = (shape.body * _FP8 + shape.head * _BF16) / parallel / (memory * speed.weights_share)
    multiplying = 2 * shape.body * rows / parallel / (speed.fp8_tflops * 1e12 * speed.prompt_share)
    holders = min(parallel, shape.kv_heads)  # beyond that number KV heads are copied
    token = 2 * shape.layers * shape.kv_heads * shape.head_dim * runner.kv_bytes
    cache = kv_tokens * token / holders / (memory * speed.kv_share)
    products = 4 * shape.layers * shape.heads * shape.head_dim * attended
    attention = products / parallel / (speed.bf16_tflops * 1e12 * _ATTENTION_SHARE)
    layers = shape.layers * _layer(runner, rows)
    once = (speed.step_us + speed.sequence_us * sequences) * 1e-6
    return max(reading, multiplying) + cache + attention + layers + once


def draft_time(runner: Runner, sequences: int) -> float:
    """Seconds to draft a step's tokens, one after the other; 0 without a draft."""
    draft, speed = runner.draft, runner.speed
    if draft is None:
        return 0
    size = draft.weights + runner.shape.head * _BF16  # the output layer is the model's
    reading = size / runner.tensor_parallel / (speed.memory_tb_s * 1e12 * speed.weights_share)
    return draft.tokens * (reading + draft.layers * _layer(runner, sequences) + _DRAFTING)


def summing(runner: Runner, rows: int) -> float:
    """Seconds of an all-reduce of so many tokens' hidden states."""
    parallel = runner.tensor_parallel
    if parallel == 1:
        return 0
    links = runner.speed.all_reduce[parallel]
    sent = 2 * (parallel - 1) / parallel * rows * runner.shape.hidden * _BF16
    return links.latency_us * 1e-6 + sent / (links.bus_gb_s * 1e9)


def _layer(runner: Runner, rows: int) -> float:
    """Seconds of a layer that more accelerators do not divide."""
    return runner.speed.layer_us * 1e-6 + 2 * summing(runner, rows)
