"""Files of templates/ with their values. Decisions are made before; templates only write them down."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = (
    Path(__file__).parent / "_templates"
)  # a link to templates/, which is inside of the package once it is installed


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        auto_reload=False,
        trim_blocks=True,
        autoescape=False,  # noqa: S701 - unit files and configurations, no HTML
    )


def from_template(name: str, **values: Any) -> str:
    """The text of a template with its values filled in."""
    return _environment().get_template(name).render(**values)


def text_of(name: str) -> str:
    """A file of templates/ as it is."""
    return (_TEMPLATES / name).read_text()
