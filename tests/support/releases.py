"""Releases of the stand-in engine, for fleets that move between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lab import topology
from lab.images import standin_engine
from tests.support.commands import BackgroundRun, Run, command, data, json_of
from tests.support.lab import LAB

IMAGE = f"{topology.REGISTRY}/{standin_engine.REPOSITORY}"

# Plain hosts: the program needs no accelerator. Slow enough for two cores, so that streams last seconds.
ENVIRONMENT = ("STANDIN_ACCELERATORS=none", "STANDIN_TOKENS_PER_SECOND=20")
SITE = {"max_num_seqs": "32", "shutdown_timeout": "5"}


@dataclass(frozen=True)
class Release:
    """What hosts may serve: an image by tag with a lock file of its own, and keys set on top."""

    tag: str
    lock_file: Path
    keys: tuple[str, ...] = ()

    @property
    def options(self) -> list[str]:
        """pyinfra's and barewind's options that make the lab's hosts serve this."""
        return [*data(**SITE, image=f"{IMAGE}:{self.tag}", lock_file=str(self.lock_file)), *self.keys]

    @property
    def id(self) -> str:
        """Its short id, as `barewind plan` prints it."""
        return _id(tuple(self.options))

    def but(self, **keys: object) -> Release:
        """The same with other keys."""
        return Release(self.tag, self.lock_file, (*self.keys, *data(**keys)))

    def env(self, **variables: str) -> Release:
        """The same with more variables in the engine's environment."""
        return self.but(engine_env={"VLLM_CPU_KVCACHE_SPACE": "1", **variables})


def build(tag: str, folder: Path, *env: str) -> Release:
    """A release of an image that upstream has just built; its lock file goes into a folder."""
    standin_engine.variant(tag, env=[*ENVIRONMENT, *env])
    return lock(tag, folder)


def lock(tag: str, folder: Path) -> Release:
    """A release of the image that stands under a tag."""
    release = Release(tag, folder / f"{tag}.lock.yaml")
    assert command("barewind", "lock", LAB.inventory, *release.options).status == 0
    return release


def begin(deploy_file: str, release: Release, *options: str) -> BackgroundRun:
    """`pyinfra LAB.inventory DEPLOY_FILE` with the keys of a release, not waited for."""
    return BackgroundRun("pyinfra", LAB.inventory, deploy_file, "-y", *release.options, *options)


def run(deploy_file: str, release: Release, *options: str) -> Run:
    """`pyinfra LAB.inventory DEPLOY_FILE` with the keys of a release."""
    return begin(deploy_file, release, *options).end()


def deploy(release: Release, *options: str) -> Run:
    """Deploy a release as a user does."""
    return run("deploy.py", release, *options)


@cache
def _id(options: tuple[str, ...]) -> str:
    plans = json_of("barewind", "plan", LAB.inventory, "--json", *options)
    return str(plans[0]["release"])
