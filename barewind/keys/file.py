"""keys.yaml on the controller: every key that the site has given out, by its SHA-256. It may be committed."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from barewind.documents import read_yaml
from barewind.errors import BarewindError
from barewind.keys.entry import Key, Priority
from barewind.keys.times import written
from barewind.spec.names import shown

_ID = r"[a-z0-9][a-z0-9-]{0,31}(/[a-z0-9][a-z0-9-]{0,31})?"
_HEAD = """\
# Written by 'barewind keys'. Keys themselves are nowhere: this is their SHA-256. Commit it, and deploy from the newest.
# Changed by hand, it is brought to balancers by 'barewind keys sync INVENTORY', and by the next deploy.
"""
_WAIT = 120  # seconds for another command: it waits for balancers that do not answer

# What to write where something else was found, by field.
_REMEDIES = {
    "id": "write team or team/name, each of small letters, digits and -, 32 at most: alpha/ci",
    "sha256": "write the SHA-256 of the key, 64 hexadecimal digits in small letters; never the key itself",
    "hint": "write the last characters of the key, in quotes",
    "priority": "write interactive, normal or batch",
    **dict.fromkeys(
        ("requests_per_minute", "parallel", "tokens_per_minute"), "write a number from 1 on, or null for no limit"
    ),
    **dict.fromkeys(("created", "expires", "revoked"), "write a time in UTC: 2027-01-31T12:00:00Z"),
}
_REMEDIES_ABOVE = {
    "version": "it is another Barewind's; update this one",
    "serial": "write the number that was there before",
    "keys": "write a list of entries",
}


def _in_utc(value: object) -> object:
    """Without quotes, YAML has made a time of it. One without a zone means another moment on each machine."""
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(found, datetime) and found.tzinfo is None:
        raise ValueError("no zone")
    return found.astimezone(UTC) if isinstance(found, datetime) else found


_Time = Annotated[datetime, BeforeValidator(_in_utc)]
_Limit = Annotated[int, Field(ge=1, le=10**9)]


def _told_apart(hint: str) -> str:
    if not hint.isprintable() or not hint.strip():
        raise ValueError("not printable")
    return hint


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: Annotated[str, Field(pattern=rf"^{_ID}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    hint: Annotated[str, Field(max_length=8), AfterValidator(_told_apart)]
    created: _Time
    by: Annotated[str, Field(max_length=255)] = ""
    expires: _Time | None = None
    revoked: _Time | None = None
    requests_per_minute: _Limit | None = None
    parallel: _Limit | None = None
    tokens_per_minute: _Limit | None = None
    priority: Priority = "normal"


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Annotated[int, Field(ge=1, le=1)] = 1
    serial: Annotated[int, Field(ge=0, le=10**15)] = 0
    keys: list[_Entry] = Field(default_factory=list)


@dataclass(frozen=True)
class KeyFile:
    """The file. `serial` counts its changes, so that balancers tell an old copy from a new one."""

    serial: int = 0
    keys: tuple[Key, ...] = ()


def is_id(text: str) -> bool:
    """Whether a text can be the id of keys: a team, or a client of a team."""
    return re.fullmatch(_ID, text, re.ASCII) is not None


def read(path: str | Path) -> KeyFile:
    """Read a file of keys; one that is not there has none.

    Raises:
        BarewindError: every mistake in it, a line each, or others can write to it.
    """
    file = Path(path)
    try:
        with file.open(encoding="utf-8") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            document = read_yaml(opened.read())
    except FileNotFoundError:
        return KeyFile()
    except (OSError, UnicodeDecodeError) as error:
        raise BarewindError(f"{path}: cannot be read ({error}); correct 'endpoint_keys'.") from error
    except yaml.YAMLError as error:
        where = f" ({error.problem_mark})".replace('"<unicode string>", ', "") if hasattr(error, "problem_mark") else ""
        raise BarewindError(
            f"{path}: is no YAML{where}; correct it, or take the last one that was right from version control."
        ) from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BarewindError(
            f"{path}: mode {mode:04o} lets others write to it, and so give themselves a key; run: chmod go-w {path}"
        )
    return _checked(document, path)


def write(content: KeyFile, path: str | Path) -> None:
    """Write a file of keys, whole or not at all. A new one can be read by everybody: it holds no secret.

    Raises:
        BarewindError: its folder is missing or not writable.
    """
    file = Path(path)
    document = {"version": 1, "serial": content.serial, "keys": [_plain(key) for key in content.keys]}
    text = _HEAD + yaml.safe_dump(document, sort_keys=False, width=200)
    fresh = file.with_name(file.name + ".new")
    try:
        mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else 0o644
        with fresh.open("w", encoding="utf-8") as opened:
            fresh.chmod(mode)
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        fresh.replace(file)
    except OSError as error:
        raise BarewindError(f"{path}: cannot be written ({error.strerror}); correct 'endpoint_keys'.") from error


@contextmanager
def locked(path: str | Path, wait: Callable[[str], None], *, seconds: float = _WAIT) -> Iterator[None]:
    """Keep other commands of this machine away from a file of keys for the length of the block: none of them loses an entry.

    + wait: is told, once, that another command has to end first

    Raises:
        BarewindError: it does not end, or the folder is missing or not writable.
    """
    file = Path(path).with_name(f".{Path(path).name}.lock")
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise BarewindError(f"{file}: cannot be written ({error.strerror}); correct 'endpoint_keys'.") from error
    try:
        end, told = time.monotonic() + seconds, False
        while not _taken(descriptor):
            if time.monotonic() > end:
                raise BarewindError(
                    f"{path}: another barewind command is at it for {seconds:.0f} s; look for it, then run again."
                )
            if not told:
                wait(f"{path}: waiting for another barewind command")
                told = True
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _plain(key: Key) -> dict[str, Any]:
    """An entry as the file has it: times as text, what has no limit or end left out."""
    fields = {name: value for name, value in asdict(key).items() if value is not None}
    return {name: written(value) if isinstance(value, datetime) else value for name, value in fields.items()}


def _checked(document: object, path: str | Path) -> KeyFile:
    if document is None:
        return KeyFile()
    if not isinstance(document, dict):
        raise BarewindError(f"{path}: is no file of keys; write it anew with: barewind keys add INVENTORY TEAM")
    entries = document.get("keys")
    names = [_name(number, entry) for number, entry in enumerate(entries, 1)] if isinstance(entries, list) else []
    try:
        read = _Document.model_validate(document)
    except ValidationError as error:
        problems = [_explained(dict(problem), names) for problem in error.errors()]
        problems += _twice(names, entries if isinstance(entries, list) else [])
        raise BarewindError("\n".join(f"{path}: {problem}" for problem in dict.fromkeys(problems))) from None
    if problems := _twice(names, entries or []):
        raise BarewindError("\n".join(f"{path}: {problem}" for problem in problems))
    return KeyFile(read.serial, tuple(Key(**dict(entry)) for entry in read.keys))


def _name(number: int, entry: object) -> str:
    known = entry.get("id") if isinstance(entry, dict) else None
    return f"entry {number}" + (f" ({known})" if isinstance(known, str) and known.isprintable() else "")


def _explained(problem: dict[str, Any], names: list[str]) -> str:
    place = problem["loc"]
    within = len(place) > 1 and place[0] == "keys" and isinstance(place[1], int)  # an entry, or a key of one
    entry = f"{names[place[1]]}: " if within else ""
    if within and len(place) == 2:
        return f"{entry}found {shown(problem['input'])}; write an entry: id, sha256, hint, created"
    key = str(place[-1])
    if problem["type"] == "extra_forbidden":
        return f"{entry}key {shown(key)}: unknown; remove it"
    remedy = (_REMEDIES if within else _REMEDIES_ABOVE).get(key, problem["msg"])
    found = "is missing" if problem["type"] == "missing" else f"found {shown(problem['input'])}"
    return f"{entry}key '{key}': {found}; {remedy}"


def _twice(names: list[str], entries: list[Any]) -> list[str]:
    """Entries of one key: which of them counts nobody could tell."""
    first: dict[str, str] = {}
    problems = []
    for name, entry in zip(names, entries, strict=True):
        sha256 = entry.get("sha256") if isinstance(entry, dict) else None
        if isinstance(sha256, str) and (other := first.setdefault(sha256, name)) != name:
            problems.append(f"{name}: key 'sha256': is that of {other} too; remove one of the two")
    return problems
