"""One vendor is one value and an entry of the catalog: a new one is known everywhere, and no other file names any."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path
from typing import Any, get_args

import pytest

from barewind import catalog
from barewind.docker.plan import docker_plan
from barewind.drivers import accelerators, checks, conflicts, steps
from barewind.drivers.model import AcceleratorFacts, System
from barewind.drivers.plan import driver_plan
from barewind.drivers.vendors import VENDORS
from barewind.hosts.script import script, split
from barewind.site.conflicts import conflicts as between_keys
from barewind.spec.keys import EngineSpec
from tests.support import toy_vendor
from tests.support.factories import engine_spec, plan
from tests.support.shell import Programs, Shell, printed

ROOT = Path(catalog.__file__).parents[2]
ADDRESSES = ("0000:17:00.0", "0000:3d:00.0")
SYSTEM = System("debian 12", "GenuineIntel", "6.1.0-41-amd64")


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> EngineSpec:
    """A host with two of the toy vendor's accelerators."""
    toy_vendor.register(monkeypatch)
    return engine_spec(accelerator="toy-x1", accelerator_count=2, image="registry.example/toy:v0.32.0")


def facts_of(shell: Shell, programs: Programs, **said: str) -> AcceleratorFacts:
    """Facts of such a host, by the real script; `said` replaces what its programs print."""
    bus = [f"{address} 0x70f0 0x0042 0x120000 toy." for address in ADDRESSES]
    cards = "\n".join(f"Toy X1;200000;{address}" for address in ADDRESSES)
    tool = {"list": cards, "driver": "4.2"} | said
    programs(
        toy_smi=f"case $1 in --list) echo '{tool['list']}';; --driver) echo '{tool['driver']}';; esac",
        modinfo='case "$*" in "-F version toy") echo 4.2;; *) exit 1;; esac',
        journalctl=f"echo '{said.get('log', 'toybox: wound up')}'",
        dpkg_query="echo 'hi  4.2-1 toy-dkms'; echo 'ii  6.1 linux-headers-6.1.0-41-amd64'",
        docker="""echo '{"runc": {}, "toy": {}}'""",
        getent="echo toys:x:107:",
        df="echo 1B-blocks; echo 1099511627776",
    )
    sections = accelerators.sections() | {"pci": "\n".join(f"echo '{line}'" for line in bus)}
    return accelerators.read(split(printed(shell, script(**sections))))


def test_its_accelerators_are_read_from_its_own_tool(spec: EngineSpec, shell: Shell, programs: Programs) -> None:
    facts = facts_of(shell, programs)
    assert (facts["tool"], facts["tool_error"]) == ("toy-smi", "")
    assert [(gpu["name"], gpu["memory_mib"], gpu["driver"], gpu["bus"]) for gpu in facts["gpus"]] == [
        ("Toy X1", 200000, "4.2", address) for address in ADDRESSES
    ]
    assert [card["driver"] for card in facts["pci"]] == ["toy", "toy"]
    assert facts["modules"]["toy"] == {"loaded": "4.2", "installed": "4.2", "flavour": None}
    assert facts["packages"]["toy-dkms"] == {"version": "4.2-1", "held": True}
    assert facts["groups"] == {"toys": 107}
    assert facts["kernel_errors"] == []


def test_its_devices_are_looked_for_on_the_bus(spec: EngineSpec) -> None:
    assert "|70f0)$/" in accelerators.sections()["pci"]
    assert "getent group render video toys" in accelerators.sections()["groups"]


@pytest.mark.parametrize(
    ("said", "findings"),
    [
        ({}, []),
        ({"driver": ""}, [("no toy driver is loaded", "modprobe toy")]),
        (
            {"list": "Toy X1;200000;0000:17:00.0\nspring is gone"},
            [("toy-smi shows 1 of 2 accelerators, not 0000:3d:00.0 (spring is gone)", None)],
        ),
        (
            {"list": "Other;200000;0000:17:00.0\nOther;200000;0000:3d:00.0"},
            [("has 2 x Other, the inventory says 2 x toy-x1", None)],
        ),
        (
            {"log": "toybox: spring is broken"},
            [
                (
                    "1 accelerator error in the kernel log since boot, the last: toybox: spring is broken (its spring is broken)",
                    "reboot; have the card replaced if it comes back",
                )
            ],
        ),
    ],
    ids=["healthy", "no driver", "a card lost", "another product", "kernel log"],
)
def test_its_checks(
    spec: EngineSpec, shell: Shell, programs: Programs, said: dict[str, str], findings: list[tuple[str, str | None]]
) -> None:
    problems = checks.check(plan(spec), facts_of(shell, programs, **said), ready=True)
    assert [problem.finding for problem in problems] == [finding for finding, _ in findings]
    for problem, (_, remedy) in zip(problems, findings, strict=True):
        assert remedy is None or problem.remedy == remedy


def test_its_containers_get_its_devices(spec: EngineSpec) -> None:
    assert {"--device=/dev/toy", "--ulimit=memlock=-1"} <= set(plan(spec).container)
    assert docker_plan(spec, "debian 12").runtimes == {"toy"}


