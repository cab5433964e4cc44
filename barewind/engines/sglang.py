"""SGLang.

Sources: the SGLang cookbook for Mistral Medium 3.5, the options and the code of 0.5.23, and 0.5.23 as it runs on CPUs.

It has no option for `shutdown_timeout`: on SIGTERM it answers until nothing runs, however long that takes (seen; in the code:
sigterm_watchdog, tokenizer_manager.py), so that the time limit of `docker stop` in the unit is the only one.
"""

from __future__ import annotations

from barewind.catalog import Accelerator
from barewind.engines import causes, log, start
from barewind.engines.base import CACHE, KEEP_ALIVE, NO_P2P, AdminKey, Engine, Memory, Metrics, Untold
from barewind.engines.causes import Cause
from barewind.engines.command import Option
from barewind.engines.keys import KeyOptions
from barewind.engines.load import Load
from barewind.engines.start import Phase
from barewind.engines.workload import Workload

_KEYS = KeyOptions(
    {
        "model": ("--model-path", "--model"),
        "draft": ("--speculative-draft-model-path",),
        "served_model_name": ("--served-model-name",),
        "address": ("--host",),
        "engine_port": ("--port",),
        "tensor_parallel_size": ("--tp-size", "--tensor-parallel-size"),
        "context_length": ("--context-length",),
        "images_per_prompt": ("--limit-mm-data-per-request",),
        "image_domains": ("--allowed-media-domains",),
        "speculative": ("--speculative-algorithm", "--speculative-num-steps", "--speculative-num-draft-tokens"),
        "kv_cache_dtype": ("--kv-cache-dtype",),
        "gpu_memory_utilization": ("--mem-fraction-static",),
        "max_num_seqs": ("--max-running-requests",),
        "max_num_batched_tokens": ("--chunked-prefill-size",),
    },
    words={"kv_cache_dtype": {"fp8": "fp8_e4m3"}},
)


def _planned(workload: Workload) -> list[Option]:
    """The options of `python3 -m sglang.launch_server`."""
    options = [
        Option("--model-path", workload.model_path, "the weights in the HF layout"),
        *_KEYS.planned(
            workload, "served_model_name", "address", "engine_port", "tensor_parallel_size", "context_length"
        ),
        Option("--tool-call-parser", "mistral", "tool calling"),
        Option("--reasoning-parser", "mistral", "reasoning text in a field of its own"),
        Option("--enable-metrics", True, "queue and token metrics, as vLLM has them without asking"),
        _media(workload),
        *_KEYS.planned(workload, "image_domains"),  # of redirects every hop is held against them (utils/common.py)
    ]
    if workload.without_p2p:
        options.append(Option("--disable-custom-all-reduce", True, NO_P2P))
    if workload.draft_path is not None:
        options += _speculation(workload, workload.draft_path)
    return options + _KEYS.planned(
        workload, "kv_cache_dtype", "gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens"
    )


def _media(workload: Workload) -> Option:
    """What a request may hold beside text. SGLang looks at it before it fetches anything (_validate_mm_limits)."""
    images, reason = workload.values["images_per_prompt"]
    count = images["image"] if isinstance(images, dict) else 0
    limits = {"image": count, "video": 0, "audio": 0}
    return Option(
        "--limit-mm-data-per-request", limits, reason if count else "text only, although it holds the vision tower"
    )


def _speculation(workload: Workload, draft_path: str) -> list[Option]:
    """A chain of drafted tokens: one branch per step, and the token that the target adds itself."""
    draft_tokens = workload.sizing.draft_tokens
    return [
        Option("--dtype", "bfloat16", "required with EAGLE: the draft's params.json names no dtype"),
        Option("--speculative-algorithm", "EAGLE", workload.draft_reason),
        Option("--speculative-draft-model-path", draft_path, "EAGLE draft head"),
        Option("--speculative-num-steps", draft_tokens, "tokens drafted per step"),
        Option("--speculative-eagle-topk", 1, "one branch (cookbook)"),
        Option("--speculative-num-draft-tokens", draft_tokens + 1, "the drafted tokens and the target's own"),
    ]


def _generator(load: Load, result: str) -> list[str]:
    """The words of SGLang's load generator (sglang/benchmark/serving.py of 0.5.23, to which sglang.bench_serving leads).

    `random-ids`: the data set `random` is made of a text that it downloads. A ratio of 1 means that all are of the full length.
    """
    return [
        *("python3", "-m", "sglang.bench_serving", "--backend", "sglang-oai", "--base-url", load.url),
        *("--model", load.weights, "--tokenizer", load.weights, "--served-model-name", load.model),
        *("--dataset-name", "random-ids", "--random-range-ratio", "1"),
        *("--random-input-len", str(load.prompt), "--random-output-len", str(load.output)),
        *("--num-prompts", str(load.requests), "--max-concurrency", str(load.at_a_time)),
        *("--warmup-requests", str(load.at_a_time), "--seed", str(load.seed), "--disable-tqdm"),
        *(() if load.tpot_limit is None else ("--goodput", f"tpot:{load.tpot_limit:g}")),
        *("--output-details", "--output-file", result),
    ]


