"""The command `docker`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from lab.light.errors import DockerError, not_known
from lab.light.options import parse

VERSION = "20.10.24"
_Action = Callable[[Sequence[str]], int]


def main(arguments: list[str]) -> int:
    """Run a subcommand; its exit status."""
    try:
        return _main(arguments[1:])
    except DockerError as error:
        print(error, file=sys.stderr)
        return error.status
    except BrokenPipeError:
        return 141


def _main(words: Sequence[str]) -> int:
    if words[:1] in (["--version"], ["-v"]):
        print(f"Docker version {VERSION}, build lab-stand-in")
        return 0
    verb, *rest = words or [""]
    action = _action(verb)
    if action is None:
        raise not_known(f"'docker {verb}'".replace(" '", "'"))
    return action(rest)


def _action(verb: str) -> _Action | None:
    """What a subcommand does. Modules are loaded when they are needed: facts ask often."""
    if verb == "run":
        from lab.light.run import run

        return run
    if verb in ("image", "images", "pull"):
        from lab.light import images

        return {"image": images.image, "images": images.listed, "pull": images.pulled}[verb]
    if verb in ("info", "version"):
        return {"info": info, "version": version}[verb]
    from lab.light import containers

    return {
        "ps": containers.ps,
        "inspect": containers.inspect,
        "stop": containers.stop,
        "kill": containers.kill,
        "rm": containers.remove,
        "top": containers.top,
        "exec": containers.execute,
        "logs": containers.logs,
    }.get(verb)


def info(words: Sequence[str]) -> int:
    """`docker info [-f TEMPLATE]`."""
    from lab.light import store

    settings = store.daemon()
    indexes = {"docker.io": {"Name": "docker.io", "Mirrors": [], "Secure": True, "Official": True}}
    for name in settings["insecure-registries"]:
        indexes[name] = {"Name": name, "Mirrors": [], "Secure": False, "Official": False}
    document = {
        "ServerVersion": VERSION,
        "Containers": len(store.containers()),
        "Images": len(store.images()),
        "DockerRootDir": str(store.HOME),
        "DriverStatus": [["Backing Filesystem", "extfs"]],
        "SecurityOptions": ["name=seccomp,profile=default"],
        "RegistryConfig": {"IndexConfigs": indexes},
        "Runtimes": {"runc": {"path": "runc"}, **settings["runtimes"]},
    }
    return _tell(words, document)


def version(words: Sequence[str]) -> int:
    """`docker version [-f TEMPLATE]`."""
    from lab.light import store

    store.daemon()
    return _tell(words, {"Client": {"Version": VERSION}, "Server": {"Version": VERSION}})


def _tell(words: Sequence[str], document: dict[str, object]) -> int:
    import json

    from lab.light.template import render

    values, rest = parse(words, {"format": "value"}, {"f": "format"})
    if rest:
        raise not_known(f"the argument {rest[0]}")
    print(render(values["format"][-1], document) if "format" in values else json.dumps(document, indent=1))
    return 0
