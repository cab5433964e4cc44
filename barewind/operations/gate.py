"""Gates: nothing counts as done before it has answered a real request."""

from __future__ import annotations

import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand, operation

from barewind.facts.completion import Answers, request
from barewind.operations import known

_LOG_LINES = 40
_RESTARTS = 2  # after these many a unit that keeps dying is given up on


@operation()
def answers(url: str, model: str, unit: str, timeout: int) -> Generator[StringCommand, None, None]:
    """Wait until an endpoint answers a one-token chat completion; one that does already is left in peace.

    Gives up when the unit has failed, has been restarted twice, or the time is over, and shows the end of its log.

    + url: base URL
    + model: name of the model as clients write it
    + unit: unit behind it, whose log tells why when it does not answer
    + timeout: seconds

    **Example:**

    .. code:: python

        answers(name="Engine answers", url="http://10.0.0.11:8000", model="mistral", unit="barewind-engine", timeout=1800)
    """
    if known(host.get_fact(Answers, url=url, model=model), host.name, url):
        return
    name = shlex.quote(unit)
    yield StringCommand(
        f"""end=$(($(date +%s) + {timeout})); why=; before=$(systemctl show -P NRestarts {name})
while ! {{ answer=$({request(url, model)} 2>&1) && echo "$answer" | grep -q '"completion_tokens": *[1-9]'; }}; do
  restarts=$(($(systemctl show -P NRestarts {name}) - before)); state=$(systemctl show -P ActiveState {name})
  if [ "$state" = failed ]; then why="its unit failed"; fi
  if [ "$restarts" -ge {_RESTARTS} ]; then why="its unit was restarted $restarts times"; fi
  if [ "$(date +%s)" -ge "$end" ]; then why="the time limit of {timeout} s is over"; fi
  if [ -n "$why" ]; then
    journalctl -u {name} -n {_LOG_LINES} --no-pager -o cat >&2
    echo {shlex.quote(f"{host.name}: {url} does not answer:")} "$why. Last answer: $answer" >&2
    echo {shlex.quote(f"{host.name}: the log above ends with the reason; more of it: journalctl -u {unit}")} >&2
    exit 1
  fi
  sleep 2
done"""
    )
