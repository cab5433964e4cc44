"""Shell commands that have an engine try settings, and put it back to the unit of its release.

What is tried stands in a drop-in of the unit under /run: the unit itself stays as it is, and a restart of the host ends the
trial. A service of the host watches over it: when the controller has not been heard of for `PATIENCE` seconds, as long as a lease
lasts, the service puts the engine back by itself.
"""

from __future__ import annotations

import re
import shlex

from barewind.lease.commands import TERM
from barewind.plan.engine import EnginePlan
from barewind.release.unit import engine_unit, stop_drop_in

PATIENCE = TERM
_WATCH = "barewind-tune"
_HEARD = "/run/barewind/tune"  # its time of change is when the controller was last heard of
_LOOK = 2  # seconds between two looks of the service
_RESET = ("EnvironmentFile", "ExecStartPre", "ExecStart")  # what a start goes by; secrets stay those of the release


def begin(plan: EnginePlan) -> str:
    """Shell command that starts the watch; it fails where one is at work already."""
    loop = (
        f"while [ -e {_HEARD} ] && [ $(($(date +%s) - $(stat -c %Y {_HEARD}))) -lt {PATIENCE} ]; do sleep {_LOOK}; done; "
        f"{put_back(plan)}; rm -f {_HEARD}"
    )
    return (
        f"systemctl is-active -q {_WATCH} && {{ echo 'another tuner is at work here' >&2; exit 1; }}; mkdir -p /run/barewind && "
        f"touch {_HEARD} && systemd-run --quiet --collect --unit={_WATCH} /bin/sh -c {shlex.quote(loop)}"
    )


def heard() -> str:
    """Shell command that tells the watch that the controller is there; it fails where there is none any more."""
    return f"[ -e {_HEARD} ] && touch {_HEARD}"


def attempt(plan: EnginePlan, candidate: EnginePlan) -> str:
    """Shell command that starts an engine with the settings of a candidate instead of its plan's."""
    path, text = shlex.quote(drop_in_file(plan)), shlex.quote(drop_in(candidate))
    return (
        f'mkdir -p "$(dirname {path})" && umask 077 && printf %s {text} > {path}.new && mv -f {path}.new {path} && '
        f"systemctl daemon-reload && {{ {_restart(plan)}; }}"
    )


def put_back(plan: EnginePlan) -> str:
    """Shell command that restarts an engine with the unit of its release, unless that is what it runs; whoever comes first."""
    return f"if rm {shlex.quote(drop_in_file(plan))} 2> /dev/null; then systemctl daemon-reload; {_restart(plan)}; fi"


def end() -> str:
    """Shell command that ends the watch, after the engine was put back."""
    return f"rm -f {_HEARD}; systemctl stop {_WATCH} 2> /dev/null || :"


def _restart(plan: EnginePlan) -> str:
    """A drained engine has no requests to end: it is killed, since one that loads may not hear that it shall stop."""
    unit = shlex.quote(plan.names.unit)
    return (
        f"docker kill {shlex.quote(plan.names.container)} > /dev/null 2>&1; systemctl reset-failed {unit} 2> /dev/null; "
        f"systemctl restart {unit}"
    )


def drop_in_file(plan: EnginePlan) -> str:
    """Where the drop-in lies: behind the release's own by its name, and in memory."""
    return f"/run/systemd/system/{plan.names.unit}.d/zz-barewind-tune.conf"


def drop_in(candidate: EnginePlan) -> str:
    """What has a unit start a candidate: what its own unit says of a start, listed anew."""
    unit = engine_unit(candidate)
    service = unit.partition("[Service]\n")[2].partition("\n[Install]")[0]
    directives = re.findall(rf"^(?:{'|'.join(_RESET)})=(?:.*\\\n)*.*$", service, re.MULTILINE)
    # The release's drop-in adds one, which the line that lists them anew forgets.
    directives += re.findall(r"^ExecStartPre=.+$", stop_drop_in(unit, candidate.spec.replica), re.MULTILINE)
    return "\n".join(
        ["# Written by barewind tune: gone with the next restart of the host.", "[Service]"]
        + [f"{name}=" for name in _RESET]
        + directives
        + [""]
    )
