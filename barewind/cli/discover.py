"""`barewind discover`: an inventory and group data from what is on hosts."""

from __future__ import annotations

import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from barewind.cli.completion import configured_hosts
from barewind.cli.options import epilog
from barewind.errors import BarewindError
from barewind.init.plan import files as site_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barewind.discover.commands import Discovered
    from barewind.discover.plan import Proposal
    from barewind.discover.targets import Target
    from barewind.hosts.problem import Problem
    from barewind.hosts.reach import Hosts

_LOOK = 60  # seconds a host gets to answer
_KNOWN_HOSTS = "~/.ssh/known_hosts"


@click.command(
    epilog=epilog(
        "0: written, every host is in it; 1: not written; 2: written, some hosts are not in it, or wrong use. Sizes are in GiB",
        "barewind discover gpu1 gpu2 ops@10.0.0.9",
        "barewind discover --from-ssh-config 'gpu-*'",
    )
)
@click.argument("hosts", nargs=-1, metavar="[USER@]HOST[:PORT]...", shell_complete=configured_hosts)
@click.option(
    "--from-ssh-config",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    shell_complete=configured_hosts,
    help="Hosts of ~/.ssh/config whose names fit: 'gpu-*'.",
)
@click.option(
    "--user", metavar="NAME", help="The user for hosts that name none. Default: ssh_user of group_data/all.py here."
)
@click.option(
    "--key", type=click.Path(path_type=Path), metavar="FILE", help="The SSH key. Default: the agent's, or ssh's own."
)
@click.option(
    "--known-hosts",
    type=click.Path(path_type=Path),
    default=_KNOWN_HOSTS,
    show_default=True,
    metavar="FILE",
    help="Where host keys are looked up, and kept once you have confirmed them.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    metavar="DIR",
    help="Where to write. Default: here.",
)
@click.option(
    "--accept-host-keys", is_flag=True, help="Keep unknown host keys without asking: on a network that you trust."
)
@click.option("--yes", is_flag=True, help="Write the files without asking.")
@click.pass_context
def discover(
    ctx: click.Context,
    hosts: tuple[str, ...],
    patterns: tuple[str, ...],
    user: str | None,
    key: Path | None,
    known_hosts: Path,
    output: Path,
    accept_host_keys: bool,
    yes: bool,
) -> None:
    """Look at hosts over SSH, and write inventory and group data for them. No host is changed.

    Engine hosts are grouped by the kind and number of their accelerators; hosts without any become balancers. What a preflight
    would say of them is told. A file that is there is never written over.
    """
    from barewind.hosts.reach import Hosts  # first of all: it makes the process cooperative (gevent)

    common = _common(user, key, known_hosts)
    targets = _targets(hosts, patterns)
    known_hosts = known_hosts.expanduser()
    with tempfile.TemporaryDirectory() as folder:
        inventory = Path(folder) / "discover.py"
        inventory.write_text(_inventory(targets, common))
        reached = Hosts(str(inventory))
        found = _unreachable(targets, known_hosts, accept=accept_host_keys)
        found |= _look(reached, [name for name in targets if name not in found])
    from barewind.discover.plan import propose

    proposal = propose(targets, found, common)
    if proposal.groups:
        _show(proposal, found)
    _tell(proposal, _in_the_way(reached, proposal))
    if not proposal.groups:
        raise BarewindError("nothing was written: no host can be written down, see above.")
    files = proposal.files()
    _write(output, files, yes=yes)
    click.echo(f"Wrote {', '.join(files)}. Next: barewind plan {next(iter(files))}")
    ctx.exit(2 if proposal.left_out else 0)


def _targets(words: tuple[str, ...], patterns: tuple[str, ...]) -> dict[str, Target]:
    """The hosts that are named, by name.

    Raises:
        BarewindError: none is named, or a word or a pattern stands for none.
    """
    from barewind.discover import targets

    named = targets.named(words)
    if patterns:
        named += targets.configured(Path("~/.ssh/config").expanduser(), patterns)
    if not named:
        raise click.UsageError("name the hosts to look at, or --from-ssh-config PATTERN.")
    return {target.name: target for target in targets.unique(named)}


def _common(user: str | None, key: Path | None, known_hosts: Path) -> dict[str, Any]:
    """What pyinfra needs to get to every host."""
    common = {"ssh_user": user, "ssh_key": key and str(key)}
    if str(known_hosts) != _KNOWN_HOSTS:
        common["ssh_known_hosts_file"] = str(known_hosts)
    return {name: value for name, value in common.items() if value is not None}


def _inventory(targets: Mapping[str, Target], common: dict[str, Any]) -> str:
    """An inventory of these hosts, for this command alone."""
    always = {"ssh_strict_host_key_checking": "yes", "_sudo": True}
    return f"hosts = {[(name, always | common | target.ssh) for name, target in targets.items()]!r}\n"


