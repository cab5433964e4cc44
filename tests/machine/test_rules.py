"""The rules as Prometheus' own tool tells them: each alert fires where it must, is silent where it must, and a rule that is
changed for the worse is noticed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from barewind.catalog.rules import alerts
from barewind.monitoring.rules import rules_file
from barewind.spec.monitor import Thresholds

TESTS = Path(__file__).parent / "rules"
FILES = ("minutes.yml", "days.yml")
NAMES = sorted({alert.alert for told in alerts().values() for alert in told})
NEVER, ALWAYS = "absent(vector(1))", "vector(1)"
# What the fast suite changes; the full one changes every alert.
SOME = {"BarewindEngineHangs", "BarewindGPUMissing", "BarewindOutOfRotation"}


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=300, check=False)


def told(folder: Path, rules: str, file: str, only: str = "") -> subprocess.CompletedProcess[str]:
    """What promtool says of rules; of a file's tests those whose text has `only` in it."""
    (folder / "rules.yml").write_text(rules)
    document: dict[str, Any] = yaml.safe_load((TESTS / file).read_text())
    document["tests"] = [test for test in document["tests"] if only in str(test)]
    if not document["tests"]:
        return subprocess.CompletedProcess([], 0, "", "")
    (folder / file).write_text(yaml.safe_dump(document, sort_keys=False))
    return promtool("test", "rules", str(folder / file))


def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(rules_file(Thresholds()))

    checked = promtool("check", "rules", str(tmp_path / "rules.yml"))

    assert checked.returncode == 0, checked.stderr
    assert "rules found" in checked.stdout


@pytest.mark.parametrize("file", FILES)
def test_each_alert_fires_and_is_silent_where_it_must(file: str, tmp_path: Path) -> None:
    result = told(tmp_path, rules_file(Thresholds()), file)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("thresholds", "alert"),
    [
        ({"kv_cache": 0.995}, "BarewindKVCacheFull"),
        ({"queue_requests": 30}, "BarewindScaleUp"),
        ({"objective": 50.0}, "BarewindErrorBudgetFast"),
    ],
)
def test_a_threshold_of_the_site_counts(thresholds: dict[str, Any], alert: str, tmp_path: Path) -> None:
    """The tests are made for the defaults: with others, the alert does not fire where they say it does."""
    result = told(tmp_path, rules_file(Thresholds(**thresholds)), "minutes.yml", alert)

    assert result.returncode != 0
    assert alert in result.stdout + result.stderr


@pytest.mark.parametrize("change", [NEVER, ALWAYS])
@pytest.mark.parametrize(
    "alert", [pytest.param(name, marks=() if name in SOME else pytest.mark.full) for name in NAMES]
)
def test_a_rule_that_never_or_always_fires_is_noticed(alert: str, change: str, tmp_path: Path) -> None:
    if (alert, change) == ("BarewindWatchdog", ALWAYS):
        return  # that is what it does
    document = yaml.safe_load(rules_file(Thresholds()))
    for rule in (rule for group in document["groups"] for rule in group["rules"]):
        if rule.get("alert") == alert:
            rule["expr"] = change
            rule.pop("for", None)

    results = [told(tmp_path, yaml.safe_dump(document), file, alert) for file in FILES]

    assert any(result.returncode != 0 for result in results)


def test_each_alert_says_what_it_means_and_the_next_command() -> None:
    assert all(
        alert.annotations.summary and alert.annotations.next for told_ones in alerts().values() for alert in told_ones
    )


def test_no_place_is_left_unfilled() -> None:
    assert re.findall(r"<[a-z_]+>", rules_file(Thresholds())) == []
