"""Every mirror host runs the registry, for the fleet alone, with what the hosts pull from it."""

from __future__ import annotations

from barewind.mirror.plan import FILL_PORT, FIREWALL_TABLE, TIMERS, UNIT, clients, firewall
from barewind.registry.reference import parse
from barewind.verify import findings
from barewind.verify.findings import DEPLOY
from barewind.verify.hosts import Mirror

MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def test_registry_and_its_timers_are_active_and_start_at_boot(mirror: Mirror) -> None:
    units = " ".join((UNIT, *TIMERS))
    states = mirror.host.run(f"systemctl is-active {units}; systemctl is-enabled {units}").stdout.split()
    mirror.expect(states == ["active"] * 3 + ["enabled"] * 3, f"{units} active and enabled", states, DEPLOY)


def test_strangers_are_dropped(mirror: Mirror) -> None:
    file = firewall(mirror.spec, clients(mirror.site))
    mirror.refuse(findings.firewall(mirror.host, file, FIREWALL_TABLE))


def test_its_port_can_only_be_read(mirror: Mirror) -> None:
    """A deletion of what cannot be there is asked for: 404 says that another one would be carried out."""
    url = f"http{'s' if mirror.spec.mirror_tls else ''}://{mirror.spec.url_host}:{mirror.spec.mirror_port}/v2"
    nothing = f"{url}/barewind/verify/manifests/sha256:{'0' * 64}"
    status = mirror.host.run(f"curl -ks -o /dev/null -w '%{{http_code}}' -X DELETE {nothing}").stdout
    mirror.expect(status == "405", "a deletion refused with 405", f"HTTP {status}", DEPLOY)


def test_no_writable_registry_is_left(mirror: Mirror) -> None:
    """It runs while somebody fills the mirror: then this is wrong, and right some seconds later."""
    listeners = mirror.host.run(f"ss -Htln 'sport = :{FILL_PORT}'").stdout
    mirror.expect(not listeners, f"port {FILL_PORT} closed", listeners, "wait for `barewind mirror` to end")


def test_it_has_what_hosts_pull(mirror: Mirror) -> None:
    address = f"{mirror.spec.url_host}:{mirror.spec.mirror_port}"
    base = f"http{'s' if mirror.spec.mirror_tls else ''}://{address}/v2"
    for pinned in sorted({plan.pinned_image for plan in mirror.plans.values() if plan.spec.mirror == address}):
        image = parse(pinned)
        url = f"{base}/{image.repository}/manifests/{image.digest}"
        status = mirror.host.run(f"curl -ks -o /dev/null -w '%{{http_code}}' -H 'Accept: {MANIFESTS}' {url}").stdout
        mirror.expect(
            status == "200", f"{pinned} in the registry", f"HTTP {status}", "fill it: barewind mirror INVENTORY"
        )
