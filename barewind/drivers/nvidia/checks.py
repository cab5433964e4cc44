"""NVIDIA's software as it is against what a host shall serve with: driver, fabric manager, container toolkit. Pure.

Findings come with their remedy; where the deploy installs drivers itself (managed), running it again is one.
"""

from __future__ import annotations

from collections.abc import Iterator

from barewind.catalog import Accelerator
from barewind.drivers.gpus import which
from barewind.drivers.model import AcceleratorFacts, Finding
from barewind.drivers.nvidia.plan import needs_fabric_manager
from barewind.drivers.nvidia.software import NvidiaFacts, with_own
from barewind.engines import ENGINES
from barewind.plan.engine import EnginePlan
from barewind.versions import older

_CUDA_802 = "CUDA fails with error 802 (system not yet initialized)"
_UNTIL_FABRIC = f"until the NVSwitches are set up {_CUDA_802}"
_MANAGE = "set accelerator_drivers = 'managed'"


def _driver(facts: NvidiaFacts) -> str | None:
    """The version of the driver that runs."""
    return next((gpu["driver"] for gpu in facts["gpus"] if gpu["driver"]), facts["modules"]["nvidia"]["loaded"])


def ready(plan: EnginePlan, wanted: Accelerator, accelerators: AcceleratorFacts) -> Iterator[Finding]:
    """Everything that must be in place before an engine starts."""
    facts = with_own(accelerators)
    yield from _modules(plan, wanted, facts)
    yield from _age(plan, wanted, facts)
    if facts["gpus"]:
        yield from _persistence(facts)
    if plan.spec.nvidia_fabric_manager is not False:
        trouble = (
            list(_fabric_manager(plan, wanted, facts)) if needs_fabric_manager(plan.spec, facts["nvswitches"]) else []
        )
        yield from trouble or _fabric(facts)
    yield from _toolkit(plan, facts)


def health(facts: AcceleratorFacts) -> Iterator[Finding]:
    """Cards that are cut into slices."""
    gpus = facts["gpus"]
    if sliced := [gpu for gpu in gpus if gpu["mig"]]:
        yield f"MIG is on for {which(gpus, sliced)}: an engine would see slices of it", "nvidia-smi -mig 0; reboot"


def _modules(plan: EnginePlan, wanted: Accelerator, facts: NvidiaFacts) -> Iterator[Finding]:
    module, error = facts["modules"]["nvidia"], facts["tool_error"]
    loaded, installed = module["loaded"], module["installed"]
    managed = plan.spec.accelerator_drivers == "managed"
    if module["flavour"] == "proprietary" and wanted.open_modules:
        yield (
            f"the proprietary kernel modules do not drive {plan.spec.accelerator}",
            "set nvidia_modules = 'open'" if managed else f"install the open ones (nvidia-open), reboot; or {_MANAGE}",
        )
    if loaded and installed and loaded != installed:
        yield (
            f"driver {loaded} is loaded, {installed} is installed: programs and kernel module do not go together",
            "reboot; then keep upgrades away from it: apt-mark hold with every nvidia package",
        )
    elif not facts["gpus"] and not loaded:
        message = f" (nvidia-smi: {error})" if error else ""
        headers = facts["kernel"]["headers"]
        build = "dkms status; journalctl -k -b | grep -i -e nvidia -e nvrm"
        yield (
            f"no NVIDIA driver is loaded{message}",
            ("" if headers else f"apt install linux-headers-{facts['kernel']['running']}; ")
            + (f"look at: {build}; deploy again" if managed else f"install the driver, or {_MANAGE}; look at: {build}"),
        )
    elif not facts["gpus"]:
        yield (
            f"driver {loaded} is loaded, and nvidia-smi shows no accelerator ({error or 'it is not installed'})",
            "reboot; " + ("deploy again" if managed else f"install nvidia-smi of version {loaded}"),
        )


def _age(plan: EnginePlan, wanted: Accelerator, facts: NvidiaFacts) -> Iterator[Finding]:
    """The driver against the CUDA of the image, or of the libraries that make an older driver do."""
    spec, driver = plan.spec, _driver(facts)
    engine = ENGINES[spec.engine]
    compatibility = engine.cuda_compatibility
    compatible = compatibility is not None and spec.engine_env.get(compatibility, "").lower() in ("1", "true")
    floor, _ = wanted.floor("cuda", "12" if compatible else plan.cuda)
    if driver is None or not older(driver, floor):
        return
    cuda = f"the image's CUDA {plan.cuda}" if plan.cuda else "an image of the newest CUDA (the lock does not say which)"
    managed = spec.accelerator_drivers == "managed"
    newer = f"set nvidia_driver to {floor} or newer" if managed else f"install driver {floor} or newer, or {_MANAGE}"
    other_image = (
        f"name an image of an older CUDA (image = '{engine.older_cuda_image}')"
        if engine.older_cuda_image is not None
        else "an 'image' of CUDA 12"
    )
    if compatibility is not None and not compatible:
        other_image += f", or set engine_env = {{'{compatibility}': '1'}}, which not every driver can"
    yield f"driver {driver} is older than {floor}, which {cuda} needs", f"{newer}; or {other_image}"


