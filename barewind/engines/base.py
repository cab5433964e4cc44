"""What Barewind knows of an inference engine: an `Engine` in a file of its own, and an entry of the catalog."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from barewind import catalog
from barewind.catalog import Accelerator, Layout, Model
from barewind.catalog.metrics import metrics
from barewind.engines import log, options
from barewind.engines.command import EngineCommand, Option, overridden
from barewind.engines.image import version
from barewind.engines.keys import KeyOptions
from barewind.engines.load import Generator
from barewind.engines.log import EngineLog
from barewind.engines.workload import Workload

CACHE = "/cache"  # where a container finds the compile cache of its host: what is compiled outlives a restart, docs/weights.md
ADMIN = "/run/barewind"  # where a container finds its admin key, read-only
ADDED = "/opt/barewind"  # where a container finds files of ours, and begins, so that Python finds them too
IMAGE_RISK = "local-image-files"  # the name in `accept_risks` of what `image_risk` says
KEEP_ALIVE = 75  # seconds; uvicorn's default of 5 closes connections that a balancer is about to reuse
NO_P2P = "the cards do not reach each other's memory, which the engine's own all-reduce goes through"
CHAT_COMPLETIONS = "/v1/chat/completions"
_MODELS = "/v1/models"

# For a user that no image knows (key container_hardening). Python asks passwd for a user's name unless the environment tells it
# (torch before 2.13 ends there: pytorch#140765), and libraries that find none of these write to a root that is read-only.
UNPRIVILEGED = {
    "HOME": "/tmp",  # noqa: S108 - the container's own, in memory
    "USER": "barewind",
    "LOGNAME": "barewind",
    "XDG_CACHE_HOME": "/tmp/.cache",  # noqa: S108
    "XDG_CONFIG_HOME": "/tmp/.config",  # noqa: S108
}


@dataclass(frozen=True)
class ApiPath:
    """A path that clients may use."""

    method: Literal["GET", "POST"]
    path: str

    @classmethod
    def of(cls, text: str) -> ApiPath:
        """The path of a text such as "POST /v1/embeddings"; the keys' types make sure that it is one."""
        method, path = text.split(" ")
        return cls("GET" if method == "GET" else "POST", path)


# Sources: the routes of OpenAI's and Anthropic's APIs as the engines' servers declare them. Paths that show or change an engine's
# inside (metrics, profiles, weights, sleep) are not for clients, nor are those that find an answer again by its id, which
# a single engine of the fleet knows.
CLIENT_PATHS = (
    ApiPath("GET", _MODELS),
    ApiPath("POST", CHAT_COMPLETIONS),
    ApiPath("POST", "/v1/completions"),
    ApiPath("POST", "/v1/responses"),
    ApiPath("POST", "/v1/messages"),
    ApiPath("POST", "/v1/messages/count_tokens"),
)


@dataclass(frozen=True)
class Metrics:
    """Where an engine's metrics are, and the prefix that all of them have; barewind/catalog/metrics.yaml names them.

    + enabled_by: option without which there are none; None: they are there anyway
    + disabled_by: option with which there are none
    """

    prefix: str
    path: str = "/metrics"
    enabled_by: str | None = None
    disabled_by: str | None = None

    def are_served(self, given: Collection[str]) -> bool:
        """Whether an engine that was started with these options has metrics."""
        return (self.enabled_by is None or self.enabled_by in given) and self.disabled_by not in given


@dataclass(frozen=True)
class Memory:
    """What an engine holds in memory, as far as engines differ.

    + vision_optional: in text-only service the vision tower is left out
    + vision_copies: with images every accelerator holds the whole vision tower instead of a share
    + adapters: adapters (LoRA) that it holds room for at a time, unless an option says how many
    + sequences_within_step: it starts only if a step has a token for each sequence
    """

    vision_optional: bool
    vision_copies: bool
    adapters: int = 1
    sequences_within_step: bool = False


@dataclass(frozen=True)
class Untold:
    """What an engine takes where its command does not say it: share of the memory, tokens of a step, sequences at a time."""

    utilization: float
    batched_tokens: int
    sequences: int


