"""Images on a host."""

from __future__ import annotations

import shlex
from collections.abc import Generator

from pyinfra import host, logger
from pyinfra.api import FunctionCommand, Host, State, StringCommand, operation
from pyinfra.api.exceptions import FactProcessError

from barewind.docker import operations as docker
from barewind.docker.facts import ImagePresent
from barewind.errors import BarewindError
from barewind.hosts.operations import ManagedFile, known
from barewind.hosts.poll import Poll
from barewind.hosts.shell import run
from barewind.images import commands, retention
from barewind.images.commands import PullStatus
from barewind.images.facts import ImageHost
from barewind.progress.meter import Meter, duration, size
from barewind.registry.logins import LOGINS_KEY, docker_config
from barewind.registry.reference import PinnedImage, parse
from barewind.secrets import read_login

_INTERVAL = 3.0  # seconds between looks
_SILENCE = 900.0  # seconds that a host may be out of reach; the pull goes on there
_STARTS = 3  # of a pull that ends without a word: its host was restarted


@operation()
def pulled(
    image: PinnedImage,
    size: int = 0,
    insecure: list[str] | None = None,
    certificate: ManagedFile | None = None,
    timeout: int = 7200,
    login: str | None = None,
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Have an image on the host.

    The pull is a transient unit of the host's own: it goes on when the connection is lost, and a run that comes later finds
    it. What a digest names cannot change, so an image that is there is never pulled again.

    + image: by digest
    + size: of its compressed layers, bytes, for the percentage; 0 if unknown
    + insecure: registries that Docker shall speak plain HTTP to, told before the pull
    + certificate: who signed the registry's certificate, as Docker's file for that registry
    + timeout: seconds
    + login: file on this machine that holds user:password for the registry; the host has it while the pull runs

    **Example:**

    .. code:: python

        pulled(name="Engine image", image="docker.io/example/engine@sha256:...")
    """
    if known(host.get_fact(ImagePresent, reference=image), host.name, f"image {image}"):
        host.noop(f"image {image} is there already")
        return
    if insecure:
        yield from docker.installed._inner(
            packages=[], held=[], replaced=[], settings={"insecure-registries": insecure}, files=[]
        )
    if certificate is not None:
        yield certificate.write()
    yield FunctionCommand(pull, (), {"image": image, "size": size, "timeout": timeout, "login": login})


@operation()
def pruned(repositories: list[str], wanted: list[str], keep: int) -> Generator[StringCommand, None, None]:
    """Remove images of earlier releases to which no rollback will lead.

    Only images that this host's history of releases names, or of the repositories given, and never one that a container
    uses. While the history is shorter than the releases to keep, nothing is removed.

    + repositories: whose images are ours
    + wanted: images that the host shall have
    + keep: releases whose images stay

    **Example:**

    .. code:: python

        pruned(name="Old images", repositories=["docker.io/example/engine"], wanted=["docker.io/...@sha256:..."], keep=3)
    """
    facts = known(host.get_fact(ImageHost), host.name, "the images")
    removable = retention.removable(facts, repositories=repositories, wanted=wanted, keep=keep)
    if not removable:
        host.noop("images that no release needs are removed already")
    for name in removable:
        yield StringCommand(f"docker image rm {shlex.quote(name)}")


def pull(state: State, host: Host, image: PinnedImage, size: int, timeout: int, login: str | None = None) -> bool:
    """Start a pull on a host, or find the one that runs, and wait for it; False, with an error logged, when it fails."""
    poll = Poll(_INTERVAL, timeout, log=host.log)
    heard_at = 0.0
    starts = 0
    meter: Meter | None = None
    while True:
        status = _status(state, host, image, size)
        now = poll.waited
        if status is None:
            if now - heard_at > _SILENCE:
                return _failed(host, f"image {image}: the host cannot be reached; the pull goes on there. Deploy again")
        elif status.present:
            return True
        elif status.running:
            heard_at = now
            if meter is None or meter.total != status.total:
                meter = Meter(status.total, now, done=status.downloaded)
            meter.advance(status.downloaded - meter.done, now)
            poll.log(commands.describe(status, _rate(meter)))
        elif starts and (status.error or starts == _STARTS):
            return _cannot(host, image, status.error or "it ended without a word")
        else:
            heard_at = now
            starts += 1
            try:
                config = None if login is None else docker_config(parse(image).registry, read_login(LOGINS_KEY, login))
            except BarewindError as error:
                return _failed(host, str(error))
            answer = run(state, host, commands.start(image, login=config is not None), stdin=config)
            if answer.problem:
                return _cannot(host, image, answer.problem)
        if not poll.pause():
            return _cannot(
                host, image, f"it takes longer than {timeout} s and goes on there; deploy again to wait for it"
            )


def _status(state: State, host: Host, image: PinnedImage, expected: int) -> PullStatus | None:
    answer = run(state, host, commands.print_status(image))
    if answer.problem:
        return None
    try:
        return commands.read_status(answer.output.splitlines(), expected)
    except FactProcessError:
        return None


def _rate(meter: Meter) -> str:
    if not meter.rate:
        return ""
    return f", {size(meter.rate)}/s, {duration((meter.total - meter.done) / meter.rate)} left"


def _cannot(host: Host, image: PinnedImage, why: str) -> bool:
    return _failed(
        host,
        f"image {image} cannot be pulled ({why}). Nothing that runs was touched. Check that the registry answers and still "
        "has this digest (nightly tags are deleted after two weeks): fill the mirror (barewind mirror INVENTORY), or lock "
        "again (barewind lock INVENTORY --update)",
    )


def _failed(host: Host, message: str) -> bool:
    logger.error(f"{host.print_prefix}{host.name}: {message}")
    return False
