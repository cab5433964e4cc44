"""vLLM.

Sources: the vLLM recipe for Mistral Medium 3.5, `vllm serve --help` and the code of 0.32. Long options are written with dashes.
"""

from __future__ import annotations

from barewind import catalog
from barewind.catalog import Accelerator
from barewind.engines import causes, log, options, start
from barewind.engines.base import CACHE, KEEP_ALIVE, NO_P2P, Engine, Memory, Metrics, Untold
from barewind.engines.causes import Cause
from barewind.engines.command import Option
from barewind.engines.image import version
from barewind.engines.keys import KeyOptions
from barewind.engines.load import Load
from barewind.engines.start import Phase
from barewind.engines.workload import Workload

_KEYS = KeyOptions(
    {
        "model": ("--model",),  # never written: the path stands first
        "served_model_name": ("--served-model-name",),
        "address": ("--host",),
        "engine_port": ("--port",),
        "tensor_parallel_size": ("--tensor-parallel-size",),
        "context_length": ("--max-model-len",),
        "shutdown_timeout": ("--shutdown-timeout",),
        "images_per_prompt": ("--limit-mm-per-prompt",),
        "image_domains": ("--allowed-media-domains",),
        "speculative": ("--speculative-config",),
        "kv_cache_dtype": ("--kv-cache-dtype",),
        "gpu_memory_utilization": ("--gpu-memory-utilization", "--device-memory-utilization"),
        "max_num_seqs": ("--max-num-seqs",),
        "max_num_batched_tokens": ("--max-num-batched-tokens",),
    }
)


def _planned(workload: Workload) -> list[Option]:
    """The options of `vllm serve`, the image's entry point."""
    planned = [
        *_KEYS.planned(workload, "served_model_name", "address", "engine_port"),
        *_layout(workload),
        *_KEYS.planned(workload, "tensor_parallel_size", "context_length"),
        Option("--enable-auto-tool-choice", True, "tool calling"),
        Option("--tool-call-parser", "mistral", "tool calling"),
        Option("--reasoning-parser", "mistral", "reasoning text in a field of its own"),
        *_KEYS.planned(workload, "shutdown_timeout"),
    ]
    if workload.spec.modality == "text":
        planned.append(Option("--language-model-only", True, "text only: the vision tower is not loaded (5 GiB)"))
    else:
        planned += _KEYS.planned(workload, "images_per_prompt", "image_domains")
        if workload.tensor_parallel > 1:
            reason = "each accelerator encodes whole images: no traffic inside the tower"
            planned.append(Option("--mm-encoder-tp-mode", "data", reason))
    if workload.draft_path is not None:
        planned.append(
            Option("--speculative-config", _speculation(workload, workload.draft_path), workload.draft_reason)
        )
    if workload.without_p2p:
        planned.append(Option("--disable-custom-all-reduce", True, NO_P2P))
    if workload.vendor == "amd" and not workload.published:
        reason = "prompts that begin alike are read once; not the published set-up, which has it off"
        planned.append(Option("--enable-prefix-caching", True, reason))
    if workload.weights_read_ahead and not workload.published and _reads_ahead(workload):
        reason = "weights come from the disk in large pieces, side by side, into the memory of the host"
        planned.append(Option("--safetensors-load-strategy", "prefetch", reason))
    return planned + _KEYS.planned(
        workload, "kv_cache_dtype", "gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens"
    )


def _reads_ahead(workload: Workload) -> bool:
    """Whether this version can: its command line says so."""
    known = options.nearest("vllm", version(workload.spec))
    option = None if known is None else known.by_name.get("--safetensors-load-strategy")
    return option is not None and "prefetch" in option.choices


def _layout(workload: Workload) -> list[Option]:
    """How the weights are read. Mistral's tokenizer is beside them in either layout, and its parsers were made for that."""
    if VLLM.layout(catalog.models()[workload.spec.model]) == "hf":
        return [
            Option("--tokenizer-mode", "mistral", "the model's own tokenizer, tekken.json"),
            Option("--config-format", "hf", "HF layout of the weights"),
            Option("--load-format", "safetensors", "HF layout of the weights"),
        ]
    names = ("--tokenizer-mode", "--config-format", "--load-format")
    return [Option(name, "mistral", "Mistral layout of the weights") for name in names]


