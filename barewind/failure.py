"""The end of a unit's log -> why its engine does not serve, in plain words.

Sources: the engines' code (vLLM 0.32, SGLang 0.5.23), logs of vLLM 0.32 made to fail, Docker's and the vendors' messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHOWN = 15  # lines of the log that people are shown


@dataclass(frozen=True)
class Reason:
    """Why, what to do, and the line that tells it."""

    why: str
    remedy: str
    line: str

    def __str__(self) -> str:
        return f"{self.why}; {self.remedy}"


@dataclass(frozen=True)
class _Entry:
    """`{0}`, `{1}`... in `why` are the pattern's groups."""

    pattern: re.Pattern[str]
    why: str
    remedy: str


def _entry(pattern: str, why: str, remedy: str) -> _Entry:
    return _Entry(re.compile(pattern), why, remedy)


_MEMORY = "lower context_length, max_num_seqs or gpu_memory_utilization, or use more accelerators"
_DRIVER = "look at `nvidia-smi` or `amd-smi` on the host, then deploy again: it looks at drivers first"
_KEYS = "correct the key of group data that it comes from (engine_args, or see: barewind plan INVENTORY)"

# The first that is found counts: what says most stands first, what follows from other failures last.
_TABLE = (
    _entry(r"error: unrecognized arguments: (.+)", "the engine does not know the option {0}", _KEYS),
    _entry(r"error: argument (\S+): (.+)", "the engine refuses its option {0}: {1}", _KEYS),
    _entry(r"error: the following arguments are required: (.+)", "the engine misses its option {0}", _KEYS),
    _entry(r"error: ambiguous option: (\S+)", "the engine cannot tell which option {0} is", _KEYS),
    _entry(
        r"User-specified max_model_len \((\d+)\) is greater than the derived max_model_len",
        "the model cannot take {0} tokens of context",
        "lower context_length",
    ),
    _entry(
        r"World size \((\d+)\) is larger than the number of available GPUs \((\d+)\)|invalid device ordinal",
        "the engine sees fewer accelerators than tensor_parallel_size",
        _DRIVER,
    ),
    _entry(
        r"(/\S+): missing, or changed since its SHA-256 was checked",
        "the weights in {0} are missing or changed since they were checked",
        "deploy again: they are checked and fetched anew",
    ),
    _entry(
        r"SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer|invalid load key",
        "a file of the weights is damaged or cut off",
        "remove its directory's .verified on the host and deploy again: it is checked and fetched anew",
    ),
    _entry(
        r"cache is needed, which is larger than the available KV cache|No available memory for the cache blocks|"
        r"on kv cache allocation is less than requested|Not enough memory\. Please try to increase --mem-fraction-static",
        "out of memory: the KV cache does not fit beside the weights",
        "lower context_length or max_num_seqs, or use more accelerators",
    ),
    _entry(
        r"Free memory on device .* is less than desired GPU memory utilization",
        "out of memory: something else holds the accelerator's memory",
        "look with `nvidia-smi` or `amd-smi` for whose processes those are, and end them",
    ),
    _entry(
        r"OutOfMemoryError|(CUDA|HIP) out of memory|hipErrorOutOfMemory|CUDA error: out of memory",
        "out of memory: the accelerators' memory does not suffice",
        _MEMORY,
    ),
    _entry(
        r"oom-kill|Out of memory: Killed process|A process of this unit has been killed by the OOM killer|MemoryError\b|"
        r"DefaultCPUAllocator: can't allocate memory|Cannot allocate memory",
        "out of memory: the host's own memory does not suffice",
        "look at what else runs on the host (journalctl -k | grep -i oom)",
    ),
    _entry(r"[Nn]o space left on device|Disk quota exceeded", "the disk is full", "make room (df -h) and deploy again"),
    _entry(
        r"[Aa]ddress already in use|\[Errno 98\]|Port is already in use",
        "the port is taken by another process",
        "end it (ss -ltnp tells which it is), or choose another engine_port",
    ),
    _entry(
        r"Cannot assign requested address|\[Errno 99\]",
        "the host does not have the address that the engine is to listen on",
        "correct the key 'address'",
    ),
    _entry(
        r"no kernel image is available for execution|not compiled with .*sm_\d+|HSA_STATUS_ERROR_INVALID_ISA",
        "the image is not built for this accelerator",
        "name an image that is (key 'image')",
    ),
    _entry(
        r"NVIDIA driver on your system is too old|CUDA driver version is insufficient|unsatisfied condition: cuda|"
        r"forward compatibility was attempted on non supported HW|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH|"
        r"Driver/library version mismatch",
        "the driver does not go with the image's CUDA",
        "raise nvidia_driver, or name an image of an older CUDA; after a driver's upgrade the host must restart",
    ),
    _entry(
        r"system not yet initialized|CUDA_ERROR_SYSTEM_NOT_READY",
        "the accelerators' fabric is not up (fabric manager)",
        "look at `systemctl status nvidia-fabricmanager` and `nvidia-smi -q`; deploy again when it runs",
    ),
    _entry(
        r"unknown or invalid runtime name: ?(\S*)|could not select device driver|unresolvable CDI devices|"
        r"nvidia-container-cli|error gathering device information while adding custom device \"(\S+)\"",
        "Docker cannot give the container its accelerators",
        _DRIVER,
    ),
    _entry(
        r"no CUDA-capable device|No CUDA GPUs are available|No HIP GPUs are available|Failed to infer device type|"
        r"NVML: Driver Not Loaded|couldn't communicate with the NVIDIA driver",
        "the engine sees no accelerator: the driver does not work",
        _DRIVER,
    ),
    _entry(
        r"uncorrectable ECC|NVRM: Xid|CUDA error: unspecified launch failure|hardware exception|"
        r"GPU has fallen off the bus",
        "an accelerator has failed",
        "look at `dmesg` and the accelerator's error counters; restart the host or replace the accelerator",
    ),
    _entry(
        r"nccl(System|Internal|UnhandledCuda|Remote)Error|NCCL error|RCCL error|ncclInvalidUsage",
        "the accelerators cannot talk to each other (NCCL or RCCL)",
        'set engine_env = {{"NCCL_DEBUG": "INFO"}} to see why; look at the fabric manager and at NVLink',
    ),
    _entry(
        r"No such image|Unable to find image '([^']+)'|manifest unknown|pull access denied",
        "the image is not on the host",
        "deploy again: it is pulled first",
    ),
    _entry(
        r"exec format error|Illegal instruction|exec: \"([^\"]+)\": .*not found",
        "the image's program does not run on this host's processor, or is not there",
        "name another image (key 'image')",
    ),
    _entry(
        r"(?:ModuleNotFoundError|ImportError): (.+)",
        "the image is broken: {0}",
        "go back to the release before, or name another image",
    ),
    _entry(
        r"Model architectures (.+?) (?:are not supported|failed to be inspected)",
        "this version of the engine does not know the model ({0})",
        "name an image of a version that does",
    ),
    _entry(
        r"No such file or directory:? ?'?\"?(/[^'\":\s]+)",
        "a file is missing: {0}",
        "deploy again; if it is missing still, look at the option that names it",
    ),
    _entry(
        r"Failed to load mistral 'params\.json' config|Repo id must be in the form .*'(/[^']+)'|"
        r"does not appear to have a file named (\S+)|Cannot find any model weights|Can't load (?:the configuration|tokenizer)",
        "a file of the model is missing {0}{1}",
        "look at the directory of the weights on the host, then deploy again: it is checked",
    ),
    _entry(r"[Pp]ermission denied:? ?(\S*)", "something may not be read or written {0}", "look at that file's owner"),
    _entry(
        r"HTTP (?:error )?401|401 Unauthorized",
        "the engine wants an API key",
        "leave it to the balancers to ask for one",
    ),
    _entry(r"validation error for (\w+)", "the engine refuses its configuration ({0})", _KEYS),
    _entry(r"EngineDeadError|EngineCore encountered an issue", "the engine crashed", "look further up in its log"),
    _entry(r"unrecognized|invalid choice", "the engine refuses its command line", _KEYS),
)

