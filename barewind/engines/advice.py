"""What would make a plan fit: changes to group data, alone and together, what costs a user least first.

What the user has set to less than the default is put right first; then come speed (no draft), the precision of the cache,
images, context, and more accelerators last. A line says what it brings; a change that brings nothing is no line, and one that is
enough alone is in no combination.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from barewind import catalog
from barewind.catalog import Accelerator
from barewind.engines.fit import Load, capacity

_MOST_LINES = 6
_MOST_TOGETHER = 3


@dataclass(frozen=True)
class SetUp:
    """What an engine is to hold, and with how much of its host's accelerators.

    + count: accelerators of the engine
    + contexts: those that a default takes, the longest first; empty where the user has set one
    + margin: how much more than a context must fit for a default to take it
    + replicas: engines that the host's accelerators are divided among
    + chosen: the host's accelerators are not all used
    """

    load: Load
    accelerator: Accelerator
    count: int
    tensor_parallel: int
    utilization: float
    contexts: tuple[int, ...] = ()
    margin: float = 1
    replicas: int = 1
    chosen: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of KV cache that fit."""
        return capacity(self.load, self.accelerator, tensor_parallel=self.tensor_parallel, utilization=self.utilization)

    @property
    def context(self) -> int | None:
        """The context that this set-up can serve: the one that is set, or the longest of the defaults; None where none fits."""
        if not self.contexts:
            return self.load.context_length if self.tokens >= self.load.context_length else None
        return next((length for length in self.contexts if self.tokens >= length * self.margin), None)


@dataclass(frozen=True)
class Change:
    """A change to group data: how it is written, and what it changes of the set-up and of its load."""

    text: str
    load: Mapping[str, Any] = field(default_factory=dict)
    setup: Mapping[str, Any] = field(default_factory=dict)

    def made(self, before: SetUp) -> SetUp:
        """The set-up with it."""
        return replace(before, load=replace(before.load, **self.load), **self.setup)


@dataclass(frozen=True)
class Defaults:
    """What keys would be if nobody had set them; None where what is set is no worse.

    + utilization_without_draft: the share without a draft, where nobody has set one
    + explicit_parallel: `tensor_parallel_size` is set
    + capped_by: options of `engine_args` that hold cache back
    """

    utilization: float | None = None
    utilization_without_draft: float | None = None
    batched_tokens: int | None = None
    sequences: int | None = None
    explicit_parallel: bool = False
    capped_by: tuple[str, ...] = ()


def advice(setup: SetUp, defaults: Defaults) -> tuple[str, ...]:
    """Lines of advice for a set-up that does not fit; empty where nothing in group data makes it fit."""
    changes = [*_put_right(setup, defaults), *_given_up(setup, defaults)]
    lines = [*_fewer_replicas(setup, explicit=defaults.explicit_parallel), *_lines(setup, changes)]
    lines += _shorter(setup)
    lines += _more_accelerators(setup, explicit=defaults.explicit_parallel)
    return tuple(lines)


def _lines(setup: SetUp, changes: list[Change]) -> Iterator[str]:
    """Single changes that are enough, then pairs and threes of those that are not."""
    found: list[set[int]] = []
    for together in range(1, _MOST_TOGETHER + 1):
        for places in itertools.combinations(range(len(changes)), together):
            if len(found) >= _MOST_LINES or any(enough <= set(places) for enough in found):
                continue
            changed = setup
            for place in places:
                changed = changes[place].made(changed)
            context = changed.context
            if context is not None:
                found.append(set(places))
                text = " and ".join(changes[place].text for place in places)
                yield f"{text}: fits {context} tokens of context, with room for {changed.tokens}"


def _put_right(setup: SetUp, defaults: Defaults) -> Iterator[Change]:
    """What the user has set to less than the default."""
    if defaults.capped_by:
        names = " and ".join(f"'{name}'" for name in defaults.capped_by)
        options = replace(setup.load.options, kv_bytes=None, kv_blocks=None, kv_tokens=None)
        yield Change(f"engine_args without {names}", load={"options": options})
    if defaults.utilization is not None:
        yield Change(f"gpu_memory_utilization = {defaults.utilization}", setup={"utilization": defaults.utilization})
    if defaults.batched_tokens is not None:
        tokens = defaults.batched_tokens
        yield Change(f"max_num_batched_tokens = {tokens}", load={"batched_tokens": tokens})
    if defaults.sequences is not None:
        yield Change(f"max_num_seqs = {defaults.sequences}", load={"sequences": defaults.sequences})
    if setup.tensor_parallel < setup.count:
        size = setup.tensor_parallel * 2
        while size <= min(setup.count, setup.load.model.shape.kv_heads):
            yield Change(f"tensor_parallel_size = {size}", setup={"tensor_parallel": size})
            size *= 2


def _given_up(setup: SetUp, defaults: Defaults) -> Iterator[Change]:
    """What costs speed, precision, or images."""
    load = setup.load
    if load.draft is not None:
        share = defaults.utilization_without_draft
        yield Change(
            "speculative = False",
            load={"draft": None, "draft_tokens": 0},
            setup={} if share is None else {"utilization": share},
        )
    if load.kv_bytes > 1:
        yield Change('kv_cache_dtype = "fp8"', load={"kv_bytes": 1})
    if load.vision and load.vision_optional:
        yield Change('modality = "text"', load={"vision": False})


def _shorter(setup: SetUp) -> list[str]:
    """A shorter context, where the user has set one."""
    tokens = setup.tokens
    if setup.contexts or tokens < catalog.SMALLEST_CONTEXT:
        return []
    return [f"context_length = {tokens // 1024 * 1024}: fits, with room for {tokens}"]


def _fewer_replicas(setup: SetUp, *, explicit: bool) -> Iterator[str]:
    """The most replicas whose accelerators hold it."""
    used = setup.count * setup.replicas
    for replicas in range(setup.replicas - 1, 0, -1):
        size, rest = divmod(used, replicas)
        if rest or setup.load.model.shape.kv_heads % size:
            continue
        changed = replace(setup, tensor_parallel=size, count=size, replicas=replicas)
        if changed.context is not None:
            both = f" and tensor_parallel_size = {size}" if explicit else ""
            yield (
                f"replicas = {replicas} instead of {setup.replicas}{both}: fits {changed.context} tokens of context, with room "
                f"for {changed.tokens}"
            )
            return


def _more_accelerators(setup: SetUp, *, explicit: bool) -> list[str]:
    size = max(setup.count, setup.tensor_parallel) * 2
    while size <= setup.load.model.shape.kv_heads:
        changed = replace(setup, tensor_parallel=size, count=size)
        context = changed.context
        if context is not None:
            both = f" and tensor_parallel_size = {size}" if explicit else ""
            more = size * setup.replicas
            wanted = f"{more} in 'accelerators'" if setup.chosen else f"accelerator_count = {more}"
            return [f"{wanted}{both}: fits {context} tokens of context, with room for {changed.tokens}"]
        size *= 2
    return []
