"""`barewind keys`: who may ask the endpoint, how much, and until when."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from barewind.cli.options import data_option, endpoint_of, epilog, inventory_argument
from barewind.cli.session import session
from barewind.cli.usage import usage
from barewind.cli.values import KeyId, Length, Moment, now
from barewind.controller import controller
from barewind.errors import BarewindError
from barewind.keys import file, plan, text
from barewind.keys.entry import CLASSES, Key
from barewind.spec.site import Site

if TYPE_CHECKING:
    from barewind.hosts.ask import Answers
    from barewind.hosts.reach import Hosts
    from barewind.keys.commands import Known
    from barewind.keys.file import KeyFile

_STATUS = "0: every balancer knows it; 1: one does not, or it was refused; 2: wrong use"
_SHOWN = "The key alone goes to standard output, once; nothing can show it again."

id_argument = click.argument("id", metavar="TEAM[/NAME]", type=KeyId())
expires_option = click.option(
    "--expires", type=Moment(), metavar="TIME", help="Until when: 90d, 24h, 2027-01-31 (UTC)."
)


def limit_option(name: str, what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option for a limit."""
    return click.option(name, type=click.IntRange(1, 10**9), metavar="N", help=f"{what}. Default: no limit.")


@click.group(
    epilog=epilog(
        "0: done; 1: something to put right; 2: wrong use, or a host that could not be asked",
        "barewind keys add inventory/prod.py alpha/ci --rpm 600 --expires 90d",
        "barewind keys list inventory/prod.py",
    )
)
def keys() -> None:
    """Give out, list and revoke the keys that clients of the endpoint show.

    keys.yaml (key `endpoint_keys`) and the balancers hold the SHA-256 of each; a key itself is shown once. Changes reach every
    balancer at once, without a reload.
    """


@keys.command(
    help=f"Make a key for a team, or for a client of a team.\n\n{_SHOWN}",
    epilog=epilog(
        _STATUS,
        "barewind keys add inventory/prod.py alpha",
        "barewind keys add inventory/prod.py alpha/ci --rpm 600 --parallel 32 --tokens-per-minute 200000 --expires 90d",
    ),
)
@inventory_argument
@id_argument
@limit_option("--rpm", "Requests per minute")
@limit_option("--tokens-per-minute", "Tokens of requests and answers per minute")
@limit_option("--parallel", "Requests at a time")
@click.option(
    "--priority", type=click.Choice(list(CLASSES)), default="normal", show_default=True, help="Where requests queue."
)
@expires_option
@data_option
def add(
    inventory_file: str,
    id: str,
    rpm: int | None,
    tokens_per_minute: int | None,
    parallel: int | None,
    priority: Any,
    expires: datetime | None,
    data: tuple[str, ...],
) -> None:
    site, made = endpoint_of(inventory_file, data), text.new()
    key = Key(
        **_of(id, made),
        expires=expires,
        requests_per_minute=rpm,
        parallel=parallel,
        tokens_per_minute=tokens_per_minute,
        priority=priority,
    )
    with _adding(site, inventory_file, data) as (hosts, content):
        _give(hosts, site, content, plan.added(content, key), made)


@keys.command(
    help=f"Make a second key of the same client, with the same limits, for it to change over to.\n\n{_SHOWN}",
    epilog=epilog(_STATUS, "barewind keys rotate inventory/prod.py alpha/ci --keep 24h"),
)
@inventory_argument
@id_argument
@click.option(
    "--keep", type=Length(), metavar="TIME", help="How long the old key goes on: 24h. Default: until it is revoked."
)
@expires_option
@data_option
def rotate(
    inventory_file: str, id: str, keep: timedelta | None, expires: datetime | None, data: tuple[str, ...]
) -> None:
    site, made = endpoint_of(inventory_file, data), text.new()
    with _adding(site, inventory_file, data) as (hosts, content):
        after = plan.rotated(content, Key(**_of(id, made), expires=expires), keep=keep)
        if keep is None:
            old = ", ".join(f"--hint {key.hint}" for key in plan.live(content, id, now()))
            click.echo(f"To end the old one: barewind keys revoke {inventory_file} {id} {old}", err=True)
        _give(hosts, site, content, after, made)


@keys.command(
    epilog=epilog(
        _STATUS,
        "barewind keys revoke inventory/prod.py alpha/ci",
        "barewind keys revoke inventory/prod.py alpha/ci --hint x7Qp",
    )
)
@inventory_argument
@id_argument
@click.option(
    "--hint", metavar="CHARS", help="The last characters of the key that is meant, if the client has several."
)
@click.option("--all", "every", is_flag=True, help="Every key of that client.")
@data_option
def revoke(inventory_file: str, id: str, hint: str | None, every: bool, data: tuple[str, ...]) -> None:
    """Refuse a key from now on, on every balancer. Answers under way end whole.

    Its entry stays in the file, so that usage keeps its name.
    """
    site = endpoint_of(inventory_file, data)
    with _locked(site):
        before = file.read(site.endpoint_keys)
        after = plan.revoked(before, id, now(), hint=hint, every=every)
        if after is before:
            click.echo(f"{id}: was revoked before; balancers are told again.", err=True)
        from barewind.hosts.reach import Hosts
        from barewind.keys.telling import tell

        try:  # balancers first: nobody is let in while a file is written
            told = tell(Hosts(inventory_file, data), list(site.balancers), after, newest=before.serial)
        finally:
            if after is not before:
                file.write(after, site.endpoint_keys)
    _report(told, "still lets in whom it did")


