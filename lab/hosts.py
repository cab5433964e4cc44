"""Hosts as containers: make, look at, run commands in, stop and start. Tests use `exec`, `stop` and `start`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab import base_image, docker, keys, paths, proc, state, topology, wait
from lab.errors import LabError
from lab.topology import Host

BOOTED_WITHIN = 60  # seconds; takes about 4 when nothing else runs
HUB_PORT = 8000

Decision = Literal["create", "recreate", "start", "keep"]


@dataclass(frozen=True)
class Seen:
    """What there is to see of a host. `finished`: its making came to its end, which is written down in state/."""

    exists: bool
    running: bool = False
    same_image: bool = False
    finished: bool = False


def decide(seen: Seen) -> Decision:
    """What `up` does about a host."""
    if not seen.exists:
        return "create"
    if not (seen.finished and seen.same_image):
        return "recreate"
    return "keep" if seen.running else "start"


@dataclass(frozen=True)
class SshOptions:
    """How to reach the lab's hosts."""

    user: str
    key: Path
    known_hosts: Path
    port: int = topology.SSH_PORT

    def argv(self, host: Host) -> list[str]:
        """An ssh command up to the remote command, strict about host keys."""
        options = (
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={self.known_hosts}",
            "IdentitiesOnly=yes",
            "BatchMode=yes",
        )
        flags = [part for option in options for part in ("-o", option)]
        return ["ssh", *flags, "-i", str(self.key), "-p", str(self.port), f"{self.user}@{host.address}"]


def ssh_options() -> SshOptions:
    """User, key and known_hosts of the lab."""
    return SshOptions(topology.USER, keys.private_path(), keys.known_hosts_path())


def exec(
    host: str | Host,
    command: str | Sequence[str],
    *,
    check: bool = True,
    text: str | None = None,
    timeout: float | None = 600,
) -> proc.Result:
    """Run a command as root inside a host (or `services`), past SSH. A string goes through a shell.

    LabError when it fails, unless `check` is off. `timeout` in seconds.
    """
    argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
    return docker.docker("exec", "--interactive", _find(host).container, *argv, check=check, text=text, timeout=timeout)


def stop(host: str | Host, *, gently: bool = False) -> None:
    """Take a host (or `services`) off at once, as if its power failed; `gently` shuts it down."""
    verb = ("stop", "--time", "20") if gently else ("kill",)
    docker.docker(*verb, _find(host).container)


def start(host: str | Host) -> None:
    """Switch a stopped host on again and wait until it is up."""
    found = _find(host)
    docker.docker("start", found.container)
    booted(found)


def ensure(host: Host, lab: state.Lab, seen: Seen) -> Decision:
    """Bring one host to where it has to be."""
    decision = decide(seen)
    if decision == "start" and not _restarts(host):
        decision = "recreate"
    if decision in ("create", "recreate"):
        remove(host)
        _create(host, lab)
        booted(host)
        _provision(host)
        _finished(host).parent.mkdir(parents=True, exist_ok=True)
        _finished(host).touch()
    return decision


def look(host: Host, containers: dict[str, docker.Container]) -> Seen:
    """Observe a host."""
    container = containers.get(host.container)
    if container is None:
        return Seen(exists=False)
    return Seen(True, container.running, container.image == image(host), _finished(host).exists())


def image(host: Host) -> str:
    """Tag of the image a host is made from."""
    return base_image.services_tag() if host.role == "services" else base_image.host_tag()


def remove(host: Host) -> None:
    """Remove a host with its volume."""
    _finished(host).unlink(missing_ok=True)
    docker.remove_container(host.container)


def booted(host: Host, seconds: float = BOOTED_WITHIN) -> None:
    """Wait until systemd has finished booting and SSH listens."""
    argv = ("exec", host.container, "sh", "-c", "systemctl is-system-running; ss -Hltn 'sport = :22' | grep -q LISTEN")

    def up() -> bool:
        result = docker.docker(*argv, check=False, timeout=seconds)
        return result.returncode == 0 and result.stdout.strip() in ("running", "degraded")

    wait.until(up, seconds, f"{host.name} did not boot within {seconds:.0f} s; see `docker logs {host.container}`")


