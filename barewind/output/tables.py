"""Tables about hosts, and lines, for people: as wide as their terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from barewind.output.lines import wrapped
from barewind.output.names import APART, fold

if TYPE_CHECKING:
    from rich.console import Console

_ANY = 10_000  # columns: more than a table needs
_WIDE = 100  # columns in which cells of a table may be broken and still be read


def alike(rows: Iterable[Sequence[str]]) -> list[Sequence[str]]:
    """Rows whose first cell is a host; of many, those that are the same but for the host become one that names all hosts."""
    found = list(rows)
    if len(found) <= APART:
        return found
    hosts: dict[tuple[str, ...], list[str]] = {}
    for host, *cells in found:
        hosts.setdefault(tuple(cells), []).append(host)
    return [(fold(names), *cells) for cells, names in hosts.items()]


def fit(console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table without lines; where the terminal is too narrow for it, each row as a paragraph that names its columns."""
    from rich.table import Table
    from rich.text import Text

    found = list(rows)
    table = Table(*columns, box=None)
    for row in found:
        table.add_row(*[Text(cell) for cell in row])
    needed = console.measure(table, options=console.options.update(max_width=_ANY)).maximum
    if console.width >= min(needed, _WIDE):
        console.print(table)
        return
    for first, *cells in found:
        named = [f"{column} {cell}" for column, cell in zip(columns[1:], cells, strict=True) if cell not in ("", "-")]
        for text in (first, f"    {', '.join(named)}"):
            say(console, text)


def say(console: Console, text: str) -> None:
    """Print a line, in a terminal in rows that it need not break."""
    from rich.text import Text

    console.print(Text(wrapped(text, console.width) if console.is_terminal else text), soft_wrap=True)


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of hosts."""
    from rich.console import Console  # slow to import, and rarely needed
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=title)
    for row in alike(rows):
        table.add_row(*[Text(cell) for cell in row])
    console = Console(stderr=True)
    if not console.is_terminal:
        console.width = max(console.width, 160)  # columns: a log has no screen to fit
    console.print(table)
