"""The catalog: an entry with a missing or wrong figure is said with file, entry and key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from barewind import catalog
from barewind.catalog import EngineEntry, entries
from barewind.errors import BarewindError
from tests.support.factories import MEDIUM


@dataclass
class Written:
    """A catalog file with one key taken away or changed."""

    folder: Path

    def load(self, file: str, entry_name: str, key: str, model: type[BaseModel], value: object = None) -> str:
        document = entries.read_yaml((Path(catalog.__file__).parent / file).read_text())
        *path, last = key.split(".")
        at = document[entry_name]
        for part in path:
            at = at[part]
        del at[last]
        if value is not None:
            at[last] = value
        (self.folder / file).write_text(catalog_text(document))
        with pytest.raises(BarewindError) as caught:
            entries.load(file, model)
        return str(caught.value)


def catalog_text(document: object) -> str:
    return yaml.safe_dump(document, sort_keys=False)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    catalog.vendors()  # accelerators name them; read before the folder is another
    monkeypatch.setattr("barewind.catalog.entries.resources.files", lambda _: tmp_path)
    return Written(tmp_path)


@pytest.mark.parametrize(
    ("file", "entry_name", "key", "model"),
    [
        ("accelerators.yaml", "h200", "memory_mib", catalog.Accelerator),
        ("accelerators.yaml", "mi300x", "fp8", catalog.Accelerator),
        ("accelerators.yaml", "b200", "source", catalog.Accelerator),
        ("models.yaml", MEDIUM, "context_length", catalog.Model),
        ("models.yaml", MEDIUM, "shape.kv_heads", catalog.Model),
        ("models.yaml", MEDIUM, "weights.vision", catalog.Model),
        ("models.yaml", MEDIUM, "precision", catalog.Model),
        ("engines.yaml", "sglang", "floor", EngineEntry),
        ("engines.yaml", "vllm", "draft_floor", EngineEntry),
    ],
)
def test_a_missing_figure_names_file_entry_and_key(
    written: Written, file: str, entry_name: str, key: str, model: type[BaseModel]
) -> None:
    assert written.load(file, entry_name, key, model) == (
        f"barewind/catalog/{file}: entry '{entry_name}', key '{key}': Field required. Correct the entry."
    )


@pytest.mark.parametrize(
    ("key", "value"), [("memory_mib", -1), ("memory_mib", "much"), ("vendor", "intel"), ("fp8", "perhaps")]
)
def test_a_wrong_figure_names_file_entry_and_key(written: Written, key: str, value: object) -> None:
    said = written.load("accelerators.yaml", "h200", key, catalog.Accelerator, value)
    assert said.startswith(f"barewind/catalog/accelerators.yaml: entry 'h200', key '{key}': Input should be ")
    assert said.endswith(". Correct the entry.")
