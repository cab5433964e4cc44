"""Whether images can be had, asked of each registry once, before anything changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from barewind import images
from barewind.mirror import copy
from barewind.plan import EnginePlan
from barewind.problem import Problem
from barewind.registry.client import RegistryError, Unreachable
from barewind.registry.lookup import repository
from barewind.registry.repository import Repository

_TO_MIRROR = "fill the mirror: barewind mirror INVENTORY"
_TO_LOCK = "take what the tag stands for now (barewind lock INVENTORY --update), or load a bundle into a mirror"


def lacking(plans: Mapping[str, EnginePlan], without: Iterable[str]) -> dict[str, list[str]]:
    """Each image by digest that a host of `without` is to pull, with the hosts that want it."""
    found: dict[str, list[str]] = {}
    for host in without:
        found.setdefault(plans[host].pinned_image, []).append(host)
    return found


def finding(plan: EnginePlan) -> str | None:
    """Why a plan's image cannot be had from where its host pulls it, or None if it can.

    Raises:
        Unreachable: the registry does not answer here; it may answer the hosts.
    """
    pinned = images.parse(plan.pinned_image)
    mirrored = pinned.registry == plan.spec.mirror
    try:
        if not mirrored:
            source = repository(plan.pinned_image, tuple(plan.spec.insecure_registries))
            found = source.digest(pinned.digest or "") is not None
            return None if found else f"image {plan.pinned_image}: its registry does not have it any more"
        mirror = Repository(
            pinned.registry,
            pinned.repository,
            plain=not plan.spec.mirror_tls,
            ca=plan.spec.mirror_ca,
            what=f"mirror {pinned.registry}",
            hint="neither here nor on the host that was tried",
        )
        whole = copy.whole(mirror, pinned.digest or "")
    except Unreachable:
        raise
    except RegistryError as error:
        return str(error)
    return (
        None if whole else f"mirror {pinned.registry} does not have {pinned.repository}@{pinned.digest}, or not whole"
    )


def problem(plan: EnginePlan, hosts: list[str], what: str, *, reachable: bool = True) -> Problem:
    """An image that cannot be had, as preflight tells it."""
    remedy = _TO_MIRROR if plan.spec.mirror else _TO_LOCK
    return Problem(
        ", ".join(hosts), what.rstrip("."), remedy if reachable else f"mend the registry or the network; or {remedy}"
    )


def url(plan: EnginePlan) -> str:
    """An address that any registry answers, for a host to try."""
    pinned = images.parse(plan.pinned_image)
    source = repository(plan.pinned_image, tuple(plan.spec.insecure_registries))
    plain = pinned.registry == plan.spec.mirror and not plan.spec.mirror_tls
    return f"{source.base.replace('https:', 'http:') if plain else source.base}/v2/"
