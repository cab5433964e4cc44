"""Whether images can be had, asked of each registry once, before anything changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from barewind.hosts.problem import Problem
from barewind.plan.engine import EnginePlan
from barewind.registry import copy
from barewind.registry.client import RegistryError, Unreachable
from barewind.registry.lookup import repository
from barewind.registry.reference import login_of, parse
from barewind.registry.repository import Repository

_TO_MIRROR = "fill the mirror: barewind mirror INVENTORY"
_TO_LOCK = "take what the tag stands for now (barewind lock INVENTORY --update), or load a bundle into a mirror"


def lacking(plans: Mapping[str, EnginePlan], without: Iterable[str]) -> dict[str, list[str]]:
    """Each image by digest that the hosts of `without` are to pull, with those hosts."""
    hosts: dict[str, list[str]] = {}
    for host in without:
        hosts.setdefault(plans[host].pinned_image, []).append(host)
    return hosts


def finding(plan: EnginePlan) -> str | None:
    """Why a plan's image cannot be had from where its host pulls it, or None if it can.

    Raises:
        Unreachable: the registry does not answer here; it may answer the hosts.
    """
    image = parse(plan.pinned_image)
    mirrored = image.registry == plan.spec.mirror
    try:
        if not mirrored:
            source = repository(plan.pinned_image, tuple(plan.spec.insecure_registries), plan.spec.registry_logins)
            present = source.digest(image.digest or "") is not None
            return None if present else f"image {plan.pinned_image}: its registry does not have it any more"
        mirror = Repository(
            image.registry,
            image.repository,
            plain=not plan.spec.mirror_tls,
            ca=plan.spec.mirror_ca,
            subject=f"mirror {image.registry}",
            login=login_of(image.registry, plan.spec.registry_logins),
            hint="neither here nor on the host that was tried",
        )
        complete = copy.is_complete(mirror, image.digest or "")
    except Unreachable:
        raise
    except RegistryError as error:
        return str(error)
    return (
        None if complete else f"mirror {image.registry} does not have {image.repository}@{image.digest}, or not whole"
    )


def problem(plan: EnginePlan, hosts: list[str], finding: str, *, reachable: bool = True) -> Problem:
    """An image that cannot be had, as preflight reports it."""
    remedy = _TO_MIRROR if plan.spec.mirror else _TO_LOCK
    return Problem(
        ", ".join(hosts), finding.rstrip("."), remedy if reachable else f"mend the registry or the network; or {remedy}"
    )


def url(plan: EnginePlan) -> str:
    """URL that any registry answers, for a host to try."""
    image = parse(plan.pinned_image)
    source = repository(plan.pinned_image, tuple(plan.spec.insecure_registries), plan.spec.registry_logins)
    plain = image.registry == plan.spec.mirror and not plan.spec.mirror_tls
    return f"{source.base.replace('https:', 'http:') if plain else source.base}/v2/"
