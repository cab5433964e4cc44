"""Secrets in the open and switches that open a door: refused at plan, with what to write instead."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from barewind import catalog
from barewind.engines import ENGINES, options
from barewind.engines.base import IMAGE_RISK
from barewind.errors import BarewindError
from barewind.site import doors
from barewind.site.notes import notes
from barewind.site.read import read_site
from barewind.spec.keys import EngineSpec
from tests.support.factories import engine_entry, engine_spec, plan

TOKEN = "hf_" + "aB3" * 10


def problems(**data: Any) -> list[str]:
    try:
        read_site([engine_entry("10.0.0.7", **data)])
    except BarewindError as error:
        return str(error).splitlines()
    return []


SECRETS = [
    # data, the key, what it names as the way
    ({"engine_args": {"api-key": "sk-local-1234567890abcdef"}}, "engine_args", 'engine_secrets = {"VLLM_API_KEY": '),
    ({"engine_args": {"--api_key": "plain"}}, "engine_args", 'engine_secrets = {"VLLM_API_KEY": '),
    ({"engine_args": {"hf-token": TOKEN}}, "engine_args", 'engine_secrets = {"HF_TOKEN": "~/secrets/hf_token"}'),
    ({"engine": "sglang", "engine_args": {"api-key": "plain"}}, "engine_args", "takes it as an argument only"),
    ({"engine": "sglang", "engine_args": {"admin-api-key": "plain"}}, "engine_args", "takes it as an argument only"),
    ({"engine": "sglang", "engine_args": {"ssl-keyfile-password": "p"}}, "engine_args", "takes it as an argument only"),
    (
        {"engine_args": {"otlp-traces-endpoint": "https://u:pw@x"}, "accept_risks": ["otlp-traces-endpoint"]},
        "engine_args",
        "leave it",
    ),
    ({"engine_args": {"hf-overrides": {"a": {"password": "plain"}}}}, "engine_args", "has a secret in its value"),
    ({"engine_args": {"hf-overrides": {"a": [{"b": TOKEN}]}}}, "engine_args", "has a secret in its value"),
    ({"engine_env": {"VLLM_API_KEY": "plain"}}, "engine_env", 'engine_secrets = {"VLLM_API_KEY": '),
    ({"engine_env": {"HF_TOKEN": TOKEN}}, "engine_env", 'engine_secrets = {"HF_TOKEN": '),
    ({"engine_env": {"AWS_SECRET_ACCESS_KEY": "plain"}}, "engine_env", 'engine_secrets = {"AWS_SECRET_ACCESS_KEY": '),
    ({"engine_env": {"DB_PASSWORD": "plain"}}, "engine_env", 'engine_secrets = {"DB_PASSWORD": '),
    ({"engine_env": {"CLIENT_SECRET": "plain"}}, "engine_env", 'engine_secrets = {"CLIENT_SECRET": '),
    (
        {"engine_env": {"HTTPS_PROXY": "http://user:plain@proxy:3128"}},
        "engine_env",
        'engine_secrets = {"HTTPS_PROXY": ',
    ),
    ({"engine_env": {"https_proxy": "user:plain@proxy:3128"}}, "engine_env", 'engine_secrets = {"https_proxy": '),
    ({"engine_args": {"hf-overrides": '{"a": [{"password": "plain"}]}'}}, "engine_args", "has a secret in its value"),
    ({"engine_args": {"hf-overrides": {"a": "Bearer plain/12345678"}}}, "engine_args", "has a secret in its value"),
    ({"engine_args": {"hf-overrides": {"a": "https://x/y?token=plain"}}}, "engine_args", "has a secret in its value"),
    ({"engine_args": {"api-ke": "plain"}}, "engine_args", "holds a secret"),
    ({"hub_token_file": TOKEN}, "hub_token_file", "is a secret itself; write it to a file"),
    ({"engine_secrets": {"HF_TOKEN": TOKEN}}, "engine_secrets.HF_TOKEN", "is a secret itself; write it to a file"),
    ({"image": "bot:plain@registry.example/vllm:1"}, "image", "registry_logins"),
    ({"image": "https://bot:plain@registry.example/vllm:1"}, "image", "write registry/repository:tag"),
    ({"hub_endpoint": "https://bot:plain@hub.example"}, "hub_endpoint", "'hub_token_file'"),
    ({"weights_source": "mirror", "weights_path": "https://bot:plain@m.example/x"}, "weights_path", "'hub_token_file'"),
    ({"docker_repository": "https://bot:plain@m.example/x"}, "docker_repository", "login in it; leave it out"),
    ({"reason": f"new token {TOKEN}"}, "reason", "say it without"),
    ({"evaluation": ["check", "--token", TOKEN]}, "evaluation", "'evaluation_env'"),
]


@pytest.mark.parametrize(("data", "key", "remedy"), SECRETS, ids=[str(number) for number in range(len(SECRETS))])
def test_a_secret_in_the_open_is_refused_and_not_repeated(data: dict[str, Any], key: str, remedy: str) -> None:
    (line,) = problems(**data)
    assert line.startswith(f"group_data/site.py: key '{key}")
    assert remedy in line
    assert line.endswith("(on 10.0.0.7)")
    for secret in ("plain", "sk-local", TOKEN, ":pw@"):
        assert secret not in line


@pytest.mark.parametrize(
    "data",
    [
        {"engine_args": {"api-key": 5 + 0j}},
        {"engine_args": {"api-key": "plain\n"}},
        {"engine_env": {"HF_TOKEN": b"plain"}},
        {"engine_env": {"HF_TOKEN": "plain\n"}},
        {"engine_secrets": {"HF_TOKEN": 1}},
        {"engine_args": {"hf-overrides": {"password": "plain", "x": float("nan")}}},
        {"engine_args": {"hf-overrides": {"password": b"plain"}}},
        {"engine_args": {"hf-overrides": [{"password": "plain"}]}},
        {"engine_args": {f"hf-token={TOKEN}": True}},
        {"engine_args": ["--api-key", "plain"]},
        {"engine_args": "--api-key plain"},
        {"engine_env": ["HF_TOKEN=plain"]},
        {"engine_env": {f"HF_TOKEN={TOKEN}": "x"}},
        {"evaluation": [b"plain"]},
        {"registry_logins": {"bot:plain@registry.example": "~/login"}},
        {"registry_logins": {"registry.example": "bot:plain\n"}},
        {"insecure_registries": ["bot:plain@registry.example"]},
        {"mirror": "bot:plain@registry.example:5000"},
        {"hub_endpoint": "https://hub.example/?token=plain"},
        {"model": TOKEN},
    ],
)
def test_nor_does_a_complaint_about_its_form_show_it(data: dict[str, Any]) -> None:
    assert "plain" not in "".join(problems(**data))
    assert TOKEN not in "".join(problems(**data))
    assert problems(**data)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_other_option_of_the_engines_is_taken_for_a_secret(engine: str) -> None:
    """Names of tokens and keys that are none: --max-num-batched-tokens, --tokenizer, --ssl-keyfile."""
    schema = options.load(engine)
    names = {name for flag in schema.options for name in (*flag.names, *flag.negated) if name.startswith("--")}
    refused = {name for name in names if list(doors.secrets(engine_spec(engine=engine, engine_args={name[2:]: "1"})))}
    assert refused == set(ENGINES[engine].secret_options)


@pytest.mark.parametrize(
    "variable",
    ["NCCL_DEBUG", "TOKENIZERS_PARALLELISM", "VLLM_MAX_TOKENS_PER_EXPERT", "HF_HUB_OFFLINE", "PYTORCH_ALLOC_CONF"],
)
def test_usual_variables_are_no_secrets(variable: str) -> None:
    assert problems(engine_env={variable: "1"}) == []


def test_a_variable_has_one_place() -> None:
    (line,) = problems(engine_env={"A": "1"}, engine_secrets={"A": "~/a"})
    assert "key 'engine_secrets': 'A' is in engine_env too; remove it there" in line


def test_no_password_crosses_the_network_in_the_clear() -> None:
    plain = {"insecure_registries": ["r.example:5000"], "registry_logins": {"r.example:5000": "~/r"}}
    (line,) = problems(**plain)
    assert "'r.example:5000' is among insecure_registries: its password would cross the network in the clear" in line
    assert problems(insecure_registries=["10.0.0.5:5000"], registry_logins={"10.0.0.5:5000": "~/r"}) == []


# --- Risks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"engine_env": {"VLLM_SERVER_DEV_MODE": "1"}}, "VLLM_SERVER_DEV_MODE"),
        ({"engine_env": {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}}, "VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
        ({"engine_env": {"VLLM_TORCH_PROFILER_DIR": "/tmp/p"}}, "VLLM_TORCH_PROFILER_DIR"),
        ({"engine_args": {"trust-remote-code": True}}, "trust-remote-code"),
        ({"engine_args": {"--trust_remote_code": True}}, "trust-remote-code"),
        ({"engine_args": {"allowed-local-media-path": "/"}}, "allowed-local-media-path"),
        ({"engine_args": {"profiler-config": {"profiler": "torch"}}}, "profiler-config"),
        ({"engine_args": {"profiler-config.profiler": "torch"}}, "profiler-config"),
        ({"engine_args": {"middleware": "a.b"}}, "middleware"),
        ({"engine_args": {"enable-log-requests": True}}, "enable-log-requests"),
        ({"engine": "sglang", "engine_args": {"enable-custom-logit-processor": True}}, "enable-custom-logit-processor"),
        ({"engine": "sglang", "engine_args": {"trust-remote-code": True}}, "trust-remote-code"),
    ],
)
def test_a_switch_that_opens_a_door_wants_a_word(data: dict[str, Any], name: str) -> None:
    (line,) = problems(**data)
    risks = ENGINES[data.get("engine", "vllm")].risks
    assert f"'{name}': {risks.get(name) or risks[f'--{name}']}" in line
    assert f'accept the risk: accept_risks = ["{name}"]' in line
    site = read_site([engine_entry("10.0.0.7", **data, accept_risks=[name])])
    assert [note for note in notes(site) if note.startswith(f"accepted risk '{name}' on 10.0.0.7: ")]


@pytest.mark.parametrize(
    "data",
    [
        {"engine_env": {"VLLM_SERVER_DEV_MODE": "0"}},
        {"engine_env": {"VLLM_SERVER_DEV_MODE": "false"}},
        {"engine_args": {"trust-remote-code": False}},
        {"engine_args": {"no-enable-log-requests": True}},
        {"engine_args": {"profiler-config": {}}},
    ],
)
def test_what_is_off_opens_nothing(data: dict[str, Any]) -> None:
    assert problems(**data) == []


def test_a_variable_from_a_file_may_open_a_door_too() -> None:
    (line,) = problems(engine_secrets={"VLLM_SERVER_DEV_MODE": "~/x"})
    assert "'VLLM_SERVER_DEV_MODE': " in line


def test_a_risk_that_is_accepted_for_nothing_is_told() -> None:
    site = read_site([engine_entry("10.0.0.7", accept_risks=["middleware"])])
    assert notes(site) == ["key 'accept_risks': 'middleware' on 10.0.0.7: nothing there uses it; remove it"]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_risky_option_is_one_of_the_engine(engine: str) -> None:
    known = options.load(engine).by_name
    for name, risk in ENGINES[engine].risks.items():
        assert name in known or not name.startswith("-")
        assert name not in known or known[name].names[0] == name, "the name that the engine lists first"
        assert 10 < len(risk) < 100


def fleets() -> list[EngineSpec]:
    specs = []
    for engine, accelerator, modality, speculative in itertools.product(
        ENGINES, catalog.accelerators(), ("text", "image"), ("auto", False)
    ):
        tiny = {"model": "barewind-lab/Mistral-Tiny", "context_length": 2048}
        cpu = catalog.accelerators()[accelerator].is_cpu
        specs.append(
            engine_spec(
                engine=engine,
                accelerator=accelerator,
                accelerator_count=1 if cpu else 8,
                modality=modality,
                speculative=speculative,
                image="r.example/engine:1",
                **(tiny if cpu else {}),
            )
        )
    return specs


def test_nothing_that_is_planned_opens_a_door() -> None:
    for spec in fleets():
        made, risks = plan(spec), ENGINES[spec.engine].risks
        assert not {option.flag for option in made.command.options} & set(risks), (spec.engine, spec.accelerator)
        assert not {name for name, value in made.command.env.items() if name in risks and value not in ("", "0")}
        assert set(doors.risks(spec)) <= {IMAGE_RISK}  # which modality = "image" asks for, and must be accepted


def test_the_documentation_lists_every_risk() -> None:
    page = (Path(__file__).parents[3] / "docs" / "secrets.md").read_text()
    for engine in ENGINES.values():
        for name in engine.risks:
            assert f"`{name.removeprefix('--')}`" in page


def test_values_that_are_no_secrets_stay() -> None:
    args = {"hf-overrides": {"max_tokens": 5, "token": ""}, "generation-config": "auto"}
    assert problems(engine_args=args) == []
    assert json.dumps(args)


def nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(levels):
        inner = {"a": inner}
    return inner


@pytest.mark.parametrize(
    "value",
    [nested(100), nested(500), nested(100_000), 10**5000, {"a": 10**5000}],
    ids=["100", "500", "deep", "long", "within"],
)
def test_a_value_that_python_cannot_write_is_refused_in_words(value: object) -> None:
    (line,) = problems(engine_args={"hf-overrides": value})
    assert "key 'engine_args': 'hf-overrides': " in line
