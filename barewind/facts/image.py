"""The images of a host, who uses them, and the releases that brought them."""

from __future__ import annotations

from typing import Any

from pyinfra.api import FactBase

from barewind.facts import objects, script, split

HISTORY = "/etc/barewind/releases"  # one JSON file per release that the host has served

_WITHOUT = "! command -v docker >/dev/null"
_IDS = "docker ps -aq --no-trunc"


class ImageHost(FactBase[dict[str, Any]]):
    """Images by name, images in use, and the history of releases, newest first.

    ```
    {"images": [{"name": "docker.io/vllm/vllm-openai", "tag": None, "digest": "sha256:...", "id": "sha256:..."}],
     "used": ["sha256:<id>"], "history": [{"release": "0123456789ab", "image": "docker.io/vllm/vllm-openai@sha256:..."}]}
    ```
    None when Docker is there and does not answer: an empty list would be taken for the truth.
    """

    abstract = False

    def command(self) -> str:
        return script(
            images=f"{_WITHOUT} || docker image ls --digests --no-trunc --format '{{{{json .}}}}' && echo complete",
            # A container that ends meanwhile cannot be inspected any more: then the list is another one.
            used=f"{_WITHOUT} || {{ ids=$({_IDS}) && {{ [ -z \"$ids\" ] || docker inspect -f '{{{{.Image}}}}' $ids || "
            f'{{ now=$({_IDS}) && [ "$ids" != "$now" ]; }}; }}; }} && echo complete',
            history=f'for f in $(ls -t {HISTORY}/*.json); do tr -d "\\n" < "$f"; echo; done',
        )

    def process(self, output: list[str]) -> dict[str, Any] | None:  # type: ignore[override]
        found = split(output)
        images, used = found.get("images", []), found.get("used", [])
        if images[-1:] != ["complete"] or used[-1:] != ["complete"]:
            return None
        return {
            "images": [_image(one) for one in objects(images[:-1])],
            "used": sorted(set(used[:-1])),
            "history": [
                {"release": str(one["release"]), "image": str(one["image"])}
                for one in objects(found.get("history", []))
                if "release" in one and "image" in one
            ],
        }


def _image(line: dict[str, Any]) -> dict[str, str | None]:
    """Docker leaves its hub's name out; we do not."""
    from barewind.images import parse

    def some(key: str) -> str | None:
        return None if line.get(key) in (None, "", "<none>") else str(line[key])

    name = some("Repository")
    return {
        "name": None if name is None else parse(name).name,
        "tag": some("Tag"),
        "digest": some("Digest"),
        "id": some("ID"),
    }
