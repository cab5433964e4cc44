"""What an engine's command line accepts, checked before a host is touched.

The options come from the engines' own parsers (`make schema` writes barewind/catalog/flags/). What the parsers take in
silence although it hides a mistake is refused here (tests/conformance/agreement.py shows each):
- an abbreviated option: a new release can change what it means;
- an option given twice, or as a whole and by nested keys: only the last counts;
- vLLM's model behind options or as `--model`: options of several values swallow the one, a later release drops the other;
- numbers with suffixes inside JSON (`{"port": 14k}`), which is no JSON.
Left to the engine: what a text means (`--load-format nope`), and what stands further inside JSON.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Sequence
from functools import cache, cached_property
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict

from barewind.errors import BarewindError

# Options of old guides, by engine and name: what to write instead.
_REMEDIES = {
    ("vllm", "--model"): "write the model first, without an option",
    ("vllm", "--speculative-model"): """use --speculative-config '{"model": ..., "method": "eagle", ...}'""",
    ("vllm", "--num-speculative-tokens"): """use --speculative-config '{"num_speculative_tokens": 3, ...}'""",
    ("vllm", "--enable-mm"): (
        "leave it out: images are served unless --language-model-only is given, "
        """and --limit-mm-per-prompt '{"image": N}' bounds them"""
    ),
}
_SHOWN_CHOICES = 12


class Flag(BaseModel):
    """One option of a command line."""

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
        """The least and the most values it takes."""
        if isinstance(self.values, int):
            return self.values, self.values
        return {"?": (0, 1), "+": (1, sys.maxsize), "*": (0, sys.maxsize)}[self.values]

    @property
    def takes_json(self) -> bool:
        """Whether nested keys (`--flag.key value`) make sense."""
        return self.type in ("json", "object", "text-or-object")


class Positional(BaseModel):
    """One argument without a name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    values: int | Literal["?", "+", "*"]


