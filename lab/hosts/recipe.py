"""What a host's container is made of: its options and the files it starts with. `up` recreates it when they change."""

import hashlib

from lab import paths, state, topology
from lab.hosts import light_host, simulated_host
from lab.images import base_image
from lab.machine import docker
from lab.packages import signing
from lab.services import units
from lab.topology import Host

# A host that reboots comes back; one that the lab stopped does not.
RESTART = "unless-stopped"

_OPTIONS = (
    # All capabilities but the one that many machines lack; --privileged would need that too.
    *("--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--security-opt", "systempaths=unconfined", "--cgroupns", "private"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec"),  # noqa: S108 - inside the host
    *("--env", "container=docker", "--stop-signal", "SIGRTMIN+3"),  # systemd's signal for "halt"
    *("--restart", RESTART),
)


def image(host: Host) -> str:
    """Tag of the image that a host is made from."""
    if host.light:
        return base_image.tag_with(light_host.PACKAGES)
    return base_image.services_tag() if host.role == "services" else base_image.host_tag(host.system)


def files(host: Host) -> dict[str, tuple[str, int]]:
    """Files that a host has before its first boot, besides the image's: path -> content and mode."""
    if host.role == "services":
        return units.files()
    if host.light:
        return light_host.files(signing.public_key())
    return simulated_host.files(host, signing.public_key()) if host.kind else {}


def digest(host: Host) -> str:
    """Digest of all that the container is made of, the other hosts' addresses excepted."""
    parts = [*_own(host), *_command(host)]
    parts += [f"{path} {mode:o} {content}" for path, (content, mode) in sorted(files(host).items())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def arguments(host: Host, lab: state.Lab) -> list[str]:
    """Arguments of `docker create`."""
    return [
        *("--name", host.container, "--hostname", host.name, "--label", docker.LABEL),
        *("--label", f"{docker.RECIPE_LABEL}={digest(host)}"),
        *("--network", topology.NETWORK, "--ip", host.address, "--network-alias", host.name),
        *(f"--add-host={other.name}:{other.address}" for other in (topology.SERVICES_HOST, *lab.hosts)),
        *_own(host),
        *(
            [f"--publish={topology.HTTP_ADDRESS}:{lab.http_port}:{topology.HTTP_PORT_INSIDE}"]
            if host.name == "lb1"
            else []
        ),
        image(host),
        *_command(host),
    ]


def _own(host: Host) -> list[str]:
    options = [*_OPTIONS]
    if host.role == "services":
        options += ["--volume", f"{paths.cache()}/registry:/var/lib/docker-registry"]
        options += ["--volume", f"{paths.cache()}/models:/srv/models:ro"]
        options += ["--volume", f"{paths.cache()}/repositories:{units.REPOSITORIES_FOLDER}:ro"]
    else:
        options += ["--volume", "/var/lib/docker"]  # overlay2 needs a file system that is not an overlay itself
        options += light_host.options() if host.light else []
    # A server with accelerators has a terabyte of memory and /dev/shm half of that; tmpfs takes only what is used.
    return [*options, "--shm-size", "512g" if host.kind else "4g"]


def _command(host: Host) -> list[str]:
    return [simulated_host.BOOT] if host.kind else []
