"""What a host's keys must not hold in the open, and what they open: secrets in plain text, switches that let somebody in."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress

from barewind.engines import ENGINES, options
from barewind.engines.base import IMAGE_RISK
from barewind.engines.command import Value, option_of
from barewind.engines.image import version
from barewind.secrets import looks_like_one, option_named_like_one, variable_named_like_one
from barewind.spec.keys import EngineSpec

_OFF = ("", "0", "false", "no", "off", "none")  # as engines read their variables


def secrets(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    """Key and sentence of every secret that stands in the group data. The sentence does not repeat it."""
    engine = ENGINES[spec.engine]
    for name, value in spec.engine_args.items():
        option = option_of(name)
        if value is False:
            continue
        if (
            option in engine.secret_options
            or _abbreviates_one(spec, option)
            or (option_named_like_one(name) and _takes_text(spec, option))
        ):
            variable = engine.secret_options.get(option, "")
            yield (
                "engine_args",
                f"'{name}' holds a secret, which every process list would show; {_remedy(spec, variable)}",
            )
        elif _hidden(value):
            yield (
                "engine_args",
                f"'{name}' has a secret in its value, which every process list would show; {_remedy(spec, '')}",
            )
    for name, value in spec.engine_env.items():
        proxy = name.lower().endswith("_proxy") and "@" in value  # with a login, also without the http:// in front
        if variable_named_like_one(name) or looks_like_one(value) or proxy:
            yield (
                "engine_env",
                f"'{name}' looks like a secret, which docker inspect would show; write it to a file of mode 0600 and name that: "
                f'engine_secrets = {{"{name}": "~/secrets/{name.lower()}"}}',
            )
    for name in spec.engine_secrets:
        if name in spec.engine_env:
            yield "engine_secrets", f"'{name}' is in engine_env too; remove it there"
    for word in spec.evaluation or ():
        if looks_like_one(word):
            yield (
                "evaluation",
                "a word of the command has a secret in it, which logs would show; set it as a variable where you deploy "
                "and name that in 'evaluation_env'",
            )
    for registry in spec.registry_logins:
        if registry in spec.insecure_registries and not _private(registry):
            yield (
                "registry_logins",
                f"'{registry}' is among insecure_registries: its password would cross the network in the clear; use TLS",
            )
    for key in ("hub_endpoint", "weights_path", "image", "mirror"):
        if looks_like_one(str(getattr(spec, key) or "")):
            yield (
                key,
                "has a secret in it; 'hub_token_file' takes the hub's by file, 'registry_logins' those of registries",
            )


def risks(spec: EngineSpec) -> dict[str, str]:
    """What a host's own options and variables open, by the name that accepts it, in a few words."""
    engine = ENGINES[spec.engine]
    on: dict[str, Value | None] = {_listed(spec, name): value for name, value in spec.engine_args.items()}
    # A variable whose value comes from a file is there, whatever it says.
    on |= {name: value.strip().lower() not in _OFF for name, value in spec.engine_env.items()}
    on |= dict.fromkeys(spec.engine_secrets, True)
    found = {
        name.removeprefix("--"): risk
        for name, risk in engine.risks.items()
        if on.get(name, False) not in (False, "", {})
    }
    if spec.modality == "image" and engine.image_risk:
        found[IMAGE_RISK] = engine.image_risk
    return found


def unaccepted(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    """Key and sentence of every risk that nobody has accepted."""
    for name, risk in risks(spec).items():
        if name == IMAGE_RISK and name not in spec.accept_risks:
            yield (
                "modality",
                f'"image" on {spec.engine}: {risk}. Choose another engine, or accept it: accept_risks = ["{name}"]',
            )
        elif name not in spec.accept_risks:
            key = "engine_args" if f"--{name}" in ENGINES[spec.engine].risks else "engine_env"
            yield key, f"'{name}': {risk}; leave it out, or accept the risk: accept_risks = [\"{name}\"]"


def unused(spec: EngineSpec) -> list[str]:
    """Accepted risks that a host does not run."""
    return [name for name in spec.accept_risks if name not in risks(spec)]


def _remedy(spec: EngineSpec, variable: str) -> str:
    if variable:
        return f'write it to a file of mode 0600 and name that: engine_secrets = {{"{variable}": "~/secrets/{variable.lower()}"}}'
    return (
        f"{spec.engine} takes it as an argument only: leave it out, or give the engine a variable by 'engine_secrets' where it "
        "reads one"
    )


def _abbreviates_one(spec: EngineSpec, option: str) -> bool:
    """Whether the engine could take an option for one that holds a secret: it is refused, but by then the plan has shown it."""
    schema = options.nearest(spec.engine, version(spec))
    known = schema is not None and option in schema.by_name
    return not known and any(full.startswith(option) for full in ENGINES[spec.engine].secret_options)


def _takes_text(spec: EngineSpec, option: str) -> bool:
    """Whether an option can hold a secret at all; one that the engine does not know can."""
    schema = options.nearest(spec.engine, version(spec))
    flag = None if schema is None else schema.by_name.get(option)
    return flag is None or (flag.values != 0 and flag.type not in ("int", "float", "size"))


def _hidden(value: Value) -> bool:
    """Whether a value has a secret in it, by its form or, inside JSON, by its name."""
    if isinstance(value, Mapping):
        return any((option_named_like_one(str(key)) and bool(inner)) or _hidden(inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return any(map(_hidden, value))
    if not isinstance(value, str):
        return False
    with suppress(ValueError, RecursionError):  # options of JSON may be written as text
        inner = json.loads(value)
        if isinstance(inner, dict | list):
            return _hidden(inner)
    return looks_like_one(value)


def _private(registry: str) -> bool:
    try:
        return ipaddress.ip_address(re.sub(r":\d+$", "", registry).strip("[]")).is_private
    except ValueError:
        return False  # a name can come to stand for any address


def _listed(spec: EngineSpec, name: str) -> str:
    """An option under the name that the engine lists first; what turns one off is another option."""
    schema, option = options.nearest(spec.engine, version(spec)), option_of(name)
    flag = None if schema is None else schema.by_name.get(option)
    return option if flag is None or option in flag.negated else flag.names[0]
