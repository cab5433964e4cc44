"""How the log of an engine is read: which lines tell why it does not serve, and who wrote a line.

Here is what reads the same whatever the engine; what an engine logs in words of its own stands in its file. Sources: logs of
engines made to fail and their code, public reports (tests/unit/engines/logs), Python's, PyTorch's, Docker's and the vendors'
messages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from barewind.engines import causes
from barewind.engines.causes import Cause
from barewind.engines.start import Phase


@dataclass(frozen=True)
class Row:
    """Lines that tell a cause. `pattern` is None where only lines of an engine's own do."""

    pattern: str | None
    cause: Cause


@dataclass(frozen=True)
class EngineLog:
    """An engine's log, in regular expressions: their text, since compiling all takes time and a run that goes well reads no log.

    + rows: what tells why it does not serve; the first that a line matches counts: what says most stands first, what follows from
      other failures last
    + process: what stands before the text of a line; its group `process` is who wrote it
    + goes_on: whether a line without such a beginning is of the process that wrote the line before
    + reports: lines in which a process tells of the failure of another
    + chatter: lines about what does not keep it from serving, where they look like others
    + phases: which lines tell how long the phases of its start took, in the order in which they come
    """

    rows: tuple[Row, ...]
    process: str
    goes_on: bool
    reports: str
    chatter: tuple[str, ...]
    phases: tuple[Phase, ...] = ()


def line(pattern: str, cause: Cause) -> Row:
    """Lines of an engine's own, by their regular expression."""
    return Row(pattern, cause)


def table(
    *own: Row,
    process: str = "",
    goes_on: bool = False,
    reports: str = "",
    chatter: Iterable[str] = (),
    phases: tuple[Phase, ...] = (),
) -> EngineLog:
    """An engine's log: its own lines beside those that all have.

    A cause that no other engine has counts before all others, one of those in causes.py where it stands among them.
    """
    common = {row.cause for row in COMMON}
    rows = [row for row in own if row.cause not in common]
    for row in COMMON:
        rows += [row, *(one for one in own if one.cause == row.cause)]
    return EngineLog(
        rows=tuple(row for row in rows if row.pattern is not None),
        process=process,
        goes_on=goes_on,
        reports="|".join(filter(None, (_REPORTS, reports))),
        chatter=(_CHATTER, *chatter),
        phases=phases,
    )


def _row(pattern: str, why: str, remedy: str) -> Row:
    return Row(pattern, Cause(why, remedy))


def _own(cause: Cause, pattern: str | None = None) -> Row:
    return Row(pattern, cause)


_REPORTS = r"[Ss]ee (?:the )?(?:root cause|stack ?trace|error messages?) (?:above|\(above\)|for)"
# Levels by where loggers write them, not by the word: an error may quote it ("run with NCCL_DEBUG=INFO for details"). Warnings
# quote errors that did not happen.
_LEVEL = "(?:INFO|WARNING|DEBUG|TRACE)"
_CHATTER = (
    rf"^(?:\([^()]*\) *|\[[^\]]*\] *)*{_LEVEL}\b:? |^\d{{4}}-\d\d-\d\d[ T][\d:.,]+Z? (?:- [\w.]+ )?(?:[-|] )?{_LEVEL}\b|"
    rf"\bNCCL INFO |^{_LEVEL}:[\w.]+:"
)

_MEMORY = "lower context_length, max_num_seqs or gpu_memory_utilization, or use more accelerators"
_KEYS = "correct the key of group data that it comes from (engine_args, or see: barewind plan INVENTORY)"

