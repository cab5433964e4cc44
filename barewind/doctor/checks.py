"""What is wrong with the controller or with the way to a host, from what is known of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from statistics import median
from typing import TYPE_CHECKING

from barewind.balancer import certificate
from barewind.doctor.controller import Controller
from barewind.doctor.finding import Finding, State
from barewind.hosts.files_limit import needed
from barewind.hosts.remedies import known_remedy
from barewind.preflight.checks import CLOCK_TOLERANCE
from barewind.secrets import concealed
from barewind.spec.keys import BalancerSpec

if TYPE_CHECKING:
    from barewind.doctor.commands import HostAnswer

_OLDEST_PYTHON = (3, 11)
_OLDEST_HOST_PYTHON = (3, 10)  # of Ubuntu 22.04; what passes weights on runs on the host's own
_SPARE = 2**30  # bytes that locks, logs and bundles' lists of files need at least
_TRY = "try it by hand: ssh -v HOST"
_TOLD = 5  # problems with keys of group data: `barewind plan` tells all


def controller(machine: Controller, hosts: int, addresses: Mapping[str, str]) -> Iterator[Finding]:
    """Findings about this machine, for a fleet of so many hosts at these addresses."""
    yield _python(machine)
    yield from _programs(machine)
    yield _packages(machine)
    yield _agent(machine)
    yield _clock(machine)
    yield from _site(machine)
    yield from _disks(machine)
    yield _files(machine, hosts)
    yield from _proxies(machine, addresses)


def keys(problem: str) -> Iterator[Finding]:
    """The finding about inventory and group data, of which `problem` is what reading them has told."""
    if not problem:
        yield Finding("group data", State.OK, "every key is right")
    told = problem.splitlines()
    for line in told[:_TOLD]:
        yield Finding("group data", State.WRONG, line)
    if len(told) > _TOLD:
        yield Finding("group data", State.WRONG, f"{len(told) - _TOLD} more", "see: barewind plan INVENTORY")


def certificates(balancers: Mapping[str, BalancerSpec]) -> Iterator[Finding]:
    """Findings about the certificates that balancers shall show, by their files."""
    told: set[tuple[object, ...]] = set()
    for spec in balancers.values():
        files = spec.endpoint_name, spec.endpoint_certificate, spec.endpoint_key
        if not spec.endpoint_tls or files in told:
            continue
        told.add(files)
        problems, soon = certificate.problems(spec), certificate.soon(spec)
        for problem in problems:
            finding, _, remedy = problem.rpartition("; ")
            yield Finding("certificate", State.WRONG, finding, remedy)
        if soon:
            yield Finding("certificate", State.LOOK, f"{spec.endpoint_certificate} {soon}", "renew it, and deploy")
        elif not problems:
            yield Finding("certificate", State.OK, f"{spec.endpoint_certificate} is good for {spec.endpoint_name}")


def hosts(answers: Mapping[str, HostAnswer], addresses: Mapping[str, str]) -> Iterator[Finding]:
    """Findings about each host, and about this machine's clock where most hosts have another."""
    skews = [answer.skew for answer in answers.values() if answer.skew is not None]
    common = median(skews) if skews else 0.0
    if len(skews) > 1 and abs(common) > CLOCK_TOLERANCE:
        yield Finding(
            "clock",
            State.WRONG,
            f"{abs(common):.0f} s {'behind' if common > 0 else 'ahead of'} most hosts",
            "set up time synchronisation on this machine (apt install chrony)",
        )
    else:
        common = 0.0
    for name, answer in answers.items():
        yield from _host(name, answer, addresses[name], common)


def _host(name: str, answer: HostAnswer, address: str, common: float) -> Iterator[Finding]:
    if answer.problem:
        # Without what only this host has, so that hosts with the same problem can be told together.
        message = answer.problem.splitlines()[-1].strip().replace("[Errno None] ", "").replace(address, "its address")
        yield Finding(name, State.WRONG, message, known_remedy(answer.problem) or _TRY)
        return
    wrong = list(_on_host(name, answer, common))
    yield from wrong or [Finding(name, State.OK, "answers, and commands run as root")]


def _on_host(name: str, answer: HostAnswer, common: float) -> Iterator[Finding]:
    if answer.user != "0":
        yield Finding(
            name,
            State.WRONG,
            f"commands run as user {answer.user or '?'} there, not as root",
            "set _sudo = True (group_data/all.py), or ssh_user to root",
        )
    if answer.python is None:
        yield Finding(
            name, State.WRONG, "has no python3", "apt install python3: what passes weights on is written in it"
        )
    elif answer.python < _OLDEST_HOST_PYTHON:
        yield Finding(
            name, State.WRONG, f"has Python {_dotted(answer.python)}", "install a supported system: see docs/deploy.md"
        )
    if answer.skew is not None and abs(answer.skew - common) > CLOCK_TOLERANCE:
        skew = answer.skew - common
        yield Finding(
            name,
            State.WRONG,
            f"its clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}",
            "set up time synchronisation there (apt install chrony)",
        )


