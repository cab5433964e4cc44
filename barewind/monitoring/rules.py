"""Recording rules and alerts of a fleet, from the catalog's figures and the site's thresholds."""

from __future__ import annotations

import re
from typing import Any

import yaml

from barewind.catalog.metrics import PREFIX, metrics
from barewind.catalog.rules import Alert, Record, alerts, records
from barewind.spec.monitor import Thresholds

INTERVAL = 15  # seconds between two scrapes, and two evaluations


def rules_file(thresholds: Thresholds) -> str:
    """The file of rules, as Prometheus reads it."""
    own = {"engines": "barewind-engines", "accelerators": "barewind-accelerators"}
    groups: dict[str, list[dict[str, Any]]] = {group: [] for group in own.values()}
    for name, figure in metrics().items():
        kind = "engines" if figure.engines else "accelerators"
        groups[own[kind]].append({"record": PREFIX + name, "expr": figure.expression})
    for group, derived in records().items():
        groups.setdefault(group, []).extend(_record(rule, thresholds) for rule in derived)
    documents = [{"name": name, "interval": f"{INTERVAL}s", "rules": rules} for name, rules in groups.items()]
    documents += [
        {"name": f"{group}-alerts", "rules": [_alert(alert, thresholds) for alert in told]}
        for group, told in alerts().items()
    ]
    text = yaml.safe_dump({"groups": documents}, sort_keys=False, width=10_000, allow_unicode=True)
    return f"# Written by Barewind.\n{text}"


def _record(rule: Record, thresholds: Thresholds) -> dict[str, Any]:
    return {"record": rule.record, "expr": filled(rule.expr, thresholds)}


def _alert(alert: Alert, thresholds: Thresholds) -> dict[str, Any]:
    return {
        "alert": alert.alert,
        "expr": filled(alert.expr, thresholds),
        **({"for": alert.hold} if alert.hold else {}),
        "labels": alert.labels.model_dump(exclude_none=True),
        "annotations": {name: filled(text, thresholds) for name, text in alert.annotations.model_dump().items()},
    }


def filled(text: str, thresholds: Thresholds) -> str:
    """A text with the site's thresholds in the places of their names."""
    return re.sub(r"<([a-z][a-z_]+)>", lambda found: f"{getattr(thresholds, found[1]):g}", text)
