"""The plan of an engine host: everything that it is to run, worked out from its spec without touching it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from barewind.catalog import Layout
from barewind.engines import ENGINES, sizing
from barewind.engines import image as engine_image
from barewind.engines.command import EngineCommand
from barewind.engines.workload import Sizing, Workload
from barewind.errors import BarewindError
from barewind.lock.file import Lock, wanted_weights
from barewind.lock.manifest import Manifest
from barewind.plan import secrets
from barewind.plan.cache import directory, key
from barewind.plan.container import MODELS, container_options
from barewind.plan.names import EngineNames, engine_names
from barewind.plan.release_id import release_id
from barewind.registry.reference import ImageName, PinnedImage, mirrored, parse, pinned
from barewind.spec.keys import EngineSpec
from barewind.spec.site import Site


@dataclass(frozen=True)
class EnginePlan:
    """What an engine host is to serve. `release` and the image digest are None while the lock does not hold them."""

    spec: EngineSpec
    image: ImageName
    digest: str | None
    image_size: int  # compressed, bytes
    manifests: tuple[Manifest, ...]  # the model first, then the draft
    revisions: tuple[tuple[str, str, Layout], ...]  # repository, revision and layout, the model first
    command: EngineCommand
    sizing: Sizing
    container: tuple[str, ...]
    cache_directory: str  # of the host, for what the engine compiles
    release: str | None
    cuda: str | None = None  # versions of the image, None where it does not say
    rocm: str | None = None
    zstd: bool = False  # whether a layer of the image is compressed with zstd
    platform_digest: str | None = None  # of our platform's manifest, where `digest` is an index over several
    secrets: dict[str, str] = field(default_factory=dict, repr=False)  # variable -> fingerprint of its value

    @property
    def pinned_image(self) -> PinnedImage:
        """The image by digest, as hosts pull and run it: from the mirror where there is one.

        Raises:
            BarewindError: the lock does not hold it.
        """
        if self.digest is None:
            raise BarewindError(f"{self.spec.host}: image {self.image} is not locked; run: barewind lock INVENTORY")
        if self.spec.mirror is None:
            return pinned(self.image, self.digest)
        return mirrored(self.spec.mirror, self.image, self.platform_digest or self.digest)

    @property
    def name(self) -> str:
        """The engine's, on balancers and in messages: the host's, and behind it the number of one of several on a host."""
        return self.spec.name

    @property
    def names(self) -> EngineNames:
        """Of its unit, container and files on the host."""
        return engine_names(self.spec.replica)

    @property
    def first_port(self) -> int:
        """The port of the first engine of its host, which a release's record names."""
        return self.spec.engine_port - (self.spec.replica or 0)

    @property
    def url(self) -> str:
        """Where the engine answers, on the fleet's network."""
        return f"http://{self.spec.url_host}:{self.spec.engine_port}"

    @property
    def served_model_name(self) -> str:
        """The name clients ask for."""
        return self.spec.served_model_name or self.spec.model

    @property
    def directories(self) -> tuple[str, ...]:
        """The host directories of the weights, the model's first."""
        return tuple(manifest.directory(self.spec.data_dir) for manifest in self.manifests)

    @property
    def arguments(self) -> list[str]:
        """What follows the image in `docker run`."""
        return secrets.arguments(self.spec, self.command.argv)


def plan_host(spec: EngineSpec, locked: Lock) -> EnginePlan:
    """The plan of an engine host; what the lock does not hold is left open.

    Raises:
        BarewindError: a file of `engine_secrets` cannot be read, or others can read it.
    """
    engine = ENGINES[spec.engine]
    reference = engine_image.reference(spec)
    host_sizing = sizing.size(spec)
    image = locked.images.get(reference)
    digest = parse(reference).digest or (image.digest if image else None)
    wanted = wanted_weights(spec, host_sizing.draft)
    manifests = [locked.manifest(*name) for name in wanted]
    revisions = tuple(
        (model, manifest.revision if manifest else requested, layout)
        for (model, requested, layout), manifest in zip(wanted, manifests, strict=True)
    )
    paths = [f"{MODELS}/{model}" for model, *_ in wanted]
    workload = Workload(spec, host_sizing, paths[0], paths[1] if len(paths) > 1 else None)
    command = engine.command(workload)
    complete = tuple(manifest for manifest in manifests if manifest is not None)
    cache_key = key(digest or "", spec.accelerator, command.shared_argv, command.env)
    cache = directory(spec.data_dir, cache_key)
    container = container_options(spec, complete, command.env, cache, workload.tensor_parallel)
    names = [f"{model}@{revision}" for model, revision, _ in revisions]
    marks = secrets.fingerprints(spec)
    return EnginePlan(
        spec=spec,
        image=reference,
        digest=digest,
        image_size=image.size if image else 0,
        cuda=image.cuda if image else None,
        rocm=image.rocm if image else None,
        zstd=bool(image and image.zstd),
        platform_digest=image.platform_digest if image and image.digest == digest else None,
        manifests=complete,
        revisions=revisions,
        command=command,
        sizing=host_sizing,
        container=container,
        secrets=marks,
        cache_directory=cache,
        release=release_id(
            digest=digest,
            model=names[0],
            draft=names[1] if len(names) > 1 else None,
            argv=command.shared_argv,  # hosts that are alike serve the same release, each on its own address
            env=command.env,
            container=list(container),
            secrets={secrets.LAUNCH: "", **marks} if marks else {},
        )
        if digest and len(complete) == len(wanted)
        else None,
    )


def by_host(plans: Mapping[str, EnginePlan]) -> dict[str, EnginePlan]:
    """A plan of each host, by the host's name, for what the engines of a host have in common: all but number and port."""
    hosts: dict[str, EnginePlan] = {}
    for plan in plans.values():
        hosts.setdefault(plan.spec.host, plan)
    return hosts


def plan_site(site: Site, locked: Lock) -> dict[str, EnginePlan]:
    """The plan of every engine, by its name.

    Raises:
        BarewindError: files of `engine_secrets` that cannot be read, or that others can read; all of them, with their hosts.
    """
    plans: dict[str, EnginePlan] = {}
    problems: dict[str, list[str]] = defaultdict(list)
    for name, spec in site.engines.items():
        try:
            plans[name] = plan_host(spec, locked)
        except BarewindError as error:
            problems[str(error)].append(name)
    if problems:
        raise BarewindError("\n".join(f"{', '.join(hosts)}: {problem}" for problem, hosts in problems.items()))
    return plans
