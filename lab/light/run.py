"""`docker run`: a container in the foreground, removed when it has ended."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from lab.light import bundle, processes, store
from lab.light.errors import DockerError, not_known
from lab.light.options import Kind, parse
from lab.light.store import Json

OPTIONS: dict[str, Kind] = {
    **dict.fromkeys(("rm", "init", "read-only", "interactive"), "switch"),
    **dict.fromkeys(
        ("name", "network", "pull", "ipc", "shm-size", "user", "workdir", "entrypoint", "log-driver", "pids-limit"),
        "value",
    ),
    **dict.fromkeys(
        ("volume", "env", "label", "ulimit", "tmpfs", "cap-drop", "cap-add", "group-add", "security-opt"), "list"
    ),
}
SHORT = {"i": "interactive", "v": "volume", "e": "env", "l": "label", "u": "user", "w": "workdir"}
_EXPECTED = {"rm": ("",), "network": ("host",), "pull": ("never",), "log-driver": ("none",)}  # and nothing else
_SECURITY = ("no-new-privileges", "seccomp=unconfined")
_SUBREAPER = 36  # prctl(2): processes that lose their parent become ours


def run(words: Sequence[str]) -> int:
    """Run a container to its end; its exit status."""
    values, rest = parse(words, OPTIONS, SHORT)
    for name, allowed in _EXPECTED.items():
        if values.get(name, [None])[-1] not in allowed:
            raise not_known(f"a container without --{name}{'=' + allowed[0] if allowed[0] else ''}")
    if others := [option for option in values.get("security-opt", ()) if option not in _SECURITY]:
        raise not_known(f"--security-opt={others[0]}")
    if values.get("ipc", ["private"])[-1] not in ("private", "host"):
        raise not_known(f"--ipc={values['ipc'][-1]}")
    if not rest:
        raise DockerError('"docker run" requires at least 1 argument.', 125)
    store.daemon()
    container = _create(values, rest[0], rest[1:])
    try:
        return _wait(container, _start(container))
    finally:
        store.discard(container["id"])


def _create(values: dict[str, list[str]], reference: str, words: Sequence[str]) -> Json:
    identifier = os.urandom(32).hex()
    name = values.get("name", [identifier[:12]])[-1]
    try:
        image = store.image(reference)
    except DockerError:
        raise DockerError(f"docker: Error response from daemon: No such image: {reference}.", 125) from None
    for source, _, _ in bundle.volumes(values):
        Path(source).mkdir(parents=True, exist_ok=True)  # as Docker does
    shown = bundle.config(values, image, words, os.uname().nodename)
    folder = store.CONTAINERS / identifier
    container = {
        "id": identifier,
        "name": name,
        "client": processes.ours(),
        "process": "",
        "image": image["id"],
        "layers": image["layers"],
        "Config": {**shown, "Image": reference},
        "HostConfig": bundle.host_config(values),
    }
    with store.locked("names"):
        if any(name == other["name"] for other in store.containers()):
            raise DockerError(
                f'docker: Error response from daemon: Conflict. The container name "/{name}" is already in use.', 125
            )
        store.write(folder / "container.json", container)
    store.write(folder / "config.json", bundle.spec(identifier, values, container, folder / "rootfs"))
    return container


def _start(container: Json) -> int:
    """Start a container; the number of its first process, a child of ours."""
    folder, writable = store.CONTAINERS / container["id"], store.WRITABLE / container["id"]
    for directory in (folder / "rootfs", writable / "upper", writable / "work"):
        directory.mkdir(parents=True)
    lower = ":".join(str(store.layer(layer)) for layer in reversed(container["layers"]))
    options = f"lowerdir={lower},upperdir={writable}/upper,workdir={writable}/work"
    mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(folder / "rootfs")]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DockerError(f"docker: Error response from daemon: {done.stderr.strip()}", 125)
    (writable / "upper").chmod(0o755)
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    seen = folder / "pid"
    with (folder / "runc.log").open("w+") as log:
        create = ["runc", "--root", str(store.RUNC), "--log", log.name, "run", "--detach", "--bundle", str(folder)]
        create += ["--pid-file", str(seen), container["id"]]
        stdin = None if container["Config"]["OpenStdin"] else subprocess.DEVNULL
        status = subprocess.run(create, stdin=stdin, check=False).returncode
        if status:
            raise DockerError(f"docker: Error response from daemon: {log.read().strip() or 'runc failed'}", 127)
    pid = int(seen.read_text())
    container["process"] = processes.identity(pid)
    store.write(folder / "container.json", container)
    return pid


def _wait(container: Json, pid: int) -> int:
    """Wait for its end, and pass signals on meanwhile; its exit status as Docker tells it."""

    def forward(number: int, _: object) -> None:
        store.runc("kill", container["id"], str(number), check=False)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, forward)
    while True:
        try:
            ended, status = os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.1)  # `forward` has waited for its own child
            if not processes.lives(container["process"]):
                return 137
            continue
        if ended == pid:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
