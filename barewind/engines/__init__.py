"""Every engine by name."""

from __future__ import annotations

from barewind.engines.base import Engine
from barewind.engines.sglang import SGLANG
from barewind.engines.vllm import VLLM

ENGINES: dict[str, Engine] = {engine.name: engine for engine in (VLLM, SGLANG)}
