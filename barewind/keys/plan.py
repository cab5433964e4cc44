"""What a command makes of the keys, what balancers shall have of them, and how these differ from it. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from barewind.errors import BarewindError
from barewind.keys.entry import Key, map_line
from barewind.keys.file import KeyFile
from barewind.keys.times import written
from barewind.spec.hints import near
from barewind.spec.keys import BalancerSpec

OWN = "barewind"  # the team of keys that Barewind makes for itself
SESSION = f"{OWN}/session"  # of a command that is run with a key of its own
PROBE = f"{OWN}/probe"  # of a look at a balancer: in its processes alone (probe.py)

SERIAL = "# Written by Barewind, from the keys of serial "  # the beginning of a map, before a number
END = "# The end."  # of a map: without it, a part would be taken for all of it
ANY = 10**15  # more than any serial


def map_text(content: KeyFile) -> str:
    """The map of a balancer: every key that is not revoked. That one has expired the balancer finds itself."""
    lines = [map_line(key) for key in content.keys if key.revoked is None]
    return "".join(f"{line}\n" for line in (f"{SERIAL}{content.serial}", *lines, END))


def entries(text: str) -> dict[str, str]:
    """What a map says of each key, by its SHA-256."""
    lines = (line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {words[0]: words[-1] for words in lines}


def serial(text: str) -> int:
    """The serial of the file that a map was made from; 0 where somebody else has written it."""
    found = re.match(rf"{SERIAL}(\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0


def newer(known: str, own: int) -> tuple[str, str] | None:
    """Why a balancer with a map is not told the keys of another file, and what to do about it; None where it may be told.

    + own: the serial of that file, before it was changed
    """
    if (there := serial(known)) <= own:
        return None
    return (
        f"has the keys of serial {there}, the file here is of serial {own}: with an older one revoked keys would be good again",
        "take the newest file (git pull); if it is lost: barewind keys sync INVENTORY --overwrite",
    )


def for_nobody(content: KeyFile, path: str, spec: BalancerSpec) -> tuple[str, str] | None:
    """Why a balancer would refuse everybody, and both ways on; None where it asks for no keys, or somebody has one."""
    if spec.endpoint_open or any(key.revoked is None for key in content.keys):
        return None
    return (
        f"endpoint_open = False, and nobody has a key ({path}), so that every client would be refused",
        "make one: barewind keys add INVENTORY TEAM; or let in whoever reaches it: endpoint_open = True",
    )


def live(content: KeyFile, id: str, now: datetime) -> list[Key]:
    """The keys of an id that let somebody in, the newest last."""
    keys = [key for key in content.keys if key.id == id and key.revoked is None]
    return sorted((key for key in keys if key.expires is None or key.expires > now), key=lambda key: key.created)


def added(content: KeyFile, key: Key) -> KeyFile:
    """The keys with another one.

    Raises:
        BarewindError: somebody has that id already, or may not have it.
    """
    if key.id.partition("/")[0] == OWN:
        raise BarewindError(f"{key.id}: '{OWN}' is the team of Barewind's own keys; choose another name.")
    if others := live(content, key.id, key.created):
        raise BarewindError(
            f"{key.id}: has a key already (...{others[-1].hint}). Another one for the same client: barewind keys rotate "
            f"INVENTORY {key.id}; another client of the team has a name of its own: {key.id.partition('/')[0]}/NAME."
        )
    return _with(content, (*content.keys, key))


def revoked(content: KeyFile, id: str, now: datetime, *, hint: str | None = None, every: bool = False) -> KeyFile:
    """The keys without those of an id; entries stay, so that usage keeps its name.

    + hint: the end of the one that is meant
    + every: all of that id are meant

    Raises:
        BarewindError: nobody has that id, or it has several keys and it is not said which are meant.
    """
    keys = [key for key in content.keys if key.id == id]
    if not keys:
        close = near(id, sorted({key.id for key in content.keys}))
        raise BarewindError(
            f"{id}: no such key; " + (f"did you mean '{close}'?" if close else "see: barewind keys list INVENTORY")
        )
    meant = [key for key in keys if hint is None or key.hint == hint.lstrip(".")]
    if not meant:
        raise BarewindError(f"{id}: has no key that ends in {hint}; there are: {_hints(keys)}")
    left = [key for key in meant if key.revoked is None]
    if len(left) > 1 and not every and hint is None:
        raise BarewindError(f"{id}: has {len(left)} keys ({_hints(left)}); say which: --hint {left[0].hint}, or --all")
    gone = {key.sha256 for key in left}
    if not gone:
        return content
    return _with(content, tuple(replace(key, revoked=now) if key.sha256 in gone else key for key in content.keys))


def rotated(content: KeyFile, key: Key, *, keep: timedelta | None = None) -> KeyFile:
    """The keys with a further one of an id that has some, which get the newest one's limits.

    + key: the new one; its limits are those of the newest, its lifetime too unless it has an end
    + keep: how long the others go on; None: until they end or are revoked

    Raises:
        BarewindError: the id has no key to rotate.
    """
    others = live(content, key.id, key.created)
    if not others:
        known = any(other.id == key.id for other in content.keys)
        what = "has no key that is still good" if known else "no such key"
        raise BarewindError(f"{key.id}: {what}; make one with: barewind keys add INVENTORY {key.id}")
    newest = others[-1]
    expires = key.expires
    if expires is None and newest.expires is not None:
        expires = key.created + (newest.expires - newest.created)
    made = replace(newest, sha256=key.sha256, hint=key.hint, created=key.created, by=key.by, expires=expires)
    ended = {other.sha256 for other in others} if keep is not None else set()
    kept = [
        replace(other, expires=min(filter(None, (other.expires, key.created + keep))))
        if keep and other.sha256 in ended
        else other
        for other in content.keys
    ]
    return _with(content, (*kept, made))


def in_session(content: KeyFile, key: Key) -> KeyFile:
    """The keys with one of Barewind's own, without those that earlier runs have left behind."""
    kept = [
        other for other in content.keys if other.id != SESSION or other.expires is None or other.expires > key.created
    ]
    return _with(content, (*kept, key))


