"""Logs -> reasons in plain words. Lines are those of vLLM 0.32 made to fail, of SGLang's source, of Docker and the drivers."""

from __future__ import annotations

import pytest

from barewind.failure import explain, of_release
from lab.standin import startup

WORKER = "(Worker pid=10250) ERROR 11-22 09:25:50 [multiproc_executor.py:953] "
ULIMIT = (
    "(APIServer pid=9811) WARNING 11-22 09:25:23 [system_utils.py:255] Found ulimit of 20000 and failed to automatically "
    "increase with error current limit exceeds maximum limit. This can cause fd limit errors like `OSError: [Errno 24] Too "
    "many open files`. Consider increasing with ulimit -n"
)
LAST = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        # vLLM 0.32, made to fail
        (
            "vllm: error: unrecognized arguments: --tensor-parallel-sise 2",
            "the engine does not know the option --tensor-parallel-sise 2",
        ),
        (
            "vllm serve: error: argument --kv-cache-dtype: invalid choice: 'fp9' (choose from auto, fp8)",
            "the engine refuses its option --kv-cache-dtype: invalid choice: 'fp9' (choose from auto, fp8)",
        ),
        (
            "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': "
            "'/models/nothing'. Use `repo_type` argument if needed.",
            "a file of the model is missing /models/nothing",
        ),
        (WORKER + "RuntimeError: Cannot find any model weights with `/models/m`", "a file of the model is missing"),
        (
            WORKER
            + "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata",
            "a file of the weights is damaged or cut off",
        ),
        ("OSError: [Errno 98] Address already in use", "the port is taken by another process"),
        (
            "  Value error, User-specified max_model_len (200000) is greater than the derived max_model_len "
            "(max_position_embeddings=32768.0 or model_max_length=None in model's config.json).",
            "the model cannot take 200000 tokens of context",
        ),
        (
            WORKER + "ValueError: Available memory on node 0 (13.44/19.59 GiB) on kv cache allocation is less than "
            "requested memory for kv (999.0 GiB).",
            "out of memory: the KV cache does not fit beside the weights",
        ),
        # the engines' sources
        (
            "ValueError: To serve at least one request with the model's max seq len (262144), (21.5 GiB KV cache is needed, "
            "which is larger than the available KV cache memory (9.8 GiB).",
            "out of memory: the KV cache does not fit beside the weights",
        ),
        (
            "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
            "out of memory: the KV cache does not fit beside the weights",
        ),
        (
            "ValueError: Free memory on device cuda:0 (20.1/139.8 GiB) on startup is less than desired GPU memory "
            "utilization (0.9, 125.8 GiB).",
            "out of memory: something else holds the accelerator's memory",
        ),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to",
            "out of memory: the accelerators' memory does not suffice",
        ),
        ("torch.OutOfMemoryError: HIP out of memory.", "out of memory: the accelerators' memory does not suffice"),
        ("RuntimeError: Failed to infer device type", "the engine sees no accelerator: the driver does not work"),
        (
            "RuntimeError: CUDA error: no kernel image is available for execution",
            "the image is not built for this accelerator",
        ),
        (
            "ValueError: Model architectures ['NewForCausalLM'] are not supported for now. Supported architectures: ...",
            "this version of the engine does not know the model (['NewForCausalLM'])",
        ),
        # drivers, Docker, systemd
        (
            "RuntimeError: The NVIDIA driver on your system is too old (found version 12080).",
            "the driver does not go with the image's CUDA",
        ),
        (
            "RuntimeError: CUDA error: system not yet initialized",
            "the accelerators' fabric is not up (fabric manager)",
        ),
        (
            "docker: Error response from daemon: unknown or invalid runtime name: nvidia",
            "Docker cannot give the container its accelerators",
        ),
        (
            "docker: Error response from daemon: No such image: registry/vllm@sha256:12.",
            "the image is not on the host",
        ),
        ("write /var/lib/docker/x: no space left on device", "the disk is full"),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/etc/chat.jinja'",
            "a file is missing: /etc/chat.jinja",
        ),
        ("RuntimeError: NCCL error: unhandled cuda error", "the accelerators cannot talk to each other (NCCL or RCCL)"),
        ("ModuleNotFoundError: No module named 'flashinfer'", "the image is broken: No module named 'flashinfer'"),
        (
            "barewind-engine.service: A process of this unit has been killed by the OOM killer.",
            "out of memory: the host's own memory does not suffice",
        ),
        (
            "/var/lib/barewind/weights/m: missing, or changed since its SHA-256 was checked. Deploy again",
            "the weights in /var/lib/barewind/weights/m are missing or changed since they were checked",
        ),
        ("a completion: HTTP 401 (Unauthorized)", "the engine wants an API key"),
    ],
)
def test_a_line_has_a_reason_and_a_remedy(line: str, why: str) -> None:
    reason = explain(["INFO something before", ULIMIT, line, LAST])
    assert reason is not None
    assert reason.why == why
    assert reason.remedy
    assert reason.line == line.strip()


def test_what_the_stand_in_says_is_understood() -> None:
    text = startup._too_few(startup.Accelerators("nvidia", 4), 8)
    reason = explain(text.splitlines())
    assert str(reason).startswith("the engine sees fewer accelerators than tensor_parallel_size; ")


@pytest.mark.parametrize(
    "log",
    [[], ["something else happened"], [ULIMIT, LAST], ["INFO 11-22 a word about CUDA out of memory"]],
    ids=["nothing", "unknown", "a warning's example", "chatter"],
)
def test_where_the_log_tells_nothing_no_reason_is_made_up(log: list[str]) -> None:
    assert explain(log) is None


def test_the_kernel_tells_systemd_that_memory_ran_out() -> None:
    assert str(explain(["Killed"], killed=True)).startswith("out of memory: the host's own memory does not suffice;")


def test_the_root_stands_before_what_follows_from_it() -> None:
    reason = explain(
        ["torch.OutOfMemoryError: CUDA out of memory.", "EngineDeadError: EngineCore encountered an issue."]
    )
    assert reason is not None
    assert reason.why.startswith("out of memory")


@pytest.mark.parametrize(
    ("log", "kept"),
    [
        (
            [
                "Started Inference engine: m (release old000000000).",
                "CUDA out of memory",
                "Stopping Inference engine: m (release new000000000)...",  # it was changed before it was stopped
                "Address already in use",
                "Starting Inference engine: m (release new000000000)...",
                "unrecognized arguments: --x",
                "Starting Inference engine: m (release new000000000)...",
            ],
            3,
        ),
        (["Stopped Inference engine: m (release old000000000).", "a word of the new one"], 1),
        (["a", "b"], 2),
    ],
)
def test_what_another_release_said_is_left_out(log: list[str], kept: int) -> None:
    assert of_release(log, "new000000000") == log[-kept:]
