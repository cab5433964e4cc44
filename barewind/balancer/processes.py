"""The processes of a balancer's HAProxy, in shell: which there are, and something told to each of them. Pure.

After a reload the old process lives until its last stream has ended. It answers on the master's socket only.
"""

from __future__ import annotations

from barewind.balancer.names import MASTER_SOCKET

TRIES, PAUSE = 25, 0.2  # a reload takes HAProxy well under a second; seconds
_LINE = 8000  # bytes told over one connection: HAProxy's master takes 16384 less some (tune.bufsize is the workers')

# running: whether HAProxy runs. say TEXT: the answer of the master's socket. workers: number and age of each process, one a line.
# tell NUMBER: has that process do the orders on standard input, one a line; each is answered by a message, if something is wrong
# with it, and an empty line.
FUNCTIONS = f"""export LC_ALL=C
say() {{ printf '%s\\n' "$1" | socat -t 10 -T 10 - UNIX-CONNECT:{MASTER_SOCKET}; }}
workers() {{ say 'show proc' | awk '
  /^# workers/ {{ age = "current"; next }} /^# old workers/ {{ age = "old"; next }} /^#/ {{ age = ""; next }}
  age && NF {{ print $1, age }}'; }}
running() {{ case $(systemctl is-active haproxy.service) in inactive | failed | unknown) return 1 ;; esac; }}
tell() {{
  told=$(cat)
  [ -n "$told" ] || return 0
  printf '%s\\n' "$told" | awk -v to="@!$1 " '
    line != "" && length(line to $0) > {_LINE} {{ print line; line = "" }}
    {{ line = line (line == "" ? "" : "; ") to $0 }}
    END {{ print line }}' | while IFS= read -r line; do say "$line"; done | awk -v orders="$(printf '%s\\n' "$told" | wc -l)" '
    {{ print }} /^$/ {{ answers++ }} END {{ if (answers != orders) print "(cut off)" }}'
}}"""

# What to do where a look at the processes in the variable `before` was overtaken by a reload or an exit: `tries` counts.
AGAIN = f"""if [ -n "$before" ] && [ "$before" = "$(workers)" ]; then break; fi
  tries=$((tries + 1))
  if [ $tries -ge {TRIES} ]; then
    echo 'HAProxy runs, but {MASTER_SOCKET} does not tell its processes; processes it told last:' "${{before:-none}}" >&2
    exit 1
  fi
  sleep {PAUSE}"""
