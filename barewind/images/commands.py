"""A pull that runs on a host by itself: its program, shell commands that start it and ask how far it is, and what they print."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from barewind.hosts.script import objects, script, split
from barewind.progress.meter import size
from barewind.registry.reference import PinnedImage

_FOLDER = "/run/barewind/pull"

# Runs as a transient unit: a lost connection or a dead controller does not end it. Docker's own interface tells bytes; the
# docker command, which does not, is for registries that want a login: one that came along, which is gone when the pull ends, or
# one that somebody has left on the host. Each layer's last words are kept in a file of their own, so that nothing grows.
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
login=; names=$registry
[ "$registry" != docker.io ] || names='\(index\.\)\?docker\.io'  # docker's own name for it in config.json
names='"\(https\?://\)\?'"$names"
if [ -e "$seen/config.json" ]; then
  login=1
  trap 'rm -f "$seen/config.json"' EXIT
  export DOCKER_CONFIG="$seen"
fi
for pause in 5 30 0; do
  rm -f "$seen"/last-* "$seen"/size-* "$seen/error"
  if [ -z "$login" ] && command -v curl > /dev/null && ! grep -qs "\"credsStore\"\|$names" /root/.docker/config.json; then
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
class PullStatus:
    """How far a pull is. Sizes in bytes; `total` is 0 where it is not known."""

    running: bool
    present: bool
    error: str
    downloaded: int
    total: int
    layers: int
    unpacked: int


def start(image: PinnedImage, *, login: bool = False) -> str:
    """Shell command that starts a pull, unless it runs already; with `login`, a config.json of docker's is its input."""
    unit, folder = _unit(image), _folder(image)
    program, config = f"{folder}/program", f"{folder}/config.json"
    # The program removes it too: this is for one that is killed.
    removal = f"--property=ExecStopPost='-/bin/rm -f {config}' " if login else ""
    take = f"cat > {config} && " if login else ""
    drop = f" || {{ rm -f {config}; false; }}" if login else ""
    return (
        f"systemctl is-active -q {unit} || {{ systemctl reset-failed {unit} 2>/dev/null; umask 077; rm -rf {folder}; "
        f"mkdir -p {folder} && {take}printf %s {shlex.quote(PROGRAM)} > {program} && "
        f"systemd-run --quiet --unit={unit} --description={shlex.quote(f'Pull of {image}')} --setenv=LC_ALL=C {removal}"
        f"sh {program} {shlex.quote(image)} {folder}{drop}; }}"
    )


def print_status(image: PinnedImage) -> str:
    """Shell command that prints how far a pull is, for `read_status`."""
    folder = _folder(image)
    return script(
        pull=f"systemctl show -P ActiveState {_unit(image)}",
        present=f"docker image inspect -f present {shlex.quote(image)}",
        last=f"cat {folder}/last-*",
        size=f"cat {folder}/size-*",
        error=f"cat {folder}/error",
    )


def read_status(lines: list[str], expected: int) -> PullStatus:
    """How far a pull is, from the output of `print_status`; `expected` is the image's size as locked, 0 if unknown.

    Raises:
        FactProcessError: the answer breaks off.
    """
    sections = split(lines)
    messages = {message["id"]: message for message in _of_layers(sections.get("last", []))}
    sizes = {
        message["id"]: message["progressDetail"]
        for message in _of_layers(sections.get("size", []))
        if message.get("progressDetail")
    }
    layers = {name: str(message.get("status")) for name, message in messages.items() if not name.startswith("sha256:")}
    to_come = [name for name, status in layers.items() if status not in _HERE and name not in sizes]
    known = sum(int(detail.get("total", 0)) for detail in sizes.values())
    return PullStatus(
        running=sections.get("pull") in (["active"], ["activating"]),
        present=sections.get("present") == ["present"],
        error=_error(sections.get("error", [])),
        downloaded=sum(_downloaded(layers.get(name, ""), detail) for name, detail in sizes.items()),
        total=max(expected, known) if to_come and expected else (0 if to_come else known),
        layers=len(layers),
        unpacked=sum(status in _DONE for status in layers.values()),
    )


def describe(status: PullStatus, rate: str = "") -> str:
    """One line for a person about a pull under way."""
    layers = f"{status.unpacked} of {status.layers} layers unpacked"
    if not status.layers:
        return "pulls the image"
    if not status.total:
        return f"pulls the image: {size(status.downloaded)}, {layers}"
    if status.downloaded >= status.total:
        return f"has downloaded {size(status.total)}; {layers}"
    percent = 100 * status.downloaded // status.total
    return f"pulls the image: {percent} % of {size(status.total)}{rate}, {layers}"


_DONE = ("Pull complete", "Already exists")
_HERE = ("Verifying Checksum", "Download complete", "Extracting", *_DONE)


def _unit(image: PinnedImage) -> str:
    return f"barewind-pull-{_short_digest(image)}.service"


def _folder(image: PinnedImage) -> str:
    return f"{_FOLDER}/{_short_digest(image)}"


def _short_digest(image: PinnedImage) -> str:
    return image.rpartition(":")[2][:12]


def _downloaded(status: str, detail: Mapping[str, Any]) -> int:
    """Bytes of a layer that are here, by its last message about the download."""
    return int(detail.get("total" if status in _HERE else "current", 0))


def _of_layers(lines: Iterable[str]) -> list[dict[str, Any]]:
    return [message for message in objects(lines) if isinstance(message.get("id"), str)]


def _error(lines: list[str]) -> str:
    """The last message of a pull that failed, without its JSON."""
    messages = [line.strip() for line in lines if line.strip()]
    if not messages:
        return ""
    try:
        document = json.loads(messages[-1])
        return " ".join(str(document.get("error") or document.get("message") or messages[-1]).split())
    except (ValueError, AttributeError):
        return messages[-1]
