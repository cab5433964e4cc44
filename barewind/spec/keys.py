"""The keys that a user may write, with their types and bounds. `group_data/all.py` documents each of them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from barewind import catalog
from barewind.secrets import looks_like_one
from barewind.spec import known
from barewind.spec.engine_args import checked
from barewind.spec.host import HostSpec, private, tls_or_private
from barewind.spec.monitor import MonitorSpec
from barewind.spec.names import (
    ControllerFile,
    Domain,
    EndpointPath,
    ExactVersion,
    GroupName,
    HostPath,
    Image,
    Line,
    ModelName,
    NameOrAddress,
    Network,
    Origin,
    Ports,
    Registry,
    Revision,
    RiskName,
    Url,
    VariableName,
    Version,
    WeightsPlace,
    Words,
)
from barewind.spec.values import parse_max_unavailable, parse_shares, url_host

FILL_PORT = 5099  # of a mirror's host, on 127.0.0.1, while the mirror is filled
_TLS_WANTS = {
    "endpoint_name": "write the name by which clients connect",
    "endpoint_certificate": "name the file (PEM, with the chain) on the controller",
    "endpoint_key": "name the file (PEM, mode 0600) on the controller",
}
MOST_DRAFT_TOKENS = 16  # per step; drafting more costs more than it can bring


class EngineSpec(HostSpec):
    """The keys of an engine host: what it shall serve. Lengths are in tokens, times in seconds.

    A host with several engines (`replicas`) has a spec for each of them, with its number and its port.
    """

    engine: str = catalog.DEFAULT_ENGINE
    channel: Literal["nightly", "stable"] = "nightly"
    image: Image | None = None
    model: str = "mistralai/Mistral-Medium-3.5-128B"
    model_revision: Revision | None = None
    served_model_name: ModelName | None = None
    draft: str | None = None
    draft_revision: Revision | None = None

    accelerator: str
    accelerator_count: int = Field(ge=1, le=64)
    accelerators: list[Annotated[int, Field(ge=0, le=63)]] | None = Field(default=None, min_length=1)
    replicas: int = Field(default=1, ge=1, le=64)
    profile: Literal["latency", "balanced", "throughput", "recipe"] = "balanced"
    tpot_limit: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    expected_concurrency: int | None = Field(default=None, ge=1, le=65536)
    cost_per_hour: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    replicas_chosen: str = ""  # no key: why there are so many, where `replicas` is "auto"
    replica: int | None = None  # no key: which of the host's engines this is, from 0; None where it has one
    tensor_parallel_size: int | None = Field(default=None, ge=1)
    context_length: int | None = Field(default=None, ge=1024)
    modality: Literal["text", "image"] = "text"
    images_per_prompt: int | None = Field(default=None, ge=1, le=256)
    image_domains: list[Domain] = Field(default_factory=list)
    speculative: bool | int | Literal["auto"] = "auto"
    kv_cache_dtype: Literal["auto", "fp8"] = "auto"
    gpu_memory_utilization: float | None = Field(default=None, gt=0.1, lt=1)
    max_num_seqs: int | None = Field(default=None, ge=1, le=4096)
    max_num_batched_tokens: int | None = Field(default=None, ge=256, le=1048576)
    engine_args: dict[Line, bool | int | float | Line | list[int | float | Line] | dict[str, Any]] = Field(
        default_factory=dict
    )
    engine_env: dict[VariableName, Line] = Field(default_factory=dict)
    engine_secrets: dict[VariableName, ControllerFile] = Field(default_factory=dict)
    accept_risks: list[RiskName] = Field(default_factory=list)

    container_hardening: bool = True

    engine_port: int = Field(default=8000, ge=1, le=65535)
    open_ports: list[Ports] = Field(default_factory=list)
    startup_timeout: int = Field(default=1800, ge=10, le=86400)
    shutdown_timeout: int = Field(default=600, ge=1, le=86400)

    accelerator_drivers: Literal["managed", "external"] = "managed"
    nvidia_driver: Version = "580.126.09"
    nvidia_modules: Literal["open", "proprietary"] = "open"
    nvidia_fabric_manager: bool | Literal["auto"] = "auto"
    nvidia_container_toolkit: ExactVersion = "1.20.0"
    amdgpu_release: Version = "30.30.3"
    rocm_release: Version | None = "7.2.3"
    amd_container_access: Literal["devices", "toolkit"] = "devices"
    docker_source: Literal["distribution", "vendor"] = "distribution"
    docker_version: ExactVersion | None = None
    nvidia_repository: Url = "https://developer.download.nvidia.com/compute/cuda/repos"
    nvidia_toolkit_repository: Url = "https://nvidia.github.io/libnvidia-container/stable/deb"
    amdgpu_repository: Url = "https://repo.radeon.com/amdgpu"
    rocm_repository: Url = "https://repo.radeon.com/rocm/apt"
    amd_toolkit_repository: Url = "https://repo.radeon.com/amd-container-toolkit/apt"
    docker_repository: Url = "https://download.docker.com/linux"
    repository_keys: dict[
        Literal["nvidia", "nvidia-toolkit", "amdgpu", "rocm", "amd-toolkit", "docker"], ControllerFile
    ] = Field(default_factory=dict)
    hugepages: int | None = Field(default=None, ge=0)
    transparent_hugepages: Literal["always", "madvise", "never"] | None = None
    reboot_timeout: int = Field(default=1800, ge=30, le=86400)
    standby: bool = False
    max_unavailable: int | str = 1
    allow_downtime: bool = False
    drain_timeout: int = Field(default=2100, ge=1, le=86400)
    drain_policy: Literal["wait", "abort", "proceed"] = "abort"
    canary: int = Field(default=0, ge=0, le=7 * 86400)
    on_failure: Literal["hold", "rollback", "rollback_group"] = "hold"
    evaluation: list[Annotated[Line, Field(min_length=1)]] | None = Field(default=None, min_length=1)
    evaluation_env: list[VariableName] = Field(default_factory=list)
    evaluation_timeout: int = Field(default=1800, ge=1, le=86400)
    accuracy_floor: float | None = Field(default=None, gt=0, le=1)
    throughput_ratio: float | None = Field(default=None, gt=0, le=1)

    data_dir: HostPath = "/var/lib/barewind"
    hub_endpoint: Url = "https://huggingface.co"
    hub_token_file: ControllerFile | None = None
    weights_source: Literal["swarm", "hub", "mirror", "path"] = "swarm"
    weights_path: WeightsPlace | None = Field(default=None, validate_default=True)
    weights_port: int = Field(default=8010, ge=1, le=65535)
    weights_rate_limit: float | None = Field(default=None, gt=0)
    insecure_registries: list[Registry] = Field(default_factory=list)
    registry_logins: dict[Registry, ControllerFile] = Field(default_factory=dict)
    mirror: Registry | None = None
    mirror_tls: bool = True
    mirror_ca: ControllerFile | None = None
    keep_releases: int = Field(default=3, ge=1, le=100)

    @property
    def tensor_parallel(self) -> int:
        """Accelerators that hold the model together: as many shards of the weights."""
        return self.tensor_parallel_size or self.accelerators_each

    @property
    def name(self) -> str:
        """What balancers, status and messages call the engine: the host's name, and of several engines the replica's number."""
        return self.host if self.replica is None else f"{self.host}-{self.replica}"

    @property
    def accelerators_used(self) -> int:
        """How many of the host's accelerators engines use."""
        return self.accelerator_count if self.accelerators is None else len(self.accelerators)

    @property
    def accelerators_each(self) -> int:
        """How many accelerators each of the host's engines has.

        Without accelerators that is how many shards one has: its processors belong to all replicas together.
        """
        if catalog.accelerators()[self.accelerator].is_cpu:
            return self.accelerator_count
        return max(1, self.accelerators_used // self.replicas)

    @property
    def has_part(self) -> bool:
        """Whether an engine has a part of its host only: which, the host finds at each start."""
        return self.replica is not None or self.accelerators is not None

    @model_validator(mode="before")
    @classmethod
    def _plain_mirror_is_an_insecure_registry(cls, data: Any) -> Any:
        mirror, others = data.get("mirror"), data.get("insecure_registries", [])
        if data.get("mirror_tls") is False and mirror and isinstance(others, list) and mirror not in others:
            return {**data, "insecure_registries": [*others, mirror]}
        return data

    @model_validator(mode="before")
    @classmethod
    def _left_open(cls, data: Any) -> Any:
        """`replicas = "auto"`: one, until the whole spec is known and a number can be chosen (site/replicas.py)."""
        return {**data, "replicas": 1, "replicas_chosen": "auto"} if data.get("replicas") == "auto" else data

    @field_validator("mirror")
    @classmethod
    def _mirror_is_no_docker_hub_name(cls, mirror: str | None) -> str | None:
        if mirror is not None and not ("." in mirror or ":" in mirror or mirror == "localhost"):
            raise ValueError(f"Docker takes '{mirror}' for a name on Docker Hub; write it with its port: {mirror}:5000")
        return mirror

    @field_validator("mirror_tls")
    @classmethod
    def _plain_http_stays_private(cls, tls: bool, info: ValidationInfo) -> bool:
        mirror = info.data.get("mirror")
        if not tls and mirror is not None and not private(re.sub(r":\d+$", "", mirror).strip("[]")):
            raise ValueError(
                f"plain HTTP to {mirror}: only to a private IP address; use TLS, or name the mirror by its private address"
            )
        return tls

    @field_validator("engine")
    @classmethod
    def _known_engine(cls, name: str) -> str:
        return known.known(name, catalog.engines(), "engine")

    @field_validator("accelerator")
    @classmethod
    def _known_accelerator(cls, name: str) -> str:
        return known.accelerator(name)

    @field_validator("accelerators")
    @classmethod
    def _each_once(cls, indexes: list[int] | None) -> list[int] | None:
        twice = sorted({index for index in indexes or () if (indexes or []).count(index) > 1})
        if twice:
            raise ValueError(f"{', '.join(map(str, twice))} stands there more than once; name each accelerator once")
        return indexes

    @field_validator("model", "draft")
    @classmethod
    def _known_model(cls, name: str | None) -> str | None:
        return name if name is None else known.model(name)

    @field_validator("weights_path")
    @classmethod
    def _place_of_weights(cls, place: str | None, info: ValidationInfo) -> str | None:
        source = info.data.get("weights_source")
        if source == "path" and (place is None or not place.startswith("/")):
            raise ValueError('weights_source = "path" wants the hosts\' directory here, as an absolute path')
        if source == "mirror" and (place is None or place.startswith("/")):
            raise ValueError('weights_source = "mirror" wants the mirror\'s http(s) URL here')
        if place is not None and (source == "hub" or (source == "swarm" and place.startswith("/"))):
            raise ValueError(
                f"found '{place}', which weights_source = \"{source}\" does not use; remove one of the two"
            )
        return place

    @field_validator("speculative", mode="before")
    @classmethod
    def _tokens_to_draft(cls, value: object) -> object:
        if value == "auto" or isinstance(value, bool) or (isinstance(value, int) and 1 <= value <= MOST_DRAFT_TOKENS):
            return value
        raise ValueError(f'found {value!r}; write "auto", True, False or 1 to {MOST_DRAFT_TOKENS} tokens per step')

    @field_validator("max_unavailable")
    @classmethod
    def _hosts_or_share(cls, value: int | str) -> int | str:
        parse_max_unavailable(value, 1)
        return value

    @field_validator("engine_args", mode="before")
    @classmethod
    def _option_values(cls, value: object) -> object:
        return checked(value)


class BalancerSpec(HostSpec):
    """The keys of a balancer. Times are in seconds."""

    endpoint_port: int = Field(default=8000, ge=1, le=65535)
    endpoint_tls: bool = False
    endpoint_name: NameOrAddress | None = Field(default=None, validate_default=True)
    endpoint_certificate: ControllerFile | None = Field(default=None, validate_default=True)
    endpoint_key: ControllerFile | None = Field(default=None, validate_default=True)
    stream_timeout: int = Field(default=2100, ge=60, le=7 * 86400)
    queue_timeout: int = Field(default=60, ge=1, le=7 * 86400)
    endpoint_paths: list[EndpointPath] = Field(default_factory=list)
    max_body: int | None = Field(default=None, ge=1024, le=2**31)
    requests_per_client: int | None = Field(default=None, ge=2, le=65536)
    connections_per_client: int = Field(default=512, ge=1, le=8192)
    trusted_clients: list[Network] = Field(default_factory=list)
    queue_limit: int | None = Field(default=None, ge=1, le=65536)
    peers_port: int = Field(default=8020, ge=1024, le=65535)
    endpoint_open: bool = True
    cors_origins: list[Origin] = Field(default_factory=list)
    usage_retention: int = Field(default=400, ge=1, le=3660)

    @property
    def endpoint_url(self) -> str:
        """Where clients connect."""
        name = url_host(self.endpoint_name or self.address)
        return f"{'https' if self.endpoint_tls else 'http'}://{name}:{self.endpoint_port}"

    @field_validator("endpoint_name", "endpoint_certificate", "endpoint_key")
    @classmethod
    def _tls_needs_all(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("endpoint_tls"):
            raise ValueError(f"not set; {_TLS_WANTS[str(info.field_name)]}, or set endpoint_tls = False: plain HTTP")
        return value


class MirrorSpec(HostSpec):
    """The keys of a host in the group `mirrors`, which keeps the fleet's images. Its files are read on the controller."""

    mirror_port: int = Field(default=5000, ge=1, le=65535)
    mirror_dir: HostPath = "/var/lib/docker-registry"
    mirror_tls: bool = True
    mirror_certificate: ControllerFile | None = Field(default=None, validate_default=True)
    mirror_key: ControllerFile | None = Field(default=None, validate_default=True)
    mirror_clients: list[Network] = Field(default_factory=list)

    @field_validator("mirror_tls")
    @classmethod
    def _plain_http_stays_private(cls, tls: bool, info: ValidationInfo) -> bool:
        return tls_or_private(tls, info.data.get("address"))

    @field_validator("mirror_certificate", "mirror_key")
    @classmethod
    def _tls_needs_both(cls, file: str | None, info: ValidationInfo) -> str | None:
        if file is None and info.data.get("mirror_tls"):
            raise ValueError(
                "not set; name the file (PEM) on the controller, or set mirror_tls = False: plain HTTP on a private "
                "address, for the fleet's addresses only"
            )
        return file


def _release_id(value: object) -> object:
    """The id as text: to pyinfra's command line an id of digits alone is a number, and one such as 12e456789012 is lost in it."""
    if isinstance(value, float):
        example = """--data 'release="<id>"'"""
        raise ValueError(f"was taken for a number; quote it twice: {example}")  # noqa: TRY004 - pydantic wants it
    return str(value) if isinstance(value, int) else value


def _in_a_tuple(value: object) -> object:
    """A list as a tuple: hosts' values are compared."""
    return tuple(value) if isinstance(value, list) else value


class SiteSpec(BaseModel):
    """The keys that hold for the whole inventory and are the same on every host."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    lock_file: ControllerFile = "barewind.lock.yaml"
    endpoint_keys: ControllerFile | None = None
    catalog: Annotated[tuple[ControllerFile, ...], BeforeValidator(_in_a_tuple)] = ()
    reason: Words | None = None
    release: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z_]{1,63}$"), BeforeValidator(_release_id)] | None = (
        None
    )
    to: GroupName | None = None
    share: Annotated[tuple[int, ...], BeforeValidator(parse_shares)] = (100,)
    step_seconds: int = Field(default=300, ge=1, le=7 * 86400)

    @field_validator("reason")
    @classmethod
    def _for_everybody(cls, reason: str | None) -> str | None:
        if reason is not None and looks_like_one(reason):
            raise ValueError("has a secret in it, which the history of every host would keep; say it without")
        return reason


KNOWN_KEYS = frozenset(
    key
    for model in (EngineSpec, BalancerSpec, MirrorSpec, MonitorSpec, SiteSpec)
    for key in model.model_fields
    if key not in ("host", "groups", "replica", "replicas_chosen")
)