def test_its_driver_is_planned_and_installed(spec: EngineSpec, shell: Shell, programs: Programs) -> None:
    drivers = driver_plan(spec, SYSTEM)
    assert drivers is not None
    assert [str(package) for package in drivers.packages] == ["toy-dkms=4.2-*"]
    facts: Any = {"accelerators": facts_of(shell, programs, driver="4.1"), "files": {}, "components": [], "foreign": []}
    assert steps.software(drivers, facts) == []
    assert steps.reboot_reasons(drivers, facts) == [
        "kernel module toy 4.1, installed is 4.2",
        "kernel parameters toy=on are not active",
    ]
    assert steps.services(drivers, facts) == []
    facts["accelerators"]["packages"] = {}
    assert [step.title for step in steps.software(drivers, facts)] == [
        "ask the repositories",
        "toy driver none -> 4.2",
        "hold the driver's packages",
    ]


def test_its_keys_conflict(spec: EngineSpec) -> None:
    assert list(conflicts.conflicts(spec)) == []
    more = spec.model_copy(update={"accelerator_count": 9})
    assert list(conflicts.conflicts(more)) == [("accelerator_count", "a toy box holds 8; lower it")]
    assert list(conflicts.conflicts(more.model_copy(update={"accelerator_drivers": "external"}))) == []


def test_every_vendor_of_the_catalog_has_its_code() -> None:
    assert set(VENDORS) == set(catalog.vendors())
    assert {name: vendor.name for name, vendor in VENDORS.items()} == {name: name for name in VENDORS}


def test_no_two_vendors_call_a_part_of_the_script_or_a_fact_the_same() -> None:
    names = [name for vendor in VENDORS.values() for name in vendor.sections]
    own = [name for vendor in VENDORS.values() for name in vendor.read_own({}, {})]
    assert len(set(names)) == len(names)
    assert len(set(own)) == len(own)
    assert not set(own) & set(AcceleratorFacts.__annotations__)


def test_the_catalog_knows_its_own_names() -> None:
    architectures = {accelerator.architecture for accelerator in catalog.accelerators().values()}
    for engine in catalog.engines().values():
        assert set(engine.unbuilt) <= architectures
        assert {limit.when["architecture"] for limit in engine.limits if "architecture" in limit.when} <= architectures


def test_the_catalog_and_the_keys_of_group_data_agree() -> None:
    keys = set(EngineSpec.model_fields)
    for name, vendor in catalog.vendors().items():
        assert {f"{repository.replace('-', '_')}_repository" for repository in vendor.repositories} <= keys
        if len(vendor.containers) > 1:
            assert set(get_args(EngineSpec.model_fields[f"{name}_container_access"].annotation)) == set(
                vendor.containers
            )
        if vendor.image_software is not None:
            assert vendor.driver_key in keys
            accelerators_of = [entry for entry in catalog.accelerators().values() if entry.vendor == name]
            assert all(entry.floor(vendor.image_software, None)[0] for entry in accelerators_of)


# Words that belong to one vendor, in names and in text that is no comment and no docstring.
WORDS = re.compile(r"(?<![a-z])(nvidia|amdgpu|amd|rocm|cuda|xid|nvlink|10de|1002|toy)(?![a-z0-9])", re.IGNORECASE)
HOMES = {
    "barewind/drivers/nvidia/": "the vendor's own",
    "barewind/drivers/amd/": "the vendor's own",
    "barewind/drivers/vendors.py": "the list of vendors",
    "barewind/engines/": "engines differ per vendor, and know how",
    "barewind/spec/": "a vendor's keys, as users write them",
    "barewind/registry/": "versions of an image's software, as it says them",
    "barewind/plan/": "versions of an image's software, as the lock has them",
    "barewind/cli/lock.py": "versions of an image's software, as it says them",
}


def words_of(file: Path) -> set[str]:
    """Vendors' words in a module's code: comments, docstrings and keys of the group data left out."""
    found = set()
    before = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(file.read_text()).readline):
        docstring = token.type == tokenize.STRING and before in (tokenize.NEWLINE, tokenize.INDENT, tokenize.NL)
        if token.type in (tokenize.NAME, tokenize.STRING) and not docstring:
            found |= {word.lower() for word in WORDS.findall(token.string.replace("_", " "))}
        before = token.type
    return found


@pytest.mark.slow
def test_no_other_file_names_a_vendor() -> None:
    files = [path for folder in ("barewind", "tasks") for path in (ROOT / folder).rglob("*.py")] + [ROOT / "deploy.py"]
    named = {str(path.relative_to(ROOT)): words_of(path) for path in sorted(files)}
    assert {path: words for path, words in named.items() if words and not path.startswith(tuple(HOMES))} == {}
    assert {home for home in HOMES if not any(words for path, words in named.items() if path.startswith(home))} == set()


def test_no_template_names_a_vendor() -> None:
    for path in (ROOT / "templates").rglob("*.j2"):
        assert not WORDS.findall(path.read_text()), path


def test_a_vendor_that_cannot_tell_its_cards_apart_has_engines_with_all_of_them(spec: EngineSpec) -> None:
    def said(**keys: Any) -> list[tuple[str, str]]:
        return [
            problem
            for problem in between_keys(spec.model_copy(update=keys))
            if problem[0] in ("replicas", "accelerators")
        ]

    assert said() == []
    sentence = "a host cannot give an engine some of its Toy accelerators only; remove the key"
    assert said(replicas=2) == [("replicas", sentence)]
    assert said(accelerators=[0]) == [("accelerators", sentence)]
