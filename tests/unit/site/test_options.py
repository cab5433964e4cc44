"""Options of `engine_args` against the plan: counted, refused, or let through with a note."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barewind.catalog.option_classes import option_classes
from barewind.engines import ENGINES, options
from barewind.engines.sizing import size
from barewind.errors import BarewindError
from barewind.plan import checks
from barewind.plan.engine import plan_host
from barewind.release.unit import engine_unit
from barewind.site.notes import notes
from barewind.site.read import read_site
from tests.support.factories import engine_entry, engine_spec, locked, plan
from tests.support.units import exec_start

H100 = {"accelerator": "h100", "accelerator_count": 8}
SCHEMAS = {engine: options.load(engine) for engine in ENGINES}


def refused(**data: Any) -> str:
    """What is wrong with a host, empty where nothing is."""
    try:
        site = read_site([engine_entry("10.0.0.1", **H100 | data)])
    except BarewindError as error:
        return str(error)
    return "\n".join(checks.problems(plan_host(site.engines["10.0.0.1"], locked(site.engines["10.0.0.1"]))))


def told(**data: Any) -> list[str]:
    return notes(read_site([engine_entry("10.0.0.1", **H100 | data)]))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"engine_args": {"data-parallel-size": 2}}, "16 accelerators needed, 8 there; set tensor_parallel_size = 4"),
        ({"engine_args": {"dp": 2}}, "--dp"),
        (
            {"engine": "sglang", "engine_args": {"dp-size": 2}},
            "16 accelerators needed, 8 there; set tensor_parallel_size = 4",
        ),
        (
            {"tensor_parallel_size": 4, "engine_args": {"data-parallel-size": 3}},
            "12 accelerators needed, 8 there; leave the",
        ),
        (
            {"engine_args": {"pipeline-parallel-size": 2}},
            "'pipeline-parallel-size': 2 cannot work here: on one host the weights",
        ),
        ({"engine": "sglang", "engine_args": {"pp-size": 2}}, "'pp-size': 2 cannot work here"),
        ({"engine_args": {"root-path": "/llm"}}, "'root-path': '/llm' cannot work here: balancers and gates ask"),
        ({"engine_args": {"enable-dbo": True}}, "'enable-dbo' cannot work here: the model is dense"),
        ({"engine_args": {"scheduler-cls": "a.B"}}, "'scheduler-cls': code of your own runs in the engine"),
        ({"engine_args": {"-O3": True}}, 'write it in full: {"optimization-level": 3}'),
        ({"engine_args": {"load-format": "gguf"}}, "safetensors files alone; leave it out (on"),
        ({"engine": "sglang", "engine_args": {"hicache-size": 64}}, "'hicache-size': 64 cannot work here: the plan"),
        ({"engine": "sglang", "engine_args": {"delete-ckpt-after-loading": True}}, "the next start reads them again"),
        ({"engine": "sglang", "engine_args": {"disaggregation-bootstrap-port": 9}}, "the balancers know whole engines"),
        (
            {"engine": "sglang", "engine_args": {"pipeline_parallel_size": 2}},
            "'pipeline_parallel_size': 2 cannot work here",
        ),
        ({"engine_args": {"decode-context-parallel-size": 2}}, "the key 'tensor_parallel_size' alone"),
        (
            {"engine_args": {"enable-expert-parallel": True}},
            "'enable-expert-parallel' cannot work here: the model is dense",
        ),
        ({"engine_args": {"nnodes": 2}}, "'nnodes': 2 cannot work here: an engine is of one host"),
        ({"engine_args": {"headless": True}}, "'headless' cannot work here: without its server nothing answers"),
        ({"engine_args": {"uds": "/tmp/engine"}}, "not at a file; leave it out"),
        ({"engine_args": {"ssl-certfile": "/x.pem"}}, "balancers and gates speak plain HTTP with engines"),
        ({"engine": "sglang", "engine_args": {"ssl-certfile": "/x.pem"}}, "speak plain HTTP with engines"),
        ({"engine_args": {"grpc": True}}, "balancers and gates speak HTTP"),
        (
            {"engine_args": {"load-format": "gguf"}},
            "'load-format': 'gguf' cannot work here: the host has the model's safetensors",
        ),
        ({"engine_args": {"load-format": "dummy"}}, "the host has the model's safetensors"),
        ({"engine": "sglang", "engine_args": {"load-format": "pt"}}, "the host has the model's safetensors"),
        ({"engine_args": {"dtype": "float32"}}, "layers in FP8 compute in BF16 or FP16 alone"),
        ({"engine_args": {"quantization": "awq"}}, "the weights bring their own quantization"),
        ({"engine_args": {"runner": "pooling"}}, "gates and clients ask for text"),
        ({"engine_args": {"revision": "main"}}, "use the key 'model_revision'"),
        ({"engine_args": {"distributed-executor-backend": "ray"}}, "no Ray cluster"),
        ({"engine_args": {"offload-group-size": 4}}, "use cpu-offload-gb"),
        (
            {"max_num_seqs": 512, "max_num_batched_tokens": 256},
            "a step of 256 tokens has none for some of 512 sequences",
        ),
        ({"engine_args": {"max-num-seqs": 512, "max-num-batched-tokens": 256}}, "none for some of 512 sequences"),
        ({"engine_args": {"no-enable-chunked-prefill": True}}, "steps that hold a whole prompt: 262144 tokens"),
        ({"gpu_memory_utilization": 0.9999}, "8 MiB of 8"),
        ({"engine_args": {"gpu-memory-utilization": 0.9999}}, "set 0.99 or less"),
        ({"engine": "sglang", "engine_args": {"mem-fraction-static": 0.9999}}, "set 0.99 or less"),
        (
            {"engine_args": {"kv-cache-memory-bytes": "5G"}, "context_length": 262144},
            "room for 119152 tokens of KV cache",  # the draft left out
        ),
        ({"engine_args": {"kv-cache-memory-bytes": "70G"}}, "room for 0 tokens of KV cache"),  # more than there is
        ({"engine_args": {"num-gpu-blocks-override": 100}}, "room for 1600 tokens of KV cache"),
        ({"accelerator_count": 2, "max_num_seqs": 4096}, "room for 3600 tokens of KV cache"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(data: dict[str, Any], said: str) -> None:
    assert said in refused(**data)


@pytest.mark.parametrize(
    "engine_args",
    [
        {"pipeline-parallel-size": 1},
        {"nnodes": 1},
        {"headless": False},
        {"no-enable-expert-parallel": True},
        {"load-format": "safetensors"},
        {"dtype": "bfloat16"},
        {"gpu-memory-utilization": 0.99},
        {"no-enable-chunked-prefill": False},
        {"distributed-executor-backend": "mp"},
    ],
    ids=str,
)
def test_values_that_change_nothing_are_taken(engine_args: dict[str, Any]) -> None:
    assert refused(engine_args=engine_args) == ""


def fit(**changes: Any) -> Any:
    made = size(engine_spec(**H100 | changes))
    assert made.fit is not None
    return made.fit


@pytest.mark.parametrize(
    ("engine_args", "tokens"),
    [
        ({"kv-cache-memory-bytes": "5G"}, 116496),  # 5 x 2^30 bytes x 8 / (360448 + 8192), in blocks of 16
        ({"kv_cache_memory_bytes": 5 * 2**30}, 116496),
        ({"kv-cache-memory-bytes": "5g"}, 108496),  # decimal
        ({"kv-cache-memory-bytes": "5368709120"}, 116496),
        ({"num-gpu-blocks-override": 5000}, 80000),
        ({"num-gpu-blocks-override": 2500, "block-size": 32}, 80000),
    ],
    ids=str,
)
def test_options_that_say_the_size_of_the_cache(engine_args: dict[str, Any], tokens: int) -> None:
    assert fit(engine_args=engine_args).kv_token_capacity == tokens


def test_sglang_caps_the_cache_too() -> None:
    assert fit(engine="sglang", engine_args={"max-total-tokens": "64k"}).kv_token_capacity == 64000
    assert fit(engine="sglang", engine_args={"max-total-tokens": 10**9}) == fit(engine="sglang")


def tokens_with(engine: str = "vllm", **engine_args: Any) -> int:
    sequences = {} if "max-num-seqs" in engine_args else {"max_num_seqs": 128}
    keys: dict[str, Any] = {"accelerator_count": 4, "speculative": False} | sequences
    capacity = fit(engine=engine, engine_args=engine_args, **keys).kv_token_capacity
    assert isinstance(capacity, int)
    return capacity


MIB = 2**20 * 4 // 360448  # tokens that a MiB of each of four accelerators holds


@pytest.mark.parametrize(
    ("engine", "engine_args", "mib"),
    [
        ("vllm", {"cpu-offload-gb": 4}, 4096),
        ("sglang", {"cpu-offload-gb": 4}, 4096),
        ("vllm", {"enforce-eager": True}, 2048),
        ("sglang", {"disable-cuda-graph": True}, 2048),
        ("vllm", {"max-cudagraph-capture-size": 128}, 1024),
        ("vllm", {"cudagraph-capture-sizes": [1, 64, 128]}, 1024),
        ("vllm", {"compilation-config": {"cudagraph_capture_sizes": [1, 64, 128]}}, 1024),
        ("vllm", {"compilation-config": '{"max_cudagraph_capture_size": 128}'}, 1024),
        ("vllm", {"compilation-config.cudagraph_mode": "NONE"}, 2048),
        ("vllm", {"compilation-config": {"cudagraph_mode": "PIECEWISE"}}, 0),
        ("vllm", {"compilation-config": "{"}, 0),  # the engine's parser refuses it
        ("sglang", {"mm-enable-dp-encoder": True}, -5356443136 / 2**20 * 3 / 4),  # the whole tower instead of a quarter
        ("vllm", {"max-num-seqs": 256}, -2048 - 160),  # graphs for 512, logits of 128 sequences more
        # one adapter of rank 16: 88 x (7 x 12288 + 112640 / 4) x 16 x 2 bytes
        ("vllm", {"enable-lora": True}, -307),
        ("vllm", {"enable-lora": True, "max-loras": 4, "max-lora-rank": 64}, -4906),
        ("vllm", {"max-loras": 4}, 0),
        ("vllm", {"no-enable-lora": True}, 0),
        ("vllm", {"kv-cache-dtype": "bfloat16"}, 0),
    ],
    ids=str,
)
def test_options_that_change_what_memory_holds(engine: str, engine_args: dict[str, Any], mib: int) -> None:
    changed = tokens_with(engine, **engine_args) - tokens_with(engine)
    assert changed == pytest.approx(mib * 2**20 * 4 / 360448, abs=2 * MIB)


@pytest.mark.parametrize("value", ["fp8", "fp8_e4m3", "int8_per_token_head", "nvfp4"])
def test_a_cache_of_a_byte_or_less_is_counted_as_one(value: str) -> None:
    assert tokens_with(**{"kv-cache-dtype": value}) == pytest.approx(2 * tokens_with(), abs=32)


def test_engines_side_by_side_have_a_cache_each() -> None:
    together = fit(tensor_parallel_size=4, engine_args={"data-parallel-size": 2})
    alone = fit(tensor_parallel_size=4)
    assert together.kv_token_capacity == alone.kv_token_capacity
    assert (together.data_parallel, together.concurrent_sequences) == (2, 2 * alone.concurrent_sequences)
    assert refused(tensor_parallel_size=4, engine_args={"data-parallel-size": 2}) == ""


def test_an_option_of_several_values_is_a_list() -> None:
    spec = engine_spec(engine_args={"lora-modules": ["a=/x", "b=/y"]})
    argv = exec_start(engine_unit(plan(spec)))
    at = argv.index("--lora-modules")
    assert argv[at : at + 3] == ["--lora-modules", "a=/x", "b=/y"]
    assert refused(engine_args={"lora-modules": ["a=/x", "b=/y"]}) == ""


@pytest.mark.parametrize(
    ("engine_args", "argv"),
    [
        ({"allowed-origins": ["https://a", "https://b"]}, ["--allowed-origins", '["https://a", "https://b"]']),
        ({"cudagraph-capture-sizes": [1, 2, 4]}, ["--cudagraph-capture-sizes", "1", "2", "4"]),
    ],
)
def test_a_list_becomes_what_the_option_takes(engine_args: dict[str, Any], argv: list[str]) -> None:
    made = plan(engine_spec(engine_args=engine_args))
    assert made.command.argv[-len(argv) :] == argv
    assert checks.problems(made) == []


@pytest.mark.parametrize("value", [[], [["a"]], [{"a": 1}], [None], ["a\nb"], ["a", b"b"]])
def test_a_list_holds_numbers_and_texts(value: list[Any]) -> None:
    assert "key 'engine_args" in refused(engine_args={"lora-modules": value})


def test_an_option_of_no_class_is_let_through_and_told() -> None:
    assert told(engine_args={"hf-overrides": {}}) == [
        "key 'engine_args': 'hf-overrides' on 10.0.0.1: vllm takes it, but what it changes is not known here: memory "
        "and checks of the plan are without it"
    ]


@pytest.mark.parametrize(
    ("data", "file", "there"),
    [
        ({"engine_args": {"lora-modules": ["a=/adapters/a"]}}, "'/adapters/a'", "the weights under /models"),
        ({"engine_args": {"chat-template": "./mine.jinja"}}, "'./mine.jinja'", "the weights under /models"),
        ({"engine_args": {"default-mm-loras": {"image": "/adapters/a"}}}, "'/adapters/a'", "the weights under /models"),
        (
            {
                "engine_args": {"lora-modules": "a=/srv/models/a"},
                "weights_source": "path",
                "weights_path": "/srv/models",
            },
            "'/srv/models/a'",
            "the weights under /models, and /srv/models of the host",
        ),
        (
            {"engine": "sglang", "engine_args": {"quantization-param-path": "/x.json"}},
            "'/x.json'",
            "the weights under /models",
        ),
    ],
    ids=str,
)
def test_where_an_option_names_a_file_it_is_told_which_files_are_there(
    data: dict[str, Any], file: str, there: str
) -> None:
    (note,) = told(**data)
    assert f"{file} must be a file that its container has: those of its image, {there}" in note


def test_a_template_that_is_no_file_is_not_told() -> None:
    assert told(engine_args={"chat-template": "{{ messages }}"}) == []


@pytest.mark.parametrize(
    "engine_args",
    [
        {"seed": 1},
        {"moe-backend": "triton"},
        {"performance-mode": "throughput"},
        {"no-enable-chunked-prefill": False},
        {"enforce-eager": True},
        {"gpu-memory-utilization": 0.8},
        {"disable-log-stats": False},
        {"max_log_len": 9},
    ],
    ids=str,
)
def test_an_option_of_a_class_is_not_told(engine_args: dict[str, Any]) -> None:
    assert told(engine_args=engine_args) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_classes_hold_options_of_the_engine_once(engine: str) -> None:
    classes, known = option_classes(engine), SCHEMAS[engine].by_name
    named = [*classes.counted, *classes.refused, *classes.harmless, *classes.files]
    assert [name for name in named if name not in known or known[name].names[0] != name] == []
    assert len(named) == len(set(named))
    assert [name for name in named if ENGINES[engine].keys.key(name)] == []
    assert [name for name in classes.hints if name in known] == []


FLAGS = [(engine, flag) for engine, schema in SCHEMAS.items() for flag in schema.options]
VALUES = st.one_of(
    st.booleans(),
    st.integers(-3, 10**7),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["auto", "fp8", "5G", "64k", "bfloat16", "/x", "a=b", "", "0", "1"]),
    st.text(max_size=12),
    st.lists(st.integers(0, 9) | st.text("abc/=", min_size=1, max_size=5), min_size=1, max_size=3),
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(), max_size=2),
)


@given(st.sampled_from(FLAGS), VALUES)
def test_whatever_an_option_says_it_is_planned_or_refused_in_words(flag: Any, value: Any) -> None:
    engine, option = flag
    for problem in refused(engine=engine, engine_args={option.names[0].lstrip("-"): value}).splitlines():
        assert problem.isprintable()
        assert "key '" in problem or "cannot hold" in problem
