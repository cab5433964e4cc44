"""How the catalog's files are read: entries by name, each checked against its model."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from barewind.documents import read_yaml
from barewind.errors import BarewindError

Names = tuple[str, ...]
Model = TypeVar("Model", bound=BaseModel)


class Part(BaseModel):
    """A part of an entry: no key but those it names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(Part):
    """An entry; `source` says where its figures are from."""

    source: str


def load(file: str, model: type[Model]) -> dict[str, Model]:
    """The entries of a file of this folder, by name.

    Raises:
        BarewindError: a key is missing, unknown or wrong.
    """
    document = read_yaml((resources.files(__package__) / file).read_text())
    return {name: checked(file, name, values, model) for name, values in document.items()}


def checked(file: str, name: str, values: Any, model: type[Model]) -> Model:
    """One entry of a file, or a part of it, as its model has it.

    Raises:
        BarewindError: a key is missing, unknown or wrong.
    """
    for key, problem in problems(values, model):
        raise BarewindError(f"barewind/catalog/{file}: entry '{name}', key '{key}': {problem}. Correct the entry.")
    return model.model_validate(values)


def problems(values: Any, model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """Key and sentence of everything that is wrong with an entry."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        for problem in error.errors():
            yield ".".join(str(part) for part in problem["loc"]), problem["msg"].removeprefix("Value error, ")
