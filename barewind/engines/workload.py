"""What a host is to run: the value of every key that becomes an option, with its reason. The same for every engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from barewind import catalog
from barewind.engines.command import Value
from barewind.engines.fit import MIB, Fit
from barewind.spec.keys import EngineSpec

# An engine that is told no domain fetches from all; this name can never exist (RFC 2606, 2).
NO_DOMAIN = "media.invalid"
# Times the weights, of accelerators' memory together. An engine that reads ahead unasked from network file systems wants
# them to be 90 % of the host's memory at most; the rest is for what else the host does.
_MEMORY_FOR_WEIGHTS = 2

DEFAULT_IMAGES = 4  # per prompt, where modality is image and images_per_prompt is left open


@dataclass(frozen=True)
class Sizing:
    """The settled values. `utilization`, batch sizes and `fit` are None where there is no accelerator."""

    context_length: int
    draft: str | None
    draft_tokens: int
    utilization: float | None
    batched_tokens: int | None
    sequences: int | None
    extra: dict[str, Any]  # options that this set-up needs on this engine, by name
    fit: Fit | None
    reasons: dict[str, str] = field(default_factory=dict)  # why a key that is left open has its value
    left_open: frozenset[str] = frozenset()  # keys whose options are left out: the engine's own defaults are meant


@dataclass(frozen=True)
class Workload:
    """A host's spec, its sizing, and where the container finds the weights; `draft_path` is None without a draft."""

    spec: EngineSpec
    sizing: Sizing
    model_path: str
    draft_path: str | None

    @property
    def vendor(self) -> str:
        """The vendor of the host's accelerators."""
        return catalog.accelerators()[self.spec.accelerator].vendor

    @property
    def without_p2p(self) -> bool:
        """Whether several accelerators work together that do not reach each other's memory."""
        return self.tensor_parallel > 1 and not catalog.accelerators()[self.spec.accelerator].p2p

    @property
    def tensor_parallel(self) -> int:
        """Tensor parallel size: as many shards of the weights."""
        return self.spec.tensor_parallel

    @property
    def published(self) -> bool:
        """Whether it shall be the published command."""
        return self.spec.profile == "recipe"

    @property
    def draft_reason(self) -> str:
        """Why there is a draft."""
        why = self.sizing.reasons.get("speculative")
        return f"EAGLE draft head: {why}" if why else "EAGLE draft head"

    @property
    def weights_read_ahead(self) -> bool:
        """Whether the host's memory holds the weights while they are read: known only of hosts with many accelerators.

        Servers come with at least as much memory as their accelerators have; parts of servers, of one or two, often with less.
        """
        accelerator, weights = catalog.accelerators()[self.spec.accelerator], catalog.models()[self.spec.model].weights
        return accelerator.memory_mib * self.spec.accelerator_count >= _MEMORY_FOR_WEIGHTS * weights.total / MIB

    @property
    def values(self) -> dict[str, tuple[Value | None, str]]:
        """Value and reason of each key of group data; the value is None where the engine's own default is meant."""
        values = self._values()
        return values | {key: (None, values[key][1]) for key in self.sizing.left_open}

    def _values(self) -> dict[str, tuple[Value | None, str]]:
        spec, sizing = self.spec, self.sizing
        images = {"image": spec.images_per_prompt or DEFAULT_IMAGES} if spec.modality == "image" else None
        return {
            "model": (self.model_path, "the weights"),
            "served_model_name": (spec.served_model_name or spec.model, "the name clients ask for"),
            "address": (spec.address, "listens where the balancers reach it, nowhere else"),
            "engine_port": (spec.engine_port, "engine_port"),
            "tensor_parallel_size": (self.tensor_parallel, "one shard per accelerator"),
            "context_length": (sizing.context_length, self._context_reason()),
            "shutdown_timeout": (
                spec.shutdown_timeout,
                "on SIGTERM running requests end instead of being aborted",
            ),
            "images_per_prompt": (images, "images a prompt may hold"),
            "image_domains": (self._image_domains, self._domains_reason()),
            "kv_cache_dtype": self._kv_cache_dtype(),
            "gpu_memory_utilization": (sizing.utilization, self._utilization_reason()),
            "max_num_seqs": (sizing.sequences, self._reason("max_num_seqs", spec.max_num_seqs)),
            "max_num_batched_tokens": (
                sizing.batched_tokens,
                self._reason("max_num_batched_tokens", spec.max_num_batched_tokens),
            ),
        }

    def _reason(self, key: str, value: int | None) -> str:
        return key if value is not None else self.sizing.reasons.get(key, key)

    def _kv_cache_dtype(self) -> tuple[Value | None, str]:
        own = catalog.models()[self.spec.model].kv_cache_dtype
        if self.spec.kv_cache_dtype != "auto":
            scaled = own == self.spec.kv_cache_dtype
            reason = "kv_cache_dtype" if scaled else "kv_cache_dtype; the weights bring no scales for it"
            return self.spec.kv_cache_dtype, reason
        return None if own == "auto" else own, "the weights bring scales for it"

    @property
    def _image_domains(self) -> Value | None:
        return (self.spec.image_domains or [NO_DOMAIN]) if self.spec.modality == "image" else None

    def _domains_reason(self) -> str:
        return (
            "image_domains" if self.spec.image_domains else "images come in requests alone (data: URLs): no such domain"
        )

    def _context_reason(self) -> str:
        if self.spec.context_length is not None:
            return "context_length, in tokens"
        return "tokens; the model's own" if self.sizing.fit is None else "tokens; the largest usual context that fits"

    def _utilization_reason(self) -> str:
        if self.spec.gpu_memory_utilization is not None:
            return "gpu_memory_utilization"
        return "the share that the fit is worked out with"
