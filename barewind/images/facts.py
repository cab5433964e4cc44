"""The images of a host, who uses them, and the releases that brought them."""

from __future__ import annotations

from typing import Any

from pyinfra.api import FactBase

from barewind.hosts.script import objects, script, split
from barewind.release.history import EVENTS_FILE, newest_first, read_events
from barewind.release.record import print_records

_WITHOUT = "! command -v docker >/dev/null"
_IDS = "docker ps -aq --no-trunc"


class ImageHost(FactBase[dict[str, Any]]):
    """Images by name, images in use, and the history of releases, newest first.

    ```
    {"images": [{"name": "docker.io/example/engine", "tag": None, "digest": "sha256:...", "id": "sha256:..."}],
     "used": ["sha256:<id>"], "history": [{"release": "0123456789ab", "image": "docker.io/example/engine@sha256:..."}],
     "events": ['{"at": "2026-11-22T09:00:00Z", "release": "0123456789ab", ...}', ...]}
    ```
    `events` are the lines of the list of events.
    None when Docker is there and does not answer: an empty list would be taken for the truth.
    """

    abstract = False

    def command(self) -> str:
        return script(
            images=f"{_WITHOUT} || docker image ls --digests --no-trunc --format '{{{{json .}}}}' && echo complete",
            # A container that ends meanwhile cannot be inspected any more: then the list is another one.
            used=f"{_WITHOUT} || {{ ids=$({_IDS}) && {{ [ -z \"$ids\" ] || docker inspect -f '{{{{.Image}}}}' $ids || "
            f'{{ now=$({_IDS}) && [ "$ids" != "$now" ]; }}; }}; }} && echo complete',
            history=print_records(),
            events=f"cat {EVENTS_FILE}",
        )

    def process(self, output: list[str]) -> dict[str, Any] | None:  # type: ignore[override]
        sections = split(output)
        images, used = sections.get("images", []), sections.get("used", [])
        if images[-1:] != ["complete"] or used[-1:] != ["complete"]:
            return None
        records = objects(sections.get("history", []))
        image = {
            str(record["release"]): str(record["image"])
            for record in records
            if "release" in record and "image" in record
        }
        events = sections.get("events", [])
        releases = newest_first(read_events(events), image)
        return {
            "images": [_image(line) for line in objects(images[:-1])],
            "used": sorted(set(used[:-1])),
            "history": [{"release": release, "image": image[release]} for release in releases],
            "events": events,
        }


def _image(line: dict[str, Any]) -> dict[str, str | None]:
    """An image as Docker lists it, with the name of its registry: Docker leaves its hub's out."""
    from barewind.registry.reference import parse

    def value(key: str) -> str | None:
        return None if line.get(key) in (None, "", "<none>") else str(line[key])

    name = value("Repository")
    return {
        "name": None if name is None else parse(name).name,
        "tag": value("Tag"),
        "digest": value("Digest"),
        "id": value("ID"),
    }
