"""The engine's image, by digest: can it be had, have it, and lose those that nobody will go back to."""

from __future__ import annotations

import shlex
from pathlib import Path

from pyinfra import logger, state
from pyinfra.api import deploy
from pyinfra.api.exceptions import PyinfraError

from barewind import images
from barewind.operations import ManagedFile
from barewind.operations.image import pruned, pulled
from barewind.operations.shell import run
from barewind.plan import EnginePlan
from barewind.problem import Problem
from tasks.fleet import engine_plan, fleet
from tasks.survey import survey

_PULL = 2 * 3600  # seconds; images are 10 to 20 GB
_TRY = "curl -sk -m 10 -o /dev/null {url}"  # any answer of a registry will do; its certificate is Docker's business


def unavailable() -> list[Problem]:
    """For preflight: images that hosts of this run lack and cannot have. Each registry is asked once per image, from here;
    one that does not answer here is tried from a host."""
    from barewind import image_check  # the HTTP library is slow to import, and rarely needed
    from barewind.registry.client import Unreachable

    plans = fleet().plans
    without = [
        name for name, seen in survey().items() if name in plans and seen.facts and not seen.facts["image_present"]
    ]
    found = []
    for reference, hosts in image_check.lacking(plans, without).items():
        plan = plans[hosts[0]]
        try:
            what = image_check.finding(plan)
        except Unreachable as error:
            answer = run(state, state.inventory.get_host(hosts[0]), _TRY.format(url=shlex.quote(image_check.url(plan))))
            if answer.problem:
                found.append(image_check.problem(plan, hosts, str(error), reachable=False))
            else:
                logger.info(f"--> {reference}: its registry answers {hosts[0]} but not this machine; hosts will see")
            continue
        if what:
            found.append(image_check.problem(plan, hosts, what))
    return found


@deploy("Image")
def pull() -> None:
    """Have it on every engine host."""
    plan = engine_plan()
    if plan is not None:
        registry = images.parse(plan.pinned_image).registry
        pulled(
            name="By digest",
            reference=plan.pinned_image,
            size=plan.image_size,
            insecure=[registry] if registry in plan.spec.insecure_registries else [],
            certificate=_certificate(plan),
            timeout=_PULL,
            _timeout=_PULL,
        )


@deploy("Image")
def prune() -> None:
    """Remove images of releases before the last `keep_releases` from engine hosts; for the end of a deploy."""
    plan = engine_plan()
    if plan is not None:
        plans = fleet().plans.values()
        ours = {images.parse(name).name for one in plans for name in (one.image, one.pinned_image)}
        pruned(
            name="Of earlier releases",
            repositories=sorted(ours),
            wanted=[plan.pinned_image],
            keep=plan.spec.keep_releases,
        )


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
