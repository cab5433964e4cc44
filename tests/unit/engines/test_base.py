"""What each engine's file says, against the options that its own parser was seen to take and the keys that users may write."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from barewind import catalog
from barewind.catalog.metrics import metrics
from barewind.engines import ENGINES, options
from barewind.engines.base import ApiPath, Engine, common_path
from barewind.engines.keys import OWN_KEYS
from barewind.engines.sglang import SGLANG
from barewind.spec.keys import EngineSpec
from tests.support.factories import engine_spec, plan
from tests.support.toy_engine import TOY

EVERY = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)


def recorded(engine: Engine) -> options.Schema:
    schema = options.nearest(engine.name)
    assert schema is not None, "run `make schema`"
    return schema


@EVERY
def test_its_table_maps_keys_of_group_data_to_options_that_it_takes(engine: Engine) -> None:
    assert set(engine.keys.names) <= set(EngineSpec.model_fields)
    written = {name for key, names in engine.keys.names.items() for name in names}
    if engine.model_first:
        written -= {engine.keys.name("model")}  # an option of old releases; the path stands first
    assert written <= set(recorded(engine).by_name)


@EVERY
def test_what_others_go_by_is_in_its_table(engine: Engine) -> None:
    assert OWN_KEYS - set(engine.keys.names) <= {"draft", "shutdown_timeout"}  # within another option; none
    asked = {engine.tool_option, engine.reasoning_option, *engine.image_options, engine.keys.name("images_per_prompt")}
    assert asked <= set(recorded(engine).by_name)


@EVERY
def test_an_option_says_what_one_key_says(engine: Engine) -> None:
    names = [name for names in engine.keys.names.values() for name in names]
    assert len(names) == len(set(names))


@EVERY
def test_clients_reach_answers_and_nothing_inside(engine: Engine) -> None:
    assert {ApiPath("GET", engine.models_path), ApiPath("POST", engine.chat_path)} <= set(engine.client_paths)
    inside = {engine.metrics.path, engine.health_path, engine.ready_path}
    assert inside.isdisjoint(path.path for path in engine.client_paths)


@EVERY
def test_its_metrics_begin_as_it_says(engine: Engine) -> None:
    for figure in metrics():
        assert all(name.startswith(engine.metrics.prefix) for name in engine.metric_names(figure))


@EVERY
def test_each_figure_is_known_of_it_or_why_not(engine: Engine) -> None:
    """A gauge that status asks for is one metric: what it is made of cannot be added up there."""
    for figure, entry in metrics().items():
        assert bool(entry.accelerators) != (engine.name in {**entry.engines, **entry.none}), figure
    assert len(engine.metric_names("requests_running")) == len(engine.metric_names("requests_waiting")) == 1


@EVERY
def test_it_has_an_entry_of_the_catalog(engine: Engine) -> None:
    assert ENGINES[engine.name] is engine
    assert engine.name in catalog.engines()


def test_every_entry_of_the_catalog_has_an_engine() -> None:
    assert set(catalog.engines()) == set(ENGINES)
    assert catalog.DEFAULT_ENGINE in ENGINES


@pytest.mark.parametrize(
    ("names", "path"),
    [(["vllm"], "/health"), (["sglang"], "/ready"), (["vllm", "sglang"], "/health"), (["sglang", "sglang"], "/ready")],
)
def test_the_path_by_which_balancers_tell_whether_engines_take_requests(names: list[str], path: str) -> None:
    assert common_path(ENGINES[name] for name in names) == path


def test_engines_without_a_path_in_common() -> None:
    assert common_path([TOY, *ENGINES.values()]) is None


def test_the_admin_key_is_hidden_in_what_the_server_tells_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin that its container finds, on a class with the names of SGLang 0.5.23."""

    class ServerArgs:
        admin_api_key: str | None = "k1"

        def resolved_dict(self) -> dict[str, object]:
            return {"port": 8000, "admin_api_key": self.admin_api_key}

        @property
        def launch_command(self) -> str:
            return f"--admin-api-key {self.admin_api_key} --port 8000"

        def __repr__(self) -> str:
            return f"ServerArgs(admin_api_key={self.admin_api_key!r})"

    module = ModuleType("sglang.srt.server_args")
    module.__dict__["ServerArgs"] = ServerArgs
    for name in ("sglang", "sglang.srt"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "sglang.srt.server_args", module)
    plugin: dict[str, Any] = {}
    exec(SGLANG.added_files["barewind_admin_key.py"], plugin)  # noqa: S102 - ours

    plugin["hide"]()

    told = ServerArgs()
    assert told.resolved_dict() == {"port": 8000, "admin_api_key": "<hidden>"}
    assert told.launch_command == "--admin-api-key <hidden> --port 8000"
    assert repr(told) == "ServerArgs(admin_api_key='<hidden>')"
    assert told.admin_api_key == "k1"
    told.admin_api_key = None
    assert told.resolved_dict()["admin_api_key"] is None


def test_a_container_with_files_of_ours_begins_where_they_are() -> None:
    container = plan(engine_spec(engine="sglang")).container
    assert "--volume=/usr/local/lib/barewind/container:/opt/barewind:ro" in container
    assert "--workdir=/opt/barewind" in container
    assert not any("/opt/barewind" in option for option in plan(engine_spec()).container)
