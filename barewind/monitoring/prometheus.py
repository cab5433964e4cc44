"""What a monitor asks whom for, and whom it tells: Prometheus' configuration."""

from __future__ import annotations

from typing import Any

import yaml

from barewind.engines import ENGINES
from barewind.monitoring import names
from barewind.monitoring.rules import INTERVAL
from barewind.monitoring.targets import JOBS
from barewind.spec.monitor import MonitorSpec
from barewind.spec.site import Site

_TIMEOUT = (
    10  # seconds; an engine under full load takes some for /metrics, and a scrape that fails looks like a dead engine
)

# When each counter began: a sixth of an engine's series. Histograms per path of its web server. Nobody reads them.
_NEEDLESS = "|".join((".+_created", "http_(request|response)_size_bytes.*", "http_request_duration_(highr_)?seconds.*"))
# One series per possible result of a check and server.
_POSSIBLE_RESULTS = "haproxy_(server|backend_agg)_check_(status|code).*|haproxy_backend_agg_check_status"


def prometheus_config(spec: MonitorSpec, site: Site) -> str:
    """The configuration, as Prometheus reads it (2.31 and newer)."""
    engines = {spec.engine: ENGINES[spec.engine] for spec in site.engines.values()}
    relabelled = {
        "engine": [
            *(
                _restored(engine.metrics.prefix)
                for _, engine in sorted(engines.items())
                if ":" in engine.metrics.prefix
            ),
            _dropped(_NEEDLESS),
        ],
        "balancer": [_dropped(_POSSIBLE_RESULTS)],
    }
    own = [
        ("prometheus", spec.monitor_port),
        ("alertmanager", spec.alertmanager_port),
    ]
    document = {
        "global": {
            "scrape_interval": f"{INTERVAL}s",
            "scrape_timeout": f"{_TIMEOUT}s",
            "evaluation_interval": f"{INTERVAL}s",
            "external_labels": {"monitor": spec.host},
        },
        "rule_files": [names.RULES_FILE],
        "alerting": {
            # Without it two monitors' alerts would be two.
            "alert_relabel_configs": [{"regex": "monitor", "action": "labeldrop"}],
            "alertmanagers": [
                _login(spec)
                | {
                    "static_configs": [
                        {"targets": [f"{peer.url_host}:{peer.alertmanager_port}" for peer in site.monitors.values()]}
                    ]
                }
            ],
        },
        "scrape_configs": [
            *(_job(job, relabelled.get(job, [])) for job in JOBS),
            {"job_name": "monitor"}
            | _login(spec)
            | {
                "static_configs": [
                    {
                        "targets": [f"{spec.url_host}:{port}"],
                        "labels": {"host": spec.host, "role": "monitor", "program": program},
                    }
                    for program, port in own
                ]
            },
        ],
    }
    return "# Written by Barewind.\n" + yaml.safe_dump(document, sort_keys=False, width=10_000)


def _job(job: str, relabelled: list[dict[str, Any]]) -> dict[str, Any]:
    """A job whose targets stand in a file: Prometheus sees a new one within seconds, without a reload."""
    found: dict[str, Any] = {"job_name": job, "file_sd_configs": [{"files": [f"{names.TARGETS}/{job}.json"]}]}
    return found | ({"metric_relabel_configs": relabelled} if relabelled else {})


def _login(spec: MonitorSpec) -> dict[str, Any]:
    """How a monitor's programs are asked."""
    login: dict[str, Any] = {
        "scheme": "https" if spec.monitor_tls else "http",
        "basic_auth": {"username": names.USER, "password_file": f"/run/{names.PROMETHEUS_RUN}/password"},
    }
    if spec.monitor_ca:
        login["tls_config"] = {"ca_file": names.CA_FILE}
    return login


def _restored(prefix: str) -> dict[str, Any]:
    """prometheus_client 0.23 and newer writes "name_" for "name:" to Prometheus 2, which does not say how names may look, and not
    to 3. Rules know the engine's own names only."""
    begin = prefix.rstrip(":")
    return {
        "source_labels": ["__name__"],
        "regex": f"{begin}_(.+)",
        "target_label": "__name__",
        "replacement": f"{begin}:$1",
    }


def _dropped(names_pattern: str) -> dict[str, Any]:
    return {"source_labels": ["__name__"], "regex": names_pattern, "action": "drop"}