def _find(host: str | Host) -> Host:
    return topology.find(host) if isinstance(host, str) else host


def _finished(host: Host) -> Path:
    return paths.state() / "hosts" / host.name


def _restarts(host: Host) -> bool:
    """Try to switch on a host that is off: after a crash of the Docker Engine its mounts may be stale."""
    if docker.docker("start", host.container, check=False).returncode != 0:
        return False
    try:
        booted(host, 20)
    except LabError:
        return False
    return True


def _create(host: Host, lab: state.Lab) -> None:
    options = [
        *("--name", host.container, "--hostname", host.name, "--label", docker.LABEL),
        *("--network", topology.NETWORK, "--ip", host.address, "--network-alias", host.name),
        # Everything but what many machines cannot give; --privileged would ask for that too.
        *("--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE"),
        *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
        *("--security-opt", "systempaths=unconfined", "--cgroupns", "private"),
        *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec", "--shm-size", "4g"),  # noqa: S108 - inside the host
        *("--env", "container=docker", "--stop-signal", "SIGRTMIN+3"),  # systemd's signal for "halt"
    ]
    for other in (topology.SERVICES_HOST, *lab.hosts):
        options += ["--add-host", f"{other.name}:{other.address}"]
    if host.role == "services":
        options += ["--volume", f"{paths.cache()}/registry:/var/lib/docker-registry"]
        options += ["--volume", f"{paths.cache()}/models:/srv/models:ro"]
    else:
        options += ["--volume", "/var/lib/docker"]  # overlay2 needs a file system that is not an overlay itself
    if host.name == "lb1":
        options += ["--publish", f"{topology.HTTP_ADDRESS}:{lab.http_port}:{topology.HTTP_PORT_INSIDE}"]
    docker.docker("run", "--detach", *options, image(host))


def _provision(host: Host) -> None:
    if host.role == "services":
        _provision_services(host)
        return
    folder = f"/home/{topology.USER}/.ssh"
    script = f"install -d -m 0700 -o {topology.USER} -g {topology.USER} {folder} && cat > {folder}/authorized_keys"
    owner = f"chown {topology.USER}: {folder}/authorized_keys && chmod 0600 {folder}/authorized_keys"
    exec(host, f"{script} && {owner}", text=keys.ensure())


REGISTRY_FILE = "/etc/lab-registry.yml"
REGISTRY_CONFIG = """\
version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: /var/lib/docker-registry}
  delete: {enabled: true}
http: {addr: ":5000"}
"""

UNIT = """\
[Unit]
Description={description}
After=network.target

[Service]
EnvironmentFile=-/etc/lab-hub.env
ExecStart={command}
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""


def _provision_services(host: Host) -> None:
    files = {
        REGISTRY_FILE: REGISTRY_CONFIG,
        "/etc/systemd/system/lab-registry.service": UNIT.format(
            description="Registry of the lab", command=f"/usr/bin/docker-registry serve {REGISTRY_FILE}"
        ),
        "/usr/local/lib/lab-hub.py": (Path(__file__).parent / "hub.py").read_text(),
        "/etc/systemd/system/lab-hub.service": UNIT.format(
            description="Model hub of the lab",
            command=f"/usr/bin/python3 /usr/local/lib/lab-hub.py /srv/models {HUB_PORT}",
        ),
    }
    for path, content in files.items():
        exec(host, f"cat > {path}", text=content)
    exec(host, "umask 077; cat > /etc/lab-hub.env", text=f"LAB_HUB_TOKEN={keys.hub_token()}\n")
    exec(host, "systemctl daemon-reload && systemctl enable --now lab-registry lab-hub")
