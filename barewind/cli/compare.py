"""`barewind plan --compare`: every way to serve the model on each host that fits, beside each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import click
from rich.console import Console

from barewind import catalog
from barewind.compare.document import Comparison, Objective, Setup
from barewind.compare.setups import compared
from barewind.errors import BarewindError
from barewind.lock.file import read
from barewind.output import tables
from barewind.output.names import fold
from barewind.spec.keys import EngineSpec
from barewind.spec.site import Site


def compare(site: Site, hosts: Sequence[str], *, in_flight: int | None, objective: Objective, json_too: bool) -> None:
    """Print the set-ups of these hosts.

    Raises:
        BarewindError: for some of them there is none, or the objective is the cost and nobody says what a host costs.
    """
    specs = [site.engine_hosts[host][0] for host in hosts]
    if objective == "cost":
        _require_costs(specs)
    found = compared(specs, read(site.lock_file), in_flight=in_flight, objective=objective)
    if json_too:
        click.echo(json.dumps([kind.model_dump(mode="json") for kind in found], indent=2))
    else:
        for kind in found:
            _show(kind)
    if nothing := [
        f"{fold(kind.hosts)}: no set-up is left: {'; '.join(_left_out(kind))}" for kind in found if not kind.setups
    ]:
        raise BarewindError("\n".join(nothing))


def _require_costs(specs: Sequence[EngineSpec]) -> None:
    if without := [spec.host for spec in specs if spec.cost_per_hour is None]:
        raise BarewindError(
            f"key 'cost_per_hour': not set, and --objective cost sorts by it; set it in group data: what such a host costs an "
            f"hour, in any currency (on {fold(without)})"
        )


def _show(kind: Comparison) -> None:
    console = Console(highlight=False, markup=False)
    errors = {setup.estimate.error_percent for setup in kind.setups if setup.estimate is not None}
    within = f", estimates within {max(errors)} %" if errors else ""
    tables.say(
        console,
        f"\n{fold(kind.hosts)}: {kind.accelerators} x {kind.accelerator}, {kind.engine}, {kind.model}; with {kind.in_flight} "
        f"requests in flight on each, the best {kind.objective} first{within}",
    )
    columns = ("layout", "draft", "cache", "modality", "context", "KV tokens", "sequences", "tokens/s", "ms per token")
    costs = kind.cost_per_hour is not None
    columns = (*columns, *(("cost of 1M tokens",) if costs else ()), "note")
    if kind.setups:
        tables.fit(console, columns, [_row(setup, costs=costs) for setup in kind.setups])
    for reason in dict.fromkeys(setup.no_estimate for setup in kind.setups if setup.no_estimate):
        tables.say(console, f"no estimate: {reason}")
    if _without_scales(kind):
        tables.say(
            console, "note: these weights bring no scales for a KV cache in fp8; see what it does to answers first"
        )
    for line in _left_out(kind):
        tables.say(console, f"left out: {line}")


def _row(setup: Setup, *, costs: bool) -> tuple[str, ...]:
    told, cost = setup.estimate, setup.cost_per_million_tokens
    notes = ["planned"] if setup.planned else []
    if setup.queued:
        notes.append(f"{setup.queued} queue")
    return (
        f"{setup.replicas} x TP {setup.tensor_parallel}",
        "yes" if setup.draft else "-",
        setup.kv_cache,
        setup.modality,
        str(setup.context_length),
        str(setup.kv_tokens),
        str(setup.sequences),
        "-" if told is None else f"{told.tokens_per_second:.0f}",
        "-" if told is None else f"{told.ms_per_token:.1f}",
        *(("-" if cost is None else f"{cost:.2f}",) if costs else ()),
        ", ".join(notes),
    )


def _without_scales(kind: Comparison) -> bool:
    own = catalog.models()[kind.model].kv_cache_dtype
    return own != "fp8" and any(setup.kv_cache == "fp8" for setup in kind.setups)


def _left_out(kind: Comparison) -> Iterator[str]:
    if kind.too_large:
        yield f"{kind.too_large} that do not fit"
    for reason, count in kind.refused.items():
        yield f"{count} that {'is' if count == 1 else 'are'} refused, {reason}"
