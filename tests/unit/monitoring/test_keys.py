"""What a user may write of monitors, and what is said when it is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.errors import BarewindError
from barewind.site.read import read_site
from tests.support.factories import engine_entry, entry

RIGHT: dict[str, Any] = {"monitor_password_file": "~/secrets/monitor", "monitor_tls": False}


def problems(*monitors: Any, engines: dict[str, Any] | None = None) -> str:
    with pytest.raises(BarewindError) as caught:
        read_site([engine_entry("10.0.0.1", **(engines or {})), entry("10.0.0.9", "balancers"), *monitors])
    return str(caught.value)


WRONG = [
    ({"monitor_password_file": None}, "key 'monitor_password_file': Input should be a valid string, found None"),
    ({"monitor_tls": True}, "key 'monitor_certificate': not set; name the file (PEM) on the controller"),
    ({"address": "8.8.8.8"}, "key 'monitor_tls': plain HTTP on 8.8.8.8: only on a private address"),
    (
        {"thresholds": {"ttft_seconds": "two"}},
        "key 'thresholds.ttft_seconds': Input should be a valid number, found 'two'",
    ),
    ({"thresholds": {"ttft": 2.0}}, "key 'thresholds.ttft': Extra inputs are not permitted"),
    ({"thresholds": {"objective": 100.0}}, "key 'thresholds.objective': Input should be less than 100"),
    ({"receivers": {"a": {"kind": "slack", "channel": "#x"}}}, "kind 'slack' needs 'secret_file'"),
    ({"receivers": {"a": {"kind": "pagerduty"}}}, "kind 'pagerduty' needs 'secret_file'"),
    ({"receivers": {"a": {"kind": "webhook"}}}, "kind 'webhook' needs 'url'"),
    ({"receivers": {"a": {"kind": "fax"}}}, "key 'receivers.a.kind': Input should be 'email', 'slack'"),
    ({"receivers": {"a b": {"kind": "webhook", "url": "http://x"}}}, "'a b' is no name of a receiver"),
    ({"receivers": {"a": {"kind": "webhook", "url": "http://x", "to": "y"}}}, "has no use for 'to'; leave it out"),
    ({"receivers": {"a": {"kind": "webhook", "url": "ftp://x"}}}, "is no http(s) URL in ASCII letters"),
    ({"receivers": {"a": {"kind": "webhook", "url": "https://x/?token=abcdefgh"}}}, "has a secret in it"),
    ({"monitor_port": 9093}, "key 'alertmanager_port': 9093 is monitor_port; choose another port"),
    ({"monitor_port": 22}, "key 'monitor_port': Input should be greater than or equal to 1024"),
    (
        {"node_exporter_port": 8000},
        "key 'node_exporter_port': 8000 is engine_port of the same host; choose another",
    ),
    ({"balancer_metrics_port": 8000}, "key 'balancer_metrics_port': 8000 is endpoint_port of the same host"),
    ({"balancer_metrics_port": 9100}, "key 'balancer_metrics_port': 9100 is node_exporter_port of the same host"),
    ({"monitor_retention_days": 0}, "key 'monitor_retention_days': Input should be greater than or equal to 1"),
]


@pytest.mark.parametrize(("keys", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
def test_what_is_wrong_is_named(keys: dict[str, Any], sentence: str) -> None:
    assert sentence in problems(entry("10.0.0.7", "monitors", **RIGHT | keys))


def test_monitors_are_alike() -> None:
    first = entry("10.0.0.7", "monitors", **RIGHT)
    second = entry("10.0.0.8", "monitors", **RIGHT, monitor_retention_days=60)

    assert problems(first, second) == (
        "key 'monitor_retention_days': must be the same on every monitor, but is not set on 10.0.0.7 and 60 on 10.0.0.8 "
        "(group_data/site.py); set it in group_data/monitors.py"
    )


def test_a_host_has_one_role() -> None:
    found = problems(entry("10.0.0.7", "monitors", "balancers", **RIGHT))
    assert "host '10.0.0.7': is in both 'balancers' and 'monitors'; give each a host of its own" in found


@pytest.mark.parametrize("name", ["monitor", "monitoring", "prometheus", "Monitors", "site-monitors"])
def test_a_group_that_is_almost_called_so_is_refused(name: str) -> None:
    assert "did you mean 'monitors'?" in problems(entry("10.0.0.7", name, accelerator="h200", accelerator_count=8))


def test_a_right_monitor_watches_from_its_own_host() -> None:
    site = read_site([engine_entry("10.0.0.1"), entry("10.0.0.7", "monitors", **RIGHT, receivers={})])
    assert list(site.monitors) == ["10.0.0.7"]
    assert site.monitors["10.0.0.7"].thresholds.error_budget == 0.005
