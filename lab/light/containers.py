"""What is done with containers that run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.light import processes, store
from lab.light.errors import DockerError, not_known
from lab.light.options import parse
from lab.light.store import Json
from lab.light.template import render

_LOOK = 0.05  # seconds between two looks whether a container has ended


def ps(words: Sequence[str]) -> int:
    """`docker ps [-a] [-q] [--no-trunc]`."""
    values, rest = parse(words, {"all": "switch", "quiet": "switch", "no-trunc": "switch"}, {"a": "all", "q": "quiet"})
    if rest:
        raise DockerError('"docker ps" accepts no arguments.')
    store.daemon()
    length = 64 if "no-trunc" in values else 12
    lines = []
    if "quiet" not in values:
        lines.append(f"{'CONTAINER ID':{length}}   IMAGE   NAMES")
    for container in store.containers():
        whole = f"{container['id'][:length]}   {container['Config']['Image']}   {container['name']}"
        lines.append(container["id"][:length] if "quiet" in values else whole)
    print("\n".join(lines), end="\n" if lines else "")
    return 0


def inspect(words: Sequence[str]) -> int:
    """`docker inspect [-f TEMPLATE] NAME...`, of containers."""
    return show(words, lambda name: describe(store.container(name)), "[]", "Error: No such object: {}")


def show(words: Sequence[str], find: Callable[[str], Json], nothing: str, missing: str) -> int:
    """Print what is found by each name, whole or by a template; status 1 where one is missing."""
    values, names = parse(words, {"format": "value"}, {"f": "format"})
    if not names:
        raise DockerError('"docker inspect" requires at least 1 argument.')
    store.daemon()
    found: list[Json] = []
    status = 0
    for name in names:
        try:
            found.append(find(name))
        except DockerError:
            print(missing.format(name), file=sys.stderr)
            status = 1
    if "format" in values:
        for document in found:
            print(render(values["format"][-1], document))
    else:
        print(json.dumps(found, indent=4) if found else nothing)
    return status


def describe(container: Json) -> Json:
    """As much of Docker's description as there is."""
    alive = processes.lives(container["process"])
    return {
        "Id": container["id"],
        "Name": f"/{container['name']}",
        "Image": container["image"],
        "State": {
            "Status": "running" if alive else "created",
            "Running": alive,
            "Pid": int(container["process"].split()[0]) if alive else 0,
            "ExitCode": 0,
        },
        "Config": container["Config"],
        "HostConfig": container["HostConfig"],
    }


def stop(words: Sequence[str]) -> int:
    """`docker stop [-t SECONDS] NAME...`."""
    values, names = parse(words, {"time": "value"}, {"t": "time"})
    return _each(names, "stop", lambda container: _stop(container, float(values.get("time", ["10"])[-1])))


def kill(words: Sequence[str]) -> int:
    """`docker kill [-s SIGNAL] NAME...`."""
    values, names = parse(words, {"signal": "value"}, {"s": "signal"})
    number = values.get("signal", ["KILL"])[-1]

    def act(container: Json) -> None:
        store.runc("kill", container["id"], number)

    return _each(names, "kill", act)


def remove(words: Sequence[str]) -> int:
    """`docker rm -f NAME...`."""
    values, names = parse(words, {"force": "switch"}, {"f": "force"})
    if "force" not in values:
        raise not_known("docker rm without --force")
    return _each(names, "rm", lambda container: _stop(container, 0))


def top(words: Sequence[str]) -> int:
    """`docker top NAME [PS-OPTIONS]`: processes as the host numbers them."""
    if not words or words[0].startswith("-"):
        raise DockerError('"docker top" requires at least 1 argument.')
    store.daemon()
    container = store.container(words[0])
    numbers = json.loads(store.runc("ps", "--format", "json", container["id"]).stdout)
    options = list(words[1:]) or ["-ef"]
    if options != ["-ef"] and options[0] != "-eo":
        raise not_known(f"docker top {' '.join(options)}")
    chosen = [*("-o" if option == "-eo" else option for option in options if option != "-ef")] or ["-f"]
    return subprocess.run(["ps", *chosen, "-p", ",".join(map(str, numbers))], check=False).returncode


def execute(words: Sequence[str]) -> int:
    """`docker exec [-i] NAME COMMAND`."""
    values, rest = parse(words, {"interactive": "switch"}, {"i": "interactive"})
    if len(rest) < 2:
        raise DockerError('"docker exec" requires at least 2 arguments.')
    store.daemon()
    container = store.container(rest[0])
    stdin = None if "interactive" in values else subprocess.DEVNULL
    command = ["runc", "--root", str(store.RUNC), "exec", container["id"], *rest[1:]]
    return subprocess.run(command, stdin=stdin, check=False).returncode


def logs(words: Sequence[str]) -> int:
    """`docker logs NAME`: every container has --log-driver=none."""
    store.daemon()
    for name in words:
        store.container(name)
    raise DockerError("Error response from daemon: configured logging driver does not support reading")


def _each(names: Sequence[str], verb: str, act: Callable[[Json], None]) -> int:
    if not names:
        raise DockerError(f'"docker {verb}" requires at least 1 argument.')
    store.daemon()
    status = 0
    for name in names:
        try:
            act(store.container(name))
            print(name)
        except DockerError as error:
            print(str(error).replace("Error: ", "Error response from daemon: ", 1), file=sys.stderr)
            status = 1
    return status


def _stop(container: Json, seconds: float) -> None:
    """Ask it to end, and kill it after so many seconds. Its command removes it; one that was killed does not."""
    if seconds:
        store.runc("kill", container["id"], "TERM", check=False)
        _ended(container, seconds)
    if processes.lives(container["process"]):
        store.runc("kill", container["id"], "KILL", check=False)
        if not _ended(container, 10):
            raise DockerError(f"Error: cannot stop {container['name']}: its processes do not end")
    end = time.monotonic() + 5
    while processes.lives(container["client"]) and time.monotonic() < end:
        if not (store.CONTAINERS / container["id"]).exists():
            return
        time.sleep(_LOOK)
    if not processes.lives(container["client"]) and Path(store.CONTAINERS / container["id"]).exists():
        store.discard(container["id"])


def _ended(container: Json, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while processes.lives(container["process"]) and time.monotonic() < end:
        time.sleep(_LOOK)
    return not processes.lives(container["process"])
