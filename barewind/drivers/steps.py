"""The difference between a driver plan and a host, as steps in the order in which they are taken. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence, Set
from fnmatch import fnmatchcase

from barewind.drivers.kernel import absent_parameters
from barewind.drivers.model import GRUB_FILE, SYSCTL_FILE, TMPFILES_FILE, DriverFacts, DriverPlan, Step
from barewind.drivers.vendors import VENDORS
from barewind.hosts import packages
from barewind.hosts.file import HostFile

_APPLY = {
    SYSCTL_FILE: f"sysctl -q -p {SYSCTL_FILE}",
    TMPFILES_FILE: f"systemd-tmpfiles --create {TMPFILES_FILE}",
    GRUB_FILE: "update-grub",
}


def drain_reasons(plan: DriverPlan, facts: DriverFacts) -> list[str]:
    """Why a host must be drained for its drivers; empty when nothing disruptive is to be done."""
    disruptive = [step.title for step in software(plan, facts) if step.disruptive]
    restart = [f"restart: {reason}" for reason in reboot_reasons(plan, facts)]
    return disruptive or restart or list(VENDORS[plan.vendor].service_drain_reasons(plan, facts))


def settled(plan: DriverPlan, facts: DriverFacts, runtimes: Set[str]) -> bool:
    """Whether nothing is left to do for a host's drivers; `runtimes` are those that Docker must know for them."""
    known = runtimes <= set(facts["accelerators"]["runtimes"])
    return known and not (software(plan, facts) or services(plan, facts) or drain_reasons(plan, facts))


def software(plan: DriverPlan, facts: DriverFacts) -> list[Step]:
    """Repositories, settings and packages."""
    return [*_files(plan, facts), *_components(plan, facts), *_packages(plan, facts)]


def reboot_reasons(plan: DriverPlan, facts: DriverFacts) -> list[str]:
    """Why the host must restart: what is installed is not what runs."""
    accelerators = facts["accelerators"]
    module = accelerators["modules"][plan.module]
    causes = []
    wanted = plan.module_version or module["installed"]
    if module["loaded"] != wanted or plan.module_flavour not in (None, module["flavour"]):
        causes.append(
            f"kernel module {plan.module} {module['loaded'] or 'is not loaded'}, installed is {wanted or 'none'}"
        )
    absent = absent_parameters(plan.kernel_parameters, accelerators["kernel"]["command_line"])
    if absent:
        causes.append(f"kernel parameters {' '.join(absent)} are not active")
    return causes


def loading(plan: DriverPlan, facts: DriverFacts) -> list[Step]:
    """Load a module that is installed and not loaded: saves a restart, unless another driver holds the cards."""
    accelerators = facts["accelerators"]
    free = all(card["driver"] == "" for card in accelerators["pci"])
    if accelerators["modules"][plan.module]["loaded"] is None and free:
        return [Step(f"load {plan.module}", f"modprobe {plan.module} || true")]  # a restart is the next remedy
    return []


def services(plan: DriverPlan, facts: DriverFacts) -> list[Step]:
    """Daemons, modules beside the driver, the list of devices for containers."""
    return list(VENDORS[plan.vendor].services(plan, facts))


def _files(plan: DriverPlan, facts: DriverFacts) -> Iterator[Step]:
    files = [file for source in plan.sources for file in source.files] + list(plan.files)
    for file in files:
        if file.differs(facts["files"]):
            yield Step(f"write {file.path}", file.write_command(), file.content)
            if file.path in _APPLY:
                yield Step(f"apply {file.path}", _APPLY[file.path])
        elif file.path == SYSCTL_FILE and _overridden(file, facts):
            yield Step(f"apply {file.path}", _APPLY[file.path])


def _components(plan: DriverPlan, facts: DriverFacts) -> Iterator[Step]:
    """Add components where the distribution's repository stands, in either of apt's formats: one line, or fields."""
    for name in plan.components:
        if name not in facts["components"]:
            fields = f"/^components[[:space:]]*:/I{{/\\b{name}\\b/!s/$/ {name}/}}"
            line = f"/^[[:space:]]*deb[[:space:]]/{{/\\b{name}\\b/!s/([[:space:]])main\\b/\\1main {name}/}}"
            yield Step(
                f"add {name} to the distribution's repository",
                ". /etc/os-release; file=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(SOURCESENTRY)' | "
                'sed -n "s/^$VERSION_CODENAME main //p" | head -n 1); file=${file%:*}; '
                f'[ -f "$file" ] && sed -i -E \'{fields}; {line}\' "$file"',
            )


def _overridden(file: HostFile, facts: DriverFacts) -> bool:
    """Whether someone has switched NUMA balancing on again since the file was applied."""
    return "kernel.numa_balancing = 0" in file.content and facts["accelerators"]["kernel"]["numa_balancing"] == 1


def _packages(plan: DriverPlan, facts: DriverFacts) -> Iterator[Step]:
    installed = facts["accelerators"]["packages"]
    own = packages.missing(plan.packages, installed)
    wanted = [*own, *packages.missing(plan.helpers, installed)]
    if wanted:
        yield Step("ask the repositories", packages.update())
        before = {
            installed[package.name]["version"].rsplit("-", 1)[0] + "-*" for package in own if package.name in installed
        }
        if before:  # what is held cannot move with what depends on it
            yield Step("release the old driver's packages", _mark("unhold", sorted(before), ()))
        yield Step(_change(plan, own, installed), packages.install(wanted), disruptive=bool(own))
    belonging = [
        name for name, package in installed.items() if not package["held"] and _belongs(plan, package["version"])
    ]
    if own or belonging or packages.unheld((package.name for package in plan.packages), installed):
        names = [package.name for package in plan.packages]
        yield Step("hold the driver's packages", _mark("hold", plan.held, names))


def _change(plan: DriverPlan, own: list[packages.Package], installed: Mapping[str, packages.Installed]) -> str:
    """What an installation changes, in words: the driver before all."""
    if not own:
        return "install what the driver needs beside it"
    driver = [package for package in own if package.version in plan.held]
    before = next(
        (installed[package.name]["version"] for package in driver or own if package.name in installed), "none"
    )
    if driver:
        return f"{plan.vendor} driver {before} -> {plan.version}"
    return f"{own[0].name} {before} -> {own[0].version.removesuffix('-*').replace('*', 'installed')}"


def _belongs(plan: DriverPlan, version: str) -> bool:
    return any(fnmatchcase(version, pattern) for pattern in plan.held)


def _mark(mark: str, versions: Sequence[str], names: Sequence[str]) -> str:
    """Hold or unhold packages by name and, found when it runs, whatever is installed in a version of those."""
    patterns = "|".join(f'{version}" installed"' for version in versions)
    named = f"printf '%s\\n' {shlex.join(names)}; " if names else ""
    return packages.patient(
        "{ dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\\n' | while read -r name version state; do "
        f'case "$version $state" in {patterns}) echo "$name";; esac; done; '
        f"{named}}} | sort -u | xargs -r apt-mark -qq {mark}"
    )
