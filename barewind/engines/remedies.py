"""What to write instead of an option that an engine does not have, by the option."""

from __future__ import annotations

from functools import cache

from barewind.catalog.option_classes import option_classes
from barewind.engines import ENGINES, options
from barewind.engines.keys import OWN_KEYS
from barewind.spec.hints import RENAMED
from barewind.spec.keys import KNOWN_KEYS


@cache
def remedies(engine: str) -> dict[str, str]:
    """The catalog's words first; then options by which other engines say a key, and keys that were written as options."""
    schema = options.nearest(engine)
    own = {} if schema is None else schema.by_name
    keys = {"--" + key.replace("_", "-"): key for key in KNOWN_KEYS}
    keys |= {"--" + name.replace("_", "-"): key for name, key in RENAMED.items()}
    keys |= {option: key for other in ENGINES.values() for key, names in other.keys.names.items() for option in names}
    found = {option: f"use the key '{key}'" for option, key in keys.items() if option not in own}
    # Options of its own that a misspelled one may mean: who is told their name is refused them next.
    classes = option_classes(engine)
    named = ENGINES[engine].keys.names
    found |= {option: f"use the key '{key}'" for key in OWN_KEYS & named.keys() for option in named[key]}
    found |= {option: f"leave it out: {refusal.why}" for option, refusal in classes.refused.items() if refusal.always}
    return found | classes.hints
