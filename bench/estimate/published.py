"""What barewind/catalog/published.yaml says, as the law sees it."""

from __future__ import annotations

from barewind import catalog
from barewind.catalog.models import Shape
from barewind.catalog.published import PublishedRun, Setup, document, rows
from barewind.speed.step import Draft, Runner


class Run(PublishedRun):
    """A published run of one engine."""

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
        return Runner(_shape(self), catalog.speeds()[self.hardware], self.accelerators, self.kv_bytes, draft)

    @property
    def name(self) -> str:
        """For a table."""
        draft = ", with a draft" if self.draft else ""
        return (
            f"{self.model.rpartition('/')[2]}, {self.accelerators} x {self.hardware}, {self.at_a_time} at a time{draft}"
        )


class Ratio(Setup):
    """How much more `engines` engines do than one over all accelerators, with prompts alone."""

    engines: int
    prompt: int
    published: float

    @property
    def shape(self) -> Shape:
        """The model's, of the catalog or of the file."""
        return _shape(self)

    @property
    def name(self) -> str:
        """For a table."""
        return (
            f"{self.model}, {self.accelerators} x {self.hardware}, prompts alone, {self.engines} engines instead of 1"
        )


def runs() -> list[Run]:
    """Every published run."""
    return [Run(**row) for row in rows()]


def ratios() -> list[Ratio]:
    """Every published ratio."""
    return [Ratio(**ratio) for ratio in document()["ratios"]]


def _shape(setup: Setup) -> Shape:
    others = document()["models"]
    return Shape(**others[setup.model]) if setup.model in others else catalog.models()[setup.model].shape
