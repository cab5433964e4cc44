"""What a user may write: the keys of one host, their types and bounds. `group_data/all.py` documents each of them."""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from barewind import catalog
from barewind.rollout import parse_max_unavailable
from barewind.traffic import parse_shares

MOST_DRAFT_TOKENS = 16  # per step; drafting more costs more than it can bring

# Nothing that ends a line: these values become lines of a systemd unit.
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")]
# What a person says in a line; --data makes a number of "5".
Words = Annotated[Line, BeforeValidator(lambda found: str(found) if isinstance(found, int | float) else found)]
Registry = Annotated[str, Field(pattern=r"^[\w.-]+(:\d+)?$|^\[[0-9a-f:]+\](:\d+)?$")]
Network = Annotated[str, AfterValidator(lambda text: str(ipaddress.ip_network(text)))]
Url = Annotated[str, Field(pattern=r"^https?://[\w.:/~%@\[\]-]+[^/]$")]
ImageReference = Annotated[str, Field(pattern=r"^[^\s@]+(@sha256:[0-9a-f]{64})?$")]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    host: str
    groups: tuple[str, ...]
    address: str  # the host's IP address on the fleet's network: engines listen on it, balancers connect to it

    @field_validator("address")
    @classmethod
    def _ip_address(cls, address: str) -> str:
        try:
            return str(ipaddress.ip_address(address))
        except ValueError:
            raise ValueError(
                f"'{address}' is no IP address; set 'address' to the host's IP address on the fleet's network"
            ) from None