_RELEASE = re.compile(r"^(?:Start|Stopp)\w+ .*\(release (\w+)\)")
_STARTING = re.compile(r"Starting ")
_CHATTER = re.compile(r"\b(?:INFO|WARNING|DEBUG)\b:? ")  # warnings quote errors that did not happen


def explain(log: Sequence[str], *, killed: bool = False) -> Reason | None:
    """The reason that a log tells; None where it tells none that is known. `killed`: for want of the host's memory."""
    told = [line for line in log if not _CHATTER.search(line)]
    if killed:
        told.append("oom-kill")
    for entry in _TABLE:
        for line in reversed(told):
            if found := entry.pattern.search(line):
                groups = [group or "" for group in found.groups()] + ["", ""]
                why = " ".join(entry.why.format(*groups).split())
                return Reason(why, entry.remedy.format(), line.strip())
    return None


def of_release(log: Iterable[str], release: str) -> list[str]:
    """The part of a unit's log that is about a release: its description in systemd's own lines names it.

    A unit that was changed before it is restarted stops under its new description: only its start tells.
    """
    lines = list(log)
    others = [at for at, line in enumerate(lines) if (said := _RELEASE.search(line)) and said[1] != release]
    after = others[-1] + 1 if others else 0
    starts = (
        at for at in range(after, len(lines)) if _STARTING.match(lines[at]) and f"(release {release})" in lines[at]
    )
    return lines[next(starts, after) :]
