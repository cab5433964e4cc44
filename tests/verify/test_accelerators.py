"""Every host's accelerators, their driver and their containers are as planned."""

from __future__ import annotations

import shlex
from functools import cache

import pytest
from testinfra.host import Host

from barewind.drivers import facts as driver_facts
from barewind.drivers import steps
from barewind.drivers.checks import check
from barewind.drivers.model import DriverFacts, DriverPlan, System, own_files
from barewind.drivers.nvidia.software import FABRIC_MANAGER, with_own
from barewind.drivers.plan import driver_plan
from barewind.hosts.script import script, split
from barewind.verify.hosts import Engine

DEPLOY = "deploy again: pyinfra INVENTORY deploy.py"
BOTH = pytest.mark.accelerators("nvidia", "amd")
NVIDIA = pytest.mark.accelerators("nvidia")
AMD = pytest.mark.accelerators("amd")


@BOTH
def test_nothing_is_wrong_with_the_accelerators(engine: Engine) -> None:
    problems = check(engine.plan, _facts(engine.host)["accelerators"], ready=True)
    findings = "; ".join(problem.finding for problem in problems)
    engine.expect(not problems, "healthy accelerators", findings, "; ".join(problem.remedy for problem in problems))


@BOTH
def test_repositories_packages_and_settings_are_as_planned(engine: Engine) -> None:
    plan = _plan(engine)
    steps_left = [step.title for step in steps.software(plan, _facts(engine.host))] if plan else []
    engine.expect(
        not steps_left, "repositories, packages, holds and settings as planned", f"still to do: {steps_left}", DEPLOY
    )


@BOTH
def test_what_runs_is_what_is_installed(engine: Engine) -> None:
    plan = _plan(engine)
    reasons = steps.reboot_reasons(plan, _facts(engine.host)) if plan else []
    engine.expect(not reasons, "kernel module and parameters of the plan active", reasons, DEPLOY)


@BOTH
def test_the_drivers_packages_are_held(engine: Engine) -> None:
    plan = _plan(engine)
    if plan is None:
        pytest.skip("accelerator_drivers = 'external': the site holds its packages")
    held = engine.host.run("apt-mark showhold").stdout.split()
    free = sorted({package.name for package in plan.packages} - set(held))
    engine.expect(not free, "the driver's packages held", f"not held: {', '.join(free)}", DEPLOY)


@BOTH
def test_a_container_sees_its_accelerators(engine: Engine) -> None:
    count = "ls -d /dev/nvidia[0-9]* /dev/dri/renderD* 2>/dev/null | wc -l"
    visible = engine.host.run(f"docker exec {engine.plan.names.container} sh -c {shlex.quote(count)}").stdout.strip()
    wanted = str(engine.plan.spec.accelerators_each)
    engine.expect(
        visible == wanted, f"{wanted} accelerators in the engine's container", visible or "no container", DEPLOY
    )


@NVIDIA
def test_driver_version_and_module_flavour(engine: Engine) -> None:
    module, spec = _facts(engine.host)["accelerators"]["modules"]["nvidia"], engine.plan.spec
    if _plan(engine) is None:
        pytest.skip("accelerator_drivers = 'external': the site chooses version and flavour")
    wanted = {"loaded": spec.nvidia_driver, "installed": spec.nvidia_driver, "flavour": spec.nvidia_modules}
    engine.expect(dict(module) == wanted, f"kernel module {wanted}", module, DEPLOY)


@NVIDIA
def test_persistence_is_on(engine: Engine) -> None:
    modes = engine.host.run("nvidia-smi --query-gpu=persistence_mode --format=csv,noheader").stdout.split()
    wanted = ["Enabled"] * engine.plan.spec.accelerator_count
    engine.expect(modes == wanted, "persistence mode on for every GPU", modes, "systemctl restart nvidia-persistenced")


@NVIDIA
def test_the_fabric_is_complete(engine: Engine) -> None:
    plan = _plan(engine)
    if plan is None or FABRIC_MANAGER not in plan.services:
        pytest.skip("this host needs no fabric manager, or the site keeps its own")
    states = {gpu["fabric"] for gpu in _facts(engine.host)["accelerators"]["gpus"]}
    log = "journalctl -u nvidia-fabricmanager"
    engine.expect(states == {"Completed"}, "fabric state Completed on every GPU", states, log)
    version = with_own(_facts(engine.host)["accelerators"])["fabric"]["version"]
    engine.expect(version == plan.version, f"fabric manager {plan.version}", version, DEPLOY)


@NVIDIA
def test_every_gpu_has_a_device_name_for_containers(engine: Engine) -> None:
    listed = engine.host.run("nvidia-ctk cdi list").stdout.split()
    count = engine.plan.spec.accelerator_count
    wanted = {f"nvidia.com/gpu={name}" for name in (*range(count), "all")}
    missing = sorted(wanted - set(listed))
    engine.expect(not missing, "CDI names for every GPU", f"missing: {missing}", "systemctl restart nvidia-cdi-refresh")


@AMD
def test_kernel_settings(engine: Engine) -> None:
    balancing = engine.host.run("cat /proc/sys/kernel/numa_balancing").stdout.strip()
    engine.expect(balancing == "0", "kernel.numa_balancing = 0", balancing, "sysctl -w kernel.numa_balancing=0")
    groups = engine.host.run("getent group render video | cut -d: -f1").stdout.split()
    engine.expect(sorted(groups) == ["render", "video"], "groups render and video", groups, "groupadd --system render")


@cache
def _facts(host: Host) -> DriverFacts:
    return driver_facts.read(split(host.run(script(**driver_facts.sections(list(own_files())))).stdout.splitlines()))


def _plan(engine: Engine) -> DriverPlan | None:
    """The driver plan of a host; None where the site keeps its own drivers."""
    system = engine.host.run('. /etc/os-release; echo "$ID $VERSION_ID"').stdout.strip()
    return driver_plan(engine.plan.spec, System.of(system, _facts(engine.host)["accelerators"]))
