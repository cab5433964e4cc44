"""Whom alerts go to: Alertmanager's configuration. Secrets stand in files of their own, which it names."""

from __future__ import annotations

from typing import Any

import yaml

from barewind.monitoring.names import ALERTMANAGER_RUN
from barewind.spec.monitor import MonitorSpec, Receiver

_NOBODY = "nobody"
_WATCHDOG = "watchdog"
# One cause, one message: what follows from another alert is not told beside it.
_INHIBITIONS: list[dict[str, Any]] = [
    {
        "source_matchers": ['alertname="BarewindHostDown"'],
        "target_matchers": ['alertname!="BarewindHostDown"', 'area=~"host|hardware|keeping"'],
        "equal": ["host"],
    },
    {
        "source_matchers": ['alertname="BarewindEngineDown"'],
        "target_matchers": ['alertname=~"BarewindOutOfRotation|BarewindBalancersDisagree"'],
        "equal": ["server"],
    },
    {
        "source_matchers": ['alertname="BarewindErrorBudgetFast"'],
        "target_matchers": ['alertname="BarewindErrorBudgetSlow"'],
    },
]


def secret_name(receiver: str) -> str:
    """The name of the file that holds a receiver's secret."""
    return f"receiver-{receiver}"


def alertmanager_config(spec: MonitorSpec) -> str:
    """The configuration, as Alertmanager reads it (0.22 and newer; the files of email and PagerDuty 0.25 and newer)."""
    document = {
        "route": {
            "receiver": _NOBODY,
            "group_by": ["alertname", "group", "host"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "4h",
            "routes": [route for name, receiver in spec.receivers.items() for route in _routes(name, receiver)],
        },
        "inhibit_rules": _INHIBITIONS,
        "receivers": [
            {"name": _NOBODY},
            *({"name": name, **_settings(name, receiver)} for name, receiver in spec.receivers.items()),
        ],
    }
    return "# Written by Barewind.\n" + yaml.safe_dump(document, sort_keys=False, width=10_000, allow_unicode=True)


def _routes(name: str, receiver: Receiver) -> list[dict[str, Any]]:
    """A receiver's routes: of alerts, and of the one that always fires, which is told again and again."""
    told = [severity for severity in receiver.severities if severity != _WATCHDOG]
    routes: list[dict[str, Any]] = []
    if told:
        routes.append({"receiver": name, "matchers": [f'severity=~"{"|".join(told)}"'], "continue": True})
    if _WATCHDOG in receiver.severities:
        always = {"matchers": [f'severity="{_WATCHDOG}"'], "repeat_interval": "5m", "group_interval": "1m"}
        routes.append({"receiver": name, **always, "continue": True})
    return routes


def _settings(name: str, receiver: Receiver) -> dict[str, Any]:
    file = f"/run/{ALERTMANAGER_RUN}/{secret_name(name)}"
    text = "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ .Annotations.next }}\n{{ end }}"
    if receiver.kind == "slack":
        return {
            "slack_configs": [{"api_url_file": file, "channel": receiver.channel, "send_resolved": True, "text": text}]
        }
    if receiver.kind == "pagerduty":
        return {
            "pagerduty_configs": [
                {"routing_key_file": file, "severity": "{{ .CommonLabels.severity }}", "details": {"next": text}}
            ]
        }
    if receiver.kind == "webhook":
        webhook: dict[str, Any] = {"url": receiver.url, "send_resolved": True}
        if receiver.secret_file:
            webhook["http_config"] = {"authorization": {"credentials_file": file}}
        return {"webhook_configs": [webhook]}
    email = {"to": receiver.to, "from": receiver.sender, "smarthost": receiver.smarthost, "send_resolved": True}
    if receiver.secret_file:
        email |= {"auth_username": receiver.username, "auth_password_file": file}
    return {"email_configs": [email]}
