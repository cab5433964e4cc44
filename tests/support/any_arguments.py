"""Facts for pyinfra-testing that do not look at their arguments."""

from __future__ import annotations

from typing import Any


class AnyArguments(dict[str, Any]):
    """A fact's value, whatever the arguments it is asked with."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: str) -> Any:
        return self.value
