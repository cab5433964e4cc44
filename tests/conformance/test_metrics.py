"""The metrics that barewind/catalog/metrics.yaml names are those of the engines: of what they were seen to show (record_api.py
wrote it down) and of their code. An update that renames one fails here."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

from barewind.catalog.metrics import metrics
from barewind.engines import ENGINES
from tests.conformance.exchanges import RECORDINGS
from tests.conformance.record_api import answers_of
from tools import schema

NAMED = [
    pytest.param(engine, figure, name, id=f"{engine}-{figure}-{name}")
    for engine in ENGINES
    for figure, entry in metrics().items()
    for name in entry.names(engine)
]
SEEN = {engine: answers_of(recording)["metrics"] for engine, recording in RECORDINGS.items()}
KIND = {"buckets": "histogram", "rate": "counter"}
# Counts of what did not happen while they were asked, so that only their code names them.
UNSEEN = {"sglang:num_retracted_requests_total"}


@cache
def code(engine: str) -> str:
    """The engine's own code, of the modules that name metrics of its prefix."""
    package = next(schema.environment().parents[1].glob(f"lib/python*/site-packages/{engine}"))
    texts = (file.read_text(errors="replace") for file in sorted(Path(package).rglob("*.py")))
    return "\n".join(text for text in texts if f'"{ENGINES[engine].metrics.prefix}' in text)


@pytest.mark.parametrize(("engine", "figure", "name"), NAMED)
def test_the_engine_has_the_metric(engine: str, figure: str, name: str) -> None:
    in_code = re.search(rf'"{name.removesuffix("_total")}(_total)?"', code(engine))

    assert in_code, f"{name} is not in the code of the locked {engine}"
    assert (name in SEEN[engine]) != (name in UNSEEN)


@pytest.mark.parametrize(("engine", "figure", "name"), NAMED)
def test_it_is_of_the_kind_and_has_the_labels_that_the_expression_takes(engine: str, figure: str, name: str) -> None:
    if name in UNSEEN:
        return
    entry, seen = metrics()[figure], SEEN[engine][name]
    selected = re.findall(rf"{name}(?:_\w+)?{{(\w+)", entry.engines[engine])

    if figure not in ("tpot_seconds:host_mean5m", "spec_acceptance:ratio10m"):  # made of several
        assert seen["type"] == KIND.get(entry.type, "gauge")
    assert set(selected) <= set(seen["labels"])


def test_every_name_arrives_under_whatever_prometheus_asks_for() -> None:
    """Prometheus 2 gets names with underscores of prometheus_client 0.23 and newer, 3 those with colons."""
    names = sorted({name for engine in ENGINES for entry in metrics().values() for name in entry.names(engine)})
    counters = [name for name in names if name.endswith("_total")]
    python = str(schema.environment())
    found = json.loads(schema.run([python, str(schema.ROOT / "tools" / "exposition.py")], text=json.dumps(counters)))

    assert set(counters) <= set(found["prometheus3"])
    assert set(counters).isdisjoint(found["prometheus2"])
    assert {name.replace(":", "_") for name in counters} <= set(found["prometheus2"])