def _python(machine: Controller) -> Finding:
    version = _dotted(machine.python)
    if machine.python[:2] < _OLDEST_PYTHON:
        oldest = _dotted(_OLDEST_PYTHON)
        return Finding("Python", State.WRONG, version, f"use {oldest} or newer: python{oldest} -m venv .venv")
    return Finding("Python", State.OK, f"{version} in {machine.beside}")


def _programs(machine: Controller) -> Iterator[Finding]:
    """The shell may find programs of another Barewind than this one: half of a run would be of each."""
    if len(machine.installed) > 1:
        shown = ", ".join(f"{version} in {folder}" for version, folder in machine.installed)
        yield Finding(
            "Barewind",
            State.WRONG,
            f"{len(machine.installed)} are installed: {shown}",
            "keep one: pip uninstall barewind",
        )
    elif machine.installed:
        yield Finding("Barewind", State.OK, machine.installed[0][0])
    for name, path in machine.programs.items():
        if path is None:
            yield Finding(
                name,
                State.LOOK,
                "the shell does not find it",
                f"activate its environment, or call {machine.beside}/{name}",
            )
        elif str(PurePath(path).parent) != machine.beside:
            yield Finding(
                name,
                State.LOOK,
                f"the shell finds {path}, which is not of this Barewind",
                f"activate this one's environment (. {machine.beside}/activate), or call {machine.beside}/{name}",
            )


def _packages(machine: Controller) -> Finding:
    if machine.unfit:
        return Finding(
            "packages",
            State.WRONG,
            ", ".join(machine.unfit),
            "pip install --upgrade barewind in an environment of its own",
        )
    return Finding("packages", State.OK, "as Barewind asks for them")


def _site(machine: Controller) -> Iterator[Finding]:
    """What this folder says of Barewind, if it is a site."""
    if not machine.is_site:
        return
    if "pyinfra_hooks.install()" not in machine.config:
        yield Finding(
            "config.py",
            State.WRONG,
            "does not load Barewind into pyinfra"
            if machine.config
            else "is not here: pyinfra runs without Barewind's checks",
            "move what is there away; barewind init . writes it anew",
        )
    if machine.pinned and machine.installed and machine.pinned != machine.installed[0][0]:
        yield Finding(
            "requirements.txt",
            State.LOOK,
            f"asks for Barewind {machine.pinned}, and {machine.installed[0][0]} is installed",
            "pip install -r requirements.txt; or write the newer version there, when its changes are read (CHANGELOG.md)",
        )


def _agent(machine: Controller) -> Finding:
    if machine.keys is None:
        return Finding("SSH agent", State.OK, "none; keys are read from files (ssh_key)")
    if machine.keys < 0:
        return Finding(
            "SSH agent",
            State.LOOK,
            "SSH_AUTH_SOCK names one that does not answer",
            "eval $(ssh-agent) and ssh-add, or unset it",
        )
    if machine.keys == 0:
        return Finding("SSH agent", State.LOOK, "has no key", "ssh-add, unless ssh_key names a file")
    return Finding("SSH agent", State.OK, f"{machine.keys} key{'s' if machine.keys > 1 else ''}")


def _clock(machine: Controller) -> Finding:
    if machine.clock_kept is None:
        return Finding(
            "clock", State.OK, "this system does not tell whether it is synchronised; hosts are compared with it"
        )
    if not machine.clock_kept:
        return Finding("clock", State.LOOK, "is not synchronised", "apt install chrony (or: timedatectl set-ntp true)")
    return Finding("clock", State.OK, "synchronised")


def _disks(machine: Controller) -> Iterator[Finding]:
    for folder, free in machine.free.items():
        found = f"{free / 2**30:.1f} GiB free"
        if free < _SPARE:
            yield Finding(folder, State.WRONG, found, f"free at least {_SPARE / 2**30:.0f} GiB there")
        else:
            yield Finding(folder, State.OK, found)


def _files(machine: Controller, number: int) -> Finding:
    need = needed(number)
    if 0 <= machine.most_files < need:
        return Finding(
            "open files",
            State.WRONG,
            f"{machine.most_files} at most, and {number} hosts need {need}",
            f"raise the hard limit: `* hard nofile {need}` in /etc/security/limits.conf, and log in anew",
        )
    return Finding("open files", State.OK, f"enough for {number} hosts ({need})")


def _proxies(machine: Controller, addresses: Mapping[str, str]) -> Iterator[Finding]:
    for name, value in machine.proxies.items():
        yield Finding(name, State.OK, f"{concealed(value)}: registries and hub are asked through it")
    if not machine.proxies or not addresses:
        return
    left_out = {entry.strip() for entry in machine.no_proxy.split(",")}
    through = [name for name, address in addresses.items() if not ({"*", address, name} & left_out)]
    if through and not any("/" in entry for entry in left_out):
        yield Finding(
            "no_proxy",
            State.LOOK,
            f"does not name {len(through)} of {len(addresses)} hosts, which clients on this machine would ask through the proxy",
            "add their addresses (SSH, and all that Barewind asks of hosts, goes past the proxy)",
        )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)
