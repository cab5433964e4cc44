"""What a site adds to the catalog: accelerators, models and measured speeds in files of its own, validated as Barewind's are.

The files have three sections. Entries of `accelerators` and `models` look like those of accelerators.yaml and models.yaml; what
the catalog holds itself they cannot change: a figure of Barewind's means the same at every site. Entries of `speeds` are what a
site has measured (`barewind tune`): constants that stand instead of those of speeds.yaml, in estimates alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from barewind.catalog.accelerators import Accelerator, accelerators, unserved
from barewind.catalog.entries import problems
from barewind.catalog.models import Model, models
from barewind.catalog.speeds import Measured, Speed, speeds
from barewind.documents import read_yaml
from barewind.errors import BarewindError

SECTIONS: dict[str, tuple[type[BaseModel], str, str]] = {
    # section -> the model of its entries, what a name must match (it becomes a folder and part of a URL), an example
    "accelerators": (Accelerator, r"[a-z0-9]+(-[a-z0-9]+)*", "a100-40"),
    "models": (
        Model,
        r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*/[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*",
        "owner/name",
    ),
    "speeds": (Measured, r"[a-z0-9]+(-[a-z0-9]+)*", "h200"),
}
_LARGEST = 2**20  # bytes of a file: it is written by hand

_added: dict[str, dict[str, BaseModel]] = {
    section: {} for section in SECTIONS
}  # what the catalog holds of the last site
_replaced: dict[str, Speed] = {}  # what stood there before, of speeds


def use(files: Sequence[str]) -> None:
    """Have the catalog hold what these files add, and nothing of what was added before.

    Raises:
        BarewindError: every problem of every file, a line each, with file, entry and key. Then nothing is added.
    """
    for section, entries in _added.items():
        for name in entries:
            _catalog(section).pop(name, None)
        entries.clear()
    speeds().update(_replaced)
    _replaced.clear()
    found: dict[str, dict[str, BaseModel]] = {section: {} for section in SECTIONS}
    wrong: list[str] = []
    names: dict[str, list[str]] = {}  # file -> the models that it adds
    for file in dict.fromkeys(files):
        before = set(found["models"])
        wrong += _read(file, found)
        names[file] = [name for name in found["models"] if name not in before]
    for file, added in names.items():
        wrong += _drafts(file, added, found["models"])
    if wrong:
        raise BarewindError("\n".join(wrong))
    for section, entries in found.items():
        _added[section].update(entries)
        for name, entry in entries.items():
            _catalog(section)[name] = _with(name, entry) if isinstance(entry, Measured) else entry


def _with(name: str, measured: Measured) -> Speed:
    """The speed of an accelerator with what a site has measured; the catalog's own is kept until the next site."""
    _replaced[name] = speeds()[name]
    return speeds()[name].model_copy(update=measured.model_dump() | {"measured": True})


def state() -> str:
    """What the catalog holds beside Barewind's own, as a text that differs where that differs."""
    return repr(_added)


def _catalog(section: str) -> dict[str, Any]:
    catalogs: dict[str, dict[str, Any]] = {"accelerators": accelerators(), "models": models(), "speeds": speeds()}
    return catalogs[section]


def _read(file: str, found: dict[str, dict[str, BaseModel]]) -> Iterator[str]:
    """Put a file's entries among those that were found; yields its problems."""
    document = _document(file)
    if isinstance(document, str):
        yield document
        return
    for section, entries in document.items():
        if section not in SECTIONS:
            yield f"{file}: section '{section}': unknown; the sections are {_sections()}"
        elif not isinstance(entries, Mapping):
            yield f"{file}: section '{section}': write entries in it, each with its name and its keys"
        else:
            yield from _entries(file, section, entries, found[section])


def _document(file: str) -> Mapping[Any, Any] | str:
    """What a file says, or what is wrong with it."""
    path = Path(file).expanduser()
    try:
        if path.stat().st_size > _LARGEST:
            return f"{file}: is larger than {_LARGEST} bytes; name a file of entries"
        document = read_yaml(path.read_text())
    except FileNotFoundError:
        return f"{file}: no such file; correct the key 'catalog' (paths begin where the command is run)"
    except OSError as error:
        return f"{file}: cannot be read ({error.strerror}); correct it, or the key 'catalog'"
    except UnicodeDecodeError:
        return f"{file}: is no UTF-8 text; correct it"
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return f"{file}: is no YAML ({' '.join(str(error).split())}); correct it"
    if not isinstance(document, Mapping):
        return f"{file}: holds no sections; write {_sections()}, with entries in them (docs/adding.md)"
    return document


def _sections() -> str:
    *first, last = SECTIONS
    return f"{', '.join(first)} and {last}"


def _entries(file: str, section: str, entries: Mapping[Any, Any], found: dict[str, BaseModel]) -> Iterator[str]:
    model, pattern, example = SECTIONS[section]
    for name, values in entries.items():
        entry = f"{file}: {section}, entry {name!r}"
        if not isinstance(name, str) or not re.fullmatch(pattern, name, re.ASCII):
            yield f"{entry}: is no name for one; write it as in {example}"
        elif section == "speeds" and name not in speeds():
            yield f"{entry}: Barewind's catalog knows nothing of how fast it is, and two constants are not enough; remove it"
        elif section != "speeds" and name in _catalog(section):
            yield f"{entry}: Barewind's catalog has it, and its figures stay what they are; choose another name"
        elif section == "accelerators" and name in unserved():
            yield f"{entry}: is not served: {unserved()[name].reason}; remove it"
        elif name in found:
            yield f"{entry}: stands in another file too; keep one of them"
        elif wrong := list(problems(values, model)):
            for key, problem in wrong:
                yield f"{entry}, key '{key}': {problem}. Correct the entry."
        else:
            found[name] = model.model_validate(values)


def _drafts(file: str, names: Sequence[str], found: Mapping[str, BaseModel]) -> Iterator[str]:
    """Drafts that nothing is known of, or that cannot draft for their model."""
    for name in names:
        entry = found[name]
        draft = entry.draft if isinstance(entry, Model) else None
        known = models().get(draft or "") or found.get(draft or "")
        where = f"{file}: models, entry {name!r}, key 'draft': {draft}"
        if draft is not None and not isinstance(known, Model):
            yield f"{where} is in no catalog; add an entry for it"
        elif isinstance(known, Model) and isinstance(entry, Model) and not known.drafts_for(entry):
            yield f"{where} has other sizes (hidden, vocabulary) than the model; name a draft that was made for it"
