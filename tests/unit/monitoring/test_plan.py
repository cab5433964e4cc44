"""What a monitor gets: files, whom it asks, who may ask it, how much disk it needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import yaml

from barewind.errors import BarewindError
from barewind.monitoring import names
from barewind.monitoring.plan import MonitorPlan, disk_bytes, firewall, plan
from barewind.monitoring.rules import rules_file
from barewind.monitoring.targets import targets
from barewind.spec.monitor import Thresholds
from barewind.spec.site import engines_of
from tests.support.factories import engine_spec, monitor_spec, watched_site

GIB = 2**30
WORD = "geheim"


@pytest.fixture
def password(tmp_path: Path) -> str:
    file = tmp_path / "password"
    file.write_text(f"{WORD}\n")
    file.chmod(0o600)
    return str(file)


def made(password: str, **keys: Any) -> MonitorPlan:
    spec = monitor_spec(monitor_password_file=password, **keys)
    return plan(spec, watched_site(monitors=[spec]))


def content(planned: MonitorPlan, path: str) -> str:
    return next(file.content for file in planned.files if file.path == path)


def test_the_firewall_comes_first_and_secrets_are_roots_alone(password: str) -> None:
    planned = made(password)

    assert planned.files[0].path == names.FIREWALL_FILE
    assert {file.path: file.mode for file in planned.files if WORD in file.content} == {
        f"{names.SECRETS}/password": "600"
    }
    assert all(file.mode == "600" for file in planned.files if file.path.startswith(names.SECRETS))


def test_the_password_is_a_hash_that_stays_the_same(password: str) -> None:
    web = f"{names.SECRETS}/web.yml"
    users = yaml.safe_load(content(made(password), web))["basic_auth_users"]

    assert bcrypt.checkpw(WORD.encode(), users["barewind"].encode())
    assert content(made(password), web) == content(made(password), web)
    assert content(made(password), web) != content(made(password, host="mon2"), web)


def test_a_password_that_bcrypt_would_cut_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "long"
    file.write_text("x" * 73)
    file.chmod(0o600)
    with pytest.raises(BarewindError, match=r"monitor_password_file .*longer than 72 bytes.*shorten it"):
        made(str(file))


@pytest.mark.parametrize(
    ("mode", "finding"),
    [(None, "No such file or directory"), (0o644, "mode 0644 lets others read it")],
)
def test_a_receiver_without_its_file_is_named(mode: int | None, finding: str, password: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    if mode is not None:
        file.write_text("x")
        file.chmod(mode)
    receivers = {"pager": {"kind": "pagerduty", "secret_file": str(file)}}
    with pytest.raises(BarewindError, match=f"receivers.pager.secret_file .*{finding}"):
        made(password, receivers=receivers)


def test_each_engine_is_a_target_and_each_host_one() -> None:
    replicas = engines_of(engine_spec(host="gpu-r1", address="192.0.2.12", replicas=2, engine="sglang"))
    found = targets(watched_site(engine_spec(), *replicas), monitor_spec())

    assert [(one["targets"][0], one["labels"].get("replica"), one["labels"]["server"]) for one in found["engine"]] == [
        ("192.0.2.11:8000", None, "gpu-h1"),
        ("192.0.2.12:8000", "0", "gpu-r1-0"),
        ("192.0.2.12:8001", "1", "gpu-r1-1"),
    ]
    assert [one["labels"]["runtime"] for one in found["engine"]] == ["vllm", "sglang", "sglang"]
    assert {one["labels"]["host"]: one["labels"]["role"] for one in found["node"]} == {
        "gpu-h1": "engine",
        "gpu-r1": "engine",
        "lb1": "balancer",
        "mon1": "monitor",
    }
    assert [one["targets"] for one in found["balancer"]] == [["192.0.2.2:8405"]]


def test_targets_are_files_that_prometheus_reads(password: str) -> None:
    planned = made(password)
    config = yaml.safe_load(content(planned, names.PROMETHEUS_FILE))
    files = [
        file
        for job in config["scrape_configs"]
        for source in job.get("file_sd_configs", [])
        for file in source["files"]
    ]

    assert files == [file.path for file in planned.targets]
    assert all(json.loads(file.content) for file in planned.targets)


def test_two_monitors_know_each_other_and_nobody_else_does() -> None:
    one, other = monitor_spec(), monitor_spec(host="mon2", address="10.0.0.8", monitor_clients=["10.1.0.0/16"])
    rules = firewall(other, watched_site(monitors=[one, other])).content

    assert "ip saddr 10.0.0.7 tcp dport 9094 accept" in rules
    assert "ip saddr 10.0.0.7 udp dport 9094 accept" in rules
    assert "ip saddr 10.1.0.0/16 tcp dport { 9090, 9093 } accept" in rules
    assert "10.1.0.0/16 tcp dport 9094" not in rules
    assert rules.index("dport 9094 accept") < rules.index("th dport 9094 drop")


@pytest.mark.parametrize(
    ("keys", "least", "most"),
    [
        ({}, 1.5, 3),
        ({"monitor_retention_days": 300}, 10, 20),
        ({"monitor_retention_days": 300, "monitor_retention_gb": 5}, 6, 6),
    ],
)
def test_the_disk_that_a_retention_takes(keys: dict[str, Any], least: float, most: float) -> None:
    spec = monitor_spec(**keys)
    assert least <= disk_bytes(spec, watched_site(monitors=[spec])) / GIB <= most


def test_thresholds_of_the_site_are_in_the_rules() -> None:
    rules = yaml.safe_load(rules_file(Thresholds(objective=99.9, ttft_seconds=1.5)))
    by_name = {rule.get("alert"): rule for group in rules["groups"] for rule in group["rules"]}

    assert by_name["BarewindErrorBudgetFast"]["expr"].startswith("barewind:error:ratio5m > 14.4 * 0.001 and")
    assert by_name["BarewindTTFTHigh"]["expr"].startswith("barewind:ttft_seconds:p95_5m > 1.5 and")
    assert "1.5 s is the aim" in by_name["BarewindTTFTHigh"]["annotations"]["summary"]
