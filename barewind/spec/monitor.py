"""The keys of a host in the group `monitors`, which watches the fleet. Its files are read on the controller."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from barewind.secrets import looks_like_one
from barewind.spec.host import HostSpec, tls_or_private
from barewind.spec.names import ControllerFile, HostPath, Line, Network

Severity = Literal["critical", "warning", "info", "watchdog"]
_Share = Annotated[float, Field(gt=0, lt=1)]
_Number = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Receiver(BaseModel):
    """Somebody whom alerts are sent to. What is secret stands in `secret_file`, on the controller.

    + secret_file: slack: the URL of the webhook; pagerduty: the routing key; webhook: a token, sent as "Authorization: Bearer";
      email: the password of `username`
    + severities: of the alerts that it gets; "watchdog" is the one that always fires
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["email", "slack", "pagerduty", "webhook"]
    secret_file: ControllerFile | None = None
    url: Line | None = None
    channel: Line | None = None
    to: Line | None = None
    sender: Line | None = None
    smarthost: Line | None = None
    username: Line | None = None
    severities: list[Severity] = Field(default=["critical", "warning"], min_length=1)

    @field_validator("url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[!-~]+", url):
            raise ValueError("is no http(s) URL in ASCII letters")
        if url is not None and looks_like_one(url):
            raise ValueError("has a secret in it; write that to a file of mode 0600 and name it: secret_file")
        return url

    @model_validator(mode="after")
    def _complete(self) -> Receiver:
        needed = {
            "email": ("to", "sender", "smarthost"),
            "slack": ("secret_file", "channel"),
            "pagerduty": ("secret_file",),
            "webhook": ("url",),
        }[self.kind]
        lacking = [key for key in needed if getattr(self, key) is None]
        if lacking:
            raise ValueError(f"kind '{self.kind}' needs {' and '.join(map(repr, lacking))}")
        allowed = {*needed, "secret_file", *(("username",) if self.kind == "email" else ())}
        foreign = [
            key
            for key in ("url", "channel", "to", "sender", "smarthost", "username")
            if getattr(self, key) is not None and key not in allowed
        ]
        if foreign:
            raise ValueError(f"kind '{self.kind}' has no use for {' and '.join(map(repr, foreign))}; leave it out")
        if self.kind == "email" and (self.username is None) != (self.secret_file is None):
            raise ValueError("'username' and 'secret_file', which holds its password, go together")
        return self


class Thresholds(BaseModel):
    """From where on there is an alert. barewind/catalog/alerts.yaml says which alert reads which."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    objective: Annotated[float, Field(ge=50, lt=100)] = 99.5  # percent of requests in 30 days
    ttft_seconds: _Number = 2.0
    kv_cache: _Share = 0.95
    preemptions_per_second: _Number = 0.1
    queue_requests: Annotated[int, Field(ge=0)] = 10
    gpu_busy: _Share = 0.9
    load: _Share = 0.85
    gpu_throttled: _Share = 0.05
    disk_free: _Share = 0.15
    maintenance_hours: Annotated[int, Field(ge=1)] = 24
    lease_hours: Annotated[int, Field(ge=1)] = 4

    @property
    def error_budget(self) -> float:
        """The share of requests that may fail."""
        return round(1 - self.objective / 100, 6)


class MonitorSpec(HostSpec):
    """The keys of a monitor. All monitors of a fleet have the same, but for their certificates: none depends on another."""

    monitor_port: int = Field(default=9090, ge=1024, le=65535)
    alertmanager_port: int = Field(default=9093, ge=1024, le=65535)
    alertmanager_peer_port: int = Field(default=9094, ge=1024, le=65535)
    node_exporter_port: int = Field(default=9100, ge=1024, le=65535)
    balancer_metrics_port: int = Field(default=8405, ge=1, le=65535)
    monitor_dir: HostPath = "/var/lib/prometheus/metrics2"
    monitor_retention_days: int = Field(default=30, ge=1, le=3650)
    monitor_retention_gb: int | None = Field(default=None, ge=1)
    monitor_clients: list[Network] = Field(default_factory=list)
    monitor_password_file: ControllerFile
    monitor_tls: bool = True
    monitor_certificate: ControllerFile | None = Field(default=None, validate_default=True)
    monitor_key: ControllerFile | None = Field(default=None, validate_default=True)
    monitor_ca: ControllerFile | None = None
    gpu_exporter: Literal["smi"] | None = "smi"
    receivers: dict[Line, Receiver] = Field(default_factory=dict)
    thresholds: Thresholds = Field(default_factory=Thresholds)

    @field_validator("monitor_tls")
    @classmethod
    def _plain_http_stays_private(cls, tls: bool, info: ValidationInfo) -> bool:
        return tls_or_private(tls, info.data.get("address"))

    @field_validator("monitor_certificate", "monitor_key")
    @classmethod
    def _tls_needs_both(cls, file: str | None, info: ValidationInfo) -> str | None:
        if file is None and info.data.get("monitor_tls"):
            raise ValueError(
                "not set; name the file (PEM) on the controller, or set monitor_tls = False: plain HTTP on a private address"
            )
        return file

    @field_validator("receivers")
    @classmethod
    def _plain_names(cls, receivers: dict[str, Receiver]) -> dict[str, Receiver]:
        for name in receivers:
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,62}", name, re.ASCII):
                raise ValueError(f"{name!r} is no name of a receiver; write letters, digits, - and _")
        return receivers


# What may be another on each monitor; everything else is the whole fleet's.
OWN_KEYS = ("monitor_certificate", "monitor_key")
