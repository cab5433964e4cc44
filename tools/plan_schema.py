"""Write down what `barewind plan --json` prints: `python -m tools.plan_schema` makes docs/plan.schema.json of the models."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter

from barewind.plan.document import HostPlan

FILE = Path(__file__).resolve().parents[1] / "docs" / "plan.schema.json"


def text() -> str:
    """The JSON Schema (2020-12) of the whole output: a list of plans, one per engine host."""
    schema = TypeAdapter(list[HostPlan]).json_schema(mode="serialization")
    return (
        json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "barewind plan --json", **schema},
            indent=2,
        )
        + "\n"
    )


if __name__ == "__main__":
    FILE.write_text(text())
