"""What an engine's command line accepts, checked before a host is touched.

The options come from the engines' own parsers (`make schema` writes barewind/catalog/options/). What the parsers take in
silence although it hides a mistake is refused here (tests/conformance/agreement.py shows each):
- an abbreviated option: a new release can change what it means;
- an option given twice, or as a whole and by nested keys: only the last counts;
- a model's path behind options: those of several values swallow it;
- numbers with suffixes inside JSON (`{"port": 14k}`), which is no JSON.
Left to the engine: what a text means (`--load-format nope`), and what stands further inside JSON.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from importlib import resources
from types import MappingProxyType
from typing import Literal

from packaging.version import Version
from pydantic import BaseModel, ConfigDict

from barewind.errors import BarewindError
from barewind.spec.hints import near

_SHOWN_CHOICES = 12


class Flag(BaseModel):
    """An option of a command line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[str, ...]  # the long ones first
    negated: tuple[str, ...] = ()  # --no-x
    values: int | Literal["?", "+", "*"]  # how many values follow, as argparse counts them
    type: Literal["str", "int", "float", "size", "json", "object", "text-or-object"] = "str"
    optional: bool = False  # "" and "None" mean none
    words: tuple[str, ...] = ()  # values beside those of the type
    choices: tuple[int | float | str, ...] = ()
    folded: bool = False  # upper case and dashes are taken for lower case and underscores
    keys: tuple[str, ...] = ()  # the only keys of the JSON object; () where any is taken
    repeatable: bool = False
    required: bool = False
    deprecated: str = ""

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the most values that it takes."""
        if isinstance(self.values, int):
            return self.values, self.values
        return {"?": (0, 1), "+": (1, sys.maxsize), "*": (0, sys.maxsize)}[self.values]

    @property
    def takes_json(self) -> bool:
        """Whether nested keys (`--flag.key value`) make sense."""
        return self.type in ("json", "object", "text-or-object")


class Positional(BaseModel):
    """An argument without a name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    values: int | Literal["?", "+", "*"]


class Schema(BaseModel):
    """The command line of an engine's release, as a file of barewind/catalog/options/ holds it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str
    version: str
    flexible: bool  # in names `_` is `-`; nested keys (`--flag.key value`); `-O3`
    size_suffixes: tuple[str, ...]  # of whole numbers: 64k
    size_decimal_suffixes: tuple[str, ...]  # of numbers with a point: 25.6k
    positionals: tuple[Positional, ...]
    options: tuple[Flag, ...]

    @property
    def title(self) -> str:
        """Engine and version, for messages."""
        return f"{self.engine} {self.version}"

    @cached_property
    def by_name(self) -> dict[str, Flag]:
        """Every option under each of its names."""
        return {name: flag for flag in self.options for name in (*flag.names, *flag.negated)}


def load(engine: str, version: str | None = None) -> Schema:
    """The command line of an engine's release.

    + engine: its name
    + version: "0.32.0", "v0.32.1rc1", ...: the release itself, else the newest known one before it; None: the newest

    Releases are compared by their numbers alone: 0.33.0rc1 counts as 0.33.0.

    Raises:
        BarewindError: no options are known of the engine, or of so old a release.
    """
    known = _known(engine)
    if not known:
        raise BarewindError(f"no options are known of engine '{engine}'; run `make schema` after adding it to tools/")
    if version is None:
        return _read(engine, known[max(known)])
    fitting = [release for release in known if release <= _release(version)]
    if not fitting:
        names = ", ".join(known.values())
        raise BarewindError(
            f"no options are known of {engine} {version}, only of {names}; use one of these or a newer release"
        )
    return _read(engine, known[max(fitting)])


def nearest(engine: str, version: str | None = None) -> Schema | None:
    """As `load`, but the oldest known release for one that is older still; None for an engine without known options."""
    known = _known(engine)
    if not known:
        return None
    if version is not None and _release(version) < min(known):
        return _read(engine, known[min(known)])
    return load(engine, version)


def check(schema: Schema, argv: Sequence[str], remedies: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Everything that is wrong with an argument list, a sentence each; [] when the engine takes it as it is meant.

    + argv: what follows the program that serves
    + remedies: what to write instead of options that old guides name
    """
    return _Check(schema, remedies).run(_split_optimization_level(argv) if schema.flexible else argv)


