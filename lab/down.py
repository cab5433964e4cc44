"""`barewind lab down`: remove everything of the lab but its cache."""

import shutil
from concurrent.futures import ThreadPoolExecutor

from lab import paths, topology
from lab.machine import docker, engine_daemon
from lab.progress import Steps


def down(steps: Steps, *, purge: bool) -> None:
    """Remove hosts, volumes, network, images and state; stop the Docker Engine if the lab started it. `purge`: the cache too."""
    if paths.state().exists() and not docker.answers():
        # Only a running engine can remove containers, so after a crash the lab starts its own once more.
        with steps.step("Docker Engine, to remove what it holds"):
            engine_daemon.ensure()
    if docker.answers():
        with steps.step("hosts"), ThreadPoolExecutor() as pool:
            list(pool.map(docker.remove_container, docker.containers()))
        with steps.step("network and images"):
            if docker.network() != "missing":
                docker.docker("network", "rm", topology.NETWORK)
            for tag in docker.images():
                docker.docker("image", "rm", "--force", tag)
        with steps.step("Docker Engine, if the lab started it"):
            engine_daemon.stop_ours()
    shutil.rmtree(paths.state(), ignore_errors=True)
    if purge:
        shutil.rmtree(paths.home(), ignore_errors=True)
