"""The difference between a driver plan and a host, as steps in the order in which they are taken. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from barewind import packages
from barewind.drivers import GRUB_FILE, SYSCTL_FILE, TMPFILES_FILE, DriverPlan
from barewind.files import HostFile
from barewind.readiness import absent_parameters

Facts = Mapping[str, Any]  # barewind.facts.driver_host.DriverFacts

_APPLY = {
    SYSCTL_FILE: f"sysctl -q -p {SYSCTL_FILE}",
    TMPFILES_FILE: f"systemd-tmpfiles --create {TMPFILES_FILE}",
    GRUB_FILE: "update-grub",
}


@dataclass(frozen=True)
class Step:
    """One command; `text` goes to its standard input. A disruptive one takes accelerators from what runs."""

    what: str
    command: str
    text: str | None = None
    disruptive: bool = False


def reasons(plan: DriverPlan, facts: Facts) -> list[str]:
    """Why a host must leave service for its drivers; empty when nothing disruptive is to be done."""
    found = [step.what for step in software(plan, facts) if step.disruptive]
    if not found:
        found = [f"restart: {reason}" for reason in reboot_reasons(plan, facts)]
    if not found and plan.fabric_manager and not facts["accelerators"]["fabric"]["active"]:
        found = ["the fabric manager does not run"]  # and without it no engine does
    return found


def software(plan: DriverPlan, facts: Facts) -> list[Step]:
    """Repositories, settings and packages."""
    return [*_files(plan, facts), *_components(plan, facts), *_packages(plan, facts)]


def reboot_reasons(plan: DriverPlan, facts: Facts) -> list[str]:
    """Why the host must restart: what is installed is not what runs."""
    accelerators = facts["accelerators"]
    module = accelerators["modules"][plan.module]
    found = []
    wanted = plan.version if plan.vendor == "nvidia" else module["installed"]
    if module["loaded"] != wanted or (plan.vendor == "amd" and module["flavour"] != "dkms"):
        found.append(
            f"kernel module {plan.module} {module['loaded'] or 'is not loaded'}, installed is {wanted or 'none'}"
        )
    absent = absent_parameters(plan.kernel_parameters, accelerators["kernel"]["command_line"])
    if absent:
        found.append(f"kernel parameters {' '.join(absent)} are not active")
    return found


def loading(plan: DriverPlan, facts: Facts) -> list[Step]:
    """Load a module that is installed and not loaded: saves a restart, unless another driver holds the cards."""
    accelerators = facts["accelerators"]
    free = all(card["driver"] == "" for card in accelerators["pci"])
    if accelerators["modules"][plan.module]["loaded"] is None and free:
        return [Step(f"load {plan.module}", f"modprobe {plan.module} || true")]  # a restart is the next remedy
    return []


def services(plan: DriverPlan, facts: Facts) -> list[Step]:
    """Daemons, modules beside the driver, the list of devices for containers."""
    return [*_modules(plan, facts), *_daemons(plan, facts), *_devices(plan, facts)]


def _files(plan: DriverPlan, facts: Facts) -> Iterator[Step]:
    files = [file for source in plan.sources for file in source.files] + list(plan.files)
    for file in files:
        if file.differs(facts["files"]):
            yield Step(f"write {file.path}", file.write_command(), file.content)
            if file.path in _APPLY:
                yield Step(f"apply {file.path}", _APPLY[file.path])
        elif file.path == SYSCTL_FILE and _overridden(file, facts):
            yield Step(f"apply {file.path}", _APPLY[file.path])


def _components(plan: DriverPlan, facts: Facts) -> Iterator[Step]:
    """Add components where the distribution's repository stands, in either of apt's formats: one line, or fields."""
    for one in plan.components:
        if one not in facts["components"]:
            fields = f"/^Components:/{{/\\b{one}\\b/!s/$/ {one}/}}"
            line = f"/^deb /{{/\\b{one}\\b/!s/ main\\b/ main {one}/}}"
            yield Step(
                f"add {one} to the distribution's repository",
                ". /etc/os-release; file=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(SOURCESENTRY)' | "
                'sed -n "s/^$VERSION_CODENAME main //p" | head -n 1); file=${file%:*}; '
                f'[ -f "$file" ] && sed -i -E \'{fields}; {line}\' "$file"',
            )


def _overridden(file: HostFile, facts: Facts) -> bool:
    """Whether someone has switched NUMA balancing on again since the file was applied."""
    return "kernel.numa_balancing = 0" in file.content and facts["accelerators"]["kernel"]["numa_balancing"] == 1


def _packages(plan: DriverPlan, facts: Facts) -> Iterator[Step]:
    installed = facts["accelerators"]["packages"]
    own = packages.missing(plan.packages, installed)
    wanted = [*own, *packages.missing(plan.helpers, installed)]
    if wanted:
        yield Step("ask the repositories", packages.update())
        before = {installed[one.name]["version"].rsplit("-", 1)[0] + "-*" for one in own if one.name in installed}
        if before:  # what is held cannot move with what depends on it
            yield Step("release the old driver's packages", _mark("unhold", sorted(before), ()))
        yield Step(_change(plan, own, installed), packages.install(wanted), disruptive=bool(own))
    belonging = [name for name, one in installed.items() if not one["held"] and _belongs(plan, one["version"])]
    if own or belonging or packages.unheld((one.name for one in plan.packages), installed):
        names = [package.name for package in plan.packages]
        yield Step("hold the driver's packages", _mark("hold", plan.held, names))


def _change(plan: DriverPlan, own: list[packages.Package], installed: Mapping[str, packages.Installed]) -> str:
    """What an installation changes, in words: the driver before all."""
    if not own:
        return "install what the driver needs beside it"
    driver = [one for one in own if one.version in plan.held]
    before = next((installed[one.name]["version"] for one in driver or own if one.name in installed), "none")
    if driver:
        return f"{plan.vendor} driver {before} -> {plan.version}"
    return f"{own[0].name} {before} -> {own[0].version.removesuffix('-*').replace('*', 'installed')}"


def _belongs(plan: DriverPlan, version: str) -> bool:
    return any(fnmatchcase(version, pattern) for pattern in plan.held)


def _mark(mark: str, versions: Sequence[str], names: Sequence[str]) -> str:
    """Hold or unhold packages by name and, found when it runs, whatever is installed in a version of those."""
    patterns = "|".join(f'{version}" installed"' for version in versions)
    named = f"printf '%s\\n' {shlex.join(names)}; " if names else ""
    return (
        "{ dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\\n' | while read -r name version state; do "
        f'case "$version $state" in {patterns}) echo "$name";; esac; done; '
        f"{named}}} | sort -u | xargs -r apt-mark -qq {mark}"
    )


def _modules(plan: DriverPlan, facts: Facts) -> Iterator[Step]:
    if "ib_umad" in plan.extra_modules and not facts["accelerators"]["fabric"]["ib_umad"]:
        yield Step("load ib_umad", "modprobe ib_umad")


def _daemons(plan: DriverPlan, facts: Facts) -> Iterator[Step]:
    states = {
        "nvidia-persistenced.service": facts["accelerators"]["persistenced"],
        "nvidia-fabricmanager.service": facts["accelerators"]["fabric"],
    }
    for name in plan.services:
        if not (states[name]["active"] and states[name]["enabled"]):
            yield Step(f"start {name}", f"systemctl enable -q {name}; systemctl restart {name}")


def _devices(plan: DriverPlan, facts: Facts) -> Iterator[Step]:
    """NVIDIA's toolkit lists devices for containers by units of its own: at boot, and when a driver changes."""
    accelerators = facts["accelerators"]
    listed = set(accelerators["toolkit"]["cdi_devices"])
    wanted = {str(number) for number in range(len(accelerators["pci"]))} | {"all"}
    if plan.vendor == "nvidia" and not wanted <= listed:
        units = "nvidia-cdi-refresh.path nvidia-cdi-refresh.service"
        yield Step("list devices for containers", f"systemctl enable -q {units} && systemctl restart {units}")
