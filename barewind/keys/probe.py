"""A key for a look at the endpoint from the balancer itself: made there, in its processes alone, gone with the look. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from barewind.balancer.names import KEYS_MAP
from barewind.balancer.processes import FUNCTIONS
from barewind.keys.entry import Key, map_line
from barewind.keys.plan import PROBE

_LIFE = 900  # seconds, should the look be killed
# What map_line says of a key, but for when it ends.
_ENTRY = map_line(Key(PROBE, "$sha256", "", datetime.fromtimestamp(0, UTC), "")).rpartition(":")[0]

# Where HAProxy asks for no keys, none is made: $probe is empty.
_SCRIPT = f"""{FUNCTIONS}
probe= sha256=
each() {{ workers | while read -r pid age; do
  if say "@!$pid show map {KEYS_MAP}" | grep -q '^Unknown map'; then continue; fi
  echo "$1" | tell "$pid" | grep -v '^$'; echo "$age"
done; }}
forget() {{ [ -z "$sha256" ] || each "del map {KEYS_MAP} $sha256" > /dev/null; }}
if running; then
  probe=sk-bw-probe-$(head -c 32 /dev/urandom | sha256sum | cut -c 1-64)
  sha256=$(printf %s "$probe" | sha256sum | cut -c 1-64)
  trap forget EXIT
  each "add map {KEYS_MAP} {_ENTRY}:$(($(date +%s) + {_LIFE}))" | grep -q current || probe=
fi
"""

# Shell command that prints the HTTP header with the key, for curl's -H @-; nothing where there is none.
HEADER = '{ [ -z "$probe" ] || printf "Authorization: Bearer %s\\n" "$probe"; }'


def with_probe(command: str) -> str:
    """Shell command that runs another one with a key in the variable `probe`, which a reload of HAProxy forgets."""
    return f"{_SCRIPT}{command}"