class EngineSpec(_Spec):
    """What one engine host shall serve. Units: tokens for lengths, seconds for times."""

    engine: Literal["vllm", "sglang"] = "vllm"
    channel: Literal["nightly", "stable"] = "nightly"
    image: ImageReference | None = None
    model: str = "mistralai/Mistral-Medium-3.5-128B"
    model_revision: str | None = None
    served_model_name: Annotated[str, Field(pattern=r"^[\w.:/@+-]+$")] | None = None
    draft: str | None = None
    draft_revision: str | None = None

    accelerator: str
    accelerator_count: int = Field(ge=1, le=64)
    tensor_parallel_size: int | None = Field(default=None, ge=1)
    context_length: int | None = Field(default=None, ge=1024)
    modality: Literal["text", "image"] = "text"
    images_per_prompt: int | None = Field(default=None, ge=1, le=256)
    speculative: bool | int | Literal["auto"] = "auto"
    kv_cache_dtype: Literal["auto", "fp8"] = "auto"
    gpu_memory_utilization: float | None = Field(default=None, gt=0.1, lt=1)
    max_num_seqs: int | None = Field(default=None, ge=1, le=4096)
    max_num_batched_tokens: int | None = Field(default=None, ge=256, le=1048576)
    engine_args: dict[Line, bool | int | float | Line | dict[str, Any]] = Field(default_factory=dict)
    engine_env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Line] = Field(default_factory=dict)

    engine_port: int = Field(default=8000, ge=1, le=65535)
    startup_timeout: int = Field(default=1800, ge=10, le=86400)
    shutdown_timeout: int = Field(default=600, ge=1, le=86400)

    accelerator_drivers: Literal["managed", "external"] = "managed"
    nvidia_driver: Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")] = "580.126.09"
    nvidia_modules: Literal["open", "proprietary"] = "open"
    nvidia_fabric_manager: bool | Literal["auto"] = "auto"
    nvidia_container_toolkit: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] = "1.20.0"
    amdgpu_release: Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")] = "30.30.3"
    rocm_release: Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")] | None = "7.2.3"
    amd_container_access: Literal["devices", "toolkit"] = "devices"
    docker_source: Literal["distribution", "vendor"] = "distribution"
    docker_version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] | None = None
    nvidia_repository: Url = "https://developer.download.nvidia.com/compute/cuda/repos"
    nvidia_toolkit_repository: Url = "https://nvidia.github.io/libnvidia-container/stable/deb"
    amdgpu_repository: Url = "https://repo.radeon.com/amdgpu"
    rocm_repository: Url = "https://repo.radeon.com/rocm/apt"
    amd_toolkit_repository: Url = "https://repo.radeon.com/amd-container-toolkit/apt"
    docker_repository: Url = "https://download.docker.com/linux"
    repository_keys: dict[Literal["nvidia", "nvidia-toolkit", "amdgpu", "rocm", "amd-toolkit", "docker"], str] = Field(
        default_factory=dict
    )
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
    evaluation_timeout: int = Field(default=1800, ge=1, le=86400)
    accuracy_floor: float | None = Field(default=None, gt=0, le=1)
    throughput_ratio: float | None = Field(default=None, gt=0, le=1)

    data_dir: Annotated[str, Field(pattern=r"^/[\w./-]+$")] = "/var/lib/barewind"
    hub_endpoint: Url = "https://huggingface.co"
    hub_token_file: str | None = None
    weights_source: Literal["swarm", "hub", "mirror", "path"] = "swarm"
    weights_path: Annotated[str, Field(pattern=r"^(/[\w./-]*[\w-]|https?://[\w.:/~%@\[\]-]+[^/])$")] | None = Field(
        default=None, validate_default=True
    )
    weights_port: int = Field(default=8010, ge=1, le=65535)
    weights_rate_limit: float | None = Field(default=None, gt=0)
    insecure_registries: list[Registry] = Field(default_factory=list)
    mirror: Registry | None = None
    mirror_tls: bool = True
    mirror_ca: str | None = None
    keep_releases: int = Field(default=3, ge=1, le=100)

    @model_validator(mode="before")
    @classmethod
    def _plain_mirror_is_an_insecure_registry(cls, data: Any) -> Any:
        mirror, others = data.get("mirror"), data.get("insecure_registries", [])
        if data.get("mirror_tls") is False and mirror and isinstance(others, list) and mirror not in others:
            return {**data, "insecure_registries": [*others, mirror]}
        return data

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
        if not tls and mirror is not None and not _private(re.sub(r":\d+$", "", mirror).strip("[]")):
            raise ValueError(
                f"plain HTTP to {mirror}: only to a private IP address; use TLS, or name the mirror by its private address"
            )
        return tls

    @field_validator("accelerator")
    @classmethod
    def _known_accelerator(cls, name: str) -> str:
        return _known(name, catalog.accelerators(), "accelerator")

    @field_validator("model", "draft")
    @classmethod
    def _known_model(cls, name: str | None) -> str | None:
        return name if name is None else _known(name, catalog.models(), "model")

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

    @field_validator("weights_port")
    @classmethod
    def _port_of_its_own(cls, port: int, info: ValidationInfo) -> int:
        if port == info.data.get("engine_port"):
            raise ValueError("is the engine's port too; choose another")
        return port

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
        if not isinstance(value, dict):
            return value  # pydantic says what it should be
        for name, one in value.items():
            if not re.fullmatch(r"-{0,2}[A-Za-z][\w.-]*", str(name)):
                raise ValueError(f"'{name}' is no option's name; write the name alone, the value beside it")
            if not isinstance(one, bool | int | float | str | dict) or (isinstance(one, str) and not one.isprintable()):
                raise ValueError(f"'{name}': found {one!r}; write a number, text in one line, True, False or a dict")
            try:
                json.dumps(one, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise ValueError(f"'{name}': found {one!r}, which is no JSON ({error}); correct it") from None
        return value


class BalancerSpec(_Spec):
    """What one balancer shall do. Times in seconds."""

    endpoint_port: int = Field(default=8000, ge=1, le=65535)
    stream_timeout: int = Field(default=2100, ge=60)
    queue_timeout: int = Field(default=60, ge=1)


class MirrorSpec(_Spec):
    """What one host of the group `mirrors` shall do: keep the fleet's images. Files are on the controller."""

    mirror_port: int = Field(default=5000, ge=1, le=65535)
    mirror_dir: Annotated[str, Field(pattern=r"^/[\w./-]+$")] = "/var/lib/docker-registry"
    mirror_tls: bool = True
    mirror_certificate: str | None = Field(default=None, validate_default=True)
    mirror_key: str | None = Field(default=None, validate_default=True)
    mirror_clients: list[Network] = Field(default_factory=list)

    @field_validator("mirror_tls")
    @classmethod
    def _plain_http_stays_private(cls, tls: bool, info: ValidationInfo) -> bool:
        address = info.data.get("address")
        if not tls and address is not None and not _private(address):
            raise ValueError(
                f"plain HTTP on {address}: only on a private address; use TLS, or set 'address' to a private one"
            )
        return tls

    @field_validator("mirror_certificate", "mirror_key")
    @classmethod
    def _tls_needs_both(cls, file: str | None, info: ValidationInfo) -> str | None:
        if file is None and info.data.get("mirror_tls"):
            raise ValueError(
                "not set; name the file (PEM) on the controller, or set mirror_tls = False: plain HTTP on a private "
                "address, for the fleet's addresses only"
            )
        return file


def _release_id(found: object) -> object:
    """An id of digits alone is a number to pyinfra's command line; one such as 12e456789012 is lost in it."""
    if isinstance(found, float):
        example = """--data 'release="<id>"'"""
        raise ValueError(f"was taken for a number; quote it twice: {example}")  # noqa: TRY004 - pydantic wants it
    return str(found) if isinstance(found, int) else found


class SiteSpec(BaseModel):
    """What holds for the whole inventory and is the same on every host."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    lock_file: str = "barewind.lock.yaml"
    reason: Words | None = None
    release: Annotated[str, Field(pattern=r"^[0-9A-Za-z]\w{1,63}$"), BeforeValidator(_release_id)] | None = None
    to: str | None = None
    share: Annotated[tuple[int, ...], BeforeValidator(parse_shares)] = (100,)
    step_seconds: int = Field(default=300, ge=1, le=7 * 86400)


KNOWN_KEYS = frozenset(
    key
    for model in (EngineSpec, BalancerSpec, MirrorSpec, SiteSpec)
    for key in model.model_fields
    if key not in ("host", "groups")
)


def _private(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_private
    except ValueError:
        return False  # a name can come to stand for any address


def _known(name: str, entries: dict[str, Any], kind: str) -> str:
    if name in entries:
        return name
    close = difflib.get_close_matches(name, entries, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(entries))}."
    raise ValueError(f"unknown {kind} '{name}': {hint} (barewind/catalog/ holds what is known)")
