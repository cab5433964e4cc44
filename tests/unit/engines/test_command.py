"""Spec -> the whole command and environment of an engine, for the set-ups that people run.

Commands are written as a shell would take them. Each is also checked against the engine's own list of options.
"""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from barewind.plan.checks import problems
from tests.support.factories import UNPRIVILEGED, engine_spec, plan

# What DRAFT_3 and DRAFT_5 stand for below.
DRAFTS = {
    f"DRAFT_{tokens}": (
        '{"model": "/models/mistralai/Mistral-Medium-3.5-128B-EAGLE", "method": "eagle", '
        f'"num_speculative_tokens": {tokens}, "max_model_len": 65536}}'
    )
    for tokens in (3, 5)
}

COMMANDS: list[tuple[str, dict[str, Any], str]] = [
    (
        "vllm 4x h100",
        {"accelerator": "h100", "accelerator_count": 4},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 4
        --max-model-len 262144 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --language-model-only
        --speculative-config DRAFT_3
        --safetensors-load-strategy prefetch
        --gpu-memory-utilization 0.9 --max-num-seqs 192 --max-num-batched-tokens 4096
        """,
    ),
    (
        "vllm 4x h100, FP8 KV cache",
        {"accelerator": "h100", "accelerator_count": 4, "kv_cache_dtype": "fp8"},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 4
        --max-model-len 262144 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --language-model-only
        --speculative-config DRAFT_3
        --safetensors-load-strategy prefetch --kv-cache-dtype fp8
        --gpu-memory-utilization 0.9 --max-num-seqs 256 --max-num-batched-tokens 4096
        """,
    ),
    (
        "vllm 8x h100, FP8 KV cache",
        {"accelerator": "h100", "accelerator_count": 8, "kv_cache_dtype": "fp8"},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 8
        --max-model-len 262144 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --language-model-only
        --speculative-config DRAFT_3
        --safetensors-load-strategy prefetch --kv-cache-dtype fp8
        --gpu-memory-utilization 0.9 --max-num-seqs 512 --max-num-batched-tokens 6144
        """,
    ),
    (
        "vllm 8x h200",
        {},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 8
        --max-model-len 262144 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --language-model-only
        --speculative-config DRAFT_3
        --safetensors-load-strategy prefetch
        --gpu-memory-utilization 0.9 --max-num-seqs 512 --max-num-batched-tokens 6144
        """,
    ),
    (
        "vllm 8x h200, image",
        {"modality": "image"},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 8
        --max-model-len 262144 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --limit-mm-per-prompt '{"image": 4}' --allowed-media-domains media.invalid
        --mm-encoder-tp-mode data --speculative-config DRAFT_3
        --safetensors-load-strategy prefetch
        --gpu-memory-utilization 0.9 --max-num-seqs 512 --max-num-batched-tokens 8192
        """,
    ),
    (
        "vllm 8x h200, 5 tokens drafted per step",
        {"speculative": 5, "channel": "stable"},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 8
        --max-model-len 262144 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --language-model-only
        --speculative-config DRAFT_5
        --safetensors-load-strategy prefetch
        --gpu-memory-utilization 0.9 --max-num-seqs 512 --max-num-batched-tokens 6144
        """,
    ),
    (
        "vllm 4x b200",
        {"accelerator": "b200", "accelerator_count": 4},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 4
        --max-model-len 262144 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --language-model-only
        --speculative-config DRAFT_3
        --safetensors-load-strategy prefetch
        --gpu-memory-utilization 0.9 --max-num-seqs 512 --max-num-batched-tokens 8192
        """,
    ),
    (
        "vllm 8x b200",
        {"accelerator": "b200"},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 8
        --max-model-len 262144 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --language-model-only
        --speculative-config DRAFT_3
        --safetensors-load-strategy prefetch
        --gpu-memory-utilization 0.9 --max-num-seqs 512 --max-num-batched-tokens 12288
        """,
    ),
    (
        "vllm 8x b200, 0.26.0",
        {"accelerator": "b200", "image": "docker.io/vllm/vllm-openai:v0.26.0"},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 8
        --max-model-len 262144 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --language-model-only
        --speculative-config DRAFT_3
        --safetensors-load-strategy prefetch
        --gpu-memory-utilization 0.9 --max-num-seqs 512 --max-num-batched-tokens 12288
        --kernel-config '{"enable_cutedsl_warmup": false}'
        """,
    ),
    (
        "vllm 1x mi300x, text",
        {"accelerator": "mi300x", "accelerator_count": 1},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 1
        --max-model-len 131072 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --language-model-only --enable-prefix-caching --gpu-memory-utilization 0.9
        --max-num-seqs 72 --max-num-batched-tokens 1024
        """,
    ),
    (
        "vllm 2x mi300x, text",
        {"accelerator": "mi300x", "accelerator_count": 2},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 2
        --max-model-len 262144 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --language-model-only
        --enable-prefix-caching --safetensors-load-strategy prefetch --gpu-memory-utilization 0.9 --max-num-seqs 256
        --max-num-batched-tokens 1536
        """,
    ),
    (
        "vllm 4x mi300x, text",
        {"accelerator": "mi300x", "accelerator_count": 4},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 4
        --max-model-len 262144 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --language-model-only
        --enable-prefix-caching --safetensors-load-strategy prefetch --gpu-memory-utilization 0.9 --max-num-seqs 512
        --max-num-batched-tokens 3072
        """,
    ),
    (
        "vllm 8x mi300x, text",
        {"accelerator": "mi300x", "accelerator_count": 8},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 8
        --max-model-len 262144 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --language-model-only
        --enable-prefix-caching --safetensors-load-strategy prefetch --gpu-memory-utilization 0.9 --max-num-seqs 512
        --max-num-batched-tokens 6144
        """,
    ),
    (
        "vllm 1x mi300x, image",
        {"accelerator": "mi300x", "accelerator_count": 1, "modality": "image"},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 1
        --max-model-len 65536 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --limit-mm-per-prompt '{"image": 4}' --allowed-media-domains media.invalid
        --enable-prefix-caching --gpu-memory-utilization 0.9 --max-num-seqs 56
        --max-num-batched-tokens 8192
        """,
    ),
    (
        "vllm 2x mi300x, image",
        {"accelerator": "mi300x", "accelerator_count": 2, "modality": "image"},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 2
        --max-model-len 262144 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --limit-mm-per-prompt '{"image": 4}' --allowed-media-domains media.invalid
        --mm-encoder-tp-mode data
        --enable-prefix-caching --safetensors-load-strategy prefetch --gpu-memory-utilization 0.9 --max-num-seqs 256
        --max-num-batched-tokens 8192
        """,
    ),
    (
        "vllm 4x mi300x, image",
        {"accelerator": "mi300x", "accelerator_count": 4, "modality": "image"},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 4
        --max-model-len 262144 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --limit-mm-per-prompt '{"image": 4}' --allowed-media-domains media.invalid
        --mm-encoder-tp-mode data
        --enable-prefix-caching --safetensors-load-strategy prefetch --gpu-memory-utilization 0.9 --max-num-seqs 512
        --max-num-batched-tokens 8192
        """,
    ),
    (
        "vllm 8x mi300x, image",
        {"accelerator": "mi300x", "accelerator_count": 8, "modality": "image"},
        """
        /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000
        --tokenizer-mode mistral --config-format mistral --load-format mistral --tensor-parallel-size 8
        --max-model-len 262144 --enable-auto-tool-choice --tool-call-parser mistral --reasoning-parser mistral
        --shutdown-timeout 600 --limit-mm-per-prompt '{"image": 4}' --allowed-media-domains media.invalid
        --mm-encoder-tp-mode data
        --enable-prefix-caching --safetensors-load-strategy prefetch --gpu-memory-utilization 0.9 --max-num-seqs 512
        --max-num-batched-tokens 8192
        """,
    ),
    (
        "sglang 8x h200",
        {"engine": "sglang"},
        """
        python3 -m sglang.launch_server
        --model-path /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000 --tp-size 8
        --context-length 262144 --tool-call-parser mistral --reasoning-parser mistral --enable-metrics
        --limit-mm-data-per-request '{"image": 0, "video": 0, "audio": 0}'
        --dtype bfloat16 --speculative-algorithm EAGLE
        --speculative-draft-model-path /models/mistralai/Mistral-Medium-3.5-128B-EAGLE --speculative-num-steps 3
        --speculative-eagle-topk 1 --speculative-num-draft-tokens 4 --mem-fraction-static 0.9
        --max-running-requests 512 --chunked-prefill-size 6144
        --config /run/barewind/sglang.yaml
        """,
    ),
    (
        "sglang 4x h200 without a draft",
        {"engine": "sglang", "accelerator_count": 4, "speculative": False},
        """
        python3 -m sglang.launch_server
        --model-path /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000 --tp-size 4
        --context-length 262144 --tool-call-parser mistral --reasoning-parser mistral --enable-metrics
        --limit-mm-data-per-request '{"image": 0, "video": 0, "audio": 0}'
        --mem-fraction-static 0.9 --max-running-requests 512 --chunked-prefill-size 4096
        --config /run/barewind/sglang.yaml
        """,
    ),
    (
        "sglang 8x h200, image, FP8 KV cache",
        {"engine": "sglang", "modality": "image", "images_per_prompt": 2, "kv_cache_dtype": "fp8"},
        """
        python3 -m sglang.launch_server
        --model-path /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000 --tp-size 8
        --context-length 262144 --tool-call-parser mistral --reasoning-parser mistral --enable-metrics
        --limit-mm-data-per-request '{"image": 2, "video": 0, "audio": 0}'
        --allowed-media-domains media.invalid --dtype bfloat16 --speculative-algorithm EAGLE
        --speculative-draft-model-path /models/mistralai/Mistral-Medium-3.5-128B-EAGLE --speculative-num-steps 3
        --speculative-eagle-topk 1 --speculative-num-draft-tokens 4 --kv-cache-dtype fp8_e4m3
        --mem-fraction-static 0.9 --max-running-requests 512 --chunked-prefill-size 8192
        --config /run/barewind/sglang.yaml
        """,
    ),
    (
        "sglang 2x b200, EAGLE",
        {"engine": "sglang", "accelerator": "b200", "accelerator_count": 2, "speculative": True},
        """
        python3 -m sglang.launch_server
        --model-path /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000 --tp-size 2
        --context-length 32768 --tool-call-parser mistral --reasoning-parser mistral --enable-metrics
        --limit-mm-data-per-request '{"image": 0, "video": 0, "audio": 0}'
        --dtype bfloat16 --speculative-algorithm EAGLE
        --speculative-draft-model-path /models/mistralai/Mistral-Medium-3.5-128B-EAGLE --speculative-num-steps 3
        --speculative-eagle-topk 1 --speculative-num-draft-tokens 4 --mem-fraction-static 0.85
        --max-running-requests 192 --chunked-prefill-size 6144
        --config /run/barewind/sglang.yaml
        """,
    ),
    (
        "sglang 8x mi300x, stable",
        {"engine": "sglang", "channel": "stable", "accelerator": "mi300x"},
        """
        python3 -m sglang.launch_server
        --model-path /models/mistralai/Mistral-Medium-3.5-128B
        --served-model-name mistralai/Mistral-Medium-3.5-128B --host 192.0.2.11 --port 8000 --tp-size 8
        --context-length 262144 --tool-call-parser mistral --reasoning-parser mistral --enable-metrics
        --limit-mm-data-per-request '{"image": 0, "video": 0, "audio": 0}'
        --mem-fraction-static 0.9
        --max-running-requests 512 --chunked-prefill-size 6144
        --config /run/barewind/sglang.yaml
        """,
    ),
]
COMMON_ENV = {"HF_HUB_OFFLINE": "1", "GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
VLLM_ENV = {
    **COMMON_ENV,
    "TRITON_CACHE_DIR": "/cache/triton",
    "VLLM_CACHE_ROOT": "/cache",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "75",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
    "TORCHINDUCTOR_CACHE_DIR": "/cache/inductor",
    "VLLM_NO_USAGE_STATS": "1",
}
ENV = {
    ("vllm", "nvidia"): VLLM_ENV,
    ("vllm", "amd"): VLLM_ENV | {"VLLM_ROCM_USE_AITER": "1", "SAFETENSORS_FAST_GPU": "1"},
    ("sglang", "nvidia"): {
        **COMMON_ENV,
        "SGLANG_HOST_IP": "127.0.0.1",
        "SGLANG_CACHE_DIR": "/cache",
        "SGLANG_JIT_CACHE_DIR": "/cache/jit",
        "SGLANG_TIMEOUT_KEEP_ALIVE": "75",
    },
    ("sglang", "amd"): {
        **COMMON_ENV,
        "SGLANG_HOST_IP": "127.0.0.1",
        "SGLANG_CACHE_DIR": "/cache",
        "SGLANG_JIT_CACHE_DIR": "/cache/jit",
        "SGLANG_TIMEOUT_KEEP_ALIVE": "75",
        "SGLANG_USE_AITER": "1",
    },
}


TITLES = [title for title, _, _ in COMMANDS]
CHANGES = [changes for _, changes, _ in COMMANDS]


@pytest.mark.parametrize(("changes", "command"), [case[1:] for case in COMMANDS], ids=TITLES)
def test_the_whole_command(changes: dict[str, Any], command: str) -> None:
    assert plan(engine_spec(**changes)).command.argv == [DRAFTS.get(word, word) for word in shlex.split(command)]


@pytest.mark.parametrize("changes", CHANGES, ids=TITLES)
def test_it_fits_and_the_engine_knows_every_option(changes: dict[str, Any]) -> None:
    assert problems(plan(engine_spec(**changes))) == []


@pytest.mark.parametrize("changes", CHANGES, ids=TITLES)
def test_the_whole_environment(changes: dict[str, Any]) -> None:
    made = plan(engine_spec(**changes))
    vendor = "amd" if made.spec.accelerator.startswith("mi") else "nvidia"
    together = {"NCCL_MIN_NCHANNELS": "112"} if vendor == "amd" and made.spec.tensor_parallel > 1 else {}
    assert made.command.env == ENV[made.spec.engine, vendor] | UNPRIVILEGED | together


@pytest.mark.parametrize("changes", CHANGES, ids=TITLES)
def test_every_option_has_one_reason(changes: dict[str, Any]) -> None:
    made = plan(engine_spec(**changes))
    shown = [option.flag for option in made.command.options]
    assert len(set(shown)) == len(shown)
    assert all(option.reason for option in made.command.options)


@pytest.mark.parametrize(
    ("changes", "ahead"),
    [
        ({"accelerator": "h100", "accelerator_count": 4}, True),
        (
            {"accelerator": "h100", "accelerator_count": 2},
            False,
        ),  # a part of a server may have less memory than the weights
        ({"accelerator": "b200", "accelerator_count": 1}, False),
        ({"accelerator": "b300", "accelerator_count": 1}, True),
        ({"accelerators": [0]}, True),  # the host's, whichever of them are used
        ({"profile": "recipe"}, False),
        ({"engine_args": {"safetensors-load-strategy": False}}, False),
        ({"engine": "sglang"}, False),  # it has no such option
    ],
    ids=str,
)
def test_weights_are_read_ahead_where_the_host_has_the_memory(changes: dict[str, Any], ahead: bool) -> None:
    assert ("--safetensors-load-strategy" in plan(engine_spec(**changes)).command.argv) == ahead


@pytest.mark.parametrize("profile", ["latency", "balanced", "throughput"])
@pytest.mark.parametrize("changes", CHANGES, ids=TITLES)
def test_no_profile_has_options_that_the_engine_refuses(changes: dict[str, Any], profile: str) -> None:
    assert problems(plan(engine_spec(**changes | {"profile": profile}))) == []
