"""The page of a bench, and what stands beside its figures."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from barewind.bench.beside import estimated, published, serving
from barewind.bench.document import Published
from barewind.bench.page import page
from barewind.estimate.host import Estimate
from tests.support.benches import bench, rung
from tests.support.factories import engine_spec, plan

ESTIMATE = Estimate(in_flight=8, tokens_per_second=800.0, ms_per_token=10.0, error_percent=10)
OTHERS = Published(source="x", tokens_per_second=750.0, ms_per_token=11.0, first_token=0.1)


class Drawing(HTMLParser):
    """The shapes of a page's plots, and their texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.plots: list[list[tuple[str, dict[str, str]]]] = []
        self.texts: list[list[str]] = []
        self._in_text = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "svg":
            self.plots.append([])
            self.texts.append([])
        elif self.plots:
            self.plots[-1].append((tag, {name: value or "" for name, value in attrs}))
        self._in_text = tag == "text"

    def handle_data(self, data: str) -> None:
        if self._in_text and data.strip():
            self.texts[-1].append(data.strip())

    def shapes(self, plot: int, tag: str) -> list[dict[str, str]]:
        """The attributes of a plot's shapes of a kind."""
        return [own for name, own in self.plots[plot] if name == tag]


def points(text: str) -> list[tuple[float, float]]:
    pairs = [pair.split(",") for pair in text.split()]
    return [(float(across), float(down)) for across, down in pairs]


def test_plots_have_what_was_measured_in_its_place() -> None:
    made = page(bench(rung(1, goodput=100.0), rung(4, goodput=300.0), rung(16, goodput=400.0)))
    drawing = Drawing(made)
    (line,) = drawing.shapes(0, "polyline")
    found = points(line["points"])
    assert [x for x, _ in found] == [70, 350, 630]  # by powers of two
    assert [y for _, y in found] == sorted((y for _, y in found), reverse=True)
    assert drawing.texts[0][:3] == ["0", "100", "200"]


def test_estimates_have_a_band_and_published_runs_a_mark() -> None:
    made = page(bench(rung(1), rung(8, estimate=ESTIMATE, published=OTHERS)))
    drawing = Drawing(made)
    assert [len(drawing.shapes(plot, "polygon")) for plot in range(3)] == [1, 1, 0]
    assert [len(drawing.shapes(plot, "rect")) for plot in range(3)] == [1, 1, 1]
    assert "800 ± 10 %" in made


def test_the_page_asks_no_network_and_what_is_named_by_people_is_no_markup() -> None:
    made = page(bench(rung(32), target="<script>alert(1)</script>"))
    assert "<script" not in made
    assert "&lt;script&gt;" in made
    assert not [word for word in ("http://", "https://", "src=", "href=", "url(", "@import") if word in made]


@pytest.mark.parametrize(("accelerators", "in_flight", "rate"), [(1, 32, 438), (8, 32, 915), (8, 64, None)])
def test_the_published_row_is_that_of_the_same_set_up_and_load(
    accelerators: int, in_flight: int, rate: float | None
) -> None:
    made = plan(engine_spec(accelerator="mi300x", accelerator_count=accelerators))
    found = published(made, in_flight, 1024, 1024)
    assert (found and found.tokens_per_second) == rate
    assert published(made, in_flight, 512, 512) is None
    assert (
        published(
            plan(engine_spec(accelerator="mi300x", accelerator_count=accelerators, speculative=True)), 32, 1024, 1024
        )
        is None
    )


def test_the_estimate_is_of_the_engines_that_are_loaded() -> None:
    plans = [plan(engine_spec(replicas=4, replica=number)) for number in range(4)]
    whole = estimated(serving(plans, 1024, 1024), 32)
    one = estimated(serving(plans[:1], 1024, 1024), 8)
    assert whole is not None
    assert one is not None
    assert whole.tokens_per_second == pytest.approx(4 * one.tokens_per_second, rel=0.01)
    assert serving(plans, 1024, 128) == "estimates are for prompts and answers of one length"
