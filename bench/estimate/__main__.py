"""Print the estimates beside what is published; see bench.estimate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from barewind import catalog
from bench.estimate.compare import Comparison, comparisons


@click.command()
def main() -> None:
    """Compare, and print the tables."""
    found = comparisons()
    for line in (*table(found), "", *worst(found), "", *reasons(found)):
        click.echo(line)


def table(found: Sequence[Comparison]) -> Iterator[str]:
    """Every figure, a line each."""
    yield "| run | figure | estimated | published | error | |\n|---|---|---|---|---|---|"
    for each in found:
        use = "fitted" if getattr(each.run, "fit", False) else "check"
        yield (
            f"| {each.run.name} | {each.figure} | {each.estimated:.4g} | {each.published:.4g} | {each.error:+.1f} % | "
            f"{use}{'' if each.holds else ', beyond'} |"
        )


def worst(found: Sequence[Comparison]) -> Iterator[str]:
    """The largest errors of each hardware."""
    yield "| hardware | band | largest error within it | of what was not fitted | beyond it | first token |"
    yield "|---|---|---|---|---|---|"
    for hardware, speed in catalog.speeds().items():
        own = [each for each in found if each.run.hardware == hardware]
        speeds = [each for each in own if "first token" not in each.figure]
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
