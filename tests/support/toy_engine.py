"""An engine that does not exist and is like no other: all that adding one takes, an `Engine` and its part of the catalog."""

from __future__ import annotations

import pytest

from barewind import catalog
from barewind.catalog import EngineEntry
from barewind.catalog.metrics import metrics
from barewind.engines import ENGINES, log
from barewind.engines.base import ApiPath, Engine, Memory, Metrics
from barewind.engines.causes import KV_CACHE_TOO_SMALL, Cause
from barewind.engines.command import Option
from barewind.engines.keys import KeyOptions
from barewind.engines.workload import Workload

_KEYS = KeyOptions(
    {
        "model": ("--weights",),
        "served_model_name": ("--call-it",),
        "address": ("--listen",),
        "engine_port": ("--tcp-port",),
        "tensor_parallel_size": ("--shards", "--slices"),
        "context_length": ("--window",),
        "images_per_prompt": ("--pictures",),
        "speculative": ("--guess",),
        "kv_cache_dtype": ("--cache-type",),
        "gpu_memory_utilization": ("--memory-share",),
        "max_num_seqs": ("--at-once",),
    },
    words={"kv_cache_dtype": {"fp8": "eight-bit"}},
)


def _planned(workload: Workload) -> list[Option]:
    options = [
        *_KEYS.planned(workload, "model", "served_model_name", "address", "engine_port", "tensor_parallel_size"),
        *_KEYS.planned(workload, "context_length", "images_per_prompt"),
        Option("--tools", True, "tool calling"),
        Option("--think", True, "reasoning text in a field of its own"),
    ]
    if workload.draft_path is not None:
        options.append(Option("--guess", {"with": workload.draft_path}, "draft head"))
    return options + _KEYS.planned(workload, "kv_cache_dtype", "gpu_memory_utilization", "max_num_seqs")


TOY = Engine(
    name="toy",
    planned=_planned,
    keys=_KEYS,
    entrypoint=("toy-server", "run"),
    env={"TOY_CACHE": "/cache"},
    vendor_env={"amd": {"TOY_AMD": "1"}},
    layouts=("hf",),
    draft_layout="mistral",
    health_path="/alive",
    ready_path="/open",
    models_path="/list",
    chat_path="/talk",
    admin_paths=("/wind-up",),
    admin_prefixes=("/figures",),
    client_paths=(ApiPath("GET", "/list"), ApiPath("POST", "/talk")),
    reasoning_field="thoughts",
    error_field="trouble",
    unknown_model=418,
    tool_option="--tools",
    reasoning_option="--think",
    image_options=("--pictures",),
    memory=Memory(vision_optional=False, vision_copies=True),
    metrics=Metrics(prefix="toy:", path="/figures", disabled_by="--keep-figures-secret"),
    log=log.table(
        log.line(r"no room for (\d+) tokens", KV_CACHE_TOO_SMALL),
        log.line(r"spring broken: (\w+)", Cause("the toy's spring {0} is broken", "wind it up")),
    ),
    version_variables=("TOY_VERSION",),
    older_cuda_image="docker.io/toys/toy:old-cuda",
)

FIGURES = {"requests_running": "sum by (<by>) (toy:busy)", "requests_waiting": "sum by (<by>) (toy:waiting)"}

ENTRY = EngineEntry(
    images={"nvidia": "docker.io/toys/toy"},
    channels={"nvidia": {"nightly": "edge", "stable": "release-2.1.0"}},
    version_in_tag=r"release-(\d+\.\d+\.\d+)",
    floor="2.0.0",
    draft_floor="2.1.0",
    drafts_on=("nvidia",),
    known_bad={"2.0.1": "its spring breaks"},
    limits=(),
    source="tests",
)


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Barewind know the toy for one test."""
    monkeypatch.setitem(ENGINES, TOY.name, TOY)
    monkeypatch.setitem(catalog.engines(), TOY.name, ENTRY)
    for name, expression in FIGURES.items():
        monkeypatch.setitem(metrics()[name].engines, TOY.name, expression)
