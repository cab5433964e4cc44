"""What published.yaml says, checked."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import Field

from barewind import catalog
from barewind.catalog.entries import Part
from barewind.catalog.models import Shape
from barewind.documents import read_yaml
from barewind.speed.step import Draft, Runner

FILE = Path(__file__).parent / "published.yaml"
Length = int | tuple[int, int]


class Figures(Part):
    """What was measured; seconds to the first token."""

    tokens_per_second: float
    ms_per_token: float | None = None
    first_token: float | None = None


class _Setup(Part):
    model: str
    hardware: str
    accelerators: int
    source: str

    @property
    def shape(self) -> Shape:
        """The model's, of the catalog or of this file."""
        others = _document()["models"]
        return Shape(**others[self.model]) if self.model in others else catalog.models()[self.model].shape


class Run(_Setup):
    """A published run of one engine; published.yaml explains the fields."""

    requests: int
    at_a_time: int
    prompt: Length
    output: Length
    separate: bool = False
    kv_bytes: int = 2
    kv_tokens: int | None = None
    stall: float = 0
    draft: bool = False
    fit: bool = False
    published: Figures
    beyond: dict[str, str] = Field(default_factory=dict)

    @property
    def runner(self) -> Runner:
        """The engine, as the law sees it."""
        draft = None
        if self.draft:
            model = catalog.models()[self.model]
            head = catalog.models()[str(model.draft)]
            draft = Draft(
                head.weights.total, head.shape.layers, int(model.draft_tokens or 0), float(model.draft_accepted or 0)
            )
        return Runner(self.shape, catalog.speeds()[self.hardware], self.accelerators, self.kv_bytes, draft)

    @property
    def name(self) -> str:
        """For a table."""
        draft = ", with a draft" if self.draft else ""
        return (
            f"{self.model.rpartition('/')[2]}, {self.accelerators} x {self.hardware}, {self.at_a_time} at a time{draft}"
        )


class Ratio(_Setup):
    """How much more `engines` engines do than one over all accelerators, with prompts alone."""

    engines: int
    prompt: int
    published: float

    @property
    def name(self) -> str:
        """For a table."""
        return (
            f"{self.model}, {self.accelerators} x {self.hardware}, prompts alone, {self.engines} engines instead of 1"
        )


def runs() -> list[Run]:
    """Every published run."""
    return [
        Run(**{"source": group["source"], **group["load"], **row})
        for group in _document()["runs"]
        for row in group["rows"]
    ]


def ratios() -> list[Ratio]:
    """Every published ratio."""
    return [Ratio(**ratio) for ratio in _document()["ratios"]]


@cache
def _document() -> dict:
    return read_yaml(FILE.read_text())
