"""The problems that the preflight finds by the facts of a host."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.balancer.maintenance import Maintenance
from barewind.docker import daemon
from barewind.preflight.checks import Problem, check_balancer, check_engine, check_monitor, closed_services
from tests.support.accelerator_hosts import bare, h200_hgx, mi300x
from tests.support.factories import GIB, balancer_spec, engine_spec, lab_spec, monitor_spec, plan

NOW = 1_763_779_200.0
DATA, DOCKER, CONTAINERD = "/var/lib/barewind", "/var/lib/docker", "/var/lib/containerd"


def facts(**changes: Any) -> dict[str, Any]:
    """A host with everything in order."""
    return {
        "os": "debian 12",
        "machine": "x86_64",
        "init": "systemd",
        "memory_kib": 2000 * 2**20,
        "clock": NOW,
        "disks": {
            DATA: {"free": 900 * GIB, "mount": "/"},
            DOCKER: {"free": 900 * GIB, "mount": "/"},
            CONTAINERD: {"free": 900 * GIB, "mount": "/"},
        },
        "engines": [{"listener": None}],
        "engine_units": [],
        "drained": None,
        "listener": None,
        "docker": None,
        "docker_daemon": daemon.read([]),
        "image_present": False,
        "weights_present": [],
        "packages": {},
        "foreign": [],
        "haproxy": "2.6.12",
        "accelerators": h200_hgx(),
    } | changes


def listening(name: str) -> list[dict[str, Any]]:
    """The engines of a host of which the only one's port is somebody's."""
    return [{"listener": name}]


def disks(data: float, docker: float, *, shared: bool) -> dict[str, Any]:
    """Free GiB for data and docker."""
    return {
        DATA: {"free": int(data * GIB), "mount": "/" if shared else "/data"},
        DOCKER: {"free": int(docker * GIB), "mount": "/"},
    }


def problems(spec: Any = None, **changes: Any) -> list[tuple[str, str]]:
    """Finding and remedy of each problem of a host with 120 GiB of weights and 10 GiB of compressed image to come."""
    made = plan(spec or engine_spec())
    checked = check_engine(made, facts(**changes), now=NOW)
    assert all(isinstance(problem, Problem) and problem.host == made.spec.host for problem in checked)
    return [(problem.finding, problem.remedy) for problem in checked]


def test_a_host_in_order_has_no_problem() -> None:
    assert problems() == []
    assert check_balancer(balancer_spec(), facts(accelerators=None, disks={}, memory_kib=2**20), now=NOW) == []


@pytest.mark.parametrize("system", ["debian 12", "debian 13", "ubuntu 22.04", "ubuntu 24.04", "ubuntu 26.04"])
def test_supported_systems(system: str) -> None:
    found = problems(os=system)
    # tests/unit/drivers/test_systems.py has what vendors do not publish
    assert [problem for problem in found if "signs its packages" not in problem[0]] == []


@pytest.mark.parametrize(
    ("changes", "finding", "remedy"),
    [
        (
            {"os": "debian 11"},
            "runs debian 11",
            "install one of: debian 12, debian 13, ubuntu 22.04, ubuntu 24.04, ubuntu 26.04",
        ),
        (
            {"os": None},
            "runs an unknown system",
            "install one of: debian 12, debian 13, ubuntu 22.04, ubuntu 24.04, ubuntu 26.04",
        ),
        ({"machine": "aarch64"}, "machine is aarch64", "use an x86_64 host: the engines' images are built for it"),
        ({"init": None}, "is not run by systemd", "boot it with systemd: the engine is a systemd unit"),
        ({"clock": NOW + 31}, "clock is 31 s ahead", "set up time synchronisation (apt install chrony)"),
        ({"clock": NOW - 3600}, "clock is 3600 s behind", "set up time synchronisation (apt install chrony)"),
    ],
)
def test_system(changes: dict[str, Any], finding: str, remedy: str) -> None:
    assert problems(**changes) == [(finding, remedy)]
    assert check_balancer(balancer_spec(), facts(**changes), now=NOW) == [Problem("lb1", finding, remedy)]


@pytest.mark.parametrize("skew", [-30, 30])
def test_a_little_clock_skew_is_nothing(skew: int) -> None:
    assert problems(clock=NOW + skew) == []


def test_memory() -> None:
    assert problems(memory_kib=32 * 2**20) == [
        ("32.0 GiB of memory, mistralai/Mistral-Medium-3.5-128B wants 64 GiB", "use a host with more memory")
    ]
    assert problems(memory_kib=62 * 2**20) == []  # sold as 64 GiB; the kernel keeps a share


REMEDY = "free space, or set 'data_dir' to a larger file system"


def test_weights_and_image_share_a_file_system() -> None:
    # 120 weights + 30 image (3 x 10 while it is unpacked) + 2 spare
    assert problems(disks=disks(152.1, 152.1, shared=True)) == []
    assert problems(disks=disks(151, 151, shared=True)) == [
        ("/: 151.0 GiB free, 152.0 GiB wanted (weights 120.0 + image 30.0 + 2 spare)", REMEDY)
    ]


def test_weights_and_image_on_file_systems_of_their_own() -> None:
    assert problems(disks=disks(122.1, 32.1, shared=False)) == []
    assert [finding for finding, _ in problems(disks=disks(100, 20, shared=False))] == [
        "/data: 100.0 GiB free, 122.0 GiB wanted (weights 120.0 + 2 spare)",
        "/: 20.0 GiB free, 32.0 GiB wanted (image 30.0 + 2 spare)",
    ]


@pytest.mark.parametrize(
    ("lines", "changes", "directory"),
    [
        (["root=/srv/docker"], {}, "/srv/docker"),
        (["root=/srv/docker", 'info="/srv/docker" [["Backing Filesystem","extfs"]] []'], {}, "/srv/docker"),
        (["containerd=/srv/c", 'info="/x" [["driver-type","io.containerd.snapshotter.v1"]] []'], {}, "/srv/c"),
        ([], {}, DOCKER),
        (["info="], {"docker_source": "vendor"}, "/var/lib/containerd"),  # Docker 29, which is not there yet
        (["info="], {"docker_source": "vendor", "docker_version": "29.0.1"}, "/var/lib/containerd"),
        (["info="], {"docker_source": "vendor", "docker_version": "28.5.2"}, DOCKER),
        (["info="], {"os": "ubuntu 22.04"}, CONTAINERD),  # Ubuntu's is 29 in all three
        (["info="], {"os": "ubuntu 24.04"}, CONTAINERD),
        (["info="], {"os": "ubuntu 26.04"}, CONTAINERD),
        (["info="], {"os": "debian 12"}, DOCKER),
        (["info="], {"os": "debian 13"}, DOCKER),
    ],
)
def test_the_image_needs_space_where_docker_keeps_images(
    lines: list[str], changes: dict[str, Any], directory: str
) -> None:
    spread = {
        DATA: {"free": 900 * GIB, "mount": "/data"},
        **{
            path: {"free": 900 * GIB, "mount": path}
            for path in (DOCKER, "/srv/docker", "/srv/c", "/var/lib/containerd")
        },
        directory: {"free": 20 * GIB, "mount": directory},
    }
    keys = {"accelerator_drivers": "external", **changes}
    system = {"os": keys.pop("os")} if "os" in keys else {}
    found = problems(engine_spec(**keys), disks=spread, docker_daemon=daemon.read(lines), **system)
    assert [finding for finding, _ in found] == [f"{directory}: 20.0 GiB free, 32.0 GiB wanted (image 30.0 + 2 spare)"]


DEBIAN_S = {"docker.io": {"version": "20.10.24+dfsg1-1+deb12u1", "held": True}}


@pytest.mark.parametrize(
    ("changes", "known", "version"),
    [
        ({}, {"os": "debian 12", "packages": DEBIAN_S}, "20.10.24"),
        ({}, {"os": "debian 12"}, "20.10.24"),  # to be installed
        (
            {},
            {"os": "debian 12", "packages": {"docker-ce": {"version": "5:28.5.2-1", "held": True}}},
            "20.10.24",
        ),  # to be replaced
        ({}, {"packages": {"docker.io": {"version": "24.0.7-0ubuntu4", "held": True}}}, None),
        ({}, {"packages": {"docker.io": {"version": "20.10.12-0ubuntu4", "held": True}}}, "20.10.12"),
        ({}, {"os": "ubuntu 24.04"}, None),
        ({"docker_source": "vendor"}, {"os": "debian 12", "packages": DEBIAN_S}, None),
        ({}, {"os": "debian 12", "packages": DEBIAN_S, "image_present": True}, None),
    ],
)
def test_layers_that_the_hosts_docker_cannot_unpack(
    changes: dict[str, Any], known: dict[str, Any], version: str | None
) -> None:
    made = plan(engine_spec(**changes), zstd=True)
    roomy = {path: {"free": 900 * GIB, "mount": "/"} for path in (DATA, DOCKER, "/var/lib/containerd")}
    found = check_engine(made, facts(**{"disks": roomy} | known), now=NOW)
    assert [(problem.finding, problem.remedy) for problem in found] == (
        [
            (
                f"the image's layers are compressed with zstd, which the distribution's Docker {version} cannot unpack",
                'set docker_source = "vendor"',
            )
        ]
        if version
        else []
    )
    assert check_engine(plan(engine_spec(**changes)), facts(**{"disks": roomy} | known), now=NOW) == []


@pytest.mark.parametrize(
    ("lines", "finding"),
    [
        (['info="/var/lib/docker/231072.231072" [] ["name=seccomp","name=userns"]'], "Docker maps containers' users"),
        (["userns=default", "info="], "Docker maps containers' users"),  # it does not run yet
        (['info="/home/ops/.local/share/docker" [] ["name=rootless"]'], "Docker runs rootless"),
        (['info="/var/lib/docker" [] ["name=seccomp,profile=builtin","name=cgroupns"]'], None),
        (["userns=", "info="], None),
    ],
)
def test_whose_users_those_of_containers_are(lines: list[str], finding: str | None) -> None:
    found = problems(docker_daemon=daemon.read(lines))
    assert len(found) == (finding is not None)
    for told, remedy in found:
        assert told.startswith(str(finding))
        assert "userns-remap out of /etc/docker/daemon.json" in remedy or "rootless" in remedy


def test_what_is_there_already_needs_no_space() -> None:
    directories = list(plan(engine_spec()).directories)
    full = disks(0, 0, shared=True)
    assert problems(disks=full, image_present=True, weights_present=directories) == []
    assert [finding for finding, _ in problems(disks=full, image_present=True, weights_present=directories[:1])] == [
        "/: 0.0 GiB free, 62.0 GiB wanted (weights 60.0 + 2 spare)"
    ]


def test_port() -> None:
    assert problems(engines=listening("container")) == []
    assert problems(engines=listening("nginx")) == [
        ("port 8000 is taken by 'nginx'", "stop it or choose another 'engine_port'")
    ]
    assert problems(engines=listening("haproxy"))[0][0] == "port 8000 is taken by 'haproxy'"


def test_port_of_a_balancer() -> None:
    spec = balancer_spec(endpoint_port=80)
    assert check_balancer(spec, facts(listener="haproxy"), now=NOW) == []
    assert check_balancer(spec, facts(listener="nginx"), now=NOW) == [
        Problem("lb1", "port 80 is taken by 'nginx'", "stop it or choose another 'endpoint_port'")
    ]


@pytest.mark.parametrize(
    ("system", "version", "refused"),
    [
        ("debian 12", "2.6.12", None),
        ("debian 12", None, None),
        ("ubuntu 24.04", "2.10.1", None),
        ("ubuntu 22.04", "2.8.5", None),
        ("ubuntu 22.04", "2.4.24", "2.4.24"),
        ("ubuntu 22.04", None, "2.4"),
        ("debian 12", "2.5.1", "2.5.1"),
    ],
)
def test_an_old_haproxy_is_refused_with_the_way_out(system: str, version: str | None, refused: str | None) -> None:
    found = check_balancer(balancer_spec(), facts(os=system, haproxy=version), now=NOW)
    assert [problem.finding for problem in found] == ([f"HAProxy {refused} is older than 2.6"] if refused else [])
    assert all("ppa:vbernat/haproxy-2.8" in problem.remedy for problem in found)


def test_the_certificate_of_a_balancer() -> None:
    files = {"endpoint_certificate": "/nowhere/a.pem", "endpoint_key": "/nowhere/a.key"}
    spec = balancer_spec(endpoint_tls=True, endpoint_name="llm.example.com", **files)
    assert check_balancer(spec, facts(), now=NOW) == [
        Problem("lb1", "endpoint_certificate /nowhere/a.pem: No such file or directory", "correct the key."),
        Problem(
            "lb1",
            "endpoint_key /nowhere/a.key: No such file or directory",
            "write the secret to it, or correct the key.",
        ),
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
    assert [finding for finding, _ in problems(spec, accelerators=accelerators)] == findings


def test_a_host_without_accelerator_is_not_asked_for_one() -> None:
    assert problems(lab_spec(), accelerators=None) == []
    assert problems(lab_spec(), accelerators=h200_hgx()) == []


def test_all_problems_of_a_host_come_together() -> None:
    none = bare(h200_hgx(pci=[]))
    every = problems(
        os="debian 11", machine="aarch64", init=None, memory_kib=1, clock=0, engines=listening("x"), accelerators=none
    )
    assert len(every) == 7


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
    assert [problem for problem, _ in problems(docker=docker)] == ([finding] if finding else [])


def test_services_of_others_that_a_deploy_closes_are_named() -> None:
    services = {
        22: "sshd",
        9100: "node_exporter",
        22022: "sshd",
        30080: "kubelet",
        30090: "nginx",
        31000: "x",
        8010: "y",
    }
    made = plan(engine_spec(open_ports=["30085-30095", 31000]))
    assert closed_services(made, {"services": services, "engines": []}, {22, 22022}) == [
        "port 30080 (kubelet) is closed to other hosts; if they need it: open_ports = [30080]"
    ]


def test_another_number_of_engines_wants_a_host_in_maintenance() -> None:
    several = engine_spec(replicas=2)
    found = {"engine_units": ["barewind-engine.service"], "engines": [{"listener": "container"}] * 2}
    ((finding, remedy),) = problems(several, **found)
    assert finding == "engines on it: 1, and shall be 2 ('replicas'): barewind-engine.service would leave"
    assert remedy.startswith("with the former 'replicas': tasks/drain.py --limit gpu-h1")
    assert problems(several, **found, drained=Maintenance("2026-01-01T00:00:00Z", "ann@ws1")) == []
    both = {"engine_units": ["barewind-engine@0.service", "barewind-engine@1.service"]}
    assert problems(several, **both, engines=[{"listener": "container"}, {"listener": None}]) == []
    assert problems(several, **both, engines=[{"listener": None}, {"listener": "nginx"}]) == [
        ("port 8001 is taken by 'nginx'", "stop it or choose another 'engine_port'")
    ]


@pytest.mark.parametrize(
    ("free", "listener", "finding"),
    [
        (100 * GIB, None, None),
        (1 * GIB, None, "/: 1.0 GiB free, 20.0 GiB wanted for 30 days of figures"),
        (1 * GIB, "prometheus", None),  # it has begun to fill it
        (100 * GIB, "nginx", "port 9090 is taken by 'nginx'"),
    ],
)
def test_a_monitor_has_its_port_and_the_disk_for_its_retention(
    free: int, listener: str | None, finding: str | None
) -> None:
    spec = monitor_spec()
    known = facts(listener=listener, disks={spec.monitor_dir: {"free": free, "mount": "/"}})
    found = check_monitor(spec, 20 * GIB, known, now=NOW)
    assert [problem.finding for problem in found] == ([finding] if finding else [])
