"""Spec -> plan: everything a host is to run, worked out without touching it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from barewind import catalog, compile_cache, flags, images, lock, release, sizing
from barewind.engines import EngineCommand, sglang, vllm
from barewind.errors import BarewindError
from barewind.site import Site
from barewind.sizing import Sizing
from barewind.spec import EngineSpec
from barewind.weights import Manifest

CONTAINER = "barewind-engine"
_COMMANDS = {"vllm": vllm.command, "sglang": sglang.command}
_MODELS = "/models"  # where a container sees the weights, read-only


@dataclass(frozen=True)
class EnginePlan:
    """What one engine host serves. `release` and the image digest are None while the lock does not hold them."""

    spec: EngineSpec
    image: str
    digest: str | None
    image_size: int  # compressed, bytes
    manifests: tuple[Manifest, ...]  # the model first, then the draft
    layout: str
    revisions: tuple[tuple[str, str], ...]  # repository and revision, the model first
    command: EngineCommand
    sizing: Sizing
    container: tuple[str, ...]
    release: str | None
    cuda: str | None = None  # versions of the image, None where it does not say
    rocm: str | None = None
    platform_digest: str | None = None  # of our platform's manifest, where `digest` is an index over several

    @property
    def pinned_image(self) -> str:
        """The image by digest, as hosts pull and run it: from the mirror where there is one.

        Raises:
            BarewindError: the lock does not hold it.
        """
        if self.digest is None:
            raise BarewindError(f"{self.spec.host}: image {self.image} is not locked; run: barewind lock INVENTORY")
        if self.spec.mirror is None:
            return images.pinned(self.image, self.digest)
        return images.mirrored(self.spec.mirror, self.image, self.platform_digest or self.digest)

    @property
    def url(self) -> str:
        """Where the engine answers, on the fleet's network."""
        host = f"[{self.spec.address}]" if ":" in self.spec.address else self.spec.address
        return f"http://{host}:{self.spec.engine_port}"

    @property
    def served_model_name(self) -> str:
        """The name clients ask for."""
        return self.spec.served_model_name or self.spec.model

    @property
    def directories(self) -> tuple[str, ...]:
        """The host directories of the weights, the model's first."""
        return tuple(manifest.directory(self.spec.data_dir) for manifest in self.manifests)

    def as_json(self) -> dict[str, Any]:
        """The plan as `barewind plan --json` prints it."""
        model, draft = self.revisions[0], self.revisions[1] if len(self.revisions) > 1 else None
        return {
            "host": self.spec.host,
            "groups": list(self.spec.groups),
            "accelerator": self.spec.accelerator,
            "accelerator_count": self.spec.accelerator_count,
            "engine": self.spec.engine,
            "image": {"reference": self.image, "digest": self.digest},
            "model": {"id": model[0], "revision": model[1], "layout": self.layout},
            "draft": {"id": draft[0], "revision": draft[1], "layout": self.layout} if draft else None,
            "port": self.spec.engine_port,
            "argv": self.command.argv,
            "env": self.command.env,
            "container_args": list(self.container),
            "reasons": {option.flag: option.reason for option in self.command.options},
            "fit": None if self.sizing.fit is None else asdict(self.sizing.fit),
            "release": self.release,
        }

    def problems(self) -> list[str]:
        """What keeps this plan from being carried out: it does not fit, or the engine would refuse its options."""
        found = []
        fit = self.sizing.fit
        if fit is not None and not fit.fits:
            advice = (
                "; or ".join(fit.advice)
                or "no single change of group data makes it fit: use more or larger accelerators"
            )
            found.append(
                f"{self.spec.accelerator_count} x {self.spec.accelerator} cannot hold {self.spec.model} with "
                f"{fit.context_length} tokens of context: room for {fit.kv_token_capacity} tokens of KV cache. Try: {advice}"
            )
        found += [f"key 'engine_args': {one}" for one in self._refused_options()]
        return found + self._too_old_a_driver()

    def _too_old_a_driver(self) -> list[str]:
        """What the image's CUDA would refuse at start; drivers that the site keeps are looked at on the host."""
        accelerator = catalog.accelerators()[self.spec.accelerator]
        if accelerator.vendor != "nvidia" or self.spec.accelerator_drivers == "external":
            return []
        floor = accelerator.floor(cuda=self.cuda)
        if sizing.numbers(self.spec.nvidia_driver) >= sizing.numbers(floor):
            return []
        return [
            f"key 'nvidia_driver': {self.spec.nvidia_driver} is older than {floor}, which {self.image} "
            f"(CUDA {self.cuda or '13'}) needs with {self.spec.accelerator}; name a newer driver, or an image of an older CUDA"
        ]

    def _refused_options(self) -> tuple[str, ...]:
        """What the engine's own command line would not take, or would misread."""
        given = self.command.without("--host")[len(catalog.engines()[self.spec.engine].entrypoint) :]
        return _refused(self.spec.engine, sizing.version(self.spec), tuple(given))


