"""The number of a host's engines where group data leaves it open."""

from __future__ import annotations

from functools import lru_cache

from barewind import catalog
from barewind.catalog import own
from barewind.estimate.layouts import others
from barewind.estimate.replicas import choice
from barewind.site.conflicts import conflicts
from barewind.spec.keys import EngineSpec

_UNNAMED = {"host": "any", "groups": (), "address": "192.0.2.0"}


def resolved(spec: EngineSpec) -> EngineSpec:
    """The keys of a host with a number of replicas that go together with the others; as they are where no number does."""
    if not spec.replicas_chosen:
        return spec
    chosen = _chosen(spec.model_copy(update=_UNNAMED).model_dump_json(), own.state())
    if chosen is None:
        return spec
    replicas, why = chosen
    return spec.model_copy(update={"replicas": replicas, "replicas_chosen": why})


@lru_cache(maxsize=1024)
def _chosen(text: str, _: str) -> tuple[int, str] | None:
    """`text` is the spec as JSON, without what names the host: hosts that are alike are looked at once, as the catalog stands."""
    spec = EngineSpec.model_validate_json(text, strict=False)
    if catalog.accelerators()[spec.accelerator].is_cpu:
        return 1, "without accelerators one engine has all processors"
    layouts = [
        layout
        for layout in others(spec)
        if spec.tensor_parallel_size in (None, layout.tensor_parallel) and not list(conflicts(layout))
    ]
    return choice(layouts)
