"""Logs -> reasons in plain words. Lines are those of vLLM 0.32 and SGLang 0.5.23 made to fail, of their code, of drivers."""

from __future__ import annotations

import pytest

from barewind.engines import ENGINES
from barewind.gate.explain import explain, of_release, to_its_end
from lab.standin.vllm import startup

WORKER = "(Worker pid=10250) ERROR 11-22 09:25:50 [multiproc_executor.py:953] "
ULIMIT = (
    "(APIServer pid=9811) WARNING 11-22 09:25:23 [system_utils.py:255] Found ulimit of 20000 and failed to automatically "
    "increase with error current limit exceeds maximum limit. This can cause fd limit errors like `OSError: [Errno 24] Too "
    "many open files`. Consider increasing with ulimit -n"
)
NO_ACCELERATOR = (
    "the engine sees no accelerator: the driver does not work, or the host has none and the image is no CPU build"
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
        # SGLang 0.5.23, made to fail
        (
            "sglang serve: error: argument --tp-size/--tensor-parallel-size: invalid int value: 'two'",
            "the engine refuses its option --tp-size/--tensor-parallel-size: invalid int value: 'two'",
        ),
        (
            "ValueError: Unrecognized model in /models/m. Should have a `model_type` key in its config.json.",
            "a file of the model is missing /models/m",
        ),
        (
            "ValueError: Cannot find model module. 'NewForConditionalGeneration' is not a registered model in the Transformers "
            "library (only relevant if the model is meant to be in Transformers)",
            "this version of the engine does not know the model (NewForConditionalGeneration)",
        ),
        (
            "ValueError: The checkpoint you are trying to load has model type `brandnew` but Transformers does not recognize "
            "this architecture.",
            "this version of the engine does not know the model (brandnew)",
        ),
        (
            "OSError: It looks like the config file at '/models/m/config.json' is not a valid JSON file.",
            "a file of the weights is damaged or cut off",
        ),
        (
            "FileNotFoundError: File not found /models/m-EAGLE, params.json",
            "a file of the model is missing /models/m-EAGLE, params.json",
        ),
        (
            "ValueError: Couldn't instantiate the backend tokenizer from one of: ",
            "a file of the model is missing",
        ),
        (
            "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: header too large",
            "a file of the weights is damaged or cut off",
        ),
        (
            "[2026-11-28 21:42:27] ERROR:    [Errno 98] error while attempting to bind on address ('192.0.2.11', 8000): address "
            "already in use",
            "the port is taken by another process",
        ),
        # the engines' sources
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to",
            "out of memory: the accelerators' memory does not suffice",
        ),
        ("torch.OutOfMemoryError: HIP out of memory.", "out of memory: the accelerators' memory does not suffice"),
        ("RuntimeError: Failed to infer device type", NO_ACCELERATOR),
        ("ImportError: libcuda.so.1: cannot open shared object file: No such file or directory", NO_ACCELERATOR),
        (
            "RuntimeError: CUDA error: no kernel image is available for execution",
            "the image is not built for this accelerator",
        ),
        (
            "ValueError: Model architectures ['NewForCausalLM'] are not supported for now. Supported architectures: ...",
            "this version of the engine does not know the model (['NewForCausalLM'])",
        ),
        # a container without root's rights
        (
            "KeyError: 'getpwuid(): uid not found: 64000'",
            "the image wants a user that it knows, and its container runs as one of Barewind's own",
        ),
        ("Unable to open /dev/kfd read-write: Permission denied", "the container's user may not use /dev/kfd"),
        (
            "PermissionError: [Errno 13] Permission denied: '/dev/nvidiactl'",
            "the container's user may not use /dev/nvidiactl",
        ),
        ("/dev/dri/renderD128: Permission denied", "the container's user may not use /dev/dri/renderD128"),
        (
            "OSError: [Errno 30] Read-only file system: '/root/.cache'",
            "the engine wants to write to its container's root, which is read-only /root/.cache",
        ),
        (
            "mkdir: cannot create directory '/opt/x': Read-only file system",
            "the engine wants to write to its container's root, which is read-only /opt/x",
        ),
        (
            "docker: Error response from daemon: failed to create task for container: error running createContainer hook #1: "
            "nvidia-cdi-hook: open /etc/ld.so.cache: read-only file system",
            "the accelerators' hook cannot write to the container's root, which is read-only",
        ),
        (
            "BlockingIOError: [Errno 11] Resource temporarily unavailable",
            "the container may not have more processes and threads",
        ),
        ("RuntimeError: can't start new thread", "the container may not have more processes and threads"),
        (
            "OpenBLAS blas_thread_init: pthread_create failed for thread 63 of 64: Resource temporarily unavailable",
            "the container may not have more processes and threads",
        ),
        (
            "PermissionError: [Errno 13] Permission denied: '/models/m'",
            "something may not be read or written '/models/m'",
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
@pytest.mark.parametrize("engine", ENGINES)
def test_a_line_has_a_reason_and_a_remedy(line: str, why: str, engine: str) -> None:
    reason = explain(["INFO something before", ULIMIT, line, LAST], engine)
    assert reason is not None
    assert reason.why == why
    assert reason.remedy
    assert reason.line == line.strip()


@pytest.mark.parametrize(
    ("engine", "line", "why"),
    [
        (
            "vllm",
            "  Value error, User-specified max_model_len (200000) is greater than the derived max_model_len "
            "(max_position_embeddings=32768.0 or model_max_length=None in model's config.json).",
            "the model cannot take 200000 tokens of context",
        ),
        (
            "vllm",
            WORKER + "ValueError: Available memory on node 0 (13.44/19.59 GiB) on kv cache allocation is less than "
            "requested memory for kv (999.0 GiB).",
            "out of memory: the KV cache does not fit beside the weights",
        ),
        (
            "vllm",
            "ValueError: To serve at least one request with the model's max seq len (262144), (21.5 GiB KV cache is needed, "
            "which is larger than the available KV cache memory (9.8 GiB).",
            "out of memory: the KV cache does not fit beside the weights",
        ),
        (
            "sglang",
            "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
            "out of memory: the KV cache does not fit beside the weights",
        ),
        (
            "vllm",
            "ValueError: Free memory on device cuda:0 (20.1/139.8 GiB) on startup is less than desired GPU memory "
            "utilization (0.9, 125.8 GiB).",
            "out of memory: something else holds the accelerator's memory",
        ),
        # 0.5.23, made to fail
        (
            "sglang",
            'AssertionError: {"object":"error","message":"Multimodal prompt is too long after expanding multimodal tokens. After '
            'expanding len(req.origin_input_ids_unpadded)=43 => 43 >= 10.","type":"BadRequestError","param":null,"code":400}',
            "out of memory: the KV cache does not fit beside the weights",
        ),
        (
            "sglang",
            "ValueError: Loaded weights leave no GPU memory for the KV cache under --mem-fraction-static=0.0001. Raise "
            "--mem-fraction-static above 0.112 (minimum viable = 1 - available/pre = 0.1111).",
            "out of memory: the KV cache does not fit beside the weights",
        ),
        (
            "sglang",
            "ValueError: Warning: User-specified context_length (99999) is greater than the derived context_length (32768). This "
            "may lead to incorrect model outputs or CUDA errors.",
            "the model cannot take 99999 tokens of context",
        ),
        (
            "sglang",
            "AssertionError: 1 is not divisible by 2",
            "the model cannot be divided as tensor_parallel_size says (1 by 2: heads, of its vision tower too)",
        ),
        (
            "sglang",
            "AssertionError: SGLANG_CPU_OMP_THREADS_BIND is not set, in this case, the total number of ranks (dp_size * tp_size "
            "* pp_size = 2) should be smaller than or equal to number of numa node on the machine 1.",
            "on processors each of tensor_parallel_size's processes wants cores of its own",
        ),
        (
            "sglang",
            "[W1128 21:46:28.210942643 TCPStore.cpp:340] [c10d] TCP client failed to connect/validate to host 192.0.2.11:24541 - "
            "retrying (try=7, timeout=1800000ms, delay=7971ms): Ping failed",
            "the engine's processes do not find each other at 192.0.2.11:24541, the host's own address",
        ),
        (
            "sglang",
            "RuntimeError: No accelerator (CUDA, XPU, HPU, NPU, MUSA, MPS) or platform plugin is available.",
            NO_ACCELERATOR,
        ),
        (
            "sglang",
            "[2026-11-28 21:36:23] Received sigquit from a child process. It usually means the child failed.",
            "the engine crashed",
        ),
        (
            "sglang",
            "[2026-11-28 21:48:30] Initialization failed. warmup error: Traceback (most recent call last):",
            "the engine crashed",
        ),
        (
            "sglang",
            "ERROR:sglang:Port is already in use. dist_init_port=20000 port_base=20001",
            "the port is taken by another process",
        ),
        (
            "vllm",
            "ValueError: World size (8) is larger than the number of available GPUs (4) in this node.",
            "the engine sees fewer accelerators than tensor_parallel_size",
        ),
        ("vllm", "EngineDeadError: EngineCore encountered an issue. See stack trace above", "the engine crashed"),
    ],
)
def test_a_line_of_one_engine_has_a_reason_and_a_remedy(engine: str, line: str, why: str) -> None:
    reason = explain(["INFO something before", ULIMIT, line, LAST], engine)
    assert reason is not None
    assert reason.why == why
    assert reason.remedy
    assert reason.line == line.strip()


def test_the_stand_ins_log_is_understood() -> None:
    text = startup._too_few(startup.Accelerators("nvidia", 4), 8)
    reason = explain(text.splitlines(), "vllm")
    assert str(reason).startswith("the engine sees fewer accelerators than tensor_parallel_size; ")


@pytest.mark.parametrize(
    "log",
    [[], ["something else happened"], [ULIMIT, LAST], ["INFO 11-22 a word about CUDA out of memory"]],
    ids=["nothing", "unknown", "a warning's example", "chatter"],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_where_the_log_tells_nothing_no_reason_is_made_up(log: list[str], engine: str) -> None:
    assert explain(log, engine) is None


@pytest.mark.parametrize(
    "line",
    [
        "[2026-11-28 21:28:10] _fix_v5_add_bos_eos_token: failed to read tokenizer_config.json for /models/m, BOS/EOS token "
        "restoration will not be applied: Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/models/m'. Use "
        "`repo_type` argument if needed.",
        "[2026-11-28 21:28:11] Ignore import error when loading sglang.srt.models.inkling: No module named 'cutlass'",
        "[W1128 21:28:17.2 TCPStore.cpp:340] [c10d] TCP client failed to connect/validate to host 192.0.2.11:24541 - retrying "
        "(try=1, timeout=1800000ms, delay=903ms): connection refused",
        "[2026-11-28 21:35:14] kill_process_tree called: parent_pid=1, include_parent=False, pid=1",
    ],
)
def test_what_sglang_writes_at_each_start_is_no_reason(line: str) -> None:
    assert explain([line], "sglang") is None


def test_the_kernel_tells_systemd_that_memory_ran_out() -> None:
    assert str(explain(["Killed"], "vllm", killed=True)).startswith(
        "out of memory: the host's own memory does not suffice;"
    )


def test_the_root_stands_before_what_follows_from_it() -> None:
    reason = explain(
        ["torch.OutOfMemoryError: CUDA out of memory.", "EngineDeadError: EngineCore encountered an issue."], "vllm"
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
def test_the_log_of_another_release_is_left_out(log: list[str], kept: int) -> None:
    assert of_release(log, "new000000000") == log[-kept:]


def test_the_start_after_a_crash_does_not_hide_how_it_ended() -> None:
    crash = ["ValueError: x is not a file.", "barewind-engine.service: Failed with result 'exit-code'."]
    after = ["barewind-engine.service: Scheduled restart job, restart counter is at 2.", "loading kernels"]
    assert to_its_end([*after, *crash, *after]) == [*after, *crash]
    assert to_its_end(after) == after


@pytest.mark.parametrize(
    "line",
    [
        "KeyError: 'getpwuid(): uid not found: 64000'",
        "Unable to open /dev/kfd read-write: Permission denied",
        "OSError: [Errno 30] Read-only file system: '/root/.cache'",
        "BlockingIOError: [Errno 11] Resource temporarily unavailable",
        "PermissionError: [Errno 13] Permission denied: '/opt/venv'",
    ],
)
def test_what_may_come_of_a_container_without_rights_names_the_way_out(line: str) -> None:
    reason = explain([line], "vllm")
    assert reason is not None
    assert "container_hardening = False" in reason.remedy
