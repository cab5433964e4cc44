"""Hosts as containers: make, look at, run commands in, stop and start. Tests use `exec`, `stop`, `start`, `no_return`.

`systemctl reboot` inside a host restarts it: its disks stay, /run and what its kernel held is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab import docker, keys, paths, proc, recipe, services, state, topology, wait
from lab.errors import LabError
from lab.topology import Host

REGISTRY_FILE = services.REGISTRY_FILE
BOOTED_WITHIN = 60  # seconds; takes about 4 when nothing else runs

_REBOOTED = "129"  # exit status of a container whose init was restarted: 128 and SIGHUP, see reboot(2)

Decision = Literal["create", "recreate", "start", "keep"]


@dataclass(frozen=True)
class Seen:
    """What there is to see of a host. `finished`: its making came to its end, which is written down in state/."""

    exists: bool
    running: bool = False
    same_recipe: bool = False
    finished: bool = False


def decide(seen: Seen) -> Decision:
    """What `up` does about a host."""
    if not seen.exists:
        return "create"
    if not (seen.finished and seen.same_recipe):
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
    """Switch a stopped host on again and wait until it is up; what `no_return` did is undone."""
    found = _find(host)
    docker.docker("update", "--restart", recipe.RESTART, found.container)
    docker.docker("start", found.container)
    booted(found)


def unplug(host: str | Host) -> None:
    """Take a host off the network without a word: it goes on running, and nobody who talks to it is told. No balancers:
    `plug` does not publish their ports again."""
    docker.docker("network", "disconnect", "--force", topology.NETWORK, _find(host).container)


def plug(host: str | Host) -> None:
    """Undo `unplug`."""
    found = _find(host)
    names = ("--ip", found.address, "--alias", found.name)
    docker.docker("network", "connect", *names, topology.NETWORK, found.container)


def no_return(host: str | Host) -> None:
    """Have the next reboot leave the host off, as when its hardware fails then; `start` undoes it."""
    docker.docker("update", "--restart", "no", _find(host).container)


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
    same = (container.image, container.recipe) == (recipe.image(host), recipe.digest(host))
    return Seen(True, container.running, same, _finished(host).exists())


def remove(host: Host) -> None:
    """Remove a host with its volume."""
    _finished(host).unlink(missing_ok=True)
    docker.remove_container(host.container)


def booted(host: Host, seconds: float = BOOTED_WITHIN) -> None:
    """Wait until systemd has finished booting and SSH listens."""
    argv = ("exec", host.container, "sh", "-c", "systemctl is-system-running; ss -Hltn 'sport = :22' | grep -q LISTEN")

    def up() -> bool:
        result = docker.docker(*argv, check=False, timeout=seconds)
        if "is restarting" in result.stderr and _exit_status(host) != _REBOOTED:
            said = proc.last_words(docker.docker("logs", "--tail", "1", host.container, check=False).stderr)
            raise LabError(f"{host.name} does not boot: {said}; see `docker logs {host.container}`")
        return result.returncode == 0 and result.stdout.strip() in ("running", "degraded")

    wait.until(up, seconds, f"{host.name} did not boot within {seconds:.0f} s; see `docker logs {host.container}`")


def _exit_status(host: Host) -> str:
    return docker.docker("inspect", "--format", "{{.State.ExitCode}}", host.container, check=False).stdout.strip()


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
    docker.docker("create", *recipe.arguments(host, lab))
    docker.copy_into(host.container, recipe.files(host))
    docker.docker("start", host.container)


def _provision(host: Host) -> None:
    if host.role == "services":
        exec(host, services.START)
        return
    folder = f"/home/{topology.USER}/.ssh"
    script = f"install -d -m 0700 -o {topology.USER} -g {topology.USER} {folder} && cat > {folder}/authorized_keys"
    owner = f"chown {topology.USER}: {folder}/authorized_keys && chmod 0600 {folder}/authorized_keys"
    exec(host, f"{script} && {owner}", text=keys.ensure())