def _speculation(workload: Workload, draft_path: str) -> dict[str, str | int]:
    sizing = workload.sizing
    longest = catalog.models()[workload.spec.model].draft_max_model_len or sizing.context_length
    return {
        "model": draft_path,
        "method": "eagle",
        "num_speculative_tokens": sizing.draft_tokens,
        "max_model_len": min(longest, sizing.context_length),  # caps drafting, not the target
    }


def _generator(load: Load, result: str) -> list[str]:
    """The words of `vllm bench serve` (vllm/benchmarks/serve.py of 0.32). It has answers go on to their length.

    Its random words become the asked number of tokens by the engine's own tokenizer, at /tokenize, which balancers do not pass
    on: through them prompts are some tokens shorter.
    """
    folder, _, name = result.rpartition("/")
    return [
        *("vllm", "bench", "serve", "--backend", "openai", "--endpoint", "/v1/completions", "--base-url", load.url),
        *("--model", load.weights, "--served-model-name", load.model),
        *("--tokenizer-mode", "mistral" if load.mistral else "auto"),
        *("--dataset-name", "random", "--random-range-ratio", "0"),
        *("--random-input-len", str(load.prompt), "--random-output-len", str(load.output)),
        *("--num-prompts", str(load.requests), "--max-concurrency", str(load.at_a_time)),
        *("--num-warmups", str(load.at_a_time), "--seed", str(load.seed), "--temperature", "0", "--disable-tqdm"),
        *(() if load.tpot_limit is None else ("--goodput", f"tpot:{load.tpot_limit:g}")),
        *("--save-result", "--save-detailed", "--result-dir", folder, "--result-filename", name),
    ]


# What shows or changes its inside (routes of 0.32 under vllm/entrypoints; some exist with switches only): scaling, sleep, caches,
# weights, adapters, profiles, metrics, and requests of other clients.
_ADMIN = (
    "/abort_requests",
    "/collective_rpc",
    "/docs",
    "/finish_weight_update",
    "/get_world_size",
    "/init_weight_transfer_engine",
    "/is_paused",
    "/is_scaling_elastic_ep",
    "/is_sleeping",
    "/kv_event_sources",
    "/load",
    "/pause",
    "/release_kv_cache_memory",
    "/reset_encoder_cache",
    "/reset_mm_cache",
    "/reset_prefix_cache",
    "/resume",
    "/scale_elastic_ep",
    "/server_info",
    "/shutdown_weight_transfer_engine",
    "/sleep",
    "/start_draft_weight_update",
    "/start_profile",
    "/start_weight_update",
    "/stop_profile",
    "/tokenizer_info",
    "/update_weight_version",
    "/update_weights",
    "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",
    "/wake_up",
    "/weight_checker",
    "/weight_info",
)

_LARGE_MIB = 70 * 1024  # of an accelerator that it has larger defaults for, unless it is an A100

_TOO_SLOW = Cause(
    "the engine gave up on itself: its weights were not loaded within its own time limit",
    'set engine_env = {{"VLLM_ENGINE_READY_TIMEOUT_S": "3600"}}, and startup_timeout as long; look at the '
    "disk that the weights are on",
)


def _untold(accelerator: Accelerator) -> Untold:
    """Of 0.32: engine/arg_utils.py, get_batch_defaults, of a server; config/cache.py."""
    large = accelerator.memory_mib >= _LARGE_MIB and accelerator.architecture != "ampere"
    return Untold(0.92, 8192, 1024) if large else Untold(0.92, 2048, 256)