def plan_host(spec: EngineSpec, locked: lock.Lock) -> EnginePlan:
    """The plan of one engine host; parts the lock does not hold are left open."""
    layout = catalog.engines()[spec.engine].layout
    reference = sizing.reference(spec)
    settled = sizing.size(spec)
    image = locked.images.get(reference)
    digest = images.parse(reference).digest or (image.digest if image else None)
    wanted = lock.wanted_weights(spec, settled.draft)
    manifests = [locked.manifest(model, revision, layout) for model, revision in wanted]
    revisions = tuple(
        (model, manifest.revision if manifest else requested)
        for (model, requested), manifest in zip(wanted, manifests, strict=True)
    )
    paths = [f"{_MODELS}/{model}" for model, _ in wanted]
    draft_path = paths[1] if len(paths) > 1 else None
    command = _COMMANDS[spec.engine](spec, settled, model_path=paths[0], draft_path=draft_path)
    complete = tuple(manifest for manifest in manifests if manifest is not None)
    compiled = compile_cache.key(digest or "", spec.accelerator, command.without("--host"), command.env)
    container = _container(spec, complete, command.env, compile_cache.directory(spec.data_dir, compiled))
    names = [f"{model}@{revision}" for model, revision in revisions]
    return EnginePlan(
        spec=spec,
        image=reference,
        digest=digest,
        image_size=image.size if image else 0,
        cuda=image.cuda if image else None,
        rocm=image.rocm if image else None,
        platform_digest=image.platform_digest if image and image.digest == digest else None,
        manifests=complete,
        layout=layout,
        revisions=revisions,
        command=command,
        sizing=settled,
        container=container,
        release=release.identify(
            digest=digest,
            model=names[0],
            draft=names[1] if len(names) > 1 else None,
            argv=command.without("--host"),  # alike hosts serve the same release, each on its own address
            env=command.env,
            container=list(container),
        )
        if digest and len(complete) == len(wanted)
        else None,
    )


def plan_site(site: Site, locked: lock.Lock) -> dict[str, EnginePlan]:
    """The plan of every engine host, by host name."""
    return {name: plan_host(spec, locked) for name, spec in site.engines.items()}


def check(plans: dict[str, EnginePlan]) -> None:
    """Refuse plans that do not fit or that an engine would refuse.

    Raises:
        BarewindError: every problem, with the hosts that have it and the remedy.
    """
    problems: dict[str, list[str]] = {}
    for name, plan in plans.items():
        for problem in plan.problems():
            problems.setdefault(problem, []).append(name)
    if problems:
        raise BarewindError("\n".join(f"{', '.join(hosts)}: {problem}" for problem, hosts in problems.items()))


def require_locked(plans: dict[str, EnginePlan], lock_file: str) -> None:
    """Refuse plans that the lock does not hold completely.

    Raises:
        BarewindError: names what is missing and the command that locks it.
    """
    missing = []
    for plan in plans.values():
        held = {manifest.model for manifest in plan.manifests}
        open_parts = [f"weights {model}@{revision}" for model, revision in plan.revisions if model not in held]
        if plan.digest is None:
            open_parts.append(f"image {plan.image}")
        missing += [part for part in open_parts if part not in missing]
    if missing:
        raise BarewindError(f"{lock_file}: does not hold {', '.join(missing)}; run: barewind lock INVENTORY")


@lru_cache(maxsize=4096)
def _refused(engine: str, version: str | None, argv: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(flags.check(flags.nearest(engine, version), argv))


def _container(spec: EngineSpec, manifests: tuple[Manifest, ...], env: dict[str, str], cache: str) -> tuple[str, ...]:
    """Options of `docker run` between `run` and the image."""
    vendor = catalog.accelerators()[spec.accelerator].vendor
    options = [
        f"--name={CONTAINER}",
        "--rm",
        "--pull=never",  # the deploy pulls, and says so when it cannot
        "--network=host",  # NCCL and RCCL want it, and the firewall table sees the engine's port as the host's own
        "--ipc=host",
        "--ulimit=stack=67108864",  # bytes; the vendors' documentation for both kinds of GPU
        "--security-opt=no-new-privileges",
        "--log-driver=none",  # systemd's journal has the log already
    ]
    if vendor != "none":
        options.append("--ulimit=memlock=-1")  # drivers pin host memory for transfers between accelerators
    options += _accelerators(spec, vendor)
    options += [f"--volume={one.directory(spec.data_dir)}:{_MODELS}/{one.model}:ro" for one in manifests]
    if spec.weights_source == "path":
        options.append(f"--volume={spec.weights_path}:{spec.weights_path}:ro")  # the directories above hold links to it
    options.append(f"--volume={cache}:/cache")
    options += [f"--env={name}={value}" for name, value in sorted(env.items())]
    return tuple(options)


def _accelerators(spec: EngineSpec, vendor: str) -> list[str]:
    """How a container gets at the accelerators."""
    if vendor == "nvidia":
        # CDI names through the vendor's runtime: any Docker can do it, and a daemon-reload of systemd leaves the container
        # its devices, because they are in the container's own specification (with --gpus a hook adds them behind its back).
        return ["--runtime=nvidia", "--env=NVIDIA_VISIBLE_DEVICES=nvidia.com/gpu=all"]
    if vendor != "amd":
        return []
    common = ["--group-add=video", "--security-opt=seccomp=unconfined"]
    if spec.amd_container_access == "toolkit":
        return ["--runtime=amd", "--env=AMD_VISIBLE_DEVICES=all", *common]
    return ["--device=/dev/kfd", "--device=/dev/dri", *common]