def _persistence(facts: NvidiaFacts) -> Iterator[Finding]:
    modes = [gpu["persistence"] for gpu in facts["gpus"]]
    if False in modes or (True not in modes and not facts["persistenced"]["active"]):
        yield (
            "persistence is off: the driver drops the cards' state whenever no program runs",
            "systemctl enable --now nvidia-persistenced",
        )


def _fabric_manager(plan: EnginePlan, wanted: Accelerator, facts: NvidiaFacts) -> Iterator[Finding]:
    fabric, driver = facts["fabric"], _driver(facts)
    version = fabric["version"]
    exact = f"exactly version {driver}" if driver else "exactly the driver's version"
    managed = plan.spec.accelerator_drivers == "managed"
    if version is None and not fabric["active"]:
        yield (
            f"no fabric manager is installed: {_UNTIL_FABRIC}",
            "deploy again"
            if managed
            else f"install nvidia-fabricmanager of {exact}; systemctl enable --now nvidia-fabricmanager; "
            "on a virtual machine set nvidia_fabric_manager = False",
        )
        return
    if version and driver and version != driver:
        yield (
            f"fabric manager {version} does not go with driver {driver}, it stops at once: {_UNTIL_FABRIC}",
            f"install nvidia-fabricmanager of {exact}; systemctl restart nvidia-fabricmanager",
        )
    elif not fabric["active"]:
        yield (
            f"the fabric manager does not run: {_UNTIL_FABRIC}",
            "systemctl enable --now nvidia-fabricmanager; look at: journalctl -u nvidia-fabricmanager -b",
        )
    elif not fabric["enabled"]:
        yield (
            f"the fabric manager is not started at boot: after the next one {_CUDA_802}",
            "systemctl enable nvidia-fabricmanager",
        )
    if wanted.architecture == "blackwell":
        if fabric["nvlsm"] is None:
            yield (
                f"the NVLink subnet manager is not installed, the fabric manager waits for it: {_UNTIL_FABRIC}",
                "apt install nvlsm; systemctl restart nvidia-fabricmanager",
            )
        if not fabric["ib_umad"]:
            yield (
                f"the kernel module ib_umad is not loaded, the fabric manager needs it: {_UNTIL_FABRIC}",
                "echo ib_umad > /etc/modules-load.d/ib_umad.conf; modprobe ib_umad; systemctl restart nvidia-fabricmanager",
            )


def _fabric(facts: NvidiaFacts) -> Iterator[Finding]:
    """The fabric manager takes in card by card; a card that has none ("") needs none."""
    outside = [(n, gpu["fabric"]) for n, gpu in enumerate(facts["gpus"]) if gpu["fabric"] not in ("Completed", "")]
    if outside:
        states = ", ".join(f"GPU {number} ({state})" for number, state in outside)
        yield (
            f"the NVLink fabric has not taken in {states}: {_CUDA_802}",
            "systemctl restart nvidia-fabricmanager; look at: nvidia-smi -q | grep -A 3 Fabric; "
            "journalctl -u nvidia-fabricmanager -b; reboot if it stays so",
        )


def _toolkit(plan: EnginePlan, facts: NvidiaFacts) -> Iterator[Finding]:
    toolkit, managed = facts["toolkit"], plan.spec.accelerator_drivers == "managed"
    names, runtimes = set(toolkit["cdi_devices"]), facts["runtimes"]
    if toolkit["version"] is None and not names and "nvidia" not in runtimes:
        yield (
            "the NVIDIA Container Toolkit is not installed: containers get no accelerators",
            "deploy again" if managed else f"apt install nvidia-container-toolkit (NVIDIA's repository), or {_MANAGE}",
        )
        return
    if runtimes and "nvidia" not in runtimes:  # none at all: Docker is not there yet, or down
        yield (
            "Docker has no runtime 'nvidia': containers get no accelerators",
            "look at /etc/docker/daemon.json and: journalctl -u docker; deploy again"
            if managed
            else "nvidia-ctk runtime configure --runtime=docker; systemctl restart docker",
        )
    gpus = facts["gpus"]
    unnamed = [str(n) for n, gpu in enumerate(gpus) if str(n) not in names and (gpu["uuid"] or "-") not in names]
    if gpus and (unnamed or "all" not in names):
        what = f"GPU {', '.join(unnamed)}" if unnamed else "'all'"
        yield (
            f"the list of devices for containers (CDI) does not name {what}",
            "nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml",
        )
