"""`barewind tune`: better settings of an engine, by starting candidates on one drained replica and measuring them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from barewind.cli.bench import Ladder, fleet_of, refuse, request_options
from barewind.cli.options import data_option, epilog, inventory_argument, overrides
from barewind.errors import BarewindError

if TYPE_CHECKING:
    from barewind.bench.plan import Course
    from barewind.bench.run import Fleet
    from barewind.plan.engine import EnginePlan
    from barewind.tune.document import Attempt, Tuning
    from barewind.tune.plan import Candidates

_COLUMNS = ("candidate", "keys", "estimate", "in flight", "goodput", "ms per token", "first token ms", "note")
_MOST = 8


@click.command(
    epilog=epilog(
        "0: candidates were measured, and the engine serves its release again; 1: refused or failed, told on standard error; 2: "
        "wrong use of the command",
        "barewind tune inventory/prod.py --replica gpu1",
        "barewind tune inventory/prod.py --replica gpu1-0 --plan",
        "barewind tune inventory/prod.py --replica gpu1 --diff tuned.patch",
    )
)
@inventory_argument
@data_option
@click.option("--replica", metavar="NAME", required=True, help="The drained engine, as `barewind status` names it.")
@click.option("--plan", "only_plan", is_flag=True, help="Show the candidates, and start nothing.")
@click.option(
    "--candidates",
    "most",
    type=click.IntRange(1, _MOST),
    default=_MOST,
    show_default=True,
    metavar="N",
    help="Try so many settings at most, which is as many starts; on large hosts of minutes (no requests are lost).",
)
@click.option(
    "--ladder",
    type=Ladder(),
    help="Requests in flight, three rungs; without: 1, a quarter and all of 'expected_concurrency'.",
)
@request_options
@click.option(
    "--diff",
    "diff_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the diff of group data to a file.",
)
@click.option("--json", "json_too", is_flag=True, help="Print one object: docs/tune.schema.json.")
def tune(
    inventory_file: str,
    data: tuple[str, ...],
    replica: str,
    only_plan: bool,
    most: int,
    ladder: tuple[int, ...] | None,
    prompt: int | None,
    output: int | None,
    requests: int | None,
    tpot_limit: float | None,
    diff_file: Path | None,
    json_too: bool,
) -> None:
    """Find better settings of an engine by trying them on one drained replica.

    Each candidate is a start of the engine, its gate, and a bench of three rungs. What comes of it is a diff of group data, and
    two constants for estimates of this hardware; neither is applied. However it ends, the engine is put back to the unit of its
    release.
    """
    fleet = fleet_of(inventory_file, data)
    from barewind.bench import target as targets
    from barewind.bench.plan import course
    from barewind.lock.file import read
    from barewind.tune import plan as planning

    target = targets.of_replica(fleet.plans, replica)
    plan = target.plans[0]
    wanted = course(
        "ladder",
        ladder=ladder or planning.ladder(planning.in_flight(plan.spec)),
        prompt=prompt,
        output=output,
        requests=requests,
        tpot_limit=tpot_limit,
    )
    refuse(wanted, target)
    tried = planning.candidates(plan, read(fleet.site.lock_file), most=most)
    if only_plan:
        _show_candidates(tried)
        return
    done = _tried(fleet, plan, tried, wanted)
    tuning = _outcome(inventory_file, data, plan, tried, done)
    if diff_file is not None and tuning.diff:
        _write(diff_file, tuning.diff)
    if json_too:
        click.echo(json.dumps(tuning.model_dump(mode="json"), indent=2))
    else:
        _show(tuning)


def _tried(fleet: Fleet, plan: EnginePlan, tried: Candidates, wanted: Course) -> list[Attempt]:
    from barewind.bench import run as benches
    from barewind.bench.target import Target
    from barewind.hosts.interrupt import interruptible
    from barewind.tune import run

    with interruptible(), benches.lease_of(fleet, plan.spec.host, "barewind tune") as lease:
        benches.require(fleet, Target(plan.name, (plan,)), told=False, by_a_person=True)
        return run.attempts(fleet, plan, tried.kept, wanted, lease, lambda line: click.echo(line, err=True))


def _outcome(
    inventory_file: str, data: tuple[str, ...], plan: EnginePlan, tried: Candidates, done: list[Attempt]
) -> Tuning:
    from barewind.site.inventory import load
    from barewind.tune.outcome import tuning

    entry = next(entry for entry in load(inventory_file, overrides(data)) if entry.name == plan.spec.host)
    beside = Path(inventory_file).parent
    return tuning(entry, tried, done, beside if (beside / "group_data").is_dir() else Path())


def _show_candidates(tried: Candidates) -> None:
    from rich.console import Console

    from barewind.output import tables

    console = Console(highlight=False, markup=False)
    rows = [
        (each.name, _keys(dict(each.changes)), "-" if each.estimated is None else f"{each.estimated:.0f} tokens/s")
        for each in tried.kept
    ]
    tables.fit(console, ("candidate", "keys", "estimate"), rows)
    for line in tried.left_out:
        tables.say(console, f"left out: {line}")


def _show(tuning: Tuning) -> None:
    from rich.console import Console

    from barewind.output import tables

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, 200)  # columns: a log has no screen to fit
    tables.fit(console, _COLUMNS, [_row(attempt, best=attempt.name == tuning.best) for attempt in tuning.attempts])
    for line in tuning.left_out:
        tables.say(console, f"left out: {line}")
    if tuning.diff or tuning.notes:
        tables.say(console, f"\n{tuning.best}: {tuning.gain_percent:+.1f} % goodput; for group data, not applied:\n")
        click.echo(tuning.diff, nl=False)
    else:
        tables.say(console, "\nnothing does notably more than what is planned; group data stays as it is")
    for note in tuning.notes:
        tables.say(console, f"note: {note}")
    if tuning.constants is None:
        tables.say(console, f"no constants for estimates: {tuning.no_constants}")
        return
    constants = tuning.constants
    tables.say(
        console,
        f"\nestimates of {constants.accelerator} were up to {constants.before:.1f} % off, and are up to "
        f"{constants.error_percent:.1f} % off with this in a file of the key 'catalog':\n",
    )
    click.echo(constants.entry, nl=False)


def _row(attempt: Attempt, *, best: bool) -> tuple[str, ...]:
    told = "-" if attempt.estimated is None else f"{attempt.estimated:.0f}"
    if attempt.bench is None:
        return (attempt.name, _keys(attempt.changes), told, "-", "-", "-", "-", f"failed: {attempt.failed}")
    rungs = attempt.bench.rungs
    return (
        attempt.name,
        _keys(attempt.changes),
        told,
        ", ".join(str(rung.in_flight) for rung in rungs),
        ", ".join(f"{rung.goodput:.0f}" for rung in rungs),
        ", ".join(f"{rung.ms_per_token:.1f}" for rung in rungs),
        ", ".join(f"{rung.first_token_ms:.0f}" for rung in rungs),
        "best" if best else "",
    )


def _keys(changes: dict[str, object]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in changes.items()) or "-"


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text)
    except OSError as error:
        raise BarewindError(f"--diff {file}: cannot be written ({error.strerror}); name another file") from error
