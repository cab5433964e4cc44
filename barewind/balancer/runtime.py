"""The shell script that tells every process of a balancer's HAProxy something and prints how servers are in each. Pure.

What is told of a hundred servers goes to a process over one connection, and is answered in one: what HAProxy does takes less
than the programs that ask it. Where servers are named, theirs are the only lines that are printed: of a thousand servers the
three answers of one process are half a megabyte. For who looks again, all states have a fingerprint: while it is the same, it is
all that is printed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from barewind.balancer.names import BACKEND, STATE_PROGRAM
from barewind.balancer.processes import AGAIN, FUNCTIONS

MARK = "@@balancer:"

# A fingerprint is of the processes, and of each server's health, what people decided about it, and its weight; a share that
# grows after a return (slowstart) is no change.
_SCRIPT = """FUNCTIONS
orders='ORDERS'
servers=$(printf '%s\\n' "$orders" | awk '{ sub(".*/", "", $3); printf "%s ", $3 }')
show() {
  say "@!$1 $2" | awk -v servers="$servers" '
    BEGIN { FS = OFS = ","; some = split(servers, names, " "); for (i in names) named[names[i]] }
    { last = $0 }
    some && /^(BACKEND[,\\/]|[0-9]+ BACKEND )/ {
      split($0, words, "[ ,/]"); if (!((/^BACKEND/ ? words[2] : words[4]) in named)) next
    }
    { if (NF > 18) NF = 18; print }
    END { if (NR == 0 || last != "") print "(cut off)" }'
}
states() {
  workers | while read -r pid age; do echo "MARKworker $pid $age"; show "$pid" 'show servers state BACKEND'; done
}
fingerprint() {
  awk '
    /^(MARKworker |\\(cut off\\))/ { print }
    /^(# |MARK)/ { state = /^# be_id / }
    state && /^# / { for (i = 2; i <= NF; i++) at[$i] = i - 1; next }
    state && NF > 1 {
      health = $at["srv_op_state"]; checked = $at["srv_check_status"] > 1
      print $at["srv_name"], health == 1 ? 2 : health, $at["srv_admin_state"], $at["srv_uweight"], checked
    }' | sha256sum | cut -c 1-64
}
if ! running; then
  STOPPED
  running || { echo MARKabsent; echo MARKend; exit 0; }
fi
if [ -n "UNLESS" ] && [ "$(states | fingerprint)" = "UNLESS" ]; then echo MARKunchanged; echo MARKend; exit 0; fi
tries=0
while :; do
  before=$(workers)
  answers=$(printf '%s\\n' "$before" | while read -r pid age; do
    [ -n "$pid" ] && echo "MARKworker $pid $age" || continue
    [ -z "$orders" ] || printf '%s\\n' "$orders" | tell "$pid"
    for command in 'show stat BACKEND 4 -1' 'show servers conn BACKEND' 'show servers state BACKEND'; do
      show "$pid" "$command"
    done
  done)
  SAVE
  AGAIN
done
printf '%s\\n' "$answers"
[ -n "$orders" ] || echo "MARKfingerprint $(printf '%s\\n' "$answers" | fingerprint)"
echo MARKend"""

# A server's new state must outlive a crash of HAProxy too. Between set and the last look at the processes: a process that
# a reload starts meanwhile either finds it in the file or is seen there.
_SAVE = f"""if [ -x {STATE_PROGRAM} ]; then {STATE_PROGRAM} save || exit 1; fi"""


def script(orders: Sequence[str] = (), *, stopped: str = "", unless: str = "") -> str:
    """The script.

    + orders: `set server BACKEND/...`, one for each server; the answers are then about these servers alone, else about all
    + stopped: what the state program is told about them where HAProxy does not run
    + unless: the fingerprint of an earlier answer about all; while it is the same, the answer is that alone
    """
    values = {
        "STOPPED": f"if [ -x {STATE_PROGRAM} ]; then {STATE_PROGRAM} {stopped} $servers || exit 1; fi"
        if stopped
        else ":",
        "FUNCTIONS": FUNCTIONS,
        "AGAIN": AGAIN,
        "BACKEND": BACKEND,
        "MARK": MARK,
        "SAVE": _SAVE if orders else ":",
        "UNLESS": unless,
        "ORDERS": "\n".join(orders),
    }
    return re.sub("|".join(values), lambda match: values[match[0]], _SCRIPT)
