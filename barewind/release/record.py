"""The record of a release: all that a host needs to run it again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from barewind import catalog
from barewind.engines import ENGINES
from barewind.errors import BarewindError
from barewind.hosts.file import HostCopy, HostFile
from barewind.plan import secrets
from barewind.plan.engine import EnginePlan
from barewind.plan.names import RELEASES
from barewind.registry.reference import PinnedImage
from barewind.release.unit import systemd_quoted
from barewind.secrets import looks_like_one, option_named_like_one

DIRECTORY = RELEASES
_SECRET = re.compile(r"token|secret|passw|credential|key", re.IGNORECASE)
_CONCEALED = "concealed_unit"  # key of a record's file
_RELEASE = re.compile(r"[A-Za-z0-9]\w{1,63}", re.ASCII)


@dataclass(frozen=True)
class Record:
    """A release as a host has run it. `model` and `draft` are repository@revision, `unit` is the text of the unit's file.

    `secrets` are the names of the environment variables whose values lie beside the record, in a file for root alone.
    `unit_sha256` is that of the whole unit where `unit` conceals some of it; None where `unit` is whole, as it always was in
    records of older releases of Barewind.
    """

    release: str
    image: PinnedImage  # as the host pulls it
    model: str
    draft: str | None
    served_model_name: str
    weights: tuple[str, ...]  # directories on the host
    argv: tuple[str, ...]
    env: Mapping[str, str]
    accelerator: str
    unit: str
    port: int  # of several engines on a host, the first one's
    engine: str
    unit_sha256: str | None = None
    secrets: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Its file on the host."""
        return record_path(self.release)

    @property
    def text(self) -> str:
        """The content of its file."""
        content = asdict(self)
        if not self.secrets:
            del content["secrets"]
        if self.unit_sha256 is None:
            del content["unit_sha256"]
        else:  # not as `unit`: an older release of Barewind would run what it finds there
            content[_CONCEALED] = content.pop("unit")
        return json.dumps(content, indent=1, sort_keys=True) + "\n"

    @property
    def file(self) -> HostFile:
        """Its file, for root alone."""
        return HostFile(self.path, self.text, mode="600")

    def unit_file(self, path: str) -> HostFile | HostCopy:
        """The unit as it was, to be written to a path of the host."""
        if self.unit_sha256 is None:
            return HostFile(path, self.unit)
        return HostCopy(path, unit_path(self.release), self.unit_sha256)


def record_of(plan: EnginePlan, unit: str) -> Record:
    """The record of a plan; `unit` is the whole text of its unit file.

    Raises:
        BarewindError: the lock does not hold the plan completely.
    """
    if plan.release is None:
        raise BarewindError(f"{plan.spec.host}: its plan is not locked completely; run: barewind lock INVENTORY")
    names = [f"{model}@{revision}" for model, revision, _ in plan.revisions]
    shown = _shown(unit, plan.command.env, plan.command.argv)
    return Record(
        release=plan.release,
        image=plan.pinned_image,
        model=names[0],
        draft=names[1] if len(names) > 1 else None,
        served_model_name=plan.served_model_name,
        weights=plan.directories,
        argv=_concealed_words(_argv(plan)),
        env={name: _concealed(name, value) for name, value in plan.command.env.items()},
        accelerator=plan.spec.accelerator,
        unit=shown,
        port=plan.first_port,
        engine=plan.spec.engine,
        unit_sha256=None if shown == unit else hashlib.sha256(unit.encode()).hexdigest(),
        secrets=tuple(sorted(plan.secrets)),
    )


def _argv(plan: EnginePlan) -> list[str]:
    """The arguments; those of several engines on a host are the first one's, whose port the record names too."""
    words = list(plan.command.argv)
    if plan.spec.replica is not None:
        words[words.index(str(ENGINES[plan.spec.engine].keys.name("engine_port"))) + 1] = str(plan.first_port)
    return words


def record_path(release: str) -> str:
    """Where a host keeps the record of a release.

    Raises:
        BarewindError: `release` is no release's id.
    """
    if not _RELEASE.fullmatch(release):
        raise BarewindError(
            f"'{release}': no id of a release; `barewind status INVENTORY` shows those that hosts serve"
        )
    return f"{DIRECTORY}/{release}.json"


def unit_path(release: str) -> str:
    """Where a host keeps the whole unit of a release whose record conceals some of it.

    Raises:
        BarewindError: `release` is no release's id.
    """
    return record_path(release).removesuffix(".json") + ".unit"


def bench_path(release: str) -> str:
    """Where a host keeps what benches of a release have shown: a JSON object in a line for each.

    Raises:
        BarewindError: `release` is no release's id.
    """
    return record_path(release).removesuffix(".json") + ".bench"


def whole_unit(record: Record, unit: str) -> HostFile | None:
    """The file that keeps the whole unit beside its record; None where the record has it."""
    return None if record.unit_sha256 is None else HostFile(unit_path(record.release), unit, mode="600")


def secrets_file(plan: EnginePlan) -> HostFile | None:
    """The file that keeps a release's secrets beside its record; None where it has none.

    Raises:
        BarewindError: a secret cannot be read, or was changed since the plan was made.
    """
    if not plan.secrets:
        return None
    return HostFile(secrets.file_path(str(plan.release)), secrets.file_content(plan.spec, plan.secrets), mode="600")


def print_records() -> str:
    """Shell command that prints every record of a host, each in a line of its own, in no order."""
    return f'for f in {DIRECTORY}/*.json; do tr -d "\\n" < "$f"; echo; done'


def read_record(text: str) -> Record | None:
    """The record that a file holds; None where it holds none, or too little to run the release again."""
    try:
        content = json.loads(text)
        content = (
            {"unit_sha256": None, "secrets": ()}
            | content
            | ({"unit": content[_CONCEALED]} if _CONCEALED in content else {})
        )
        if "engine" not in content:  # records did not always say it
            content["engine"] = _engine(tuple(map(str, content["argv"])))
        values = {field.name: content[field.name] for field in fields(Record)}
        values |= {key: tuple(map(str, values[key])) for key in ("weights", "argv", "secrets")}
        return Record(**values) if values["engine"] in ENGINES else None
    except (ValueError, LookupError, TypeError):
        return None


def _engine(argv: tuple[str, ...]) -> str:
    """The engine of a command line, by the entry point that it begins with; images of the default engine have their own."""
    names = (
        name
        for name, engine in ENGINES.items()
        if engine.entrypoint and argv[: len(engine.entrypoint)] == engine.entrypoint
    )
    return next(names, catalog.DEFAULT_ENGINE)


def _shown(unit: str, env: Mapping[str, str], argv: Sequence[str]) -> str:
    """A unit as the record may show it."""
    words = {f"--env={name}={value}": f"--env={name}={_concealed(name, value)}" for name, value in env.items()}
    words |= dict(zip(argv, _concealed_words(argv), strict=True))
    for word, concealed in words.items():
        if word != concealed:
            unit = unit.replace(systemd_quoted(word), systemd_quoted(concealed))
    return unit


def _concealed(name: str, value: str) -> str:
    """A value as the record may show it: enough to see whether it changed."""
    return _hash(value) if _SECRET.search(name) or looks_like_one(value) else value


def _concealed_words(argv: Sequence[str]) -> tuple[str, ...]:
    """Arguments as the record may show them. A plan with a secret among them is refused: nothing relies on that alone."""
    return tuple(
        _hash(word) if looks_like_one(word) or (option_named_like_one(before) and not word.startswith("-")) else word
        for before, word in zip(("", *argv), argv, strict=False)
    )


def _hash(value: str) -> str:
    return f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"