@keys.command(
    epilog=epilog(
        _STATUS,
        "barewind keys sync inventory/prod.py",
    )
)
@inventory_argument
@click.option("--overwrite", is_flag=True, help="Also where a balancer has the keys of a later file, which is lost.")
@data_option
def sync(inventory_file: str, overwrite: bool, data: tuple[str, ...]) -> None:
    """Bring every balancer to what the file says: after an edit by hand, or where one could not be told."""
    site = endpoint_of(inventory_file, data)
    with _locked(site):
        from barewind.hosts.reach import Hosts
        from barewind.keys.telling import tell

        content = file.read(site.endpoint_keys)
        newest = plan.ANY if overwrite else None
        _report(tell(Hosts(inventory_file, data), list(site.balancers), content, newest=newest), "keeps what it had")


@keys.command(
    "list",
    epilog=epilog(
        "0: every balancer has these keys; 1: one has others; 2: one could not be asked, or wrong use",
        "barewind keys list inventory/prod.py",
        "barewind keys list inventory/prod.py --json",
    ),
)
@inventory_argument
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
@click.option("--all", "every", is_flag=True, help="Show revoked and expired keys too.")
@data_option
@click.pass_context
def list_(ctx: click.Context, inventory_file: str, as_json: bool, every: bool, data: tuple[str, ...]) -> None:
    """Show every key, what it may, and what it does at this moment. Nothing is changed."""
    site = endpoint_of(inventory_file, data)
    from barewind.hosts.reach import Hosts
    from barewind.keys import listing
    from barewind.keys.telling import look

    content = file.read(site.endpoint_keys)
    looked = look(Hosts(inventory_file, data), site.balancers.values())
    found = listing.listing(content, looked.answers, now())
    if as_json:
        click.echo(json.dumps(found.as_json() | {"silent": looked.errors}, indent=2))
    else:
        _show(found, every=every)
    for line in [*looked.errors.values(), *([] if as_json else found.remarks(inventory_file))]:
        click.echo(line, err=True)
    ctx.exit(2 if looked.errors else 1 if found.differ else 0)


for _command in (session, usage):
    keys.add_command(_command)


def _show(found: Any, *, every: bool) -> None:
    from rich.console import Console

    from barewind.keys import listing
    from barewind.output import tables

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, 200)  # columns: a log has no screen to fit
    rows = found.lines(every=every)
    if rows:
        tables.fit(console, listing.COLUMNS, rows)
    else:
        tables.say(console, "There are no keys. To make one: barewind keys add INVENTORY TEAM")


def _of(id: str, made: str) -> dict[str, Any]:
    """What an entry says of a new key."""
    return {"id": id, "sha256": text.sha256(made), "hint": text.hint(made), "created": now(), "by": controller()}


def _locked(site: Site) -> Any:
    return file.locked(site.endpoint_keys, lambda message: click.echo(message, err=True))


@contextmanager
def _adding(site: Site, inventory_file: str, data: tuple[str, ...]) -> Iterator[tuple[Hosts, KeyFile]]:
    """The hosts and the keys, to which nobody else adds one meanwhile.

    Raises:
        BarewindError: a balancer has the keys of a later file.
    """
    with _locked(site):
        content = file.read(site.endpoint_keys)
        from barewind.hosts.reach import Hosts
        from barewind.keys.telling import look, outdated

        hosts = Hosts(inventory_file, data)
        if problems := outdated(look(hosts, site.balancers.values()).answers, content.serial):
            raise BarewindError("\n".join([*problems, "Nothing was changed."]))
        yield hosts, content


def _give(hosts: Hosts, site: Site, before: KeyFile, content: KeyFile, made: str) -> None:
    """Write a new key down, show it, and let it in."""
    from barewind.keys.telling import tell

    file.write(content, site.endpoint_keys)
    click.echo(made)
    key = content.keys[-1]
    click.echo(f"{key.id} (...{key.hint}): this is the key; it cannot be shown again.", err=True)
    _report(tell(hosts, list(site.balancers), content, newest=before.serial), "does not let it in")


def _report(told: Answers[Known], otherwise: str) -> None:
    """Say what balancers do now.

    Raises:
        BarewindError: one could not be told.
    """
    if told.answers:
        click.echo(f"Told at once: {', '.join(told.answers)}.", err=True)
    for name, known in told.answers.items():
        if not known.processes:
            click.echo(f"{name}: HAProxy does not run; it goes by these keys when it starts.", err=True)
        elif not known.asks:
            click.echo(f"{name}: HAProxy asks for no keys yet; the next deploy has it do so.", err=True)
    if told.errors:
        lines = [f"{problem}. It {otherwise}" for problem in told.errors.values()]
        raise BarewindError(
            "\n".join([*lines, "Mend it, then: barewind keys sync INVENTORY (the next deploy does the same)."])
        )
