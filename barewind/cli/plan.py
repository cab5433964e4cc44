"""`barewind plan`: what each host would serve."""

from __future__ import annotations

import shlex
from functools import partial
from typing import get_args

import click
from pydantic_core import to_json
from rich.console import Console

from barewind.balancer import certificate
from barewind.balancer.limits import limits
from barewind.cli.compare import compare
from barewind.cli.completion import hosts as host_names
from barewind.cli.options import data_option, epilog, inventory_argument, site_of
from barewind.compare.document import Objective
from barewind.engines.fit import Fit
from barewind.engines.profile import EXPECTED
from barewind.engines.sizing import in_flight_of, recipe_of
from barewind.estimate import lines as estimate
from barewind.keys import file as keys
from barewind.keys.plan import for_nobody
from barewind.lock.file import read
from barewind.monitoring.plan import disk_bytes
from barewind.monitoring.targets import series
from barewind.output import tables
from barewind.output.names import fold
from barewind.plan.checks import problems, refuse
from barewind.plan.document import as_json
from barewind.plan.engine import EnginePlan, plan_site
from barewind.site import between
from barewind.site.files import told
from barewind.site.notes import notes
from barewind.spec.site import Site


@click.command(
    epilog=epilog(
        "0: every host can be served as planned; 1: something is invalid, does not fit or would be refused, each problem on "
        "standard error with its remedy; 2: wrong use of the command",
        "barewind plan inventory/prod.py",
        "barewind plan inventory/prod.py --host gpu-h1 --data context_length=131072",
        "barewind plan inventory/prod.py --compare --in-flight 128",
        "barewind plan inventory/prod.py --json | jq '.[] | {host, problems, release}'",
    )
)
@inventory_argument
@data_option
@click.option("--host", "only", metavar="HOST", shell_complete=host_names, help="Show this host only.")
@click.option(
    "--json",
    "json_too",
    is_flag=True,
    help="Print a list of one object per engine host: docs/plan.schema.json; with --compare docs/compare.schema.json.",
)
@click.option(
    "--compare",
    "comparing",
    is_flag=True,
    help="Show every number of replicas, draft, KV cache and modality that fits, with its speed and cost.",
)
@click.option(
    "--in-flight",
    type=click.IntRange(1),
    metavar="N",
    help=f"With --compare: requests in flight on each host; without: the key 'expected_concurrency', or {EXPECTED}.",
)
@click.option(
    "--objective",
    type=click.Choice(get_args(Objective)),
    help="With --compare: what comes first; throughput without.",
)
def plan(
    inventory_file: str,
    data: tuple[str, ...],
    only: str | None,
    json_too: bool,
    comparing: bool,
    in_flight: int | None,
    objective: Objective | None,
) -> None:
    """Show what each host would serve, and what keeps it from that. No host is connected to."""
    if not comparing and (in_flight or objective):
        raise click.UsageError("--in-flight and --objective go with --compare.")
    site = site_of(inventory_file, data)
    if only is not None and only not in site.engine_hosts:
        raise click.UsageError(f"{inventory_file}: no engine host '{only}'; hosts: {', '.join(site.engine_hosts)}.")
    hosts = list(site.engine_hosts) if only is None else [only]
    if comparing:
        compare(site, hosts, in_flight=in_flight, objective=objective or "throughput", json_too=json_too)
        return
    plans = plan_site(site, read(site.lock_file))
    if only is not None:
        plans = {spec.name: plans[spec.name] for spec in site.engine_hosts[only]}
    found = {name: problems(host_plan) for name, host_plan in plans.items()}
    if only is None:
        found |= _of_balancers(site)
    if json_too:
        documents = [as_json(host_plan, found[name]) for name, host_plan in plans.items()]
        # A fifth of the time that Python's own takes: plans of a thousand hosts are 20 MB.
        click.echo(to_json(documents, indent=2, ensure_ascii=True))
    else:
        _show(plans, site)
    refuse(found)
    groups = {
        group
        for specs in (site.engines, site.balancers, site.mirrors, site.monitors)
        for spec in specs.values()
        for group in spec.groups
    }
    for note in (*told(inventory_file, groups), *notes(site)):
        click.echo(f"note: {note}", err=True)


