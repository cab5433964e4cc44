"""Every mirror host runs the registry, for the fleet alone, with what the hosts pull from it."""

from __future__ import annotations

from barewind import images
from barewind.mirror.host import TIMERS, UNIT
from tests.verify.conftest import Mirror

DEPLOY = "deploy again: pyinfra INVENTORY deploy.py"
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def test_registry_and_its_timers_are_active_and_start_at_boot(mirror: Mirror) -> None:
    units = " ".join((UNIT, *TIMERS))
    found = mirror.host.run(f"systemctl is-active {units}; systemctl is-enabled {units}").stdout.split()
    mirror.expect(found == ["active"] * 3 + ["enabled"] * 3, f"{units} active and enabled", found, DEPLOY)


def test_strangers_are_dropped(mirror: Mirror) -> None:
    rules = mirror.host.run("nft list table inet barewind_mirror").stdout
    closed = f"tcp dport {mirror.spec.mirror_port} drop"
    mirror.expect(closed in rules, f"a rule '{closed}'", rules or "no table barewind_mirror", DEPLOY)


def test_it_has_what_hosts_pull(mirror: Mirror) -> None:
    name = f"[{mirror.spec.address}]" if ":" in mirror.spec.address else mirror.spec.address
    address = f"{name}:{mirror.spec.mirror_port}"
    base = f"http{'s' if mirror.spec.mirror_tls else ''}://{address}/v2"
    for pinned in sorted({plan.pinned_image for plan in mirror.plans.values() if plan.spec.mirror == address}):
        wanted = images.parse(pinned)
        url = f"{base}/{wanted.repository}/manifests/{wanted.digest}"
        found = mirror.host.run(f"curl -ks -o /dev/null -w '%{{http_code}}' -H 'Accept: {MANIFESTS}' {url}").stdout
        mirror.expect(
            found == "200", f"{pinned} in the registry", f"HTTP {found}", "fill it: barewind mirror INVENTORY"
        )