@dataclass(frozen=True)
class AdminKey:
    """The file that tells an engine the key of its administration, which nobody else knows: YAML of one line.

    + option: option that names the file
    + name: the file's name
    + key: what stands before the key in it
    + guarded: a path that only the key opens, and that changes nothing
    + tells_options: a path that tells the options which it was started with
    """

    option: str
    name: str
    key: str
    guarded: str
    tells_options: str

    @property
    def path(self) -> str:
        """Where the container finds it."""
        return f"{ADMIN}/{self.name}"


@dataclass(frozen=True)
class Engine:
    """An engine, as everything else asks for it.

    + planned: the options of a host, beside `engine_args` and what the catalog's limits add
    + keys: which option says what a key of group data says
    + entrypoint: what the container is given before everything else; empty where the image's own entry point is the server
    + image_entrypoint: the image's own entry point, for a container that begins with a shell instead
    + init: its container begins with an init, because as a first process it would not hear SIGTERM before it is up
    + model_first: the model's path stands before the options instead of in one
    + env, vendor_env: environment on every host, and on hosts with accelerators of a vendor
    + layouts: layouts of weights that it loads, the preferred one first
    + draft_layout: the layout of drafts; None: that of the model
    + layout_words: layout -> option -> value that asks for weights in another
    + health_path: answers 200 while the engine lives
    + ready_path: answers 200 while it takes requests: what gates and balancers ask
    + models_path, chat_path: list of models, chat completions
    + client_paths: all that clients may use
    + own_ports: ports that it takes beside the server's, and what for, in a few words
    + port_variables: name of the environment variable that says such a port -> the port: engines of one host have their own
    + admin_key: the file with the key of its administration, where it has one
    + added_files: name -> content of files of ours in its container, which Python finds as it finds packages
    + admin_paths, admin_prefixes: paths, and beginnings of paths, that show or change its inside: no key opens them to clients
    + reasoning_field: the field of a message that holds the reasoning
    + error_field: where the sentence of an error stands
    + unknown_model: status of its answer to a chat completion for a model that it does not serve
    + tool_option, reasoning_option: options with which it parses calls of tools, reasoning
    + text_only_option: option with which it takes no images
    + image_options: options that make sense with images only
    + image_risk: a door that images open and no option closes, in a few words; empty: there is none
    + refused: option that its parser takes -> why it does not start with it, and what to write instead
    + log: how its log is read: which lines tell why it does not serve, and who wrote them
    + version_variables: names of variables in its images' environment that hold the version
    + cuda_compatibility: name of the environment variable that lets it run on an older driver, by libraries in its images
    + older_cuda_image: an image of an older CUDA, for older drivers
    + api_key_variable: name of the environment variable whose value clients must show; None: it takes a key only as an argument
    + untold: what it takes on an accelerator where its command does not say it
    + secret_options: option that would hold a secret -> the environment variable that may hold it instead; "" where there is none
    + risks: options and environment variables that open a door -> whom to, in a few words
    + generator: the load generator of its images; None: they bring none
    + generator_env: environment that it needs
    + alternatives: vendor of accelerators -> options that may be faster there, each with the value to try
    """

    name: str
    planned: Callable[[Workload], list[Option]]
    keys: KeyOptions
    layouts: tuple[Layout, ...]
    draft_layout: Layout | None
    metrics: Metrics
    memory: Memory
    reasoning_field: str
    error_field: str
    unknown_model: int
    entrypoint: tuple[str, ...] = ()
    init: bool = False
    model_first: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    vendor_env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    health_path: str = "/health"
    ready_path: str = "/health"
    models_path: str = _MODELS
    chat_path: str = CHAT_COMPLETIONS
    client_paths: tuple[ApiPath, ...] = CLIENT_PATHS
    own_ports: Mapping[int, str] = field(default_factory=dict)
    port_variables: Mapping[str, int] = field(default_factory=dict)
    admin_key: AdminKey | None = None
    added_files: Mapping[str, str] = field(default_factory=dict)
    admin_paths: tuple[str, ...] = ()
    admin_prefixes: tuple[str, ...] = ()
    tool_option: str = "--tool-call-parser"
    reasoning_option: str = "--reasoning-parser"
    text_only_option: str | None = None
    image_options: tuple[str, ...] = ()
    image_risk: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    layout_words: Mapping[Layout, Mapping[str, str]] = field(default_factory=dict)
    log: EngineLog = log.COMMON_LOG
    version_variables: tuple[str, ...] = ()
    cuda_compatibility: str | None = None
    older_cuda_image: str | None = None
    image_entrypoint: tuple[str, ...] = ()
    api_key_variable: str | None = None
    untold: Callable[[Accelerator], Untold] = lambda _: Untold(0.9, 8192, 256)
    secret_options: Mapping[str, str] = field(default_factory=dict)
    risks: Mapping[str, str] = field(default_factory=dict)
    generator: Generator | None = None
    generator_env: Mapping[str, str] = field(default_factory=dict)
    alternatives: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def answers(self) -> tuple[str, ...]:
        """How it answers where engines differ, as clients notice it; the same order for every engine."""
        return (
            f"reasoning in '{self.reasoning_field}'",
            f"errors in '{self.error_field}'",
            f"status {self.unknown_model} for the name of another model",
        )

    def metric_names(self, figure: str) -> tuple[str, ...]:
        """Its own metrics that a figure of the catalog is made of; none where it has no such figure."""
        return tuple(metrics()[figure].names(self.name))

    def layout(self, model: Model) -> Layout:
        """The layout in which it loads a model: of those that its repository has, else the one that it would prefer."""
        return next((layout for layout in self.layouts if layout in model.layouts), self.layouts[0])

    def layout_of_draft(self, model: Model) -> Layout:
        """The layout in which it loads a draft for a model."""
        return self.draft_layout or self.layout(model)

    def is_admin(self, path: str) -> bool:
        """Whether a path is of those that show or change its inside. Some servers take a / at the end for nothing."""
        bare = path.rstrip("/")
        return bare in self.admin_paths or any(
            bare == begin or bare.startswith(f"{begin}/") for begin in self.admin_prefixes
        )

    def command(self, workload: Workload) -> EngineCommand:
        """Arguments and environment of the engine on a host."""
        spec = workload.spec
        planned = [
            *self.planned(workload),
            *(
                Option(f"--{name}", value, "needed by this set-up, see the catalog")
                for name, value in workload.sizing.extra.items()
            ),
        ]
        if self.admin_key is not None:
            reason = "the admin key, which is made anew at each start"
            planned.append(Option(self.admin_key.option, self.admin_key.path, reason))
        own = ("address",) if spec.replica is None else ("address", "engine_port")
        return EngineCommand(
            positional=(*self.entrypoint, workload.model_path) if self.model_first else self.entrypoint,
            options=overridden(planned, spec.engine_args, options.nearest(self.name, version(spec))),
            env={
                # The weights are on the host and checked; nothing is fetched behind the lock's back.
                "HF_HUB_OFFLINE": "1",
                # One host is all: what its processes say to each other stays on it. torch binds a listener per group of
                # processes to the named interface (GLOO_SOCKET_IFNAME, "Distributed communication package"), NCCL and RCCL
                # those of their bootstrap (NCCL_SOCKET_IFNAME, NCCL's "Environment Variables").
                "GLOO_SOCKET_IFNAME": "lo",
                "NCCL_SOCKET_IFNAME": "lo",
                **(UNPRIVILEGED if spec.container_hardening else {}),
                **self.env,
                **self.vendor_env.get(workload.vendor, {}),
                **self._together(workload),
                **spec.engine_env,
            },
            per_host=tuple(option for key in own if (option := self.keys.name(key)) is not None),
        )

    @staticmethod
    def _together(workload: Workload) -> Mapping[str, str]:
        """Environment of an engine over several accelerators."""
        alone = workload.tensor_parallel == 1 or workload.published
        return {} if alone else catalog.accelerators()[workload.spec.accelerator].together_env


def common_path(engines: Iterable[Engine]) -> str | None:
    """Where balancers ask whether any of these engines takes requests: the ready path if all have the same, else the health path.

    None where they have neither in common: then no balancer can check them alike.
    """
    fleet = list(engines)
    for paths in ({engine.ready_path for engine in fleet}, {engine.health_path for engine in fleet}):
        if len(paths) == 1:
            return paths.pop()
    return None
