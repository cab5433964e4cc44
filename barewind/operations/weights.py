"""Weights on a host."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Generator
from importlib import resources
from typing import Any

from pyinfra import host
from pyinfra.api import StringCommand, operation

from barewind.facts.weights import WeightDirectories
from barewind.operations import known


@operation()
def present(
    downloads: list[dict[str, Any]], image: str, token: str | None = None
) -> Generator[StringCommand, None, None]:
    """Have the files of manifests on the host, each checked against its SHA-256.

    The hub's own client, which every engine image holds, downloads beside a manifest's directory; only when all files are
    right does the directory appear, in one step. Files that changed since they were checked are checked again, and
    fetched again if they are wrong.

    + downloads: per manifest {"directory", "checksums" (format of sha256sum), "job"}; `job` is what
      `barewind/remote/fetch_weights.py` reads: model, revision, endpoint, files
    + image: image whose Python downloads
    + token: the hub's token; it travels on standard input

    **Example:**

    .. code:: python

        present(name="Weights", image="docker.io/vllm/vllm-openai@sha256:...", downloads=[
            {"directory": "/var/lib/barewind/weights/org--model/<revision>-mistral",
             "checksums": "<sha256>  params.json\\n", "job": {"model": "org/model", ...}}])
    """
    directories = [one["directory"] for one in downloads]
    facts = known(host.get_fact(WeightDirectories, directories=directories), host.name, "weights")
    for one in downloads:
        found = facts.get(one["directory"])
        if not (
            found and found["intact"] and found["checksums"] == hashlib.sha256(one["checksums"].encode()).hexdigest()
        ):
            yield _download(one["directory"], image, one["job"], token)


def _download(directory: str, image: str, job: dict[str, Any], token: str | None) -> StringCommand:
    parent = shlex.quote(directory.rsplit("/", 1)[0])
    program = resources.files("barewind.remote").joinpath("fetch_weights.py").read_text()
    proxies = " ".join(f"-e {name} -e {name.upper()}" for name in ("http_proxy", "https_proxy", "no_proxy"))
    return StringCommand(
        f"mkdir -p {parent} && docker run --rm -i --network=host --security-opt=no-new-privileges {proxies} "
        f"-v {parent}:{parent} --entrypoint python3 {shlex.quote(image)} -c {shlex.quote(program)}",
        _stdin=json.dumps(job | {"host": host.name, "directory": directory, "token": token}),
    )
