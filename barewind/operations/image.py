"""Images on a host."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from time import monotonic

import gevent
from pyinfra import host, logger
from pyinfra.api import FunctionCommand, Host, State, StringCommand, operation
from pyinfra.api.exceptions import FactProcessError

from barewind import pulling, retention
from barewind.facts.docker import ImagePresent
from barewind.facts.image import ImageHost
from barewind.meter import Meter, duration
from barewind.meter import size as in_words
from barewind.operations import ManagedFile, docker, known
from barewind.operations.shell import run
from barewind.pulling import Look

_INTERVAL = 3.0  # seconds between looks
_SAY = 15.0  # seconds between two lines about the same pull
_SILENCE = 900.0  # seconds that a host may be out of reach; the pull goes on there
_STARTS = 3  # of a pull that ends without a word: its host was restarted


@operation()
def pulled(
    reference: str,
    size: int = 0,
    insecure: list[str] | None = None,
    certificate: ManagedFile | None = None,
    timeout: int = 7200,
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Have an image on the host.

    The pull is a transient unit of the host's own: it goes on when the connection is lost, and a run that comes later finds
    it. What a digest names cannot change, so an image that is there is never pulled again.

    + reference: image by digest
    + size: of its compressed layers, bytes, for the percentage; 0 if unknown
    + insecure: registries that Docker shall speak plain HTTP to, told before the pull
    + certificate: who signed the registry's certificate, as Docker's file for that registry
    + timeout: seconds

    **Example:**

    .. code:: python

        pulled(name="Engine image", reference="docker.io/vllm/vllm-openai@sha256:...")
    """
    if known(host.get_fact(ImagePresent, reference=reference), host.name, f"image {reference}"):
        return
    if insecure:
        yield from docker.engine._inner(
            packages=[], held=[], replaced=[], settings={"insecure-registries": insecure}, files=[]
        )
    if certificate is not None:
        yield certificate.write()
    yield FunctionCommand(pull, (), {"reference": reference, "size": size, "timeout": timeout})


@operation()
def pruned(repositories: list[str], wanted: list[str], keep: int) -> Generator[StringCommand, None, None]:
    """Remove images of earlier releases that nobody will go back to.

    Only images that this host's history of releases names, or of the repositories given, and never one that a container
    uses. While the history is shorter than the releases to keep, nothing is removed.

    + repositories: whose images are ours
    + wanted: images that the host shall have
    + keep: releases whose images stay

    **Example:**

    .. code:: python

        pruned(name="Old images", repositories=["docker.io/vllm/vllm-openai"], wanted=["docker.io/...@sha256:..."], keep=3)
    """
    facts = known(host.get_fact(ImageHost), host.name, "the images")
    for reference in retention.removable(facts, repositories=repositories, wanted=wanted, keep=keep):
        yield StringCommand(f"docker image rm {shlex.quote(reference)}")


def pull(state: State, host: Host, reference: str, size: int, timeout: int) -> bool:
    """Start a pull on a host, or find the one that runs, and wait for it; False, and said so, when it fails."""
    begun = heard = told = monotonic()
    starts = 0
    meter: Meter | None = None
    while monotonic() - begun < timeout:
        found = _look(state, host, reference, size)
        now = monotonic()
        if found is None:
            if now - heard > _SILENCE:
                return _failed(
                    host, f"image {reference}: the host cannot be reached; the pull goes on there. Deploy again"
                )
        elif found.present:
            return True
        elif found.running:
            heard = now
            if meter is None or meter.total != found.total:
                meter = Meter(found.total, now, done=found.downloaded)
            meter.advance(found.downloaded - meter.done, now)
            if now - told >= _SAY:
                host.log(pulling.describe(found, _rate(meter)))
                told = now
        elif starts and (found.error or starts == _STARTS):
            return _cannot(host, reference, found.error or "it ended without a word")
        else:
            heard = now
            starts += 1
            answer = run(state, host, pulling.start(reference))
            if answer.problem:
                return _cannot(host, reference, answer.problem)
        gevent.sleep(_INTERVAL)
    return _cannot(host, reference, f"it takes longer than {timeout} s and goes on there; deploy again to wait for it")


def _look(state: State, host: Host, reference: str, expected: int) -> Look | None:
    answer = run(state, host, pulling.look(reference))
    if answer.problem:
        return None
    try:
        return pulling.read(answer.output.splitlines(), expected)
    except FactProcessError:
        return None


def _rate(meter: Meter) -> str:
    if not meter.rate:
        return ""
    return f", {in_words(meter.rate)}/s, {duration((meter.total - meter.done) / meter.rate)} left"


def _cannot(host: Host, reference: str, why: str) -> bool:
    return _failed(
        host,
        f"image {reference} cannot be pulled ({why}). Nothing that runs was touched. Check that the registry answers and still "
        "has this digest (nightly tags are deleted after two weeks): fill the mirror (barewind mirror INVENTORY), or lock "
        "again (barewind lock INVENTORY --update)",
    )


def _failed(host: Host, what: str) -> bool:
    logger.error(f"{host.print_prefix}{host.name}: {what}")
    return False
