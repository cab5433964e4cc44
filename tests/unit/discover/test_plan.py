"""From what was found on hosts to the files of a site."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from barewind.discover.commands import Discovered, read
from barewind.discover.plan import INVENTORY, Proposal, propose
from barewind.discover.targets import Target
from barewind.mirror.plan import read_config
from barewind.site.read import read_site

HOST = Discovered(address="10.0.0.1", os="ubuntu 24.04", memory_gib=2015.4, disks={"/": 1700.0})
H200 = replace(HOST, kinds={"h200": 8})
BALANCER = replace(HOST, address="10.0.0.9", memory_gib=31.2)


def proposed(common: dict[str, Any] | None = None, **found: Discovered) -> Proposal:
    return propose({name: Target(name) for name in found}, found, common or {})


def as_python(text: str, tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "written.py"
    file.write_text(text)
    return {name: value for name, value in runpy.run_path(str(file)).items() if not name.startswith("_")}


def test_hosts_are_grouped_by_kind_and_number_of_accelerators(tmp_path: Path) -> None:
    proposal = proposed(
        gpu1=H200,
        gpu2=replace(H200, address="10.0.0.2"),
        gpu3=replace(H200, address="10.0.0.3", kinds={"h200": 4}),
        gpu4=replace(H200, address="10.0.0.4", kinds={"h20-141": 8}),
        lb1=BALANCER,
    )
    files = proposal.files()
    assert as_python(files[INVENTORY], tmp_path) == {
        "h200": [("gpu1", {"address": "10.0.0.1"}), ("gpu2", {"address": "10.0.0.2"})],
        "h200x4": [("gpu3", {"address": "10.0.0.3"})],
        "h20_141": [("gpu4", {"address": "10.0.0.4"})],
        "balancers": [("lb1", {"address": "10.0.0.9"})],
    }
    assert as_python(files["group_data/h200x4.py"], tmp_path) == {"accelerator": "h200", "accelerator_count": 4}
    assert set(files) == {INVENTORY, *(f"group_data/{group}.py" for group in ("h200", "h200x4", "h20_141"))}
    assert '"""Hosts with 4 x NVIDIA H200."""' in files["group_data/h200x4.py"]


def test_what_is_written_is_a_site(tmp_path: Path) -> None:
    site = read_site(proposed(gpu1=H200, lb1=BALANCER).entries())
    assert (site.engines["gpu1"].accelerator, site.engines["gpu1"].address) == ("h200", "10.0.0.1")
    assert set(site.balancers) == {"lb1"}


def test_what_leads_to_a_host_is_written_down(tmp_path: Path) -> None:
    targets = {"gpu1": Target("gpu1", {"ssh_port": 2222}), "10.0.0.9": Target("10.0.0.9")}
    proposal = propose(targets, {"gpu1": H200, "10.0.0.9": BALANCER}, {"ssh_user": "ann", "ssh_key": '/a/"b"'})
    assert as_python(proposal.files()[INVENTORY], tmp_path) == {
        "h200": [("gpu1", {"ssh_user": "ann", "ssh_key": '/a/"b"', "ssh_port": 2222, "address": "10.0.0.1"})],
        "balancers": [("10.0.0.9", {"ssh_user": "ann", "ssh_key": '/a/"b"'})],
    }


MIRROR = replace(
    BALANCER,
    address="10.0.0.5",
    mirror={"mirror_port": 5000, "mirror_dir": "/srv/images", "mirror_tls": False},
    readers=("10.0.0.1", "10.0.0.5", "10.0.0.9"),
)


def test_a_mirror_that_is_there_is_written_down_as_what_the_fleet_pulls_from(tmp_path: Path) -> None:
    proposal = proposed(gpu1=H200, lb1=BALANCER, m1=MIRROR)
    files = proposal.files()
    assert as_python(files[INVENTORY], tmp_path)["mirrors"] == [("m1", {"address": "10.0.0.5"})]
    assert as_python(files["group_data/mirrors.py"], tmp_path) == {
        **MIRROR.mirror,
        "mirror_clients": ["10.0.0.9"],  # of no engine host: somebody's who looks at what is in it
    }
    keys = as_python(files["group_data/h200.py"], tmp_path)
    assert (keys["mirror"], keys["mirror_tls"]) == ("10.0.0.5:5000", False)
    site = read_site(proposal.entries())
    assert (site.mirrors["m1"].mirror_dir, site.engines["gpu1"].mirror) == ("/srv/images", "10.0.0.5:5000")


def test_a_mirror_with_tls_wants_its_files_named(tmp_path: Path) -> None:
    proposal = proposed(gpu1=H200, lb1=BALANCER, m1=replace(MIRROR, mirror=MIRROR.mirror | {"mirror_tls": True}))
    (note,) = proposal.notes
    assert note.startswith("m1: the mirror's certificate and key are not read from it")


@pytest.mark.parametrize("text", ["", "no: [yaml", "http: {}", "cat: /etc/barewind/mirror.yml: No such file"])
def test_another_text_configures_no_mirror(text: str) -> None:
    assert read_config(text) == {}


@pytest.mark.parametrize(
    ("disks", "data_dir"),
    [
        ({"/": 1700.0}, None),
        ({"/": 40.0}, None),
        ({"/": 40.0, "/data": 7000.0}, "/data/barewind"),
        ({"/": 40.0, "/var": 900.0, "/data": 7000.0}, None),
        ({"/": 900.0, "/var": 40.0, "/data": 7000.0}, "/data/barewind"),
        ({"/": 900.0, "/var/lib": 40.0}, None),
        ({"/": 200.0, "/data": 100.0}, None),
    ],
)
def test_weights_go_to_the_largest_disk_where_their_usual_place_is_small(
    disks: dict[str, float], data_dir: str | None
) -> None:
    proposal = proposed(gpu1=replace(H200, disks=disks))
    assert proposal.groups["h200"]["gpu1"].get("data_dir") == data_dir


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (Discovered("timed out"), "timed out"),
        (
            replace(H200, kinds={"h200": 4, "h100": 4}),
            "has 4 x h200, 4 x h100: one engine needs accelerators of one kind",
        ),
        (replace(HOST, unknown={"10de:2941": 8}), "has 8 x 10de:2941, which no entry of the catalog has: add one"),
        (replace(H200, address=""), "does not tell at which address"),
    ],
)
def test_a_host_that_cannot_be_written_down_is_named_with_the_reason(host: Discovered, reason: str) -> None:
    proposal = proposed(gpu1=H200, gpu2=host)
    assert list(proposal.groups["h200"]) == ["gpu1"]
    assert proposal.left_out["gpu2"].startswith(reason)
    assert f"# gpu2: {reason}" in proposal.files()[INVENTORY]


def test_a_display_adapter_beside_known_accelerators_is_no_hindrance() -> None:
    assert proposed(gpu1=replace(H200, unknown={"1002:1638": 1})).left_out == {}


def test_a_fleet_without_a_balancer_is_told_so() -> None:
    assert "add a balancer" in proposed(gpu1=H200).notes[0]
    assert proposed(gpu1=H200, lb1=BALANCER).notes == []


def test_drivers_that_are_there_are_told() -> None:
    (note,) = proposed(gpu1=replace(H200, driver="575.57.08"), lb1=BALANCER).notes
    assert note.startswith("gpu1: driver 575.57.08 is there")
    assert 'accelerator_drivers = "external"' in note


PRINTED = """@@barewind:address
::ffff:10.0.0.7
@@barewind:os
debian 13
@@barewind:memory
2113929216
@@barewind:disks
1825361100800 /
7696581394432 /data disk
@@barewind:mirror
storage:
  filesystem: {rootdirectory: /srv/images}
