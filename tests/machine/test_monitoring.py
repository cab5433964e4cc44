"""A real Prometheus and Alertmanager with a monitor's own files, on 127.0.0.1: whom they ask, who may ask, whom they tell."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import choose_encoder

from barewind.monitoring import names
from barewind.monitoring.alertmanager import alertmanager_config
from barewind.monitoring.plan import plan
from barewind.spec.monitor import MonitorSpec
from lab import wait
from tests.support.factories import engine_spec, monitor_spec, watched_site
from tests.support.free_port import free_port
from tests.support.haproxy import HAProxy, engine_at, listens

SECRETS = {"password": "one of the tests", "token": "another of the tests"}
LOGIN = (names.USER, SECRETS["password"])


@dataclass
class Served:
    """Engines' metrics as their library writes them, and what a webhook gets."""

    figures: dict[str, CollectorRegistry] = field(default_factory=dict)
    told: list[tuple[str | None, dict[str, Any]]] = field(default_factory=list)

    def gauge(self, engine: str, **values: float) -> None:
        registry = self.figures.setdefault(engine, CollectorRegistry())
        for name, value in values.items():
            Gauge(f"{engine}:{name}", "about", registry=registry).set(value)
        Counter(f"{engine}:seen", "about", registry=registry).inc()


@pytest.fixture
def served() -> Iterator[tuple[Served, dict[str, int]]]:
    """A server for each engine, and one for the webhook: name -> port."""
    state = Served()
    servers: dict[str, ThreadingHTTPServer] = {}
    for name in ("vllm", "sglang", "webhook"):

        class Handler(BaseHTTPRequestHandler):
            engine = name

            def do_GET(self) -> None:
                encode, kind = choose_encoder(self.headers.get("Accept", ""))
                body = encode(state.figures[self.engine])
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                state.told.append((self.headers.get("Authorization"), body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        servers[name] = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=servers[name].serve_forever, daemon=True).start()
    yield state, {name: server.server_port for name, server in servers.items()}
    for server in servers.values():
        server.shutdown()
        server.server_close()


def written(folder: Path, spec: MonitorSpec, site: Any) -> dict[str, Path]:
    """A monitor's files in a folder, impatient; by the paths that they have on a host."""
    places = {
        f"/run/{names.PROMETHEUS_RUN}": f"{folder}/secrets",
        f"/run/{names.ALERTMANAGER_RUN}": f"{folder}/secrets",
        names.DIRECTORY: str(folder),
        "15s": "1s",
        "scrape_timeout: 10s": "scrape_timeout: 1s",
        "group_wait: 30s": "group_wait: 1s",
    }
    files = {}
    for file in plan(spec, site).files:
        text, path = file.content, file.path
        for there, here in places.items():
            text, path = text.replace(there, here), path.replace(there, here)
        if path.startswith(str(folder)):
            files[file.path] = Path(path)
            files[file.path].parent.mkdir(parents=True, exist_ok=True)
            files[file.path].write_text(text)
    return files


@pytest.fixture
def monitor(tmp_path: Path, served: tuple[Served, dict[str, int]]) -> Iterator[MonitorSpec]:
    _, ports = served
    for name, secret in SECRETS.items():
        (tmp_path / name).write_text(f"{secret}\n")
        (tmp_path / name).chmod(0o600)
    spec = monitor_spec(
        address="127.0.0.1",
        monitor_port=free_port(),
        alertmanager_port=free_port(),
        monitor_password_file=str(tmp_path / "password"),
        receivers={
            "switch": {
                "kind": "webhook",
                "url": f"http://127.0.0.1:{ports['webhook']}/",
                "secret_file": str(tmp_path / "token"),
                "severities": ["watchdog"],
            }
        },
    )
    site = watched_site(
        engine_spec(host="v", address="127.0.0.1", engine_port=ports["vllm"]),
        engine_spec(host="s", address="127.0.0.1", engine_port=ports["sglang"], engine="sglang"),
        monitors=[spec],
    )
    files = written(tmp_path / "etc", spec, site)
    web = files[f"{names.SECRETS}/web.yml"]
    address = f"--web.listen-address=127.0.0.1:{spec.monitor_port}"
    commands = [
        [
            *("prometheus", f"--config.file={files[names.PROMETHEUS_FILE]}", f"--web.config.file={web}", address),
            f"--storage.tsdb.path={tmp_path}/figures",
        ],
        [
            *("prometheus-alertmanager", f"--config.file={files[names.ALERTMANAGER_FILE]}"),
            *(f"--web.config.file={web}", f"--web.listen-address=127.0.0.1:{spec.alertmanager_port}"),
            *("--cluster.listen-address=", f"--storage.path={tmp_path}/alerts"),
        ],
    ]
    with (tmp_path / "log").open("w") as log:
        running = [subprocess.Popen(command, stdout=log, stderr=log) for command in commands]
        yield spec
        for process in running:
            process.terminate()
            process.wait(timeout=30)


def values(spec: MonitorSpec, query: str) -> dict[str, float]:
    """What Prometheus answers, by the label `server`."""
    url = f"http://127.0.0.1:{spec.monitor_port}/api/v1/query"
    try:
        answer = requests.get(url, params={"query": query}, auth=LOGIN, timeout=10).json()
    except requests.ConnectionError:
        return {}
    return {one["metric"].get("server", ""): float(one["value"][1]) for one in answer["data"]["result"]}


def test_figures_of_both_engines_and_an_alert_that_arrives(
    monitor: MonitorSpec, served: tuple[Served, dict[str, int]]
) -> None:
    state, _ = served
    state.gauge("vllm", num_requests_running=3)
    state.gauge("sglang", num_running_reqs=5)

    wait.until(lambda: len(values(monitor, "barewind:requests_running")) == 2, 60, "no figures of both engines")
    wait.until(lambda: bool(state.told), 60, "the webhook was told nothing")

    assert values(monitor, "barewind:requests_running") == {"v": 3.0, "s": 5.0}  # SGLang's names came with underscores
    assert values(monitor, "sglang:seen_created") == {}
    authorization, message = state.told[0]
    assert authorization == f"Bearer {SECRETS['token']}"
    assert {alert["labels"]["alertname"] for alert in message["alerts"]} == {"BarewindWatchdog"}
    assert "monitor" not in message["alerts"][0]["labels"]  # two monitors' alerts are one
    for port in (monitor.monitor_port, monitor.alertmanager_port):
        assert requests.get(f"http://127.0.0.1:{port}/", timeout=10).status_code == 401
        assert requests.get(f"http://127.0.0.1:{port}/", auth=(names.USER, "x"), timeout=10).status_code == 401


def test_alertmanager_takes_every_kind_of_receiver(tmp_path: Path) -> None:
    receivers = {
        "mail": {
            "kind": "email",
            "to": "ops@example.org",
            "sender": "barewind@example.org",
            "smarthost": "mail.example.org:587",
            "username": "barewind",
            "secret_file": "x",
        },
        "chat": {"kind": "slack", "channel": "#ops", "secret_file": "x"},
        "pager": {"kind": "pagerduty", "secret_file": "x", "severities": ["critical"]},
        "hook": {"kind": "webhook", "url": "https://hook.example.org/x", "severities": ["watchdog", "info"]},
    }
    config = tmp_path / "alertmanager.yml"
    config.write_text(alertmanager_config(monitor_spec(receivers=receivers)))

    def receiver_of(**labels: str) -> list[str]:
        words = [f"{name}={value}" for name, value in labels.items()]
        command = ["amtool", "config", "routes", "test", f"--config.file={config}", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split(",")

    checked = subprocess.run(["amtool", "check-config", str(config)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "4 receivers" in checked.stdout or "5 receivers" in checked.stdout
    assert receiver_of(severity="critical") == ["mail", "chat", "pager"]
    assert receiver_of(severity="warning") == ["mail", "chat"]
    assert receiver_of(severity="watchdog") == ["hook"]
    assert receiver_of(severity="none") == ["nobody"]


def test_a_balancer_tells_monitors_and_nobody_else(haproxy: HAProxy) -> None:
    port = free_port()
    haproxy.use([engine_at("gpu-h1-0", free_port())], monitors=[monitor_spec(balancer_metrics_port=port)])
    haproxy.start()
    url = f"http://127.0.0.1:{port}"
    wait.until(lambda: listens(port), 30, "HAProxy does not listen")
    text = requests.get(f"{url}/metrics", timeout=10).text

    wanted = (
        'haproxy_server_status{proxy="engines",server="gpu-h1-0",state="UP"}',
        'haproxy_server_weight{proxy="engines",server="gpu-h1-0"}',
        'haproxy_backend_current_queue{proxy="engines"}',
        'haproxy_backend_server_aborts_total{proxy="engines"}',
        'haproxy_frontend_http_requests_total{proxy="endpoint"}',
        'haproxy_frontend_http_responses_total{proxy="endpoint",code="5xx"}',
    )
    assert [name for name in wanted if name not in text] == []
    assert requests.get(f"{url}/", timeout=10).status_code == 404
    cfg = (haproxy.path / "cfg").read_text()
    assert "tcp-request connection reject unless { src 127.0.0.1 ::1 10.0.0.7 }" in cfg
