"""Reading YAML: the safe subset, through libyaml, which is ten times faster and felt at every start."""

from __future__ import annotations

from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(text: str) -> Any:
    """Parse a document.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    return yaml.load(text, _LOADER)  # noqa: S506 - both are safe loaders
