"""As much of Go's templates as Barewind's facts have: `{{.A.B}}`, `{{json .A}}`, `{{index .A "key"}}`, text around them."""

from __future__ import annotations

import json
import re
from typing import Any

from lab.light.errors import DockerError, not_known

_FORMS = re.compile(r'(?P<json>json +)?\.(?P<path>[\w.]*)|index +\.(?P<of>[\w.]+) +"(?P<key>[^"]*)"')


def render(template: str, document: Any) -> str:
    """The text of a template for one document.

    DockerError for a field that is not there, or a form that is not known.
    """

    def value(match: re.Match[str]) -> str:
        form = _FORMS.fullmatch(match[1].strip())
        if form is None:
            raise not_known(f"the template {match[0]}", 64)
        if form["key"] is not None:
            return str((_field(form["of"], document) or {}).get(form["key"], ""))
        found = _field(form["path"], document)
        if form["json"]:
            return json.dumps(found, separators=(",", ":"))
        if isinstance(found, dict | list):
            raise not_known(f"a template that prints {match[0]} without json", 64)
        return str(found).lower() if isinstance(found, bool) else str(found)

    return re.sub(r"\{\{(.*?)\}\}", value, template)


def _field(path: str, document: Any) -> Any:
    found = document
    for name in filter(None, path.split(".")):
        if not isinstance(found, dict) or name not in found:
            raise DockerError(f"Template parsing error: no entry for key {name!r} of .{path} in the stand-in's answer")
        found = found[name]
    return found
