"""Facts in, problems out."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.preflight import Problem, check_balancer, check_engine
from tests.unit.accelerator_hosts import bare, h200_hgx, mi300x
from tests.unit.factories import GIB, engine_spec, lab_spec, plan

NOW = 1_763_779_200.0
DATA, DOCKER = "/var/lib/barewind", "/var/lib/docker"


def facts(**changes: Any) -> dict[str, Any]:
    """A host with everything in order."""
    return {
        "os": "ubuntu 24.04",
        "machine": "x86_64",
        "init": "systemd",
        "memory_kib": 2000 * 2**20,
        "clock": NOW,
        "disks": {DATA: {"free": 900 * GIB, "mount": "/"}, DOCKER: {"free": 900 * GIB, "mount": "/"}},
        "listener": None,
        "docker": None,
        "image_present": False,
        "weights_present": [],
        "foreign": [],
        "accelerators": h200_hgx(),
    } | changes


def disks(data: float, docker: float, *, shared: bool) -> dict[str, Any]:
    """Free GiB for data and docker."""
    return {
        DATA: {"free": int(data * GIB), "mount": "/" if shared else "/data"},
        DOCKER: {"free": int(docker * GIB), "mount": "/"},
    }


def found(spec: Any = None, **changes: Any) -> list[tuple[str, str]]:
    """Finding and remedy of each problem of a host with 120 GiB of weights and 10 GiB of compressed image to come."""
    made = plan(spec or engine_spec())
    problems = check_engine(made, facts(**changes), now=NOW)
    assert all(isinstance(one, Problem) and one.host == made.spec.host for one in problems)
    return [(one.finding, one.remedy) for one in problems]


def test_a_host_in_order_has_no_problem() -> None:
    assert found() == []
    assert check_balancer("lb1", 8000, facts(accelerators=None, disks={}, memory_kib=2**20), now=NOW) == []


@pytest.mark.parametrize("system", ["debian 12", "ubuntu 22.04", "ubuntu 24.04"])
def test_supported_systems(system: str) -> None:
    assert found(os=system) == []


@pytest.mark.parametrize(
    ("changes", "finding", "remedy"),
    [
        ({"os": "debian 11"}, "runs debian 11", "install one of: debian 12, ubuntu 22.04, ubuntu 24.04"),
        ({"os": None}, "runs an unknown system", "install one of: debian 12, ubuntu 22.04, ubuntu 24.04"),
        ({"machine": "aarch64"}, "machine is aarch64", "use an x86_64 host: the engines' images are built for it"),
        ({"init": None}, "is not run by systemd", "boot it with systemd: the engine is a systemd unit"),
        ({"clock": NOW + 31}, "clock is 31 s ahead", "set up time synchronisation (apt install chrony)"),
        ({"clock": NOW - 3600}, "clock is 3600 s behind", "set up time synchronisation (apt install chrony)"),
    ],
)
def test_system(changes: dict[str, Any], finding: str, remedy: str) -> None:
    assert found(**changes) == [(finding, remedy)]
    assert check_balancer("lb1", 8000, facts(**changes), now=NOW) == [Problem("lb1", finding, remedy)]


@pytest.mark.parametrize("skew", [-30, 30])
def test_a_little_clock_skew_is_nothing(skew: int) -> None:
    assert found(clock=NOW + skew) == []


def test_memory() -> None:
    assert found(memory_kib=32 * 2**20) == [
        ("32.0 GiB of memory, mistralai/Mistral-Medium-3.5-128B wants 64 GiB", "use a host with more memory")
    ]
    assert found(memory_kib=62 * 2**20) == []  # sold as 64 GiB; the kernel keeps a share


REMEDY = "free space, or set 'data_dir' to a larger file system"


def test_weights_and_image_share_a_file_system() -> None:
    # 120 weights + 30 image (3 x 10 while it is unpacked) + 2 spare
    assert found(disks=disks(152.1, 152.1, shared=True)) == []
    assert found(disks=disks(151, 151, shared=True)) == [
        ("/: 151.0 GiB free, 152.0 GiB wanted (weights 120.0 + image 30.0 + 2 spare)", REMEDY)
    ]


def test_weights_and_image_on_file_systems_of_their_own() -> None:
    assert found(disks=disks(122.1, 32.1, shared=False)) == []
    assert [finding for finding, _ in found(disks=disks(100, 20, shared=False))] == [
        "/data: 100.0 GiB free, 122.0 GiB wanted (weights 120.0 + 2 spare)",
        "/: 20.0 GiB free, 32.0 GiB wanted (image 30.0 + 2 spare)",
    ]


def test_what_is_there_already_needs_no_space() -> None:
    directories = list(plan(engine_spec()).directories)
    full = disks(0, 0, shared=True)
    assert found(disks=full, image_present=True, weights_present=directories) == []
    assert [finding for finding, _ in found(disks=full, image_present=True, weights_present=directories[:1])] == [
        "/: 0.0 GiB free, 62.0 GiB wanted (weights 60.0 + 2 spare)"
    ]


def test_port() -> None:
    assert found(listener="container") == []
    assert found(listener="nginx") == [("port 8000 is taken by 'nginx'", "stop it or choose another 'engine_port'")]
    assert found(listener="haproxy")[0][0] == "port 8000 is taken by 'haproxy'"


def test_port_of_a_balancer() -> None:
    assert check_balancer("lb1", 80, facts(listener="haproxy"), now=NOW) == []
    assert check_balancer("lb1", 80, facts(listener="nginx"), now=NOW) == [
        Problem("lb1", "port 80 is taken by 'nginx'", "stop it or choose another 'endpoint_port'")
    ]


MI300X_SPEC = engine_spec(accelerator="mi300x")
MORE = {"shm_bytes": 2**30}  # which is a problem of its own


@pytest.mark.parametrize(
    ("spec", "accelerators", "findings"),
    [
        (engine_spec(), h200_hgx(), []),
        (MI300X_SPEC, mi300x(), []),
        (engine_spec(), bare(h200_hgx()), []),  # the deploy installs what is missing
        (MI300X_SPEC, h200_hgx(), ["has 8 x NVIDIA H200, the inventory says 8 x mi300x"]),
        (engine_spec(), h200_hgx(**MORE), ["/dev/shm holds 1.0 GiB, engines on several accelerators want 32 GiB"]),
        (
            engine_spec(accelerator_drivers="external"),
            h200_hgx(gpus=[], tool="", tool_error="No devices were found"),
            ["driver 580.126.09 is loaded, and nvidia-smi shows no accelerator (No devices were found)"],
        ),
    ],
)
def test_accelerators(spec: Any, accelerators: Any, findings: list[str]) -> None:
    assert [finding for finding, _ in found(spec, accelerators=accelerators)] == findings


def test_a_host_without_accelerator_is_not_asked_for_one() -> None:
    assert found(lab_spec(), accelerators=None) == []
    assert found(lab_spec(), accelerators=h200_hgx()) == []


def test_all_problems_of_a_host_come_together() -> None:
    none = bare(h200_hgx(pci=[]))
    wrong = found(os="debian 11", machine="aarch64", init=None, memory_kib=1, clock=0, listener="x", accelerators=none)
    assert len(wrong) == 7


@pytest.mark.parametrize(
    ("docker", "finding"),
    [
        (None, None),
        ({"program": "/usr/bin/docker", "version": "20.10.24"}, None),
        (
            {"program": "/usr/bin/podman", "version": "4.3.1"},
            "'docker' is /usr/bin/podman, not Docker Engine of a package",
        ),
        (
            {"program": "/snap/bin/docker", "version": "27.2.0"},
            "'docker' is /snap/bin/docker, not Docker Engine of a package",
        ),
        ({"program": "/usr/bin/docker", "version": "19.03.8"}, "Docker 19.03.8 is older than 20.10"),
        ({"program": "/usr/bin/docker", "version": ""}, "Docker unknown is older than 20.10"),
    ],
)
def test_container_runtime(docker: dict[str, str] | None, finding: str | None) -> None:
    assert [one for one, _ in found(docker=docker)] == ([finding] if finding else [])