VLLM = Engine(
    name="vllm",
    planned=_planned,
    keys=_KEYS,
    admin_paths=_ADMIN,
    admin_prefixes=("/fault_tolerance", "/inference", "/metrics"),
    model_first=True,
    env={
        "VLLM_CACHE_ROOT": CACHE,
        "TRITON_CACHE_DIR": f"{CACHE}/triton",
        "TORCHINDUCTOR_CACHE_DIR": f"{CACHE}/inductor",  # what is compiled outside of the model: logprobs' ranks
        "VLLM_HOST_IP": "127.0.0.1",  # of its processes to each other (get_ip, utils/network_utils.py); --host is the server's
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(KEEP_ALIVE),
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",  # one would lead out of image_domains (multimodal/media/connector.py)
        "VLLM_NO_USAGE_STATS": "1",
    },
    vendor_env={"amd": {"VLLM_ROCM_USE_AITER": "1", "SAFETENSORS_FAST_GPU": "1"}},  # vLLM recipe
    layouts=("mistral", "hf"),  # with --load-format mistral, safetensors
    draft_layout=None,  # a draft's configuration is read in the format of the model's (config/speculative.py)
    layout_words={
        "mistral": {"--tokenizer-mode": "hf", "--config-format": "hf"},
        "hf": {"--config-format": "mistral", "--load-format": "mistral"},
    },
    reasoning_field="reasoning",  # model card
    error_field="error.message",
    unknown_model=404,
    text_only_option="--language-model-only",
    image_options=("--limit-mm-per-prompt", "--mm-encoder-tp-mode"),
    memory=Memory(
        vision_optional=True, vision_copies=True, sequences_within_step=True
    ),  # --language-model-only; --mm-encoder-tp-mode data
    metrics=Metrics(prefix="vllm:", disabled_by="--disable-log-stats"),
    log=log.table(
        log.line(
            r"User-specified max_model_len \((\d+)\) is greater than the derived max_model_len", causes.CONTEXT_TOO_LONG
        ),
        log.line(
            r"Total number of attention heads \((\d+)\) must be divisible by tensor parallel size \((\d+)\)",
            causes.INDIVISIBLE,
        ),
        log.line(
            r"World size \((\d+)\) is larger than the number of available GPUs \((\d+)\)|"
            r"required GPUs exceeds the total number of available GPUs",
            causes.TOO_FEW_ACCELERATORS,
        ),
        log.line(
            r"cache is needed, which is larger than the available KV cache|No available memory for the cache blocks|"
            r"on kv cache allocation is less than requested|"
            r"is larger than the maximum number of tokens that can be stored in KV cache",
            causes.KV_CACHE_TOO_SMALL,
        ),
        log.line(
            r"Free memory on device .* is less than desired GPU memory utilization|"
            r"Error in memory profiling\. Initial free memory",
            causes.MEMORY_TAKEN,
        ),
        log.line(
            r"Timed out waiting for engine(?:s to send initial message on input socket| core processes to start)",
            _TOO_SLOW,
        ),
        log.line(r"RPC call to \w+ timed out", causes.HUNG),
        log.line(r"EngineDeadError|EngineCore encountered an issue", causes.CRASHED),
        # (APIServer pid=1) (EngineCore_DP0 pid=68), (Worker_TP1 pid=213), (VllmWorker rank=0 pid=63590)
        process=r"(?:\((?P<process>[\w.-]+(?: rank=\d+)? pid=\d+)[^)]*\) *)+",
        reports=r"Engine core initialization failed|WorkerProc (?:initialization failed|failed to start|hit an exception)|"
        r"EngineCore (?:failed to start|encountered a)|EngineDeadError|Engine process failed to start|Worker failed with error|"
        r"RuntimeError: cancelled|Executor failed",
        phases=(
            # model_loader/default_loader.py, compilation/monitor.py, v1/worker/gpu_model_runner.py, v1/engine/core.py of 0.32.
            Phase(start.WEIGHTS, r"Loading weights took ([\d.]+) seconds"),
            Phase(
                start.COMPILE, r"torch\.compile (?:and initial profiling/warmup run together )?took ([\d.]+) s in total"
            ),
            Phase(start.GRAPHS, r"Graph capturing finished in ([\d.]+) secs"),
            Phase(
                start.WARM_UP,
                r"init engine \(profile, create kv cache, warmup model\) took ([\d.]+) s",
                without=(start.COMPILE, start.GRAPHS),
            ),
            Phase(start.READY, r"Application startup complete"),
        ),
    ),
    version_variables=(
        "VLLM_VERSION",
        "VLLM_BUILD_COMMIT",
    ),  # images' label bears the tag, their environment the commit
    cuda_compatibility="VLLM_ENABLE_CUDA_COMPATIBILITY",  # images bring NVIDIA's forward compatibility libraries
    older_cuda_image="docker.io/vllm/vllm-openai:cu129-nightly",
    image_entrypoint=("vllm", "serve"),
    generator=_generator,
    generator_env={"VLLM_NO_USAGE_STATS": "1"},
    # AITER's FlashAttention: with VLLM_ROCM_USE_AITER alone MI300X got ROCM_ATTN (vLLM issues 46596, 56945).
    alternatives={"amd": {"attention-backend": "ROCM_AITER_FA"}},
    api_key_variable="VLLM_API_KEY",
    untold=_untold,
    secret_options={"--api-key": "VLLM_API_KEY", "--hf-token": "HF_TOKEN"},
    # vllm serve --help and envs.py of 0.32.
    risks={
        "--trust-remote-code": "code that comes with the weights runs in the engine",
        "--allowed-local-media-path": "clients read files of the container with file:// URLs",
        "--config": "options come from a file, which nothing here has checked",
        "--middleware": "code of your own sees and changes every request",
        "--logits-processors": "code of your own runs in the engine",
        "--io-processor-plugin": "code of your own runs in the engine",
        "--tool-parser-plugin": "code of your own runs in the engine",
        "--reasoning-parser-plugin": "code of your own runs in the engine",
        "--scheduler-cls": "code of your own runs in the engine",
        "--model-class-overrides": "code of your own runs in the engine",
        "--worker-cls": "code of your own runs in the engine",
        "--worker-extension-cls": "code of your own runs in the engine, and is called by name",
        "--tool-server": "the model calls programs of a tool server",
        "--profiler-config": "who reaches the engine starts profiles, which slow it and fill its disk",
        "--enable-prompt-embeds": "clients send tensors instead of text: a wrong one can end the engine",
        "--enable-mm-embeds": "clients send tensors instead of images: a wrong one can end the engine",
        "--trust-request-chat-template": "clients send chat templates, which are programs",
        "--trust-request-mm-kwargs": "clients set how their images are processed: memory and time of the engine",
        "--enable-tokenizer-info-endpoint": "clients read the tokenizer's settings and the chat template",
        "--enable-log-requests": "prompts can end up in the journal of the host",
        "--enable-log-outputs": "answers end up in the journal of the host",
        "--enable-log-deltas": "answers end up in the journal of the host",
        "--enable-scale-out": "who reaches the engine finds more paths, which take the parts of a request",
        "--enable-elastic-ep": "who reaches the engine changes how many processes it has",
        "--enable-trace-replay": "clients set what the model answers",
        "--kv-events-config": "what prompts hold is published on a port without a login",
        "--kv-transfer-config": "a connector can pass the cache of prompts on to other hosts, without a login",
        "--weight-transfer-config": "who reaches the engine changes its weights",
        "--otlp-traces-endpoint": "facts about every request leave the host",
        "VLLM_SERVER_DEV_MODE": "who reaches the engine makes it sleep, forget its cache and run functions by name",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "who reaches the engine loads adapters from its disk or the hub",
        "VLLM_ALLOW_INSECURE_SERIALIZATION": "processes of the engine take pickled objects: code of whoever reaches their ports",
        "VLLM_LORA_RESOLVER_HF_REPO_LIST": "a client's model name fetches adapters from the hub",
        "VLLM_LORA_RESOLVER_CACHE_DIR": "a client's model name loads adapters from the disk",
        "VLLM_PLUGINS": "code of your own runs in the engine",
        "VLLM_TORCH_PROFILER_DIR": "who reaches the engine starts profiles, which slow it and fill its disk",
        "VLLM_TORCH_CUDA_PROFILE": "who reaches the engine starts profiles, which slow it",
        "VLLM_DEBUG_LOG_API_SERVER_RESPONSE": "answers end up in the journal of the host",
        "VLLM_TRACE_FUNCTION": "every call of a function is written to the disk",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "a host that images may come from sends the engine to any other address",
    },
)
