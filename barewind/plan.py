"""Spec -> plan: everything a host is to run, worked out without touching it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from barewind import catalog, images, lock, release
from barewind.engines import EngineCommand, vllm
from barewind.errors import BarewindError
from barewind.site import Site
from barewind.spec import EngineSpec
from barewind.weights import Manifest

CONTAINER = "barewind-engine"
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
    container: tuple[str, ...]
    release: str | None

    @property
    def pinned_image(self) -> str:
        """The image by digest.

        Raises:
            BarewindError: the lock does not hold it.
        """
        if self.digest is None:
            raise BarewindError(f"{self.spec.host}: image {self.image} is not locked; run: barewind lock INVENTORY")
        return images.pinned(self.image, self.digest)

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
            "release": self.release,
        }


def plan_host(spec: EngineSpec, locked: lock.Lock) -> EnginePlan:
    """The plan of one engine host; parts the lock does not hold are left open."""
    layout = catalog.engines()[spec.engine].layout
    reference = lock.image_reference(spec)
    image = locked.images.get(reference)
    digest = images.parse(reference).digest or (image.digest if image else None)
    wanted = lock.wanted_weights(spec)
    manifests = [locked.manifest(model, revision, layout) for model, revision in wanted]
    revisions = tuple(
        (model, manifest.revision if manifest else requested)
        for (model, requested), manifest in zip(wanted, manifests, strict=True)
    )
    paths = [f"{_MODELS}/{model}" for model, _ in wanted]
    command = vllm.command(spec, model_path=paths[0], draft_path=paths[1] if len(paths) > 1 else None)
    complete = tuple(manifest for manifest in manifests if manifest is not None)
    container = _container(spec, complete, command.env)
    names = [f"{model}@{revision}" for model, revision in revisions]
    return EnginePlan(
        spec=spec,
        image=reference,
        digest=digest,
        image_size=image.size if image else 0,
        manifests=complete,
        layout=layout,
        revisions=revisions,
        command=command,
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


def _container(spec: EngineSpec, manifests: tuple[Manifest, ...], env: dict[str, str]) -> tuple[str, ...]:
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
    if vendor == "nvidia":
        options.append("--gpus=all")
    if vendor == "amd":
        options += [
            "--device=/dev/kfd",
            "--device=/dev/dri",
            "--group-add=video",
            "--security-opt=seccomp=unconfined",
        ]
    options += [f"--volume={one.directory(spec.data_dir)}:{_MODELS}/{one.model}:ro" for one in manifests]
    options.append(f"--volume={spec.data_dir}/cache:/cache")
    options += [f"--env={name}={value}" for name, value in sorted(env.items())]
    return tuple(options)
