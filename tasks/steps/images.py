"""The engine's image, by digest: whether it can be had, the pull, and the end of images that nobody rolls back to."""

from __future__ import annotations

import shlex
from pathlib import Path

from pyinfra import logger, state
from pyinfra.api import deploy
from pyinfra.api.exceptions import PyinfraError

from barewind.hosts.operations import ManagedFile
from barewind.hosts.problem import Problem
from barewind.hosts.shell import run
from barewind.images.operations import pruned, pulled
from barewind.plan.engine import EnginePlan
from barewind.registry.reference import login_of, parse
from barewind.tasks.run import engine_plan, fleet, host_facts, once

_PULL = 2 * 3600  # seconds; images are 10 to 20 GB
# Any answer of a registry will do; its certificate is Docker's business.
_TRY = "curl -sk -m 10 -o /dev/null {url}"


def unavailable() -> list[Problem]:
    """For preflight: images that hosts of this run lack and cannot have. Each registry is asked once per image, from here;
    one that does not answer here is tried from a host."""
    plans = fleet().hosts
    without = [
        name
        for name, known in host_facts().items()
        if name in plans and known.facts and not known.facts["image_present"]
    ]
    if not without:
        return []
    from barewind.images import availability  # the HTTP library is slow to import, and rarely needed
    from barewind.registry.client import Unreachable

    problems = []
    for reference, hosts in availability.lacking(plans, without).items():
        plan = plans[hosts[0]]
        try:
            finding = availability.finding(plan)
        except Unreachable as error:
            answer = run(
                state, state.inventory.get_host(hosts[0]), _TRY.format(url=shlex.quote(availability.url(plan)))
            )
            if answer.problem:
                problems.append(availability.problem(plan, hosts, str(error), reachable=False))
            else:
                logger.info(f"--> {reference}: its registry answers {hosts[0]} but not this machine; hosts will see")
            continue
        if finding:
            problems.append(availability.problem(plan, hosts, finding))
    return problems


@deploy("Image")
def pull() -> None:
    """Have it on every engine host."""
    plan = engine_plan()
    if plan is not None:
        registry = parse(plan.pinned_image).registry
        pulled(
            name="By digest",
            image=plan.pinned_image,
            size=plan.image_size,
            insecure=[registry] if registry in plan.spec.insecure_registries else [],
            certificate=_certificate(plan),
            login=login_of(registry, plan.spec.registry_logins),
            timeout=_PULL,
            _timeout=_PULL,
        )


@deploy("Image")
def prune() -> None:
    """Remove images of releases before the last `keep_releases` from engine hosts; for the end of a deploy."""
    plan = engine_plan()
    if plan is not None:
        pruned(
            name="Of earlier releases",
            repositories=_repositories(),
            wanted=[plan.pinned_image],
            keep=plan.spec.keep_releases,
        )


@once
def _repositories() -> list[str]:
    """Where images of the fleet's engines come from."""
    plans = fleet().plans.values()
    return sorted({parse(name).name for plan in plans for name in (plan.image, plan.pinned_image)})


def _certificate(plan: EnginePlan) -> ManagedFile | None:
    """The mirror's certificate authority where Docker looks for it; taken over at once."""
    spec = plan.spec
    if spec.mirror is None or spec.mirror_ca is None or not spec.mirror_tls:
        return None
    path = Path(spec.mirror_ca).expanduser()
    try:
        return ManagedFile(f"/etc/docker/certs.d/{spec.mirror}/ca.crt", path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise PyinfraError(f"mirror_ca {path}: cannot be read ({error}); correct the key.") from error
