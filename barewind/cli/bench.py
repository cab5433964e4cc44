"""`barewind bench`: how fast engines are, beside what the plan says of that."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from barewind.bench.plan import PRESETS, Course, course
from barewind.cli.completion import hosts as host_names
from barewind.cli.options import data_option, epilog, inventory_argument, site_of
from barewind.errors import BarewindError

if TYPE_CHECKING:
    from barewind.bench.document import Bench, Rung
    from barewind.bench.run import Fleet
    from barewind.bench.target import Target

Command = TypeVar("Command", bound=Callable[..., Any])

COLUMNS = (
    *("in flight", "requests", "tokens/s", "goodput", "estimate", "published"),
    *("ms per token", "p99", "estimate", "first token ms", "p99"),
)


class Ladder(click.ParamType[tuple[int, ...]]):
    """Numbers of requests in flight, with commas between them."""

    name = "N,N,..."

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"'{value}': write numbers with commas between them: 1,8,32", param, ctx)


def request_options(command: Command) -> Command:
    """Options of a command that say what is asked: lengths, how many requests, and which of them count."""
    for option in reversed(_REQUESTS):
        command = option(command)
    return command


_REQUESTS = (
    click.option("--input", "prompt", type=click.IntRange(4, 2**20), metavar="TOKENS", help="Tokens of each prompt."),
    click.option("--output", type=click.IntRange(2, 2**20), metavar="TOKENS", help="Tokens of each answer."),
    click.option("--requests", type=click.IntRange(1), metavar="N", help="Requests of each rung."),
    click.option(
        "--tpot-limit",
        type=click.FloatRange(0, min_open=True),
        metavar="MS",
        help="Count a request as goodput only if its tokens come within so many milliseconds each.",
    ),
)


@click.command(
    epilog=epilog(
        "0: measured; 1: refused, or requests were not answered, told on standard error; 2: wrong use of the command",
        "barewind bench inventory/prod.py --host gpu1 --preset recipe",
        "barewind bench inventory/prod.py --replica gpu1-2 --ladder 1,16,64 --input 4096 --output 512",
        "barewind bench inventory/prod.py --host gpu1 --page bench.html --json > bench.json",
    )
)
@inventory_argument
@data_option
@click.option("--host", "host", metavar="HOST", shell_complete=host_names, help="Load all engines of this host.")
@click.option("--replica", metavar="NAME", help="Load this engine alone, by the name that `barewind status` shows.")
@click.option(
    "--endpoint",
    is_flag=True,
    help="Load the endpoint of the first balancer, from --host or the first engine host; with --in-rotation.",
)
@click.option("--in-rotation", is_flag=True, help="Load what serves clients, too: they wait for this load.")
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="ladder",
    show_default=True,
    help="Lengths and rungs; recipe: what is published of MI300X, 100 requests, 32 at a time, 1024/1024 tokens.",
)
@click.option("--ladder", type=Ladder(), help="Requests in flight, rung by rung, instead of the preset's.")
@request_options
@click.option("--json", "json_too", is_flag=True, help="Print one object: docs/bench.schema.json.")
@click.option("--page", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with plots.")
def bench(
    inventory_file: str,
    data: tuple[str, ...],
    host: str | None,
    replica: str | None,
    endpoint: bool,
    in_rotation: bool,
    preset: str,
    ladder: tuple[int, ...] | None,
    prompt: int | None,
    output: int | None,
    requests: int | None,
    tpot_limit: float | None,
    json_too: bool,
    page: Path | None,
) -> None:
    """Measure how fast engines are, and show it beside the estimate and what is published.

    The load generator of the engine's own image runs on the host. Requests in flight grow until goodput falls. The host must be
    drained (tasks/drain.py), or --in-rotation given. The result is kept with the release on the host.
    """
    if replica and (host or endpoint):
        raise click.UsageError("--replica goes with neither --host nor --endpoint.")
    wanted = course(preset, ladder=ladder, prompt=prompt, output=output, requests=requests, tpot_limit=tpot_limit)
    fleet = fleet_of(inventory_file, data)
    from barewind.bench import target as targets

    if replica:
        target = targets.of_replica(fleet.plans, replica)
    elif endpoint:
        target = targets.of_endpoint(fleet.site, fleet.plans, host)
    else:
        target = targets.of_host(fleet.site, fleet.plans, host)
    refuse(wanted, target)
    done = _measured(fleet, target, wanted, told=in_rotation)
    if page is not None:
        from barewind.bench.page import page as page_of

        _write(page, page_of(done))
    if json_too:
        click.echo(json.dumps(done.model_dump(mode="json"), indent=2))
    else:
        show(done)
    if done.failed:
        raise BarewindError(done.failed)


def fleet_of(inventory_file: str, data: tuple[str, ...]) -> Fleet:
    """The hosts of an inventory, and the plans of all its engines.

    Raises:
        BarewindError: the inventory, the group data or the lock are not right.
    """
    site = site_of(inventory_file, data)
    from barewind.bench.run import Fleet
    from barewind.hosts.reach import Hosts
    from barewind.lock.file import read
    from barewind.plan.checks import check, require_locked
    from barewind.plan.engine import plan_site

    plans = plan_site(site, read(site.lock_file))
    check(plans)
    require_locked(plans, site.lock_file)
    return Fleet(site, plans, Hosts(inventory_file, data))


def refuse(wanted: Course, target: Target) -> None:
    """Refuse a course that these engines cannot take.

    Raises:
        BarewindError: everything that is wrong with it.
    """
    from barewind.bench.plan import problems

    if found := list(problems(wanted, target.plans)):
        raise BarewindError("\n".join(found))


def _measured(fleet: Fleet, target: Target, wanted: Course, *, told: bool) -> Bench:
    from barewind.bench import run
    from barewind.hosts.interrupt import interruptible

    with interruptible(), run.lease_of(fleet, target.host, "barewind bench") as lease:
        run.require(fleet, target, told=told)
        done = run.measure(fleet, target, wanted, lease, lambda line: click.echo(line, err=True))
        run.keep(fleet, done)
    return done


def show(done: Bench) -> None:
    """Print the table of a bench."""
    from rich.console import Console

    from barewind.output import tables

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, 200)  # columns: a log has no screen to fit
    through = f"the endpoint of {done.target}, from {done.host}" if done.through == "endpoint" else done.target
    tables.say(
        console,
        f"{through}: {done.engines} x {done.engine}, {done.tensor_parallel} x {done.accelerator} each, {done.model}; prompts of "
        f"{done.prompt} tokens, answers of {done.output}",
    )
    tables.fit(console, COLUMNS, [_row(rung) for rung in done.rungs])
    best = done.best
    tables.say(console, f"best: {best.goodput:.0f} tokens/s with {best.in_flight} in flight; ended: {done.ended}")
    if done.no_estimate:
        tables.say(console, f"no estimate: {done.no_estimate}")
    elif any(rung.estimate for rung in done.rungs):
        tables.say(
            console, "estimates are of a load that goes on; a bench ends empty and shows up to a fifth fewer tokens/s"
        )
    for source in dict.fromkeys(rung.published.source for rung in done.rungs if rung.published):
        tables.say(console, f"published: {source}")


def _row(rung: Rung) -> Sequence[str]:
    told, others = rung.estimate, rung.published
    return (
        str(rung.in_flight),
        str(rung.requests),
        f"{rung.tokens_per_second:.0f}",
        f"{rung.goodput:.0f}",
        "-"
        if told is None
        else f"{told.tokens_per_second:.0f} ({_off(rung.tokens_per_second, told.tokens_per_second)})",
        "-"
        if others is None
        else f"{others.tokens_per_second:.0f} ({_off(rung.tokens_per_second, others.tokens_per_second)})",
        f"{rung.ms_per_token:.1f}",
        f"{rung.ms_per_token_p99:.1f}",
        "-" if told is None else f"{told.ms_per_token:.1f} ({_off(rung.ms_per_token, told.ms_per_token)})",
        f"{rung.first_token_ms:.0f}",
        f"{rung.first_token_ms_p99:.0f}",
    )


def _off(measured: float, said: float) -> str:
    return f"{(measured / said - 1) * 100:+.0f} %"


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text)
    except OSError as error:
        raise BarewindError(f"--page {file}: cannot be written ({error.strerror}); name another file") from error
