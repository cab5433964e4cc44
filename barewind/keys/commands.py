"""The keys on a balancer: what to run there as root, and what its answer means. Pure: the caller has the transport.

A balancer has its keys twice: in a file, which HAProxy reads when it starts or reloads, and in each of its processes, which are
told over the runtime API. `tell` makes both what is wanted, in the order in which nobody is let in who is to stay out: processes
forget keys, the file is replaced, processes learn keys. A reload meanwhile is noticed, and all of it is done again. What HAProxy
answers to orders is not taken for it: every process is asked at the end what it knows, and the caller compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from barewind.balancer.names import KEYS_MAP
from barewind.balancer.peers import TABLE
from barewind.balancer.processes import AGAIN, FUNCTIONS
from barewind.errors import BarewindError
from barewind.keys.plan import END, PROBE, SERIAL, differences, entries

MODE = "600 root root"

_MARK = "@@keys:"
_WAIT = 30  # seconds for another command about the keys of the same balancer
_UNKNOWN = "Unknown map identifier."  # of a process whose configuration asks for no keys

# ours: whether HAProxy runs, set up by us: socat comes with our first deploy. shown NUMBER: the keys that a process knows. settle
# HALF: has every process forget or learn what differs from the new file; the key of a probe stays until it has expired
# (probe.py). print: the file, and what every process knows.
_FUNCTIONS = f"""{FUNCTIONS}
map={KEYS_MAP}
umask 022  # for HAProxy's own directory, which its package may not have made yet
mkdir -p "${{map%/*}}" && umask 077 && exec 9> "$map.lock" && flock -w {_WAIT} 9 || {{
  echo "$map: cannot be looked at; is another command stuck there?" >&2; exit 1; }}
ours() {{ command -v socat > /dev/null && running; }}
serial() {{ sed -n '1s/^{SERIAL}\\([0-9]*\\)$/\\1/p' "$1" 2> /dev/null | grep . || echo 0; }}
shown() {{ say "@!$1 show map $map"; }}
differing() {{
  shown "$1" | awk -v map="$map" -v half="$2" -v now="$(date +%s)" '
    FNR == NR {{ if (length($1) == 64) wanted[$1] = $2; next }}
    NF != 3 || length($2) != 64 {{ next }}
    !($2 in wanted) {{
      split($3, fields, ":")
      if (half == "forget" && !(fields[1] == "{PROBE}" && fields[6] + 0 > now + 0)) print "del map " map " " $2
      next
    }}
    {{ known[$2] }}
    $3 != wanted[$2] && half == "learn" {{ print "set map " map " " $2 " " wanted[$2] }}
    END {{ if (half == "learn") for (key in wanted) if (!(key in known)) print "add map " map " " key " " wanted[key] }}
  ' "$map.new" -
}}
settle() {{
  printf '%s\\n' "$before" | while read -r pid age; do
    [ -z "$pid" ] || shown "$pid" | grep -q '^{_UNKNOWN}' || differing "$pid" "$1" | tell "$pid" > /dev/null
  done
}}
place() {{ cp "$map.new" "$map.next" && sync "$map.next" && mv -f "$map.next" "$map" || exit 1; }}
print() {{
  if [ -f "$map" ]; then stat -c '{_MARK}file %a %U %G' "$map"; cat "$map"; fi
  ours || {{ echo {_MARK}end; exit 0; }}
  tries=0
  while :; do
    before=$(workers)
    answers=$(printf '%s\\n' "$before" | while read -r pid age; do
      [ -n "$pid" ] && echo "{_MARK}worker $pid $age" || continue
      shown "$pid" | awk '{{ last = $0 }} NF {{ print }} END {{ if (NR == 0 || last != "") print "(cut off)" }}'
      say "@!$pid show table {TABLE}" | grep ' key='
    done)
    {AGAIN}
  done
  printf '%s\\n%s\\n' "$answers" {_MARK}end
}}
"""

_TELL = """cat > "$map.new"
[ "$(tail -n 1 "$map.new")" = "END" ] || { echo 'what it was told breaks off' >&2; rm -f "$map.new"; exit 1; }
if [ "$(serial "$map")" -gt NEWEST ]; then
  :  # what it shows says so
elif ours; then
  tries=0
  while :; do
    before=$(workers)
    settle forget
    place
    settle learn
    AGAIN
  done
else
  place
