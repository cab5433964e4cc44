"""The certificate on a balancer: what to run there as root, and what its answer means. Pure.

A balancer has its certificate twice: in a file, which HAProxy reads when it starts or reloads, and in the process that takes
connections, which is told a new one over the runtime API. So a renewal takes nothing from anybody: streams go on in the process
that they are in, and so do its counters. Old processes take no new connections and need no new certificate. The file is replaced
when HAProxy has taken its content; a reload that read the old one meanwhile is noticed, and its process is told too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from barewind.balancer.names import ENDPOINT_PEM, MASTER_SOCKET
from barewind.balancer.processes import AGAIN, FUNCTIONS

_LONGEST = 15_000  # bytes that a process can be told at once: tune.bufsize of HAProxy's master, 16384, less some

# ours: whether HAProxy runs, set up by us: socat comes with our first deploy. current: the process that takes connections.
_FUNCTIONS = f"""{FUNCTIONS}
file={ENDPOINT_PEM}
ours() {{ command -v socat > /dev/null && running; }}
current() {{ workers | awk '$2 == "current" {{ print $1 }}'; }}
shown() {{ say "@!$(current) show ssl cert $file" | grep -E '^(SHA1 FingerPrint|notBefore|notAfter):'; }}
"""

_RENEW = f"""umask 077
mkdir -p -m 755 "${{file%/*}}" && cat > "$file.new" && sync "$file.new" || exit 1
place() {{ cp "$file.new" "$file.next" && mv -f "$file.next" "$file" || exit 1; }}
told() {{
  {{ printf '@!%s set ssl cert %s <<\\n' "$1" "$file"; cat "$file.new"; echo; }} | socat -t 10 -T 10 - UNIX-CONNECT:SOCKET
}}
if ! ours || ! shown > /dev/null; then
  place
elif [ "$(wc -c < "$file.new")" -gt {_LONGEST} ]; then
  cp -p "$file" "$file.before" 2> /dev/null; place
  systemctl reload haproxy.service || {{
    [ ! -e "$file.before" ] || mv -f "$file.before" "$file"
    rm -f "$file.new"; echo 'HAProxy did not take the new certificate over; the old one is back' >&2; exit 1; }}
  rm -f "$file.before"
else
  tries=0
  while :; do
    before=$(workers)
    pid=$(current)
    answer=$(told "$pid"; say "@!$pid commit ssl cert $file")
    if ! echo "$answer" | grep -q '^Success!' && [ "$pid" = "$(current)" ]; then
      say "@!$pid abort ssl cert $file" > /dev/null
      rm -f "$file.new"; echo "HAProxy refuses the new certificate, the old one stays in use:" $answer >&2; exit 1
    fi
    place
    AGAIN
  done
fi
rm -f "$file.new"
if ours && now=$(shown) && ! echo "$now" | grep -q ': WANTED$'; then
  echo "HAProxy was told the new certificate, and still shows another: $now" >&2; exit 1
fi"""


@dataclass(frozen=True)
class Shown:
    """The certificate that a balancer shows to clients. `sha1` is hexadecimal, in capitals."""

    sha1: str
    begins: datetime
    expires: datetime


def look() -> str:
    """Shell command that prints which certificate a balancer shows, nothing where it shows none; `read` reads its output."""
    return f"{_FUNCTIONS}ours && shown"


def renew(sha1: str) -> str:
    """Shell command that makes the PEM on standard input the certificate of the balancer's file and of its process; it fails
    unless HAProxy, where it runs and shows one, shows this one then. A file that is too long for the runtime API is taken over
    by a reload.

    + sha1: of the new certificate
    """
    script = _RENEW.replace("SOCKET", MASTER_SOCKET).replace("AGAIN", AGAIN).replace("WANTED", sha1)
    return f"{_FUNCTIONS}{script}"


def read(lines: Iterable[str]) -> Shown | None:
    """What `look` has printed; None where HAProxy shows no certificate, or does not run."""
    told = dict(line.split(": ", 1) for line in lines if ": " in line)
    try:
        return Shown(told["SHA1 FingerPrint"].strip(), _time(told["notBefore"]), _time(told["notAfter"]))
    except (KeyError, ValueError):
        return None


def _time(text: str) -> datetime:
    """OpenSSL's own form: "Nov 30 08:54:07 2026 GMT", and a blank before days of one digit."""
    return datetime.strptime(re.sub(" +", " ", text.strip()), "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
