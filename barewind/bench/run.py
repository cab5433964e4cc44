"""A bench from its first look to its last rung, with the lease of the fleet held: no deploy meets it."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from barewind.balancer import commands as balancer
from barewind.bench import beside, commands
from barewind.bench import plan as planning
from barewind.bench.commands import Measured
from barewind.bench.document import Bench, Rung
from barewind.bench.plan import Course
from barewind.bench.target import Target, problems
from barewind.controller import controller
from barewind.engines.load import Load
from barewind.errors import BarewindError
from barewind.estimate.host import Serving
from barewind.hosts.reach import Hosts
from barewind.hosts.script import FactProcessError
from barewind.lease.operations import Lease, LeaseLost, held
from barewind.plan.container import MODELS
from barewind.plan.engine import EnginePlan
from barewind.spec.site import Site

LOOK = 60  # seconds a host gets to answer a question
_SLACK = 120  # seconds beyond a generator's limit: it ends within ten, and its container is removed
RUNG = 3600  # seconds that a rung may take


@dataclass(frozen=True)
class Fleet:
    """The hosts of an inventory, and what is known of them."""

    site: Site
    plans: Mapping[str, EnginePlan]
    hosts: Hosts


@contextmanager
def lease_of(fleet: Fleet, host: str, command: str) -> Iterator[Lease]:
    """Hold the lease on the balancers and on this host.

    Raises:
        BarewindError: another run holds it, or a host does not answer; or the block has found that it is lost.
    """
    words = [command, *sys.argv[1:]]
    try:
        with held(fleet.hosts.state, fleet.site.balancers, [host], words, fleet.site.reason) as lease:
            yield lease
    except LeaseLost as error:
        raise BarewindError(str(error)) from error


def require(fleet: Fleet, target: Target, *, told: bool, by_a_person: bool = False) -> None:
    """Refuse to load what may not be loaded now; the lease must be held, so that it stays as it is.

    + told: somebody has said that engines in rotation shall be loaded
    + by_a_person: the host must be in maintenance, also where no balancer could send it requests

    Raises:
        BarewindError: everything that is in the way, or a host does not answer.
    """
    looks = {target.host: commands.look(target.plans), **dict.fromkeys(fleet.site.balancers, balancer.show_servers())}
    answers = fleet.hosts.ask(looks, timeout=LOOK)
    silent = [f"{name}: does not answer: {problem}" for name, (_, problem) in answers.items() if problem]
    if silent:
        raise BarewindError("\n".join(silent))
    rotations = {name: balancer.read(answers[name][0], name) for name in fleet.site.balancers}
    try:
        seen, drained = commands.read_look(answers[target.host][0], len(target.plans))
    except FactProcessError as error:
        raise BarewindError(f"{target.host}: {error}") from error
    found = list(problems(target, seen, drained, rotations, told=told))
    if by_a_person and drained is None and not found:
        found.append(
            f"{target.host}: nobody has drained it; drain it first: pyinfra INVENTORY tasks/drain.py --limit {target.host}"
        )
    if found:
        raise BarewindError("\n".join(found))


def measure(fleet: Fleet, target: Target, course: Course, lease: Lease, progress: Callable[[str], None]) -> Bench:
    """Climb the ladder, as far as requests are answered.

    + progress: told of each rung before it begins

    Raises:
        BarewindError: on the first rung already they are not, or the host does not answer.
        LeaseLost: it is; what was measured may have been disturbed.
    """
    begun, seed = datetime.now(UTC), secrets.randbelow(2**31)  # so that no prompt is in a cache
    first = target.plans[0]
    known = "the endpoint's requests go to several hosts" if target.balancer else _known(target, course)
    rungs: list[Rung] = []
    failed, ended = None, ""
    _require_answers(fleet, target)
    for place, in_flight in enumerate(course.ladder):
        lease.check()
        progress(f"{target.name}: {in_flight} in flight, {course.requests_of(in_flight)} requests")
        try:
            measured = _rung(fleet, target, course, in_flight, seed + place)
        except BarewindError as error:
            if not rungs:
                raise
            failed = f"with {in_flight} in flight: {error}"
            break
        rungs.append(_beside(_together(measured, in_flight), target, course, known))
        if ended := planning.enough(rungs):
            break
    return Bench(
        target=target.name,
        through="endpoint" if target.balancer else "engine",
        host=target.host,
        at=begun.strftime("%Y-%m-%dT%H:%M:%SZ"),
        by=controller(),
        release=None if target.balancer else first.release,
        image=first.pinned_image,
        engine=first.spec.engine,
        model=first.spec.model,
        accelerator=first.spec.accelerator,
        tensor_parallel=first.spec.tensor_parallel,
        engines=len(fleet.plans) if target.balancer else len(target.plans),
        draft=first.sizing.draft is not None,
        preset=course.preset,
        prompt=course.prompt,
        output=course.output,
        tpot_limit=course.tpot_limit,
        seed=seed,
        rungs=tuple(rungs),
        no_estimate=known if isinstance(known, str) else None,
        ended="requests were not answered" if failed else ended or "the last rung of the ladder",
        failed=failed,
    )


def keep(fleet: Fleet, bench: Bench) -> None:
    """Keep a bench with its release on the host; one of the endpoint belongs to none.

    Raises:
        BarewindError: it cannot be written.
    """
    if bench.release is not None:
        _asked(fleet, bench.host, commands.keep(bench), LOOK)


def _known(target: Target, course: Course) -> Serving | str:
    return beside.serving(target.plans, course.prompt, course.output)


def _require_answers(fleet: Fleet, target: Target) -> None:
    wrong = []
    for plan, url in zip(target.plans, target.urls, strict=True):
        output = _asked(fleet, target.host, commands.ask(plan, url), LOOK + 120)
        if problem := commands.read_ask(output, plan):
            wrong.append(f"{target.name if target.balancer else plan.name}: {url}: {problem}")
    if wrong:
        raise BarewindError("\n".join(wrong))


def _rung(fleet: Fleet, target: Target, course: Course, in_flight: int, seed: int) -> list[Measured]:
    """What the generators of a rung have measured: one for each engine that has a request at all."""
    pairs = [
        (plan, url, at_a_time)
        for plan, url, at_a_time in zip(
            target.plans, target.urls, planning.shares(in_flight, len(target.plans)), strict=True
        )
        if at_a_time
    ]
    requests = planning.shares(course.requests_of(in_flight), len(pairs))
    loads = [
        Load(
            url=url,
            model=plan.served_model_name,
            weights=f"{MODELS}/{plan.spec.model}",
            mistral=plan.revisions[0][2] == "mistral",
            requests=requests[number],
            at_a_time=at_a_time,
            prompt=course.prompt,
            output=course.output,
            seed=seed + 1000 * number,
            tpot_limit=course.tpot_limit,
        )
        for number, (plan, url, at_a_time) in enumerate(pairs)
    ]
    engines = [plan for plan, *_ in pairs]
    try:
        output = _asked(fleet, target.host, commands.generate(engines, loads, limit=RUNG), RUNG + _SLACK)
    except BaseException:
        # Ctrl-C, or the connection has ended: the engine shall not go on answering nobody.
        fleet.hosts.ask({target.host: commands.stop(len(engines))}, timeout=LOOK)
        raise
    return commands.read_generated(output, [target.name] if target.balancer else [plan.name for plan in engines])


def _together(measured: Sequence[Measured], in_flight: int) -> Rung:
    """What engines did side by side: rates are summed, times are means over requests, 99 of 100 the worst engine's."""
    completed = sum(each.completed for each in measured)

    def mean(figure: Callable[[Measured], float]) -> float:
        return round(sum(figure(each) * each.completed for each in measured) / completed, 2)

    rates = [each.output_tokens / each.seconds for each in measured]
    goods = [
        rate
        if each.good_requests_per_second is None
        else each.good_requests_per_second * each.output_tokens / each.completed
        for rate, each in zip(rates, measured, strict=True)
    ]
    return Rung(
        in_flight=in_flight,
        requests=completed,
        prompt_tokens=sum(each.prompt_tokens for each in measured),
        output_tokens=sum(each.output_tokens for each in measured),
        seconds=round(max(each.seconds for each in measured), 2),
        tokens_per_second=round(sum(rates), 1),
        goodput=round(sum(goods), 1),
        ms_per_token=mean(lambda each: each.ms_per_token),
        ms_per_token_p99=round(max(each.ms_per_token_p99 for each in measured), 2),
        first_token_ms=mean(lambda each: each.first_token_ms),
        first_token_ms_p99=round(max(each.first_token_ms_p99 for each in measured), 2),
        estimate=None,
        published=None,
    )


def _beside(rung: Rung, target: Target, course: Course, known: Serving | str) -> Rung:
    alone = len(target.plans) == 1 and target.balancer is None
    published = beside.published(target.plans[0], rung.in_flight, course.prompt, course.output) if alone else None
    return rung.model_copy(update={"estimate": beside.estimated(known, rung.in_flight), "published": published})


def _asked(fleet: Fleet, host: str, command: str, limit: int) -> str:
    output, problem = fleet.hosts.ask({host: command}, timeout=limit)[host]
    if problem:
        raise BarewindError(f"{host}: {problem}")
    return output