fi
rm -f "$map.new"
print"""


@dataclass(frozen=True)
class Use:
    """The requests of an id: in the last minute, and at this moment."""

    rate: int = 0
    parallel: int = 0


@dataclass(frozen=True)
class Process:
    """What a process of HAProxy knows of keys, by their SHA-256; None: its configuration asks for none. `uses` are by id."""

    pid: int
    current: bool
    entries: Mapping[str, str] | None
    uses: Mapping[str, Use] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Known:
    """What a balancer knows of keys. Without processes: HAProxy does not run.

    + file: the text of its map, and "mode owner group"; None where there is no such file
    """

    file: tuple[str, str] | None
    processes: tuple[Process, ...]

    @property
    def asks(self) -> bool:
        """Whether its HAProxy wants keys of clients."""
        return any(process.entries is not None for process in self.processes if process.current)

    @property
    def uses(self) -> dict[str, Use]:
        """The requests of every id. A new process has taken the rates over from the old one; each counts its own at a time."""
        found: dict[str, Use] = {}
        for process in self.processes:
            for id, use in process.uses.items():
                known = found.get(id, Use())
                found[id] = Use(max(known.rate, use.rate), known.parallel + use.parallel)
        return found

    def problems(self, wanted: str, names: Mapping[str, str]) -> Iterator[str]:
        """How it differs from a map, in words.

        + names: what people call the keys, by SHA-256
        """
        if self.file is None:
            yield f"has no {KEYS_MAP}"
        else:
            yield from differences(entries(wanted), entries(self.file[0]), names)
            if self.file[1] != MODE:
                yield f"has {KEYS_MAP} of mode {self.file[1]} instead of {MODE}"
        for process in self.processes:
            if process.entries is not None:
                what = "its HAProxy" if process.current else f"its old HAProxy process {process.pid}"
                yield from (f"{what} {found}" for found in differences(entries(wanted), process.entries, names))


def look(table: str = TABLE) -> str:
    """Shell command that prints what a balancer knows of keys; `read` reads its output.

    + table: where HAProxy counts the requests of each id (balancer/peers.py)
    """
    return f"{_FUNCTIONS}print".replace(f'show table {TABLE}"', f'show table {table}"')


def tell(newest: int) -> str:
    """Shell command that makes the map on standard input that of a balancer's file and of every process, and prints what
    `look` prints.

    + newest: serial of the newest map that may be replaced; a balancer with a later one keeps it
    """
    values = {"NEWEST": str(newest), "END": END, "AGAIN": AGAIN}
    return _FUNCTIONS + re.sub("|".join(values), lambda match: values[match[0]], _TELL)


def read(output: str, balancer: str) -> Known:
    """What a balancer knows of keys, from the output of `look` and `tell`; `balancer` is the host's name, for messages.

    Raises:
        BarewindError: the output is cut off or not HAProxy's.
    """
    lines = output.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(_MARK)]
    if not starts or lines[starts[-1]] != f"{_MARK}end":
        raise _unreadable(balancer, lines[-1] if lines else "nothing")
    file = None
    processes = []
    for start, end in pairwise(starts):
        kind, _, rest = lines[start].removeprefix(_MARK).partition(" ")
        if kind == "file":
            file = "".join(f"{line}\n" for line in lines[start + 1 : end]), rest
        else:
            pid, _, age = rest.partition(" ")
            processes.append(_process(int(pid), age == "current", lines[start + 1 : end], balancer))
    if processes and not any(process.current for process in processes):
        raise _unreadable(balancer, "no current process")
    return Known(file, tuple(processes))


def _process(pid: int, current: bool, lines: list[str], balancer: str) -> Process:
    known: dict[str, str] | None = {}
    uses: dict[str, Use] = {}
    for line in lines:
        if line.startswith(_UNKNOWN):
            known = None
        elif known is not None and (found := re.fullmatch(r"0x[0-9a-f]+ ([0-9a-f]{64}) (\S+)", line)):
            known[found[1]] = found[2]
        elif found := re.match(r"0x[0-9a-f]+: key=(\S+) ", line):
            # `use`: how many requests under way the entry counts for. HAProxy's conn_cur would be another balancer's as well.
            uses[found[1]] = Use(_counter("http_req_rate", line), _counter("use", line))
        else:
            raise _unreadable(balancer, line)
    return Process(pid, current, known, uses)


def _counter(name: str, line: str) -> int:
    found = re.search(rf" {name}(?:\(\d+\))?=(\d+)", line)
    return int(found[1]) if found else 0


def _unreadable(balancer: str, line: str) -> BarewindError:
    return BarewindError(
        f"{balancer}: what HAProxy knows of keys cannot be read, at {line[:80]!r}; look there with: journalctl -u haproxy.service"
    )
