"""The catalog's part about rules: what is recorded beside metrics.yaml, and when somebody is told.

records.yaml and alerts.yaml explain the fields.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import Field

from barewind.catalog.entries import Part, checked
from barewind.documents import read_yaml

Duration = Annotated[str, Field(pattern=r"^[0-9]+[smhd]$")]


class Record(Part):
    """A figure that follows from others."""

    record: str
    expr: str


class Labels(Part):
    """Which alert it is for whom."""

    severity: Literal["critical", "warning", "info", "watchdog"]
    area: Literal["service", "host", "hardware", "keeping", "scale"]
    reason: str | None = None


class Annotations(Part):
    """What an alert means, and the next command."""

    summary: str
    next: str


class Alert(Part):
    """When somebody is told of what."""

    alert: str
    expr: str
    hold: Duration | None = Field(default=None, alias="for")
    labels: Labels
    annotations: Annotations


class _Records(Part):
    rules: list[Record]


class _Alerts(Part):
    rules: list[Alert]


@cache
def records() -> dict[str, list[Record]]:
    """Records by group."""
    return {
        group: checked("records.yaml", group, {"rules": rules}, _Records).rules
        for group, rules in _document("records.yaml").items()
    }


@cache
def alerts() -> dict[str, list[Alert]]:
    """Alerts by group."""
    return {
        group: checked("alerts.yaml", group, {"rules": rules}, _Alerts).rules
        for group, rules in _document("alerts.yaml").items()
    }


def _document(file: str) -> dict[str, object]:
    document: dict[str, object] = read_yaml((resources.files(__package__) / file).read_text())
    return document