http:
  addr: "[fd00::7]:5001"
  tls:
    minimumtls: tls1.2
@@barewind:readers
10.0.0.1
fd00::/32
@@barewind:pci
0000:18:00.0 0x10de 0x2335 0x030200 nvidia.
0000:2a:00.0 0x10de 0x2335 0x030200 nvidia.
0000:05:00.0 0x10de 0x22a3 0x068000 nvidia.
0000:c4:00.0 0x1002 0x1638 0x030000 .
@@barewind:end
"""


def test_what_a_host_prints_is_read() -> None:
    assert read(PRINTED, "") == Discovered(
        address="10.0.0.7",
        os="debian 13",
        memory_gib=2016.0,
        disks={"/": 1700.0, "/data disk": 7168.0},
        kinds={"h200": 2},
        unknown={"1002:1638": 1},
        mirror={"mirror_port": 5001, "mirror_dir": "/srv/images", "mirror_tls": True},
        readers=("10.0.0.1", "fd00::/32"),
    )


@pytest.mark.parametrize(
    ("output", "problem", "told"),
    [("", "a\nSSH error (x)", "SSH error (x)"), ("@@barewind:os\n", "", "breaks off")],
)
def test_a_host_that_says_nothing_has_a_problem(output: str, problem: str, told: str) -> None:
    assert told in read(output, problem).problem
