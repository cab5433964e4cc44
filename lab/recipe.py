"""How a host's container is made: its options and the files it starts with. A change of either makes it anew."""

import hashlib

from lab import base_image, docker, paths, services, simulated_host, state, topology
from lab.packages import signing
from lab.topology import Host

# Restarts when the host reboots itself, not when the lab switched it off.
RESTART = "unless-stopped"

_OPTIONS = (
    # Everything but what many machines cannot give; --privileged would ask for that too.
    *("--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--security-opt", "systempaths=unconfined", "--cgroupns", "private"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec"),  # noqa: S108 - inside the host
    *("--env", "container=docker", "--stop-signal", "SIGRTMIN+3"),  # systemd's signal for "halt"
    *("--restart", RESTART),
)


def image(host: Host) -> str:
    """Tag of the image a host is made from."""
    return base_image.services_tag() if host.role == "services" else base_image.host_tag()


def files(host: Host) -> dict[str, tuple[str, int]]:
    """Files (path -> content, mode) that are there before the first boot, beyond the image's."""
    if host.role == "services":
        return services.files()
    return simulated_host.files(host, signing.public_key()) if host.kind else {}


def digest(host: Host) -> str:
    """Names what the container is made of, its neighbours' addresses apart."""
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
        options += ["--volume", f"{paths.cache()}/repositories:{services.REPOSITORIES_FOLDER}:ro"]
    else:
        options += ["--volume", "/var/lib/docker"]  # overlay2 needs a file system that is not an overlay itself
    # A server with accelerators has half a terabyte of memory, /dev/shm half of that: tmpfs takes only what is used.
    return [*options, "--shm-size", "512g" if host.kind else "4g"]


def _command(host: Host) -> list[str]:
    return [simulated_host.BOOT] if host.kind else []
