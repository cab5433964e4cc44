"""Hosts as containers: created, observed, run commands in, stopped and started.

`systemctl reboot` inside a host restarts it: its disks stay, /run and the state of its simulated kernel are lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab import paths, proc, state, topology, wait
from lab.errors import LabError
from lab.hosts import keys, recipe
from lab.machine import docker
from lab.services import units
from lab.topology import Host

BOOTED_WITHIN = 180  # seconds; about 4 when nothing else runs

_REBOOTED = "129"  # exit status of a container whose init was restarted: 128 and SIGHUP, see reboot(2)

Decision = Literal["create", "recreate", "start", "keep"]


@dataclass(frozen=True)
class Observed:
    """A host as it is now. `finished`: it was made to the end, which a file in state/ records."""

    exists: bool
    running: bool = False
    same_recipe: bool = False
    finished: bool = False


def decide(observed: Observed) -> Decision:
    """What `ensure` does."""
    if not observed.exists:
        return "create"
    if not (observed.finished and observed.same_recipe):
        return "recreate"
    return "keep" if observed.running else "start"


@dataclass(frozen=True)
class SshOptions:
    """How the lab's hosts are reached."""

    user: str
    key: Path
    known_hosts: Path
    port: int = topology.SSH_PORT

    def argv(self, host: Host) -> list[str]:
        """An ssh command, without the remote command; host keys are checked strictly."""
        options = (
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={self.known_hosts}",
            "IdentitiesOnly=yes",
            "BatchMode=yes",
        )
        flags = [part for option in options for part in ("-o", option)]
        return ["ssh", *flags, "-i", str(self.key), "-p", str(self.port), f"{self.user}@{host.address}"]


def ssh_options() -> SshOptions:
    """How the hosts of the running lab are reached."""
    return SshOptions(topology.USER, keys.private_path(), keys.known_hosts_path())


def exec(
    host: str | Host,
    command: str | Sequence[str],
    *,
    check: bool = True,
    text: str | None = None,
    timeout: float | None = 600,
) -> proc.Result:
    """Run a command as root inside a host (or `services`), without SSH. A string is run by a shell.

    `text` is its input, `timeout` is in seconds. LabError when it fails, unless `check` is off.
    """
    argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
    return docker.docker("exec", "--interactive", _find(host).container, *argv, check=check, text=text, timeout=timeout)


def stop(host: str | Host, *, gently: bool = False) -> None:
    """Stop a host (or `services`) at once, as if its power failed; `gently`: shut it down."""
    verb = ("stop", "--time", "20") if gently else ("kill",)
    docker.docker(*verb, _find(host).container)


def start(host: str | Host) -> None:
    """Start a stopped host and wait until it has booted; undoes `no_return`."""
    stopped = _find(host)
    docker.docker("update", "--restart", recipe.RESTART, stopped.container)
    docker.docker("start", stopped.container)
    booted(stopped)


def unplug(host: str | Host) -> None:
    """Disconnect a host from the network: it runs on, and its connections hang. `plug` undoes it.

    Not for balancers: `plug` does not publish their ports again.
    """
    docker.docker("network", "disconnect", "--force", topology.NETWORK, _find(host).container)


def plug(host: str | Host) -> None:
    """Connect a host to the network again."""
    unplugged = _find(host)
    names = ("--ip", unplugged.address, "--alias", unplugged.name)
    docker.docker("network", "connect", *names, topology.NETWORK, unplugged.container)


def no_return(host: str | Host) -> None:
    """Have the host stay off at its next reboot, as if its hardware had failed; `start` undoes it."""
    docker.docker("update", "--restart", "no", _find(host).container)


def ensure(host: Host, lab: state.Lab, observed: Observed) -> Decision:
    """Create, recreate or start a host, as it needs; returns which."""
    decision = decide(observed)
    if decision == "start" and not _starts(host):
        decision = "recreate"
    if decision in ("create", "recreate"):
        remove(host)
        _create(host, lab)
        booted(host)
        _provision(host)
        _finished(host).parent.mkdir(parents=True, exist_ok=True)
        _finished(host).touch()
    return decision


def observe(host: Host, containers: dict[str, docker.Container]) -> Observed:
    """A host as it is now, out of the lab's containers."""
    container = containers.get(host.container)
    if container is None:
        return Observed(exists=False)
    same = (container.image, container.recipe) == (recipe.image(host), recipe.digest(host))
    return Observed(True, container.running, same, _finished(host).exists())


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
            reason = proc.last_words(docker.docker("logs", "--tail", "1", host.container, check=False).stderr)
            raise LabError(f"{host.name} does not boot: {reason}; see `docker logs {host.container}`")
        return result.returncode == 0 and result.stdout.strip() in ("running", "degraded")

    wait.until(up, seconds, f"{host.name} did not boot within {seconds:.0f} s; see `docker logs {host.container}`")


def _exit_status(host: Host) -> str:
    return docker.docker("inspect", "--format", "{{.State.ExitCode}}", host.container, check=False).stdout.strip()


def _find(host: str | Host) -> Host:
    return topology.find(host) if isinstance(host, str) else host


def _finished(host: Host) -> Path:
    return paths.state() / "hosts" / host.name


def _starts(host: Host) -> bool:
    """Start a host; whether it booted. After a crash of the Docker Engine its mounts may be stale."""
    if docker.docker("start", host.container, check=False).returncode != 0:
        return False
    try:
        booted(host, 60)
    except LabError:
        return False
    return True


def _create(host: Host, lab: state.Lab) -> None:
    docker.docker("create", *recipe.arguments(host, lab))
    docker.copy_into(host.container, recipe.files(host))
    docker.docker("start", host.container)


def _provision(host: Host) -> None:
    if host.role == "services":
        exec(host, units.START)
        return
    folder = f"/home/{topology.USER}/.ssh"
    script = f"install -d -m 0700 -o {topology.USER} -g {topology.USER} {folder} && cat > {folder}/authorized_keys"
    owner = f"chown {topology.USER}: {folder}/authorized_keys && chmod 0600 {folder}/authorized_keys"
    exec(host, f"{script} && {owner}", text=keys.ensure())