def without(content: KeyFile, sha256: str) -> KeyFile:
    """The keys without a trace of one."""
    return _with(content, tuple(key for key in content.keys if key.sha256 != sha256))


def differences(wanted: Mapping[str, str], known: Mapping[str, str], names: Mapping[str, str]) -> Iterator[str]:
    """How what a balancer knows differs from what it shall, in words.

    + names: id and hint of keys, by SHA-256
    """
    for words, keys in (
        ("lacks", wanted.keys() - known.keys()),
        ("still lets in", {key for key in known.keys() - wanted.keys() if not is_probe(known[key])}),
        ("has other limits for", {key for key in wanted.keys() & known.keys() if wanted[key] != known[key]}),
    ):
        if keys:
            yield f"{words} {_some(sorted(names.get(key) or _stranger(known.get(key, '')) for key in keys))}"


def is_probe(entry: str) -> bool:
    """Whether an entry of a map is that of a look at the balancer, which takes it away itself."""
    return entry.startswith(f"{PROBE}:")


def names(content: KeyFile) -> dict[str, str]:
    """Id and hint of each key, by its SHA-256."""
    return {key.sha256: f"{key.id} (...{key.hint})" for key in content.keys}


def state(key: Key, now: datetime) -> str:
    """Whether a key is good, in a word or two."""
    if key.revoked is not None:
        return f"revoked {written(key.revoked)}"
    return "expired" if key.expires is not None and key.expires <= now else "good"


def _stranger(entry: str) -> str:
    return f"{entry.partition(':')[0] or 'a key'} (in no file)"


def _some(names: Collection[str], most: int = 5) -> str:
    shown = list(names)[:most]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")


def _hints(keys: Collection[Key]) -> str:
    return ", ".join(f"...{key.hint}" for key in keys)


def _with(content: KeyFile, keys: tuple[Key, ...]) -> KeyFile:
    return KeyFile(content.serial + 1, keys)