class _Check:
    """A pass over an argument list. Like argparse, it tells options from values before it looks at either."""

    def __init__(self, schema: Schema, remedies: Mapping[str, str]) -> None:
        self.schema = schema
        self.remedies = remedies
        self.flags = schema.by_name
        self.problems: list[str] = []
        self.given: dict[str, dict[str, str]] = {}  # option -> nested key ("" is the whole) -> as it was written

    def run(self, argv: Sequence[str]) -> list[str]:
        rest = list(argv)
        positionals: list[tuple[int, str]] = []
        while rest:
            place = len(argv) - len(rest)
            word = rest.pop(0)
            if word == "--":
                positionals += [(place, value) for value in rest]
                break
            if self._is_value(word):
                positionals.append((place, word))
            else:
                self._option(word, rest)
        self._positionals(positionals)
        for keys in self.given.values():
            if "" in keys and len(keys) > 1:
                finding = f"is given as a whole and by key; {self.schema.engine} would drop the whole: use one way"
                self._add(keys[""], finding)
        for flag in self.schema.options:
            if flag.required and flag.names[0] not in self.given:
                self._add(flag.names[0], f"is missing; {self.schema.title} requires it")
        return self.problems

    def _option(self, word: str, rest: list[str]) -> None:
        """Check an option; its values are taken from what follows."""
        written, equals, attached = word.partition("=")
        name, key = self._normalised(written)
        if name not in self.flags and name[:2] in self.flags and not name.startswith("--"):
            # -n2: the value stands right behind a single letter
            written, equals, attached = word[:2], "=", word[2:]
            name = written
        flag = self.flags.get(name)
        following = self._following(rest)
        if flag is None:
            del rest[: 0 if equals else following]
            self._unknown(name, written)
            return
        self._count(flag, written, key)
        most = 1 if key else flag.bounds[1]
        values = [attached] if equals else rest[: min(most, following)]
        if not equals:
            del rest[: len(values)]
        if key:
            self._nested(flag, written, key, values)
        else:
            self._values(flag, written, values)

    def _normalised(self, written: str) -> tuple[str, str]:
        """An option's name as the engine looks it up, and the nested key behind it."""
        if not self.schema.flexible:
            return written, ""
        name, _, key = written.partition(".")
        return (name.replace("_", "-") if name.startswith("--") else name), key.removesuffix("+")

    def _is_value(self, word: str) -> bool:
        if not word.startswith("-") or word == "-":
            return True
        name = self._normalised(word.partition("=")[0])[0]
        if name in self.flags or self._abbreviated(name):
            return False
        # a flexible parser takes any dash and point for a nested key, so that -0.5 is no number to it
        number = r"-\d+" if self.schema.flexible else r"-\d+|-\d*\.\d+"
        return bool(re.fullmatch(number, word)) or " " in word

    def _following(self, rest: list[str]) -> int:
        """How many values come next."""
        return next((place for place, word in enumerate(rest) if not self._is_value(word)), len(rest))

    def _abbreviated(self, name: str) -> list[str]:
        return [known for known in self.flags if known.startswith(name)]

    def _unknown(self, name: str, written: str) -> None:
        remedy = self.remedies.get(name)
        full = self._abbreviated(name)
        if len(full) == 1:
            remedy = remedy or self.remedies.get(full[0])
            finding = f"is an abbreviation: {self.schema.title} would read it as {full[0]}"
            self._add(written, f"{finding}; {remedy or 'write the option in full'}")
        elif full:
            finding = f"is unknown to {self.schema.title}, and short for any of {_listed(full)}"
            self._add(written, f"{finding}; {remedy or 'write the option in full'}")
        else:
            meant = near(name.partition(".")[0], (flag for flag in self.flags if flag.startswith("--")))
            hint = remedy or (self.remedies.get(meant, f"did you mean {meant}?") if meant else "leave it out")
            self._add(written, f"is unknown to {self.schema.title}; {hint}")

    def _count(self, flag: Flag, written: str, key: str) -> None:
        keys = self.given.setdefault(flag.names[0], {})
        if key in keys and not flag.repeatable:
            earlier = f" (as {keys[key]} before)" if keys[key] != written else ""
            self._add(written, f"is given twice{earlier}; {self.schema.engine} would take the last: keep one")
        keys[key] = written

    def _nested(self, flag: Flag, written: str, key: str, values: list[str]) -> None:
        """A key of a JSON option given on its own; its value may be any text."""
        if not flag.takes_json:
            self._add(written, f"names a key inside {flag.names[0]}, which is no JSON; write {flag.names[0]}")
        elif not values:
            self._add(written, "needs a value; write one behind it")
        else:
            self._keys(flag, written, [key.partition(".")[0]])

    def _values(self, flag: Flag, written: str, values: list[str]) -> None:
        least, most = flag.bounds
        if len(values) > most:
            self._add(written, f"takes no value, but has '{values[0]}'; write {written} alone")
            return
        if len(values) < least:
            many = "a value" if least == 1 else f"{least} values"
            self._add(written, f"needs {many}, but has {len(values) or 'none'}; write {many} behind it")
        for value in values:
            self._value(flag, written, value)

    def _value(self, flag: Flag, written: str, value: str) -> None:
        if (flag.optional and value in ("", "None")) or value.strip().lower() in flag.words:
            return
        if wanted := self._wrong_type(flag, value):
            self._add(written, f"wants {wanted}, not '{value}'; correct the value")
        elif flag.choices and not _is_choice(flag, value):
            meant = near(value, map(str, flag.choices))
            hint = f"did you mean {meant}?" if meant else "choose one of these"
            self._add(written, f"has the value '{value}', which is not among {_listed(flag.choices)}; {hint}")

    def _wrong_type(self, flag: Flag, value: str) -> str | None:
        """What the option wants, if the value is not that."""
        if flag.type == "int" and not _converts(int, value):
            return "a whole number"
        if flag.type == "float" and not _converts(float, value):
            return "a number"
        if flag.type == "size" and not self._is_size(value):
            return f"a whole number, with one of {', '.join(self.schema.size_suffixes)} behind it if you like"
        if flag.type in ("json", "object") or (flag.type == "text-or-object" and _like_object(value)):
            try:
                document = json.loads(value)
            except ValueError as error:
                return f"JSON ({error})"
            if isinstance(document, dict):
                self._keys(flag, flag.names[0], list(document))
            elif flag.type == "object":
                return "a JSON object"
        return None

    def _is_size(self, value: str) -> bool:
        size = re.fullmatch(r"\d+(\.\d+)?([A-Za-z]+)", value.strip())
        if not size:
            return _converts(int, value)
        return size[2] in (self.schema.size_decimal_suffixes if size[1] else self.schema.size_suffixes)

    def _keys(self, flag: Flag, written: str, keys: list[str]) -> None:
        for key in keys:
            if flag.keys and key not in flag.keys:
                meant = near(key, flag.keys)
                hint = f"did you mean '{meant}'?" if meant else f"known: {_listed(flag.keys)}"
                self._add(written, f"has no key '{key}' in {self.schema.title}; {hint}")

    def _positionals(self, words: list[tuple[int, str]]) -> None:
        """Arguments without a name: at most one, the model, and it comes first."""
        room = len(self.schema.positionals)
        for place, word in words[:room]:
            if place:
                self._add(f"'{word}'", "stands behind options; write the model first")
        for _, word in words[room:]:
            self._add(f"'{word}'", "belongs to no option; leave it out")

    def _add(self, subject: str, finding: str) -> None:
        self.problems.append(f"{subject} {finding.removesuffix('.')}{'' if finding.endswith('?') else '.'}")


