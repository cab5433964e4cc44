"""`barewind support-bundle`: a file for a bug report."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from barewind.cli.options import data_option, epilog, host_option, inventory_argument, overrides
from barewind.doctor import checks, controller
from barewind.doctor.finding import lines
from barewind.errors import BarewindError
from barewind.site import inventory
from barewind.site.read import read_site
from barewind.spec.site import HostEntry, Site

if TYPE_CHECKING:
    from barewind.hosts.reach import Hosts

_LOOK = 60  # seconds a host gets to answer
_LINES = 2000  # of each log, unless another number is given
_ABOUT = """A support bundle of Barewind, made {at} by version {version}.

controller.txt  what `barewind doctor` says of the machine that deploys
versions.json   versions of Python and of the packages that Barewind uses
keys.json       each host's keys, as inventory and group data set them
plans.json      what each host would serve (barewind plan --json)
status.json     what each host serves (barewind status --json)
lock.yaml       the lock file
hosts/NAME.txt  system, units, logs, accelerators of a host

Taken out ("..."): the secrets in the files that the keys name, values that are named like a secret, and whatever has the form of
one. Names and addresses of hosts are in it, and what engines have logged: look it through before you send it.
"""


@click.command(
    "support-bundle",
    epilog=epilog(
        "0: written, and what could not be had is named; 1: not written; 2: wrong use. Sizes are in MiB",
        "barewind support-bundle inventory/prod.py --host gpu-h1",
    ),
)
@inventory_argument
@data_option
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: barewind-support-TIME.tar.gz here."
)
@click.option(
    "--lines", "count", type=click.IntRange(1, 100_000), default=_LINES, show_default=True, help="Lines of each log."
)
@host_option
def support_bundle(
    inventory_file: str, data: tuple[str, ...], output: Path | None, count: int, only: tuple[str, ...]
) -> None:
    """Write plans, statuses and logs of a fleet to a file for a bug report, without secrets. Nothing is changed."""
    entries = inventory.load(inventory_file, overrides(data))
    from barewind.hosts.reach import Hosts
    from barewind.support import archive, commands
    from barewind.support.concealment import Concealment, known_secrets

    names = [entry.name for entry in entries]
    if unknown := [name for name in only if name not in names]:
        raise click.UsageError(f"{inventory_file}: no host '{unknown[0]}'.")
    concealment = Concealment(known_secrets(entries))
    hosts = Hosts(inventory_file, data)
    texts = _about_site(entries, hosts)
    looks = dict.fromkeys(only or names, commands.look(count))
    for name, (printed, problem) in hosts.ask(looks, timeout=_LOOK).items():
        texts[f"hosts/{name.replace('/', '_')}.txt"] = f"{printed}\n{problem}\n"
        if problem:
            click.echo(f"{name}: cannot be asked ({problem.splitlines()[-1]})", err=True)
    keys = {entry.name: concealment.keys(entry.data) for entry in entries}
    texts = {name: concealment.text(text) for name, text in texts.items()}
    texts["keys.json"] = json.dumps(keys, indent=2, default=str)
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    texts["README.txt"] = _ABOUT.format(at=at, version=metadata.version("barewind"))
    path = output or Path(f"barewind-support-{at}.tar.gz")
    size = archive.write(path, texts)
    click.echo(f"Wrote {path} ({size / 2**20:.1f} MiB): look it through before you send it.")


def _about_site(entries: list[HostEntry], hosts: Hosts) -> dict[str, str]:
    """What is known of a site without its hosts' logs; a part that cannot be had says why."""
    addresses = {entry.name: str(entry.data.get("ssh_hostname") or entry.name) for entry in entries}
    findings = checks.controller(controller.read(), len(entries), addresses)
    texts = {
        "controller.txt": "\n".join([platform.platform(), *lines(findings)]) + "\n",
        "versions.json": json.dumps(_versions(), indent=2),
    }
    try:
        site = read_site(entries)
    except BarewindError as error:
        return texts | {"plans.json": f"{error}\n"}
    return texts | {
        "plans.json": _or_why(lambda: _plans(site)),
        "status.json": _or_why(lambda: _status(site, hosts)),
        "lock.yaml": _or_why(lambda: Path(site.lock_file).read_text()),
    }


def _or_why(make: Callable[[], str]) -> str:
    try:
        return make()
    except (BarewindError, OSError) as error:
        return f"{error}\n"


def _versions() -> dict[str, str]:
    installed = {each.metadata["Name"]: each.version for each in metadata.distributions()}
    return {"python": platform.python_version()} | dict(sorted(installed.items()))


def _plans(site: Site) -> str:
    from barewind.lock import file as lock
    from barewind.plan.document import as_json
    from barewind.plan.engine import plan_site

    plans = plan_site(site, lock.read(site.lock_file))
    return json.dumps([as_json(plan) for plan in plans.values()], indent=2)


def _status(site: Site, hosts: Hosts) -> str:
    from barewind.lock import file as lock
    from barewind.plan.engine import plan_site
    from barewind.status import commands

    plans = plan_site(site, lock.read(site.lock_file))
    answers = hosts.ask(commands.looks(site, plans), timeout=_LOOK)
    return json.dumps(commands.read(site, plans, answers).as_json(), indent=2)
