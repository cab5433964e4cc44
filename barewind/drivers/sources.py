"""Repositories of a host: URL from group data, the rest from the catalog, the key as shipped or as the site gives it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from barewind import pgp
from barewind.catalog.drivers import drivers
from barewind.drivers import Source
from barewind.errors import BarewindError
from barewind.spec import EngineSpec

_KEYS = Path(__file__).parent.parent / "keys"
_SAME_KEY = {"rocm": "amdgpu", "amd-toolkit": "amdgpu"}  # one vendor, one key


def source(spec: EngineSpec, name: str, **values: str) -> Source:
    """The repository `name` of the catalog for one host; `values` fill its source line.

    Raises:
        BarewindError: its key cannot be read, or is not the vendor's.
    """
    catalog = drivers()
    lines = catalog.nvidia.sources | catalog.amd.sources | catalog.docker.sources
    rest = lines[name].removeprefix("{repository}").format(**values)
    return Source(name, url(spec, name), rest, key(spec, name))


def url(spec: EngineSpec, name: str) -> str:
    """Where the repository is, for one host."""
    return str(getattr(spec, f"{name.replace('-', '_')}_repository"))


def key(spec: EngineSpec, name: str) -> str:
    """The text of a repository's key: the site's own, for a mirror that it signs itself, or the vendor's as shipped."""
    given: str | None = {**spec.repository_keys}.get(name)  # type: ignore[call-overload]
    return _read(given, None) if given else _read(str(_KEYS / f"{_SAME_KEY.get(name, name)}.asc"), _fingerprint(name))


def check_keys(specs: list[EngineSpec]) -> None:
    """Read every key that hosts may need, before anything changes.

    Raises:
        BarewindError: every problem, with the host that has it.
    """
    problems: dict[str, str] = {}
    for spec in specs:
        for name in needed(spec):
            try:
                key(spec, name)
            except BarewindError as error:
                problems.setdefault(str(error), spec.host)
    if problems:
        raise BarewindError("\n".join(f"{host}: {problem}" for problem, host in problems.items()))


def needed(spec: EngineSpec) -> list[str]:
    """Names of the repositories a host uses."""
    from barewind import catalog

    vendor = catalog.accelerators()[spec.accelerator].vendor
    names = ["docker"] if spec.docker_source == "vendor" else []
    if spec.accelerator_drivers == "managed" and vendor == "nvidia":
        names += ["nvidia", "nvidia-toolkit"]
    if spec.accelerator_drivers == "managed" and vendor == "amd":
        names += ["amdgpu", *(["rocm"] if spec.rocm_release else [])]
        names += ["amd-toolkit"] if spec.amd_container_access == "toolkit" else []
    return names


def _fingerprint(name: str) -> str:
    catalog = drivers()
    return (catalog.nvidia.keys | catalog.amd.keys | catalog.docker.keys)[name]


@lru_cache(maxsize=64)
def _read(path: str, fingerprint: str | None) -> str:
    return pgp.read(path, fingerprint)
