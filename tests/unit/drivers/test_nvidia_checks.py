"""NVIDIA's software as facts tell of it, and the problems that are made of it."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.spec.keys import EngineSpec
from tests.support.accelerator_hosts import b200, changed, h200_hgx
from tests.support.checking import DEAD, MADE, MANAGE, Facts, each, found, one, spec_of

E802 = "until the NVSwitches are set up CUDA fails with error 802 (system not yet initialized)"
LOG = "look at: dkms status; journalctl -k -b | grep -i -e nvidia -e nvrm"
NO_MODULE = {"nvidia": {"loaded": None, "installed": None}}
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch"

# accelerator, facts, finding, remedy after a managed deploy, remedy where the site keeps the drivers
NVIDIA: list[tuple[str, Facts, str, str, str]] = [
    (
        "h200",
        h200_hgx(modules=NO_MODULE, tool_error="NVIDIA-SMI has failed", **DEAD),
        "no NVIDIA driver is loaded (nvidia-smi: NVIDIA-SMI has failed)",
        f"{LOG}; deploy again",
        f"install the driver, or {MANAGE}; {LOG}",
    ),
    (
        "h200",
        h200_hgx(modules=NO_MODULE, kernel={"headers": False}, **DEAD),
        "no NVIDIA driver is loaded",
        f"apt install linux-headers-6.1.0-41-amd64; {LOG}; deploy again",
        f"apt install linux-headers-6.1.0-41-amd64; install the driver, or {MANAGE}; {LOG}",
    ),
    (
        "h200",
        h200_hgx(tool_error="No devices were found", **DEAD),
        "driver 580.126.09 is loaded, and nvidia-smi shows no accelerator (No devices were found)",
        "reboot; deploy again",
        "reboot; install nvidia-smi of version 580.126.09",
    ),
    (
        "h200",
        h200_hgx(modules={"nvidia": {"installed": "580.159.03"}}, tool_error=MISMATCH, **DEAD),
        "driver 580.126.09 is loaded, 580.159.03 is installed: programs and kernel module do not go together",
        "reboot; then keep upgrades away from it: apt-mark hold with every nvidia package",
        "reboot; then keep upgrades away from it: apt-mark hold with every nvidia package",
    ),
    (
        "b200",
        b200(modules={"nvidia": {"flavour": "proprietary"}}),
        "the proprietary kernel modules do not drive b200",
        "set nvidia_modules = 'open'",
        f"install the open ones (nvidia-open), reboot; or {MANAGE}",
    ),
    (
        "h200",
        h200_hgx(gpus=one(h200_hgx(), 1, persistence=False)),
        "persistence is off: the driver drops the cards' state whenever no program runs",
        *["systemctl enable --now nvidia-persistenced"] * 2,
    ),
    (
        "h200",
        h200_hgx(gpus=each(h200_hgx(), persistence=None), persistenced={"active": False}),
        "persistence is off: the driver drops the cards' state whenever no program runs",
        *["systemctl enable --now nvidia-persistenced"] * 2,
    ),
    (
        "h200",
        h200_hgx(
            fabric={"version": None, "active": False, "enabled": False}, gpus=each(h200_hgx(), fabric="In Progress")
        ),
        f"no fabric manager is installed: {E802}",
        "deploy again",
        "install nvidia-fabricmanager of exactly version 580.126.09; systemctl enable --now nvidia-fabricmanager; "
        "on a virtual machine set nvidia_fabric_manager = False",
    ),
    (
        "h200",
        h200_hgx(fabric={"version": "580.105.08", "active": False}),
        f"fabric manager 580.105.08 does not go with driver 580.126.09, it stops at once: {E802}",
        *["install nvidia-fabricmanager of exactly version 580.126.09; systemctl restart nvidia-fabricmanager"] * 2,
    ),
    (
        "h200",
        h200_hgx(fabric={"active": False}),
        f"the fabric manager does not run: {E802}",
        *["systemctl enable --now nvidia-fabricmanager; look at: journalctl -u nvidia-fabricmanager -b"] * 2,
    ),
    (
        "h200",
        h200_hgx(fabric={"enabled": False}),
        "the fabric manager is not started at boot: after the next one CUDA fails with error 802 (system not yet initialized)",
        *["systemctl enable nvidia-fabricmanager"] * 2,
    ),
    (
        "b200",
        b200(fabric={"nvlsm": None}),
        f"the NVLink subnet manager is not installed, the fabric manager waits for it: {E802}",
        *["apt install nvlsm; systemctl restart nvidia-fabricmanager"] * 2,
    ),
    (
        "b200",
        b200(fabric={"ib_umad": False}),
        f"the kernel module ib_umad is not loaded, the fabric manager needs it: {E802}",
        *["echo ib_umad > /etc/modules-load.d/ib_umad.conf; modprobe ib_umad; systemctl restart nvidia-fabricmanager"]
        * 2,
    ),
    (
        "h200",
        h200_hgx(gpus=one(h200_hgx(), 7, fabric="In Progress")),
        "the NVLink fabric has not taken in GPU 7 (In Progress): CUDA fails with error 802 (system not yet initialized)",
        *[
            "systemctl restart nvidia-fabricmanager; look at: nvidia-smi -q | grep -A 3 Fabric; "
            "journalctl -u nvidia-fabricmanager -b; reboot if it stays so"
        ]
        * 2,
    ),
    (
        "h200",
        h200_hgx(toolkit={"version": None, "cdi_devices": []}, runtimes=["runc"]),
        "the NVIDIA Container Toolkit is not installed: containers get no accelerators",
        "deploy again",
        f"apt install nvidia-container-toolkit (NVIDIA's repository), or {MANAGE}",
    ),
    (
        "h200",
        h200_hgx(runtimes=["io.containerd.runc.v2", "runc"]),
        "Docker has no runtime 'nvidia': containers get no accelerators",
        "look at /etc/docker/daemon.json and: journalctl -u docker; deploy again",
        "nvidia-ctk runtime configure --runtime=docker; systemctl restart docker",
    ),
    (
        "h200",
        h200_hgx(toolkit={"cdi_devices": ["0", "1", "2", "3", "4", "5", "all"]}),
        "the list of devices for containers (CDI) does not name GPU 6, 7",
        *["nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml"] * 2,
    ),
    (
        "h200",
        h200_hgx(toolkit={"cdi_devices": ["0", "1", "2", "3", "4", "5", "6", "7"]}),
        "the list of devices for containers (CDI) does not name 'all'",
        *["nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml"] * 2,
    ),
]


@pytest.mark.parametrize(("accelerator", "facts", "finding", "managed", "external"), NVIDIA)
def test_nvidias_software(accelerator: str, facts: Facts, finding: str, managed: str, external: str) -> None:
    spec = spec_of(accelerator)
    assert found(facts, "before", spec) == []  # the deploy will see to it
    assert found(facts, "after", spec) == [(finding, managed)]
    assert found(facts, "external", spec) == [(finding, external)]


@pytest.mark.parametrize(
    "facts",
    [
        h200_hgx(modules={"nvidia": {"installed": None, "flavour": None}}),  # a driver that no package brought
        h200_hgx(fabric={"version": None}),
        h200_hgx(toolkit={"version": None}),
        h200_hgx(toolkit={"cdi_devices": [*(gpu["uuid"] for gpu in h200_hgx()["gpus"]), "all"]}),
        h200_hgx(runtimes=[]),  # Docker comes with the deploy
        h200_hgx(gpus=each(h200_hgx(), fabric="", persistence=None, ecc_errors=None, repair_pending=None, mig=None)),
        h200_hgx(persistenced={"active": False, "enabled": False}),  # nvidia-smi -pm 1 did it
    ],
)
def test_a_site_may_have_done_it_its_own_way(facts: Facts) -> None:
    assert found(facts, "external") == []


NO_FABRIC = {"version": None, "active": False, "enabled": False, "nvlsm": None, "ib_umad": False}


@pytest.mark.parametrize(
    ("facts", "spec", "findings"),
    [
        (h200_hgx(fabric=NO_FABRIC), spec_of("h200", nvidia_fabric_manager=False), 0),
        (h200_hgx(fabric=NO_FABRIC), spec_of("h200"), 1),
        (
            changed(h200_hgx(fabric=NO_FABRIC, nvswitches=0), pci=h200_hgx()["pci"][:4], gpus=h200_hgx()["gpus"][:4]),
            spec_of("h200", accelerator_count=4),
            0,
        ),
        (
            changed(h200_hgx(fabric=NO_FABRIC), pci=h200_hgx()["pci"][:4], gpus=h200_hgx()["gpus"][:4]),
            spec_of("h200", accelerator_count=4, nvidia_fabric_manager=True),
            1,
        ),
        # H200 NVL: eight in PCIe slots, no NVSwitch; so is a virtual machine, whose host runs the fabric manager
        (
            h200_hgx(fabric=NO_FABRIC, nvswitches=0, gpus=each(h200_hgx(), name="NVIDIA H200 NVL", fabric="")),
            spec_of("h200"),
            0,
        ),
        (h200_hgx(fabric=NO_FABRIC, nvswitches=0), spec_of("h200", nvidia_fabric_manager=True), 1),
        (b200(fabric=NO_FABRIC), spec_of("b200"), 1),
        (b200(fabric={"nvlsm": None, "ib_umad": False}), spec_of("b200"), 2),
        (
            h200_hgx(fabric=NO_FABRIC, gpus=each(h200_hgx(), fabric="Not Started")),
            spec_of("h200", nvidia_fabric_manager=False),
            0,
        ),
    ],
)
def test_who_needs_a_fabric_manager(facts: Facts, spec: EngineSpec, findings: int) -> None:
    assert len(found(facts, "external", spec)) == findings


def test_the_oldest_names_of_the_same_error_are_explained() -> None:
    ((finding, _),) = found(h200_hgx(fabric={"active": False}), "external")
    assert "error 802" in finding
    assert "system not yet initialized" in finding


# ---- the driver against the image


def aged(driver: str, make: Any = h200_hgx) -> Facts:
    """A host whose driver, and all that goes with it, is of one version."""
    module = {"nvidia": {"loaded": driver, "installed": driver}}
    return changed(make(), gpus=each(make(), driver=driver), modules=module, fabric={"version": driver})


COMPATIBLE = {"VLLM_ENABLE_CUDA_COMPATIBILITY": "1"}


@pytest.mark.parametrize(
    ("accelerator", "driver", "cuda", "floor"),
    [
        ("h200", "570.172.08", "13.0.2", "580"),
        ("h200", "570.172.08", "12.9.1", None),
        ("h200", "535.230.02", "12.9.1", None),
        ("h200", "515.105.01", "12.9.1", "525"),
        ("h200", "570.172.08", None, "580"),
        ("h200", "580.65.06", "13.0", None),
        ("h200", "580.65.06", "14.1", None),  # newer than what is known: as the newest known
        ("b200", "560.35.03", "12.9.1", "570"),
        ("b200", "570.172.08", "12.8", None),
    ],
)
@pytest.mark.parametrize("mode", ["after", "external"])
def test_driver_and_cuda(accelerator: str, driver: str, cuda: str | None, floor: str | None, mode: str) -> None:
    problems = found(aged(driver, MADE[accelerator]), mode, spec_of(accelerator), cuda=cuda)
    if floor is None:
        assert problems == []
        return
    ((finding, remedy),) = problems
    assert finding.startswith(f"driver {driver} is older than {floor}, which ")
    assert (cuda or "the lock does not say which") in finding
    first = "set nvidia_driver to" if mode == "after" else "install driver"
    assert remedy == (
        f"{first} {floor} or newer{'' if mode == 'after' else ', or ' + MANAGE}; or name an image of an older CUDA "
        "(image = 'docker.io/vllm/vllm-openai:cu129-nightly'), or set engine_env = "
        "{'VLLM_ENABLE_CUDA_COMPATIBILITY': '1'}, which not every driver can"
    )


@pytest.mark.parametrize(("driver", "problems"), [("570.172.08", 0), ("515.105.01", 1)])
def test_vllm_with_compatibility_libraries(driver: str, problems: int) -> None:
    spec = spec_of("h200", engine_env=COMPATIBLE)
    told = found(aged(driver), "external", spec, cuda="13.0")
    assert len(told) == problems
    assert all("VLLM_ENABLE" not in remedy for _, remedy in told)


def test_sglang_has_no_compatibility_option() -> None:
    ((_, remedy),) = found(aged("570.172.08"), "external", spec_of("h200", engine="sglang"), cuda="13.0")
    assert remedy == f"install driver 580 or newer, or {MANAGE}; or an 'image' of CUDA 12"


def test_before_a_deploy_the_old_driver_is_no_problem() -> None:
    assert found(aged("515.105.01"), "before", cuda="13.0") == []
