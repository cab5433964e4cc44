"""A pull that runs on a host by itself: the program, how it is started and looked at, and what its progress means. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from barewind.facts import objects, script, split
from barewind.meter import size

_FOLDER = "/run/barewind/pull"

# Runs as a transient unit: a lost connection or a dead controller does not end it. Docker's own interface tells bytes; the
# docker command, which does not, is for hosts on which somebody has logged in to the registry. Each layer's last words are
# kept in a file of their own, so that nothing grows.
PROGRAM = r"""
reference=$1; seen=$2
name=${reference%@*}; digest=${reference#*@}; registry=${reference%%/*}
api() {
  url="http://docker/images/create?fromImage=$name&tag=$digest"
  curl -sS -N --unix-socket /var/run/docker.sock -X POST "$url" 2>> "$seen/error" |
    while IFS= read -r line; do
      case $line in
      *'"id":"'*) id=${line##*\"id\":\"}; id=${id%%\"*}; printf '%s\n' "$line" > "$seen/last-$id" ;;
      *'"error'* | '{"message"'*) printf '%s\n' "$line" >> "$seen/error"; continue ;;
      esac
      case $line in *'"status":"Downloading"'*) printf '%s\n' "$line" > "$seen/size-$id" ;; esac
    done
}
for pause in 5 30 0; do
  rm -f "$seen"/last-* "$seen"/size-* "$seen/error"
  if command -v curl > /dev/null && ! grep -qs "\"\(https://\)\?$registry" /root/.docker/config.json; then
    api
  else
    docker pull -q "$reference" > /dev/null 2>> "$seen/error"
  fi
  docker image inspect "$reference" > /dev/null 2>&1 && exit 0
  case $(cat "$seen/error" 2> /dev/null) in
  *unknown* | *'not found'* | *denied* | *unauthorized* | *'no space left'* | *toomanyrequests*) exit 1 ;;
  esac
  sleep $pause
done
exit 1
"""


@dataclass(frozen=True)
class Look:
    """What a look at a pull found. Sizes in bytes; `total` is 0 where it is not known."""

    running: bool
    present: bool
    error: str
    downloaded: int
    total: int
    layers: int
    unpacked: int


def start(reference: str) -> str:
    """The command that starts a pull, unless it runs already."""
    unit, seen = _unit(reference), _seen(reference)
    program = f"{seen}/program"
    return (
        f"systemctl is-active -q {unit} || {{ systemctl reset-failed {unit} 2>/dev/null; umask 077; rm -rf {seen}; "
        f"mkdir -p {seen} && printf %s {shlex.quote(PROGRAM)} > {program} && "
        f"systemd-run --quiet --unit={unit} --description={shlex.quote(f'Pull of {reference}')} --setenv=LC_ALL=C "
        f"sh {program} {shlex.quote(reference)} {seen}; }}"
    )


def look(reference: str) -> str:
    """The command that tells how a pull is."""
    seen = _seen(reference)
    return script(
        pull=f"systemctl show -P ActiveState {_unit(reference)}",
        present=f"docker image inspect -f present {shlex.quote(reference)}",
        last=f"cat {seen}/last-*",
        size=f"cat {seen}/size-*",
        error=f"cat {seen}/error",
    )


def read(lines: list[str], expected: int) -> Look:
    """What the command printed; `expected` is the image's size as locked, 0 if unknown.

    Raises:
        FactProcessError: the answer breaks off.
    """
    found = split(lines)
    last = {one["id"]: one for one in _layers(found.get("last", []))}
    sizes = {one["id"]: one["progressDetail"] for one in _layers(found.get("size", [])) if one.get("progressDetail")}
    layers = {name: str(one.get("status")) for name, one in last.items() if not name.startswith("sha256:")}
    to_come = [name for name, status in layers.items() if status not in _HERE and name not in sizes]
    known = sum(int(one.get("total", 0)) for one in sizes.values())
    return Look(
        running=found.get("pull") in (["active"], ["activating"]),
        present=found.get("present") == ["present"],
        error=_error(found.get("error", [])),
        downloaded=sum(_downloaded(layers.get(name, ""), one) for name, one in sizes.items()),
        total=max(expected, known) if to_come and expected else (0 if to_come else known),
        layers=len(layers),
        unpacked=sum(status in _DONE for status in layers.values()),
    )


def describe(found: Look, rate: str = "") -> str:
    """One line about a pull under way."""
    layers = f"{found.unpacked} of {found.layers} layers unpacked"
    if not found.layers:
        return "pulls the image"
    if not found.total:
        return f"pulls the image: {size(found.downloaded)}, {layers}"
    if found.downloaded >= found.total:
        return f"has downloaded {size(found.total)}; {layers}"
    percent = 100 * found.downloaded // found.total
    return f"pulls the image: {percent} % of {size(found.total)}{rate}, {layers}"


_DONE = ("Pull complete", "Already exists")
_HERE = ("Verifying Checksum", "Download complete", "Extracting", *_DONE)


def _unit(reference: str) -> str:
    return f"barewind-pull-{_short(reference)}.service"


def _seen(reference: str) -> str:
    return f"{_FOLDER}/{_short(reference)}"


def _short(reference: str) -> str:
    return reference.rpartition(":")[2][:12]


def _downloaded(status: str, detail: Mapping[str, Any]) -> int:
    """Bytes of a layer that are here, by its last words of downloading."""
    return int(detail.get("total" if status in _HERE else "current", 0))


def _layers(lines: Iterable[str]) -> list[dict[str, Any]]:
    return [one for one in objects(lines) if isinstance(one.get("id"), str)]


def _error(lines: list[str]) -> str:
    """The last words of a pull that failed, without their JSON."""
    said = [line.strip() for line in lines if line.strip()]
    if not said:
        return ""
    try:
        document = json.loads(said[-1])
        return " ".join(str(document.get("error") or document.get("message") or said[-1]).split())
    except (ValueError, AttributeError):
        return said[-1]