def _unreachable(targets: Mapping[str, Target], known_hosts: Path, *, accept: bool) -> dict[str, Discovered]:
    """Hosts that do not answer, or whose keys are not known and were not confirmed. Keys that were are kept.

    Raises:
        BarewindError: there is no terminal to confirm them on.
    """
    from barewind.discover import host_keys
    from barewind.discover.commands import Discovered
    from barewind.hosts.ask import ask

    asked = ask(targets, lambda name: host_keys.unknown(targets[name], known_hosts))
    lost = {name: Discovered(message.removeprefix(f"{name}: ")) for name, message in asked.errors.items()}
    unknown = {name: key for name, key in asked.answers.items() if key is not None}
    if not unknown:
        return lost
    for name, key in unknown.items():
        click.echo(f"{name}: unknown host key {key.fingerprint}", err=True)
    if not accept:
        for file in sorted({key.file for key in unknown.values()}):
            click.echo(f"On the host: ssh-keygen -lf {file} prints what must be the same.", err=True)
        if not sys.stdin.isatty():
            raise BarewindError(
                f"{len(unknown)} host key(s) are unknown, and there is no terminal to confirm them on: add them to "
                f"{known_hosts}, or --accept-host-keys on a network that you trust. Nothing was written."
            )
        if not click.confirm(f"Are these the hosts' keys? They are kept in {known_hosts}", err=True):
            return lost | {
                name: Discovered("its host key was not confirmed; compare it, and run this again") for name in unknown
            }
    host_keys.keep(list(unknown.values()), known_hosts)
    return lost


def _look(hosts: Hosts, names: list[str]) -> dict[str, Discovered]:
    from barewind.discover.commands import LOOK, read

    return hosts.ask_and_read(dict.fromkeys(names, LOOK), read, timeout=_LOOK)


def _in_the_way(hosts: Hosts, proposal: Proposal) -> list[Problem]:
    """What a preflight would say of the hosts, were they deployed to as proposed."""
    from barewind.hosts.problem import Problem
    from barewind.lock.file import Lock
    from barewind.plan.engine import by_host, plan_site
    from barewind.preflight.checks import check_balancer, check_engine
    from barewind.preflight.facts import HostFacts, of_engines, of_other
    from barewind.site.read import read_site

    if not proposal.groups:
        return []
    try:
        site = read_site(proposal.entries())
        plans = by_host(plan_site(site, Lock()))
    except BarewindError as error:
        return [Problem("site", line, "see: barewind plan") for line in str(error).splitlines()]
    fact = HostFacts()
    wanted = {name: of_engines(plan, site.engine_hosts[name]) for name, plan in plans.items()}
    wanted |= {name: of_other(spec.endpoint_port) for name, spec in site.balancers.items()}
    looks = {name: fact.command(**each) for name, each in wanted.items()}
    problems: list[Problem] = []
    for name, (facts, now) in hosts.ask_and_read(looks, _read_facts, timeout=_LOOK).items():
        if facts is None:
            problems.append(Problem(name, "its state cannot be read", "run this again"))
        elif name in plans:
            problems += check_engine(plans[name], facts, now=now)
        else:
            problems += check_balancer(site.balancers[name], facts, now=now)
    return problems


def _read_facts(output: str, problem: str) -> tuple[dict[str, Any] | None, float]:
    """Facts of a host, None where they cannot be read, and the time on this machine then."""
    from barewind.hosts.script import FactProcessError
    from barewind.preflight.facts import HostFacts

    try:
        return None if problem else HostFacts().process(output.splitlines()), time.time()
    except FactProcessError:
        return None, time.time()


def _show(proposal: Proposal, found: Mapping[str, Discovered]) -> None:
    from rich.console import Console
    from rich.table import Table

    from barewind.output.tables import alike

    rows = []
    for group, hosts in proposal.groups.items():
        for name in hosts:
            host = found[name]
            cards = ", ".join(f"{count} x {kind}" for kind, count in host.kinds.items()) or "none"
            rows.append((name, group, host.os, f"{host.memory_gib:.0f} GiB", cards, host.driver or "none"))
    table = Table("host", "group", "system", "memory", "accelerators", "driver", box=None)
    for row in alike(rows):
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, 160)  # columns: a log has no screen to fit
    console.print(table)


def _tell(proposal: Proposal, problems: list[Problem]) -> None:
    """Hosts that are left out, what stands in the way of a deploy, and what a person must know; alike ones in one line."""
    from barewind.hosts.remedies import known_remedy
    from barewind.output.names import fold

    lines: dict[str, list[str]] = {}
    for name, reason in proposal.left_out.items():
        lines.setdefault("; ".join(filter(None, [f"left out: {reason}", known_remedy(reason)])), []).append(name)
    for problem in problems:
        lines.setdefault(f"in the way of a deploy: {problem.finding}; {problem.remedy}", []).append(problem.host)
    for line, names in lines.items():
        click.echo(f"{fold(names)}: {line}", err=True)
    for note in proposal.notes:
        click.echo(f"note: {note}", err=True)


def _write(folder: Path, files: Mapping[str, str], *, yes: bool) -> None:
    """Write files that are not there yet, all or none.

    Raises:
        BarewindError: one is there, there is nobody to ask, or the answer was no.
    """
    fresh = site_files(
        metadata.version("barewind")
    )  # what `barewind init` has written, and nobody has touched since, may go
    there = [
        name
        for name, text in files.items()
        if (folder / name).exists() and (folder / name).read_text() not in (text, fresh.get(name))
    ]
    if there:
        raise BarewindError(
            f"{folder / there[0]}: is there already, and other than what was found; nothing was written. Name another "
            "folder with --output, and compare."
        )
    for name, text in files.items():
        click.echo(f"\n--- {name}\n{text}", err=True)
    if not yes:
        if not sys.stdin.isatty():
            raise BarewindError(
                "nothing was written: there is no terminal to ask on; look at the files above, and add --yes."
            )
        if not click.confirm(f"Write these to {folder}?", err=True):
            raise BarewindError("nothing was written.")
    for name, text in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        except OSError as error:
            raise BarewindError(f"{path}: {error.strerror}; name another folder with --output.") from error