# The first cause that a line tells counts: what says most stands first, what follows from other failures last.
COMMON = (
    _row(r"error: unrecognized arguments: (.+)", "the engine does not know the option {0}", _KEYS),
    _row(r"error: argument (\S+): (.+)", "the engine refuses its option {0}: {1}", _KEYS),
    _row(r"error: the following arguments are required: (.+)", "the engine misses its option {0}", _KEYS),
    _row(r"error: ambiguous option: (\S+)", "the engine cannot tell which option {0} is", _KEYS),
    _own(causes.CONTEXT_TOO_LONG),
    _own(causes.TOO_FEW_ACCELERATORS, r"invalid device ordinal"),
    _row(
        r"(/\S+): missing, or changed since its SHA-256 was checked",
        "the weights in {0} are missing or changed since they were checked",
        "deploy again: they are checked and fetched anew",
    ),
    _row(
        r"SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer|invalid load key|config file at '\S+' is not a valid JSON file",
        "a file of the weights is damaged or cut off",
        "remove its directory's .verified on the host and deploy again: it is checked and fetched anew",
    ),
    _own(causes.KV_CACHE_TOO_SMALL),
    _own(causes.MEMORY_TAKEN),
    _row(
        r"OutOfMemoryError|(CUDA|HIP) out of memory|hipErrorOutOfMemory|(CUDA|HIP) error: out of memory|"
        r"CUBLAS_STATUS_ALLOC_FAILED|NCCL WARN .*'out of memory'",
        "out of memory: the accelerators' memory does not suffice",
        _MEMORY,
    ),
    _row(
        r"oom-kill|Out of memory: Killed process|A process of this unit has been killed by the OOM killer|MemoryError\b|"
        r"DefaultCPUAllocator: can't allocate memory|Cannot allocate memory|"
        r"died during initialization \(exit code: -9\)",  # SIGKILL, as the kernel sends it
        "out of memory: the host's own memory does not suffice",
        "look at what else runs on the host (journalctl -k | grep -i oom)",
    ),
    _row(
        r"unable to (?:allocate|write to) .*(?:shared memory|</torch_)|Bus error.*shared memory|/dev/shm.*No space left|"
        r"NCCL WARN Error while creating shared memory segment",
        "shared memory (/dev/shm) does not suffice",
        "mount -o remount,size=32G /dev/shm on the host, and look at what fills it (ls -l /dev/shm)",
    ),
    _row(r"[Nn]o space left on device|Disk quota exceeded", "the disk is full", "make room (df -h) and deploy again"),
    _own(causes.PORT_TAKEN, r"[Aa]ddress already in use|\[Errno 98\]"),
    _row(
        r"Cannot assign requested address|\[Errno 99\]",
        "the host does not have the address that the engine is to listen on",
        "correct the key 'address'",
    ),
    _row(
        r"no kernel image is available for execution|not compiled with .*sm_\d+|HSA_STATUS_ERROR_INVALID_ISA|"
        r"HIP error: invalid device function|hipErrorNoBinaryForGpu|hipErrorInvalidDeviceFunction|"
        r"Unable to find code object for all current devices|is not compatible with the current PyTorch installation",
        "the image is not built for this accelerator",
        "name an image that is (key 'image')",
    ),
    _row(
        r"NVIDIA driver on your system is too old|CUDA driver version is insufficient|unsatisfied condition: cuda|"
        r"forward compatibility was attempted on non supported HW|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH|"
        r"Driver/library version mismatch|unsupported display driver / cuda driver combination|"
        r"PTX was compiled with an unsupported toolchain|cudaErrorUnsupportedPtxVersion|CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
        "the driver does not go with the image's CUDA",
        "raise nvidia_driver, or name an image of an older CUDA; after a driver's upgrade the host must restart",
    ),
    _row(
        r"Failed to initialize NVML: Unknown Error",
        "the container has lost its accelerators: their devices were taken from it while it ran",
        "restart the engine's unit (systemctl restart barewind-engine); what reloads systemd's units on the host does it "
        "(systemctl daemon-reload): with Docker's cgroup driver cgroupfs, or links in /dev/char, it does not",
    ),
    _row(
        r"system not yet initialized|CUDA_ERROR_SYSTEM_NOT_READY",
        "the accelerators' fabric is not up (fabric manager)",
        "look at `systemctl status nvidia-fabricmanager` and `nvidia-smi -q`; deploy again when it runs",
    ),
    _row(
        r"getpwuid\(\): uid not found|I have no name!|cannot find name for user ID",
        "the image wants a user that it knows, and its container runs as one of Barewind's own",
        f"name a newer image (torch 2.13 or newer); or {causes.RIGHTS_REMEDY}",
    ),
    _row(
        r"(/dev/(?:kfd|dri|nvidia)\S*?)'?:? .*[Pp]ermission denied|[Pp]ermission denied.*(/dev/(?:kfd|dri|nvidia)[\w/-]*)|"
        r"[Uu]nable to open (/dev/kfd) read-write",
        "the container's user may not use {0}{1}{2}",
        "look at the device's group and mode (ls -l): a group other than root must be able to read and write it; "
        f"or {causes.RIGHTS_REMEDY}",
    ),
    _row(
        r"nvidia-cdi-hook.*|error running (?:createContainer )?hook.*[Rr]ead-only file system",
        "the accelerators' hook cannot write to the container's root, which is read-only",
        causes.RIGHTS_REMEDY,
    ),
    _row(
        r"(/[^\s':]*)'?:? .*[Rr]ead-only file system|[Rr]ead-only file system:? '?(/[^\s']*)|[Rr]ead-only file system",
        "the engine wants to write to its container's root, which is read-only {0}{1}",
        f"name another place by engine_env, below /tmp or /cache; or {causes.RIGHTS_REMEDY}",
    ),
    _row(
        r"[Rr]esource temporarily unavailable|can't start new thread|pthread_create failed|BlockingIOError: \[Errno 11\]",
        "the container may not have more processes and threads",
        "look at its limit (cat /run/barewind/engine-options on the host) and at what else runs there; "
        f"or {causes.RIGHTS_REMEDY}",
    ),
    _row(
        r"unknown or invalid runtime name: ?(\S*)|could not select device driver|unresolvable CDI devices|"
        r"nvidia-container-cli|failed to discover GPU vendor from CDI|"
        r"error gathering device information while adding custom device \"(\S+)\"",
        "Docker cannot give the container its accelerators",
        causes.DRIVER_REMEDY,
    ),
    _row(
        r'The container name "/?([^"]+)" is already in use',
        "another container is called {0}",
        "remove it (docker rm -f {0}), and restart the unit",
    ),
    _own(
        causes.NO_ACCELERATOR,
        r"no CUDA-capable device|no ROCm-capable device|hipErrorNoDevice|ROCk module is NOT loaded|"
        r"CUDA unknown error|No CUDA GPUs are available|No HIP GPUs are available|Failed to infer device type|"
        r"NVML: Driver Not Loaded|couldn't communicate with the NVIDIA driver|"
        r"lib(?:cuda|amdhip64)\.so[.\d]*: cannot open shared object file",
    ),
    _row(
        r"uncorrectable ECC|NVRM: Xid|CUDA error: unspecified launch failure|hardware exception|"
        r"GPU has fallen off the bus",
        "an accelerator has failed",
        "look at `dmesg` and the accelerator's error counters; restart the host or replace the accelerator",
    ),
    _own(causes.HUNG),
    _row(
        r"an illegal memory access was encountered|device-side assert triggered|Memory access fault by GPU|"
        r"HSA_STATUS_ERROR_(?:MEMORY_APERTURE_VIOLATION|EXCEPTION)|misaligned address|CUDA error: an illegal instruction|"
        r"HIP error: unspecified launch failure",
        "a kernel of the engine failed on an accelerator",
        "look at the kernel log for a failing accelerator (journalctl -k); without one, go back to the release before, or name "
        "another image",
    ),
    _row(
        r"out of resource: shared memory, Required: (\d+), Hardware limit: (\d+)",
        "a kernel of the image wants more of the accelerator's shared memory than it has ({0} bytes, {1} there)",
        "name another image (key 'image')",
    ),
    _row(
        r"not supported for the current GPU\. Minimum capability: (\d+)\. Current capability: (\d+)",
        "the image's kernels for these weights want another accelerator (capability {0}, this one's is {1})",
        "use other accelerators, or another model",
    ),
    _row(
        r"type fp8e4nv not supported in this architecture",
        "the image's kernels for these weights want another accelerator: this one has no FP8",
        "use other accelerators, or another model",
    ),
    _row(
        r"nccl(System|Internal|UnhandledCuda|Remote)Error|NCCL error|RCCL error|ncclInvalidUsage|DistBackendError",
        "the accelerators cannot talk to each other (NCCL or RCCL)",
        'set engine_env = {{"NCCL_DEBUG": "INFO"}} to see why; look at the fabric manager and at NVLink',
    ),
    _row(
        r"No such image|Unable to find image '([^']+)'|manifest unknown|pull access denied",
        "the image is not on the host",
        "deploy again: it is pulled first",
    ),
    _row(
        r"exec format error|Illegal instruction\b(?!.*CUDA)|exec: \"([^\"]+)\": .*not found",
        "the image's program does not run on this host's processor, or is not there",
        "name another image (key 'image')",
    ),
    _row(
        r"(?:ModuleNotFoundError|ImportError): (.+)",
        "the image is broken: {0}",
        "go back to the release before, or name another image",
    ),
    _row(
        r"Model architectures (.+?) (?:are not supported|failed to be inspected)|"
        r"Cannot find model module\. '(\S+)' is not a registered model|model type `(\S+)` but Transformers does not recognize",
        "this version of the engine does not know the model ({0}{1}{2})",
        "name an image of a version that does",
    ),
    _row(
        r"No such file or directory:? ?'?\"?(/[^'\":\s]+)",
        "a file is missing: {0}",
        "deploy again; if it is missing still, look at the option that names it",
    ),
    _row(
        r"Failed to load mistral 'params\.json' config|Repo id must be in the form .*'(/[^']+)'|"
        r"does not appear to have a file named (\S+)|Cannot find any model weights|Can't load (?:the configuration|tokenizer)|"
        r"Invalid repository ID or local directory specified: '(\S+)'|Cannot reach \S+: offline mode is enabled|"
        r"Unrecognized model in (\S+)\. Should have a `model_type`|Couldn't instantiate the backend tokenizer|"
        r"FileNotFoundError: File not found (/\S+, \S+)",
        "a file of the model is missing {0}{1}{2}{3}{4}",
        "look at the directory of the weights on the host, then deploy again: it is checked",
    ),
    _row(
        r"[Pp]ermission denied:? ?(\S*)",
        "something may not be read or written {0}",
        f"look at that file's owner; or {causes.RIGHTS_REMEDY}",
    ),
    _row(
        r"HTTP (?:error )?401|401 Unauthorized",
        "the engine wants an API key",
        "leave it to the balancers to ask for one",
    ),
    _row(r"validation error for (\w+)", "the engine refuses its configuration ({0})", _KEYS),
    _own(causes.CRASHED),
    _row(r"unrecognized|invalid choice", "the engine refuses its command line", _KEYS),
)

COMMON_LOG = table()  # of an engine with no words of its own
