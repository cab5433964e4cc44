"""Print the estimates beside what is published; see bench.estimate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from barewind import catalog
from bench.estimate.compare import FIGURES, FIRST, Comparison, comparisons


@click.command()
def main() -> None:
    """Compare, and print the tables."""
    found = comparisons()
    for line in (*table(found), "", *worst(found), "", *reasons(found)):
        click.echo(line)


def table(found: Sequence[Comparison]) -> Iterator[str]:
    """Every run, a line each: estimated, published, and how far apart they are."""
    yield f"| run | | {' | '.join(FIGURES)} |"
    yield f"|---|---|{'---|' * len(FIGURES)}"
    for name in dict.fromkeys(each.run.name for each in found):
        own = {each.figure: each for each in found if each.run.name == name}
        use = "fitted" if any(getattr(each.run, "fit", False) for each in own.values()) else "check"
        yield f"| {name} | {use} | {' | '.join(_cell(own.get(figure)) for figure in FIGURES)} |"


def _cell(figure: Comparison | None) -> str:
    if figure is None:
        return ""
    return f"{_short(figure.estimated)} / {_short(figure.published)}: {figure.error:+.1f} %"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def worst(found: Sequence[Comparison]) -> Iterator[str]:
    """The largest errors of each hardware."""
    yield "| hardware | band | largest error within it | of what was not fitted | beyond it | first token |"
    yield "|---|---|---|---|---|---|"
    for hardware, speed in catalog.speeds().items():
        own = [each for each in found if each.run.hardware == hardware]
        speeds = [each for each in own if each.figure != FIRST]
        checks = [each for each in speeds if each.holds and not getattr(each.run, "fit", False)]
        beyond = [each for each in speeds if not each.holds]
        cells = (
            _largest([each for each in speeds if each.holds]),
            _largest(checks),
            f"{len(beyond)} of {len(speeds)}: {_largest(beyond)}" if beyond else "-",
            _largest([each for each in own if each not in speeds]),
        )
        yield f"| {hardware} | {speed.error_percent} % | {' | '.join(cells)} |"


def reasons(found: Sequence[Comparison]) -> Iterator[str]:
    """Why figures are beyond the band."""
    for each in found:
        if not each.holds:
            yield f"- {each.run.name}, {each.figure}, {each.error:+.1f} %: {each.beyond or 'no reason is known'}"


def _largest(found: Sequence[Comparison]) -> str:
    return f"{max((each.error for each in found), key=abs):+.1f} %" if found else "-"


if __name__ == "__main__":
    main()
