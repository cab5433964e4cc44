"""From NVIDIA's software as it runs to what a plan says: daemons, a module beside the driver, devices for containers. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from barewind.drivers.model import DriverFacts, DriverPlan, Step
from barewind.drivers.nvidia.software import FABRIC_MANAGER, PERSISTENCED, with_own


def services(plan: DriverPlan, facts: DriverFacts) -> Iterator[Step]:
    """Load modules, start daemons, have the toolkit list the devices."""
    accelerators = with_own(facts["accelerators"])
    if "ib_umad" in plan.extra_modules and not accelerators["fabric"]["ib_umad"]:
        yield Step("load ib_umad", "modprobe ib_umad")
    units = {PERSISTENCED: accelerators["persistenced"], FABRIC_MANAGER: accelerators["fabric"]}
    for name in plan.services:
        if not (units[name]["active"] and units[name]["enabled"]):
            yield Step(f"start {name}", f"systemctl enable -q {name}; systemctl restart {name}")
    listed = set(accelerators["toolkit"]["cdi_devices"])
    cards = {str(number) for number in range(len(accelerators["pci"]))}
    if not cards | {"all"} <= listed:
        # the toolkit's own units, which list devices at boot and when a driver changes
        refresh = "nvidia-cdi-refresh.path nvidia-cdi-refresh.service"
        yield Step("list devices for containers", f"systemctl enable -q {refresh} && systemctl restart {refresh}")


def service_drain_reasons(plan: DriverPlan, facts: DriverFacts) -> Iterator[str]:
    """Without the fabric manager no engine runs: its host serves nobody until it does."""
    if FABRIC_MANAGER in plan.services and not with_own(facts["accelerators"])["fabric"]["active"]:
        yield "the fabric manager does not run"
