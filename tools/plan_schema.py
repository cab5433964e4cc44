"""Write down what commands print with `--json`: `python -m tools.plan_schema` makes docs/*.schema.json of the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from barewind.bench.document import Bench
from barewind.compare.document import Comparison
from barewind.plan.document import HostPlan
from barewind.tune.document import Tuning

_DOCS = Path(__file__).resolve().parents[1] / "docs"
FILES: dict[str, TypeAdapter[Any]] = {  # what prints it -> what is printed
    "barewind plan --json": TypeAdapter(list[HostPlan]),
    "barewind plan --compare --json": TypeAdapter(list[Comparison]),
    "barewind bench --json": TypeAdapter(Bench),
    "barewind tune --json": TypeAdapter(Tuning),
}


def file(command: str) -> Path:
    """Where the schema of a command's output is."""
    words = [word.lstrip("-") for word in command.split()]
    return _DOCS / f"{words[-2]}.schema.json"


def text(command: str) -> str:
    """The JSON Schema (2020-12) of a command's whole output."""
    schema = FILES[command].json_schema(mode="serialization")
    draft = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps({"$schema": draft, "title": command, **schema}, indent=2) + "\n"


if __name__ == "__main__":
    for command in FILES:
        file(command).write_text(text(command))
