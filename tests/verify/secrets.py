"""The secrets that an inventory names, and the forms in which a host might show them."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barewind import secrets
from barewind.plan.engine import EnginePlan
from barewind.registry.logins import credentials
from barewind.registry.reference import parse

# Keys that name a file of the controller with a secret in it.
FILE_KEYS = ("endpoint_key", "hub_token_file", "mirror_key", "monitor_key", "monitor_password_file", "ssh_key")
FILES_KEYS = ("engine_secrets", "registry_logins")  # ... that name several, each by what it is for
_SHORTEST = 8  # characters of a password that can be told from any other word


@dataclass(frozen=True)
class Secret:
    """A secret. `forms` are texts without white space: key files have line breaks, which a log may have lost."""

    name: str
    forms: tuple[str, ...]

    def is_in(self, output: str) -> bool:
        """Whether a host's output holds the secret in any of its forms."""
        joined = _joined(output)
        return any(form in joined for form in self.forms)


def of_inventory(data: Iterable[Mapping[str, Any]], plans: Iterable[EnginePlan]) -> tuple[Secret, ...]:
    """Every secret: files that keys name, and what `docker login` left on this machine for registries that images come from.

    + data: of every host, as pyinfra resolves it

    Raises:
        BarewindError: a file cannot be read, or others can read it.
    """
    hosts = list(data)
    files = [(key, str(host[key])) for key in FILE_KEYS for host in hosts if host.get(key)]
    named = [_of_file(key, file) for key, file in dict.fromkeys(files)]
    several = [(key, *item) for key in FILES_KEYS for host in hosts for item in host.get(key, {}).items()]
    named += [_of_line(*name) for name in dict.fromkeys(several)]
    references = [reference for plan in plans for reference in (plan.image, plan.pinned_image)]
    for registry in dict.fromkeys(parse(reference).registry for reference in references):
        login = credentials(registry)
        if login is not None:
            shown = [secret for secret in (login.password, login.identity_token) if len(secret) >= _SHORTEST]
            forms = [_base64(f"{login.user}:{login.password}"), *shown] if login.password else shown
            named.append(Secret(f"login of {registry}", tuple(map(_joined, forms))))
    return tuple(named)


def _of_file(key: str, file: str) -> Secret:
    # pyinfra's own key is read whatever its mode: what that may be is for pyinfra to say.
    text = Path(file).expanduser().read_text() if key == "ssh_key" else secrets.read(key, file)
    pem = re.fullmatch(r".*?-----BEGIN [^\n]*KEY-----\n(.*?)-----END .*", text, re.DOTALL)
    forms = (pem[1] if pem else text, _base64(text), _base64(text.strip()))
    return Secret(f"{key} {file}", tuple(dict.fromkeys(map(_joined, forms))))


def _of_line(key: str, use: str, file: str) -> Secret:
    text = secrets.read_line(key, file)
    password = text.partition(":")[2] if key == "registry_logins" else text
    forms = [_base64(text), *([password] if len(password) >= _SHORTEST else [])]
    return Secret(f"{key}[{use!r}] {file}", tuple(map(_joined, forms)))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _joined(text: str) -> str:
    return re.sub(r"\s|\\n", "", text)
