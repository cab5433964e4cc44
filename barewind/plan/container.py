"""Options of `docker run`: what an engine's container may use of its host."""

from __future__ import annotations

from barewind import catalog
from barewind.docker.devices import device_options
from barewind.engines import ENGINES
from barewind.engines.base import ADDED, ADMIN, CACHE
from barewind.lock.manifest import Manifest
from barewind.plan import secrets
from barewind.plan.names import ADDED_FILES_DIR, ADMIN_KEY_DIR, CONTAINER
from barewind.spec.keys import EngineSpec

MODELS = "/models"  # where a container sees the weights, read-only
USER = 64000  # uid and gid of an engine's processes, which no host and no image gives to anybody else


def container_options(
    spec: EngineSpec, manifests: tuple[Manifest, ...], env: dict[str, str], cache: str, tensor_parallel: int
) -> tuple[str, ...]:
    """Options of `docker run` between `run` and the image; `cache` is the host's directory of the compile cache.

    What depends on the host itself (processors, numbers of groups, which accelerators an engine has where it has not all of them)
    is not among them: hosts that are alike serve one release, and so do the engines of a host.
    """
    options = [
        f"--name={CONTAINER}",
        "--rm",
        "--pull=never",  # the deploy pulls, and says so when it cannot
        "--network=host",  # NCCL and RCCL want it, and the firewall table sees the engine's port as the host's own
        *_shared(spec, tensor_parallel),
        *(rights(spec) if spec.container_hardening else ()),
        "--ulimit=stack=67108864",  # bytes; the vendors' documentation for both kinds of GPU
        "--security-opt=no-new-privileges",
        "--log-driver=none",  # systemd's journal has the log already
    ]
    if ENGINES[spec.engine].init:
        options.append("--init")
    if not _is_cpu(spec):
        options.append("--ulimit=memlock=-1")  # drivers pin host memory for transfers between accelerators
    options += device_options(spec)
    options += weights_volumes(spec, manifests)
    options.append(f"--volume={cache}:{CACHE}")
    if ENGINES[spec.engine].admin_key is not None:
        options.append(f"--volume={ADMIN_KEY_DIR}:{ADMIN}:ro")
    if ENGINES[spec.engine].added_files:
        options += [f"--volume={ADDED_FILES_DIR}:{ADDED}:ro", f"--workdir={ADDED}"]
    if spec.engine_secrets:
        options += secrets.OPTIONS
    options += [f"--env={name}={value}" for name, value in sorted(env.items())]
    return tuple(options)


def weights_volumes(spec: EngineSpec, manifests: tuple[Manifest, ...]) -> list[str]:
    """What shows weights of the host to a container, read-only."""
    options = [f"--volume={manifest.directory(spec.data_dir)}:{MODELS}/{manifest.model}:ro" for manifest in manifests]
    if spec.weights_source == "path":
        options.append(f"--volume={spec.weights_path}:{spec.weights_path}:ro")  # the directories above hold links to it
    return options


def _shared(spec: EngineSpec, tensor_parallel: int) -> tuple[str, ...]:
    """The shared memory of an engine's processes; of several engines on a host none finds the others' segments."""
    if spec.container_hardening or spec.replica is not None:
        return "--ipc=private", f"--shm-size={_shared_memory(tensor_parallel)}g"
    return ("--ipc=host",)


def rights(spec: EngineSpec) -> tuple[str, ...]:
    """What keeps whoever takes an engine over from its host: no root, no capabilities, only /tmp and the cache to write to."""
    return (
        f"--user={USER}:{USER}",
        "--cap-drop=ALL",
        "--read-only",
        # `exec`: what is compiled there is loaded from there (Triton, torch, FlashInfer, AITER)
        f"--tmpfs=/tmp:rw,exec,nosuid,nodev,mode=1777,size={_TMP_CPU if _is_cpu(spec) else _TMP}g",
    )


# GiB of the container's /tmp, in memory and taken as it is filled: AITER copies all that its image has compiled, gigabytes.
_TMP, _TMP_CPU = 32, 4


def _is_cpu(spec: EngineSpec) -> bool:
    return catalog.accelerators()[spec.accelerator].is_cpu


def _shared_memory(tensor_parallel: int) -> int:
    """GiB of /dev/shm, taken as it is filled.

    NCCL's documentation asks for 1. Engines have rings of 240 MiB between their processes, one for each, and with images another
    4 GiB between the first two; for eight accelerators one's documentation asks for 32.
    """
    return max(8, 4 * tensor_parallel)
