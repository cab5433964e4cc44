"""Images of a light host: listed, inspected, removed, pulled."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from lab.light import containers, store
from lab.light.errors import DockerError, not_known
from lab.light.options import parse
from lab.light.pull import pull
from lab.light.store import Json


def image(words: Sequence[str]) -> int:
    """`docker image inspect | ls | rm`."""
    actions = {"inspect": inspect, "ls": listed, "rm": remove}
    verb, *rest = words or [""]
    if verb not in actions:
        raise not_known(f"docker image {verb}".rstrip())
    return actions[verb](rest)


def inspect(words: Sequence[str]) -> int:
    """`docker image inspect [-f TEMPLATE] IMAGE...`."""
    return containers.show(words, lambda name: _describe(store.image(name)), "[]", "Error: No such image: {}")


def listed(words: Sequence[str]) -> int:
    """`docker image ls [-q] [--digests --no-trunc --format TEMPLATE]`."""
    known = {"digests": "switch", "no-trunc": "switch", "quiet": "switch", "format": "value"}
    values, rest = parse(words, known, {"q": "quiet"})  # type: ignore[arg-type]
    if rest:
        raise not_known("docker image ls with a name")
    store.daemon()
    form = values.get("format", [""])[-1]
    if form not in ("", "{{json .}}"):
        raise not_known(f"docker image ls --format {form}")
    for known_image in store.images():
        shown = known_image["id"] if "no-trunc" in values else known_image["id"].removeprefix("sha256:")[:12]
        row = {"Repository": known_image["name"], "Tag": "<none>", "Digest": known_image["digest"], "ID": shown}
        if form:
            print(json.dumps(row))
        else:
            print(shown if "quiet" in values else "   ".join(row.values()))
    return 0


def remove(words: Sequence[str]) -> int:
    """`docker image rm [-f] IMAGE...`."""
    _, names = parse(words, {"force": "switch"}, {"f": "force"})
    if not names:
        raise DockerError('"docker image rm" requires at least 1 argument.')
    store.daemon()
    used = {container["image"]: container["name"] for container in store.containers()}
    status = 0
    for name in names:
        try:
            found = store.image(name)
        except DockerError as error:
            print(error, file=sys.stderr)
            status = 1
            continue
        if found["id"] in used:  # also with --force, as Docker does while a container runs
            print(
                f"Error response from daemon: conflict: unable to remove {name}: container {used[found['id']]} uses it",
                file=sys.stderr,
            )
            status = 1
            continue
        for path in store.IMAGES.glob("*.json"):
            if json.loads(path.read_text()) == found:
                path.unlink()
        print(f"Untagged: {found['name']}@{found['digest']}\nDeleted: {found['id']}")
    return status


def pulled(words: Sequence[str]) -> int:
    """`docker pull [-q] IMAGE@DIGEST`."""
    values, names = parse(words, {"quiet": "switch"}, {"q": "quiet"})
    if len(names) != 1:
        raise DockerError('"docker pull" requires exactly 1 argument.')
    for layer, status in pull(names[0]):
        if "quiet" not in values:
            print(f"{layer}: {status}")
    print(names[0])
    return 0


def _describe(found: Json) -> Json:
    return {
        "Id": found["id"],
        "RepoTags": [],
        "RepoDigests": [f"{found['name']}@{found['digest']}"],
        "Config": found["config"],
        "RootFS": {"Type": "layers", "Layers": found["layers"]},
    }