class Schema(BaseModel):
    """The command line of one engine release, as a file of barewind/catalog/flags/ holds it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str
    version: str
    flexible: bool  # vLLM's parser: `_` is `-` in names, nested keys (`--flag.key value`), `-O3`
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
        """Every option under every name it has."""
        return {name: flag for flag in self.options for name in (*flag.names, *flag.negated)}


def load(engine: str, version: str | None = None) -> Schema:
    """The command line of an engine release.

    + engine: "vllm" or "sglang"
    + version: "0.32.0", "v0.32.1rc1", ...: the release itself, else the newest known one before it; None: the newest

    Releases are compared by their numbers alone: 0.33.0rc1 counts as 0.33.0.

    Raises:
        BarewindError: an engine, or a release older than all, of which nothing is known.
    """
    known = _known(engine)
    if not known:
        raise BarewindError(f"no options are known of engine '{engine}'; run `make schema` after adding it to tools/")
    if version is None:
        return _read(engine, known[max(known)])
    fitting = [numbers for numbers in known if numbers <= _numbers(version)]
    if not fitting:
        names = ", ".join(known.values())
        raise BarewindError(
            f"no options are known of {engine} {version}, only of {names}; use one of these or a newer release"
        )
    return _read(engine, known[max(fitting)])


def nearest(engine: str, version: str | None = None) -> Schema:
    """As `load`, but for a release older than all that are known the oldest of them: the nearest there is."""
    known = _known(engine)
    if known and version is not None and _numbers(version) < min(known):
        return _read(engine, known[min(known)])
    return load(engine, version)


def check(schema: Schema, argv: Sequence[str]) -> list[str]:
    """Everything wrong with an argument list, a sentence each; [] when the engine takes it as it is meant.

    + argv: what follows `vllm serve` or `python3 -m sglang.launch_server`
    """
    return _Check(schema).run(_split_optimization_level(argv) if schema.flexible else argv)


class _Check:
    """One pass over an argument list. Like argparse, it tells options from values before it looks at either."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.flags = schema.by_name
        self.problems: list[str] = []
        self.seen: dict[str, dict[str, str]] = {}  # option -> nested key ("" is the whole) -> as it was written

    def run(self, argv: Sequence[str]) -> list[str]:
        rest = list(argv)
        positionals: list[tuple[int, str]] = []
        while rest:
            place = len(argv) - len(rest)
            word = rest.pop(0)
            if word == "--":
                positionals += [(place, one) for one in rest]
                break
            if self._is_value(word):
                positionals.append((place, word))
            else:
                self._option(word, rest)
        self._positionals(positionals)
        for keys in self.seen.values():
            if "" in keys and len(keys) > 1:
                finding = f"is given as a whole and by key; {self.schema.engine} would drop the whole: use one way"
                self._say(keys[""], finding)
        for flag in self.schema.options:
            if flag.required and flag.names[0] not in self.seen:
                self._say(flag.names[0], f"is missing; {self.schema.title} requires it")
        return self.problems

    def _option(self, word: str, rest: list[str]) -> None:
        """One option; takes its values from what follows."""
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
        # vLLM takes any dash and point for a nested key, so that -0.5 is no number to it
        number = r"-\d+" if self.schema.flexible else r"-\d+|-\d*\.\d+"
        return bool(re.fullmatch(number, word)) or " " in word

    def _following(self, rest: list[str]) -> int:
        """How many values come next."""
        return next((place for place, word in enumerate(rest) if not self._is_value(word)), len(rest))

    def _abbreviated(self, name: str) -> list[str]:
        return [known for known in self.flags if known.startswith(name)]

    def _unknown(self, name: str, written: str) -> None:
        remedy = _REMEDIES.get((self.schema.engine, name))
        full = self._abbreviated(name)
        if len(full) == 1:
            finding = f"is an abbreviation: {self.schema.title} would read it as {full[0]}"
            self._say(written, f"{finding}; {remedy or 'write the option in full'}")
        elif full:
            finding = f"is unknown to {self.schema.title}, and short for any of {_listed(full)}"
            self._say(written, f"{finding}; {remedy or 'write the option in full'}")
        else:
            known = [one for one in self.flags if one.startswith("--")]
            near = difflib.get_close_matches(name.replace("_", "-"), known, n=1, cutoff=0.7)
            hint = remedy or (f"did you mean {near[0]}?" if near else "leave it out")
            self._say(written, f"is unknown to {self.schema.title}; {hint}")

    def _count(self, flag: Flag, written: str, key: str) -> None:
        keys = self.seen.setdefault(flag.names[0], {})
        if key in keys and not flag.repeatable:
            earlier = f" (as {keys[key]} before)" if keys[key] != written else ""
            self._say(written, f"is given twice{earlier}; {self.schema.engine} would take the last: keep one")
        keys[key] = written

    def _nested(self, flag: Flag, written: str, key: str, values: list[str]) -> None:
        """A key of a JSON option given on its own; its value may be any text."""
        if not flag.takes_json:
            self._say(written, f"names a key inside {flag.names[0]}, which is no JSON; write {flag.names[0]}")
        elif not values:
            self._say(written, "needs a value; write one behind it")
        else:
            self._keys(flag, written, [key.partition(".")[0]])

    def _values(self, flag: Flag, written: str, values: list[str]) -> None:
        least, most = flag.bounds
        if len(values) > most:
            self._say(written, f"takes no value, but has '{values[0]}'; write {written} alone")
            return
        if len(values) < least:
            many = "a value" if least == 1 else f"{least} values"
            self._say(written, f"needs {many}, but has {len(values) or 'none'}; write {many} behind it")
        for value in values:
            self._value(flag, written, value)

    def _value(self, flag: Flag, written: str, value: str) -> None:
        if (flag.optional and value in ("", "None")) or value.strip().lower() in flag.words:
            return
        if wanted := self._wrong_type(flag, value):
            self._say(written, f"wants {wanted}, not '{value}'; correct the value")
        elif flag.choices and not _is_choice(flag, value):
            near = difflib.get_close_matches(value, map(str, flag.choices), n=1)
            hint = f"did you mean {near[0]}?" if near else "choose one of these"
            self._say(written, f"has the value '{value}', which is not among {_listed(flag.choices)}; {hint}")

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
        found = re.fullmatch(r"\d+(\.\d+)?([A-Za-z]+)", value.strip())
        if not found:
            return _converts(int, value)
        return found[2] in (self.schema.size_decimal_suffixes if found[1] else self.schema.size_suffixes)

    def _keys(self, flag: Flag, written: str, keys: list[str]) -> None:
        for key in keys:
            if flag.keys and key not in flag.keys:
                near = difflib.get_close_matches(key, flag.keys, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"known: {_listed(flag.keys)}"
                self._say(written, f"has no key '{key}' in {self.schema.title}; {hint}")

    def _positionals(self, found: list[tuple[int, str]]) -> None:
        """Arguments without a name: at most one, the model, and it comes first."""
        room = len(self.schema.positionals)
        for place, word in found[:room]:
            if place:
                self._say(f"'{word}'", "stands behind options; write the model first")
        for _, word in found[room:]:
            self._say(f"'{word}'", "belongs to no option; leave it out")

    def _say(self, subject: str, finding: str) -> None:
        self.problems.append(f"{subject} {finding.removesuffix('.')}{'' if finding.endswith('?') else '.'}")


def _split_optimization_level(argv: Sequence[str]) -> list[str]:
    """vLLM's `-O3` and `-O 3`, written out."""
    found: list[str] = []
    for place, word in enumerate(argv):
        if word.startswith("-O") and word != "-O":
            found.append("--optimization-level=" + word[2:].removeprefix("="))
        elif word == "-O" and argv[place + 1 : place + 2] and argv[place + 1] in ("0", "1", "2", "3"):
            found.append("--optimization-level")
        else:
            found.append(word)
    return found


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
def _known(engine: str) -> dict[tuple[int, ...], str]:
    """Versions of the schema files, by their numbers."""
    folder = resources.files("barewind.catalog") / "flags"
    pattern = re.compile(rf"{re.escape(engine)}-([\d.]+)\.json")
    names = [found[1] for file in folder.iterdir() if (found := pattern.fullmatch(file.name))]
    return {_numbers(name): name for name in names}


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    if not found:
        raise BarewindError(
            f"'{version}' is no engine version; write numbers as in 0.32.0, or none for the newest known"
        )
    return tuple(int(part) for part in found[1].split("."))


@cache
def _read(engine: str, version: str) -> Schema:
    file = resources.files("barewind.catalog") / "flags" / f"{engine}-{version}.json"
    return Schema.model_validate_json(file.read_text())
