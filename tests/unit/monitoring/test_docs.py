"""docs/monitoring.md names every alert and every threshold."""

from __future__ import annotations

import re
from pathlib import Path

from barewind.catalog.rules import alerts
from barewind.spec.monitor import Thresholds

PAGE = (Path(__file__).parents[3] / "docs" / "monitoring.md").read_text()


def test_every_alert_has_its_row_and_wakes_somebody_as_it_says() -> None:
    rows = re.findall(r"^\| (Barewind[^|]+) \| (yes)? *\|", PAGE, re.MULTILINE)
    told = {name: bool(wakes) for names, wakes in rows for name in names.strip().split(", ")}
    assert told == {alert.alert: alert.labels.severity == "critical" for group in alerts().values() for alert in group}


def test_every_threshold_has_its_row() -> None:
    lines = (line.split(" | ") for line in PAGE.splitlines() if line.startswith("| `"))
    named = {name for line in lines for name in re.findall(r"`(\w+)`", line[0])}
    assert set(Thresholds.model_fields) <= named