def _of_balancers(site: Site) -> dict[str, list[str]]:
    """What keeps clients from the endpoint, by balancer."""
    content = keys.read(site.endpoint_keys)
    found: dict[str, list[str]] = {}
    for name, spec in site.balancers.items():
        nobody = for_nobody(content, site.endpoint_keys, spec)
        found[name] = [*certificate.problems(spec), *(["; ".join(nobody)] if nobody else [])]
    return found


def _show(plans: dict[str, EnginePlan], site: Site) -> None:
    console = Console(highlight=False, markup=False)
    show = partial(tables.say, console)
    by_command: dict[tuple[str, ...], list[EnginePlan]] = {}
    for host_plan in plans.values():
        by_command.setdefault(_without_address(host_plan), []).append(host_plan)
    for alike in by_command.values():
        first = alike[0]
        names = fold([host_plan.name for host_plan in alike])
        show(
            f"\n{names}: {first.spec.accelerators_each} x {first.spec.accelerator}, {first.spec.engine}, "
            f"release {first.release or 'not locked yet'}"
        )
        show(f"image   {first.image} -> {first.digest or 'not locked: barewind lock INVENTORY'}")
        for role, (model, revision, layout) in zip(("model", "draft"), first.revisions, strict=False):
            show(f"{role}   {model} @ {revision} ({layout} layout)")
        if first.sizing.fit is not None:
            show(_fit_line(first.sizing.fit))
            show(_profile_line(first))
            if first.spec.replicas_chosen:
                show(f"replicas {first.spec.replicas}, chosen: {first.spec.replicas_chosen}")
        for line in estimate.lines(first.spec, first.sizing):
            show(line)
        options = [(option.arguments(), option.reason) for option in first.command.options]
        rows = [(flag, " ".join(value), reason) for (flag, *value), reason in options]
        tables.fit(console, ("option", "value", "reason"), rows)
        show("env     " + " ".join(f"{name}={value}" for name, value in first.command.env.items()))
        if first.secrets:
            show("secrets " + " ".join(sorted(first.secrets)))
        docker = ["docker", "run", *first.container, first.image, *first.arguments]
        console.print("docker  " + shlex.join(docker), soft_wrap=True)  # one line, to be copied
    for name, spec in site.balancers.items():
        most = limits(spec, list(site.engines.values()))
        show(
            f"\n{name}: balancer at {spec.endpoint_url}, least connections over {len(site.engines)} engines\n"
            f"limits  a body: {most.max_body / 2**20:.1f} MiB; one address: {most.requests_per_client} requests at a time"
        )
    for name, monitor in site.monitors.items():
        show(
            f"\n{name}: monitor on port {monitor.monitor_port}, alerts on port {monitor.alertmanager_port}\n"
            f"disk    {disk_bytes(monitor, site) / 2**30:.1f} GiB: about {series(site)} series, "
            f"kept for {monitor.monitor_retention_days} days"
        )
    for difference in between.differences(site):
        show(f"note    {difference}")


def _fit_line(fit: Fit) -> str:
    fits = "fits" if fit.fits else "DOES NOT FIT"
    copies = f"{fit.data_parallel} x " if fit.data_parallel > 1 else ""
    sequences = "1 sequence" if fit.concurrent_sequences == 1 else f"{fit.concurrent_sequences} sequences"
    return (
        f"memory  {fits}: {fit.weights_mib / 1024:.1f} GiB of weights per accelerator, room for {copies}"
        f"{fit.kv_token_capacity} tokens of KV cache, {sequences} of {fit.context_length} tokens"
    )


def _profile_line(host_plan: EnginePlan) -> str:
    spec, sizing = host_plan.spec, host_plan.sizing
    if recipe := recipe_of(spec):
        return f"profile {spec.profile}: the published command, {recipe.source}"
    load = in_flight_of(spec)
    flying = "a full host" if load is None else f"{load} requests in flight on the host"
    why = sizing.reasons.get("speculative")
    drafting = "a draft" if sizing.draft else "no draft"
    return f"profile {spec.profile}, for {flying}: {drafting}{f', {why}' if why else ''}"


def _without_address(host_plan: EnginePlan) -> tuple[str, ...]:
    """What hosts that are shown together have in common."""
    port = None if host_plan.spec.replica is None else str(host_plan.spec.engine_port)
    parts = (host_plan.spec.accelerator, host_plan.image, *host_plan.command.argv, *host_plan.container)
    return tuple(part for part in parts if part not in (host_plan.spec.address, port))
