"""Benches and their rungs for tests: a test names only what it is about."""

from __future__ import annotations

from typing import Any

from barewind.bench.document import Bench, Rung


def rung(in_flight: int = 1, **changes: Any) -> Rung:
    """A rung that was measured."""
    rate = changes.get("goodput", 100.0)
    values: dict[str, Any] = {
        "in_flight": in_flight,
        "requests": 4 * in_flight,
        "prompt_tokens": 4 * in_flight * 1024,
        "output_tokens": 4 * in_flight * 1024,
        "seconds": 40.96,
        "tokens_per_second": rate,
        "goodput": rate,
        "ms_per_token": 20.0,
        "ms_per_token_p99": 25.0,
        "first_token_ms": 200.0,
        "first_token_ms_p99": 300.0,
        "estimate": None,
        "published": None,
    }
    return Rung(**values | changes)


def bench(*rungs: Rung, **changes: Any) -> Bench:
    """A bench of a host with eight H200."""
    values: dict[str, Any] = {
        "target": "gpu1",
        "through": "engine",
        "host": "gpu1",
        "at": "2026-11-30T09:00:00Z",
        "by": "ann@ws1",
        "release": "0123456789ab",
        "image": "docker.io/vllm/vllm-openai@sha256:" + "1a" * 32,
        "engine": "vllm",
        "model": "mistralai/Mistral-Medium-3.5-128B",
        "accelerator": "h200",
        "tensor_parallel": 8,
        "engines": 1,
        "draft": False,
        "preset": "ladder",
        "prompt": 1024,
        "output": 1024,
        "tpot_limit": None,
        "seed": 1,
        "rungs": rungs or (rung(1), rung(8, goodput=700.0)),
        "no_estimate": None,
        "ended": "the last rung of the ladder",
        "failed": None,
    }
    return Bench(**values | changes)
