"""The key `catalog`: files of a site's own, which are read before anything else is validated by what they hold."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from barewind.catalog import own
from barewind.errors import BarewindError
from barewind.spec.keys import SiteSpec
from barewind.spec.site import HostEntry


def problems(entries: Iterable[HostEntry]) -> list[str]:
    """Have the catalog hold what the hosts' files add; what is wrong with these, a line each.

    A value that is no list of files, and hosts that do not agree, are told where keys are validated.
    """
    files: dict[str, str] = {}  # file -> what names it
    for entry in entries:
        if "catalog" in entry.data:
            try:
                named = SiteSpec(catalog=entry.data["catalog"]).catalog
            except ValidationError:
                continue
            files |= {file: entry.origins.get("catalog", f"host '{entry.name}'") for file in named if file not in files}
    try:
        own.use(list(files))
    except BarewindError as error:
        origin = " and ".join(dict.fromkeys(files.values()))
        return [f"{origin}: key 'catalog': {line}" for line in str(error).splitlines()]
    return []
