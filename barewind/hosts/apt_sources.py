"""apt repositories of a host: URL from group data, the rest from the catalog, the key as shipped or as the site gives it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from barewind import catalog
from barewind.catalog.docker import docker
from barewind.catalog.vendors import Repository
from barewind.hosts import openpgp
from barewind.hosts.file import HostFile
from barewind.spec.keys import EngineSpec

_KEYS = Path(catalog.__file__).parent / "keys"
_OURS = "/etc/apt/sources.list.d/barewind-"

# Shell command that prints apt's sources but for ours, each line behind its file's name; comments are left out.
OTHERS = (
    "grep -sHv '^[[:space:]]*#' /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources "
    f"| grep -v '^{_OURS}'"
)
_LINE = re.compile(r"\s*deb(?:-src)?\s+(?:\[[^]]*\]\s*)?(\S+)")  # sources.list(5), one-line style
_FALSE = ("no", "false", "without", "off", "disable", "0")  # StringToBool, apt-pkg/contrib/strutl.cc


@dataclass(frozen=True)
class Source:
    """An apt repository: its name in the names of files, its URL, the rest of its source line, the text of its key."""

    name: str
    url: str
    rest: str
    key: str
    architecture: str = "amd64"

    @property
    def files(self) -> tuple[HostFile, HostFile]:
        """The files that make apt use the repository: the key, and the source line."""
        line = f"deb [arch={self.architecture} signed-by={keyring(self.name)}] {self.url}{self.rest}\n"
        return HostFile(keyring(self.name), self.key), HostFile(source_list(self.name), line)


def keyring(name: str) -> str:
    """Path of a repository's key on a host."""
    return f"/etc/apt/keyrings/barewind-{name}.asc"


def source_list(name: str) -> str:
    """Path of a repository's source line on a host."""
    return f"{_OURS}{name}.list"


def uris(printed: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The repositories that `OTHERS` prints, as (file, URI): those of either of apt's formats that are switched on."""
    files: dict[str, list[str]] = {}
    for line in printed:
        file, _, text = line.partition(":")
        files.setdefault(file, []).append(text.rstrip("\r"))
    for file, lines in files.items():
        if file.endswith(".sources"):
            for fields in _stanzas(lines):
                types = fields.get("types", "").split()
                if {"deb", "deb-src"} & set(types) and fields.get("enabled", "").strip().lower() not in _FALSE:
                    yield from ((file, uri) for uri in fields.get("uris", "").split())
        else:
            yield from ((file, known[1]) for line in lines if (known := _LINE.match(line)))


def _stanzas(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """The stanzas of a file in deb822 style, fields by their names in small letters; a line that begins with a blank goes on."""
    fields: dict[str, str] = {}
    name = ""
    for line in (*lines, ""):
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t":
            if name:
                fields[name] += f" {line.strip()}"
        else:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()


def repositories() -> dict[str, Repository]:
    """Every repository that the catalog knows, by name."""
    of_vendors = [vendor.repositories for vendor in catalog.vendors().values()]
    return {name: repository for part in (*of_vendors, docker().repositories) for name, repository in part.items()}


def source(spec: EngineSpec, name: str, **values: str) -> Source:
    """The repository `name` of the catalog for a host; `values` fill its source line.

    Raises:
        BarewindError: its key cannot be read, or is not the vendor's.
    """
    rest = repositories()[name].line.removeprefix("{repository}").format(**values)
    return Source(name, url(spec, name), rest, key(spec, name))


def url(spec: EngineSpec, name: str) -> str:
    """URL of a repository for a host."""
    return str(getattr(spec, f"{name.replace('-', '_')}_repository"))


def key(spec: EngineSpec, name: str) -> str:
    """The text of a repository's key: the site's own, for a mirror that it signs itself, or the vendor's as shipped.

    Raises:
        BarewindError: it cannot be read, or is not the vendor's.
    """
    own = {str(repository): file for repository, file in spec.repository_keys.items()}.get(name)
    if own:
        return _read(own, None)
    shipped = repositories()[name]
    return _read(str(_KEYS / shipped.key), shipped.fingerprint)


@lru_cache(maxsize=64)
def _read(path: str, fingerprint: str | None) -> str:
    return openpgp.read(path, fingerprint)