_STEPS = ((160 * 1024, 16384), (60 * 1024, 8192), (35 * 1024, 4096))  # MiB of memory at least, tokens of a step

_NO_CORES = Cause(
    "on processors each of tensor_parallel_size's processes wants cores of its own",
    'name them: engine_env = {{"SGLANG_CPU_OMP_THREADS_BIND": "0-15|16-31"}}',
)
_UNREACHABLE = Cause(
    "the engine's processes do not find each other at {0}, the host's own address",
    "correct the key 'address', or look at what filters the host's packets to itself",
)

# SGLang shows the admin key in its log and to whoever asks for /server_info, which no key guards (resolved_dict, server_args.py):
# a plugin, as it offers them (load_plugins, plugins/__init__.py), hides it. A version without plugins passes over it.
_PLUGIN = '''\
"""Written by Barewind. Keeps the admin key out of what the server tells of itself: its log, /server_info."""

HIDDEN = "<hidden>"


def hide():
    from sglang.srt.server_args import ServerArgs

    values_of = ServerArgs.resolved_dict

    def resolved_dict(self):
        values = values_of(self)
        return {**values, "admin_api_key": HIDDEN} if values.get("admin_api_key") else values

    def without_key(text_of):
        def text(self):
            text = text_of(self)
            return text.replace(self.admin_api_key, HIDDEN) if text and self.admin_api_key else text

        return text

    ServerArgs.resolved_dict = resolved_dict
    ServerArgs.launch_command = property(without_key(ServerArgs.launch_command.fget))
    ServerArgs.__repr__ = without_key(ServerArgs.__repr__)
'''
_ADDED_FILES = {
    "barewind_admin_key.py": _PLUGIN,
    "barewind_admin_key-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: barewind-admin-key\nVersion: 1\n",
    "barewind_admin_key-1.dist-info/entry_points.txt": "[sglang.srt.plugins]\nbarewind = barewind_admin_key:hide\n",
}
# What shows or changes its inside (routes of 0.5.23, entrypoints/http_server.py): those that its keys would guard, and those that
# tell of its set-up, its load and its sessions.
_ADMIN = (
    "/abort_request",
    "/add_external_corpus",
    "/begin_weight_update",
    "/clear_hicache_storage_backend",
    "/close_session",
    "/configure_logging",
    "/continue_generation",
    "/destroy_weights_update_group",
    "/dump_expert_distribution_record",
    "/end_weight_update",
    "/flush_cache",
    "/freeze_gc",
    "/get_hicache_l3_cache_layout",
    "/get_load",
    "/get_model_info",
    "/get_remote_instance_transfer_engine_info",
    "/get_server_info",
    "/get_transfer_engine_info",
    "/get_weights_by_name",
    "/init_weights_send_group_for_remote_instance",
    "/init_weights_update_group",
    "/list_external_corpora",
    "/load_lora_adapter",
    "/load_lora_adapter_from_tensors",
    "/model_info",
    "/open_session",
    "/pause_generation",
    "/pd_role_switch",
    "/register_transfer_engine_info",
    "/release_memory_occupation",
    "/remote_instance_transfer_engine_info",
    "/remove_external_corpus",
    "/resume_memory_occupation",
    "/send_weights_to_remote_instance",
    "/server_info",
    "/set_internal_state",
    "/set_trace_level",
    "/slow_down",
    "/start_expert_distribution_record",
    "/start_profile",
    "/stop_expert_distribution_record",
    "/stop_profile",
    "/unload_lora_adapter",
    "/update_weight_version",
    "/update_weights_from_disk",
    "/update_weights_from_distributed",
    "/update_weights_from_ipc",
    "/update_weights_from_tensor",
    "/v1/loads",
    "/weights_checker",
)


def _untold(accelerator: Accelerator) -> Untold:
    """Of 0.5.23 (_handle_gpu_memory_settings, server_args.py): what it reserves is for a step, graphs, and eight processes."""
    step = next((tokens for memory, tokens in _STEPS if accelerator.memory_mib >= memory), 2048)
    reserved = 512 + 1.5 * step + 2 * 512 + 1024
    return Untold(round(1 - reserved / accelerator.memory_mib, 3), step, 2048)


