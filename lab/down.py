"""`down`: everything of the lab goes, but the cache."""

import shutil
from concurrent.futures import ThreadPoolExecutor

from lab import docker, engine_daemon, paths, topology
from lab.progress import Steps


def down(steps: Steps, *, purge: bool) -> None:
    """Remove hosts, volumes, network, images and state, and stop the Docker Engine if the lab started it."""
    if paths.state().exists() and not docker.answers():
        # Containers can only be removed by a running engine; after a crash, ours is started once more for that.
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