def _split_optimization_level(argv: Sequence[str]) -> list[str]:
    """An argument list with `-O3` and `-O 3` written out."""
    words: list[str] = []
    for place, word in enumerate(argv):
        if word.startswith("-O") and word != "-O":
            words.append("--optimization-level=" + word[2:].removeprefix("="))
        elif word == "-O" and argv[place + 1 : place + 2] and argv[place + 1] in ("0", "1", "2", "3"):
            words.append("--optimization-level")
        else:
            words.append(word)
    return words


def _is_choice(flag: Flag, value: str) -> bool:
    if flag.folded:
        value = value.lower().replace("-", "_")
    if flag.type in ("int", "float"):
        return float(value) in flag.choices
    return value in flag.choices


def _like_object(value: str) -> bool:
    return value.strip().startswith("{") and value.strip().endswith("}")


def _converts(function: type[int] | type[float], value: str) -> bool:
    try:
        function(value)
    except ValueError:
        return False
    return True


def _listed(names: Sequence[object]) -> str:
    more = len(names) - _SHOWN_CHOICES
    return ", ".join(map(str, names[:_SHOWN_CHOICES])) + (f" and {more} more" if more > 0 else "")


@cache
def _known(engine: str) -> dict[Version, str]:
    """Names of the versions whose options are recorded."""
    folder = resources.files("barewind.catalog") / "options"
    pattern = re.compile(rf"{re.escape(engine)}-([\d.]+)\.json")
    names = [match[1] for file in folder.iterdir() if (match := pattern.fullmatch(file.name))]
    return {_release(name): name for name in names}


def _release(version: str) -> Version:
    match = re.match(r"v?(\d+(?:\.\d+)*)", version)
    if not match:
        raise BarewindError(
            f"'{version}' is no engine version; write numbers as in 0.32.0, or none for the newest known"
        )
    return Version(match[1])


@cache
def _read(engine: str, version: str) -> Schema:
    file = resources.files("barewind.catalog") / "options" / f"{engine}-{version}.json"
    return Schema.model_validate_json(file.read_text())