SGLANG = Engine(
    name="sglang",
    planned=_planned,
    keys=_KEYS,
    admin_paths=_ADMIN,
    admin_prefixes=("/dumper", "/hicache", "/metrics"),
    entrypoint=("python3", "-m", "sglang.launch_server"),  # the image has none of its own
    # The first holds what Triton, torch, CUDA, TileLang, FlashInfer and DeepGEMM compile (redirect_third_party_caches and
    # SGLANG_DG_CACHE_DIR, environ.py), not SGLang's own kernels (cache_root, kernels/jit/utils/compile/cache.py).
    env={
        "SGLANG_CACHE_DIR": CACHE,
        "SGLANG_JIT_CACHE_DIR": f"{CACHE}/jit",
        # Its TCPStores listen on every address all the same: on a free port of 22000 to 29999 (get_free_port_below_ephemeral,
        # utils/network.py), the kernel's choice where that range is taken, and 29600 (SGLANG_TCP_STORE_PORT, environ.py). With
        # attention by data parallelism ZMQ listens on 127.0.0.1 (PortArgs.init_new, server_args.py), without on files alone.
        "SGLANG_HOST_IP": "127.0.0.1",  # of its processes to each other (get_local_ip_auto, utils/network.py)
        "SGLANG_TIMEOUT_KEEP_ALIVE": str(KEEP_ALIVE),
    },
    vendor_env={"amd": {"SGLANG_USE_AITER": "1"}},  # SGLang's ROCm documentation
    # Its handlers come with its server, and a first process without one gets no SIGTERM (seen: it went on loading). Nor can that
    # kill itself, as SGLang does when a child has failed (kill_process_tree, utils/common.py).
    init=True,
    layouts=("hf",),
    # Of a path with "mistral" and "eagle" in it SGLang reads params.json (is_mistral_model, mistral_utils.py), and with
    # --load-format auto whatever safetensors file is there: drafts for Mistral's models come in no other layout.
    draft_layout="mistral",
    layout_words={"hf": {"--load-format": "mistral", "--model-config-parser": "mistral"}},
    ready_path="/ready",  # 503 until its own first request is answered, and from SIGTERM on; /health takes a second
    # Without a key its administration is open to whoever reaches the port: AuthLevel.ADMIN_OPTIONAL, utils/auth.py. The file's
    # options stand before those of the command line (ConfigArgumentMerger, utils/server_args_config_parser.py), which wins; it
    # may be given once, and is told by its suffix.
    port_variables={"SGLANG_TCP_STORE_PORT": 29600},
    own_ports={29600: "where SGLang's processes meet (SGLANG_TCP_STORE_PORT)"},  # environ.py
    admin_key=AdminKey(
        option="--config",
        name="sglang.yaml",
        key="admin-api-key",
        guarded="/hicache/storage-backend",
        tells_options="/server_info",
    ),
    added_files=_ADDED_FILES,
    reasoning_field="reasoning_content",  # SGLang cookbook
    error_field="message",
    unknown_model=200,  # whatever the name; only /v1/responses looks at it (_validate_model, serving_responses.py)
    # seen; handle_language_model_only, arg_groups/model_hook.py
    refused={
        "--language-model-only": "is refused by SGLang for this model, whose vision tower it always loads; leave it out"
    },
    image_options=("--limit-mm-data-per-request",),
    # get_image_bytes (utils/common.py) opens what begins with / or file://, also /dev/zero. No option keeps it from that.
    image_risk="clients name files of the container as images: what SGLang can open it reads, and /dev/zero ends it",
    # Its share is of weights and cache alone: what steps and graphs of a model and its draft need must be left beside it. 0.85 is
    # what a public run of two B200 has.
    memory=Memory(vision_optional=False, vision_copies=False, adapters=8),
    untold=_untold,
    metrics=Metrics(prefix="sglang:", enabled_by="--enable-metrics"),
    log=log.table(
        log.line(
            r"(?:User-specified|Target model.s) context_length \((\d+)\) is greater than the derived",
            causes.CONTEXT_TOO_LONG,
        ),
        log.line(r"AssertionError: (\d+) is not divisible by (\d+)", causes.INDIVISIBLE),
        log.line(r"SGLANG_CPU_OMP_THREADS_BIND is not set", _NO_CORES),
        # It tries for half an hour; one that is only late is found at the first tries.
        log.line(r"TCP client failed to connect/validate to host (\S+) - retrying \(try=(?:[4-9]|\d\d)", _UNREACHABLE),
        log.line(
            r"Not enough memory\. Please try to increase --mem-fraction-static|"
            r"Loaded weights leave no GPU memory for the KV cache|"
            r"AssertionError: .*(?:prompt is too long|is longer than the model's context)|"  # its own first request
            r"alloc_req_slots runs out of memory|(?:Prefill|Decode) out of memory|"
            r"Capture cuda graph failed: (?:CUDA|HIP) out of memory",
            causes.KV_CACHE_TOO_SMALL,
        ),
        log.line(r"Port is already in use", causes.PORT_TAKEN),
        log.line(
            r"No accelerator \(.*\) or platform plugin is available|Could not load any common_ops library",
            causes.NO_ACCELERATOR,
        ),
        log.line(
            r"Initialization failed\. warmup error|[Rr]eceived sigquit from a child proc|SIGQUIT received",
            causes.CRASHED,
        ),
        log.line(r"Watchdog timeout \(self\.watchdog_timeout=|watchdog timeout \(self\.", causes.HUNG),
        # [2026-05-28 00:11:09.816 DP0 TP0 EP0]; a traceback goes on without it
        process=r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?: (?P<process>[A-Z]+\d+(?: [A-Z]+\d+)*))?\] *",
        goes_on=True,
        reports=r"[Rr]eceived sigquit|SIGQUIT received|Initialization failed\.|scheduler died during initialization|EOFError$|"
        r"[Ss]cheduler or DataParallelController .* terminated|kill_process_tree",
        # Written at each start, without a level.
        chatter=(r"will not be applied: ", r"Ignore import error when loading ", r"UserWarning: "),
        phases=(
            # model_runner.py, startup_weight_load.py, compilation/backend.py, cuda_graph_setup.py, http_server.py of 0.5.23;
            # graphs as 0.5.10 and older write them too. Its warm-up is a request of its own to the server that is up.
            Phase(
                start.WEIGHTS,
                r"Load weight end\. (?:elapsed=|Committed real weights after CUDA graph capture in )([\d.]+) s",
            ),
            Phase(start.COMPILE, r"Compiling a graph for (?:dynamic shape|shape .*) takes ([\d.]+) s"),
            Phase(
                start.GRAPHS,
                r"Capture .*(?:CUDA|cuda) graph end\. (?:step=\d+, )?(?:elapsed=|Time elapsed: )([\d.]+) s",
            ),
            Phase(start.WARM_UP, r"The server is fired up and ready to roll", since=r"Application startup complete"),
            Phase(start.READY, r"The server is fired up and ready to roll"),
        ),
    ),
    version_variables=("SGLANG_VERSION",),
    generator=_generator,
    secret_options={"--api-key": "", "--admin-api-key": "", "--ssl-keyfile-password": ""},
    # The options and environ.py of 0.5.23.
    risks={
        "--trust-remote-code": "code that comes with the weights runs in the engine",
        "--enable-custom-logit-processor": "clients send programs that run in the engine",
        "--forward-hooks": "code of your own runs in the engine",
        "--custom-weight-loader": "code of your own runs in the engine",
        "--trust-request-chat-template": "clients send chat templates, which are programs",
        "--trust-mm-content-hashes": "a client's image can be answered as another's",
        "--tool-server": "the model calls programs of a tool server",
        "--enable-lora": "who reaches the engine loads adapters from its disk",
        "--lora-paths": "who reaches the engine loads adapters from its disk",
        "--enable-memory-saver": "who reaches the engine takes the weights out of its memory",
        "--log-requests": "prompts and answers can end up in the journal of the host",
        "--log-requests-level": "prompts and answers can end up in the journal of the host",
        "--crash-dump-folder": "prompts are written to the disk",
        "--export-metrics-to-file": "facts about every request are written to the disk",
        "--debug-tensor-dump-output-folder": "what the model computes from prompts is written to the disk",
        "--kv-events-config": "what prompts hold is published on a port without a login",
        "--weight-cache-socket": "weights come from another process of the host, unchecked",
        "--remote-instance-weight-loader-start-seed-via-transfer-engine": "other hosts read the engine's memory",
        "--elastic-ep-backend": "who reaches the engine changes how many processes it has",
        "--enable-trace": "facts about every request leave the host",
        "--otlp-traces-endpoint": "facts about every request leave the host",
        "SGLANG_EXTERNAL_MODEL_PACKAGE": "code of your own runs in the engine",
        "SGLANG_EXTERNAL_MM_PROCESSOR_PACKAGE": "code of your own runs in the engine",
        "SGLANG_PLUGINS": "code of your own runs in the engine",
        "SGLANG_TORCH_PROFILER_DIR": "who reaches the engine starts profiles, which slow it and fill its disk",
        "SGLANG_LOG_REQUEST_HEADERS": "headers of requests, keys among them, end up in the journal of the host",
        "SGLANG_LOG_PICKLE_IPC_OBJECTS": "prompts end up in the journal of the host",
        "SGLANG_DSPARK_DEBUG_DUMP": "what the model computes from prompts is written to the disk",
    },
)
