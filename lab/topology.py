"""Names, addresses and models of the lab. Data only: nothing has to run when it is imported."""

import json
from dataclasses import dataclass
from typing import Literal

from lab import paths

NETWORK = "barewind-lab"
SUBNET = "172.30.77.0/24"
GATEWAY = "172.30.77.1"
LABEL = "barewind.lab"

USER = "ops"
SSH_PORT = 22

SERVICES = "services"
SERVICES_ADDRESS = "172.30.77.2"
REGISTRY = f"{SERVICES_ADDRESS}:5000"
HUB = f"http://{SERVICES_ADDRESS}:8000"
REPOSITORIES = f"http://{SERVICES_ADDRESS}:8090"  # stand-ins for the vendors' apt repositories, a folder each

VLLM_IMAGE = f"{REGISTRY}/vllm/vllm-openai:nightly"
SGLANG_IMAGE = f"{REGISTRY}/lmsysorg/sglang:v0.5.23-cpu"
STANDIN_IMAGE = f"{REGISTRY}/stand-in/vllm-openai:nightly"  # for hosts with simulated accelerators
STANDIN_SGLANG_IMAGE = f"{REGISTRY}/stand-in/sglang:v0.5.23"
MODEL = "barewind-lab/Mistral-Tiny"
MODEL_REVISION = "3501280000000000000000000000000000000005"
DRAFT_MODEL = "barewind-lab/Mistral-Tiny-EAGLE"
DRAFT_REVISION = "3501280000000000000000000000000000000004"

REVISIONS = {MODEL: MODEL_REVISION, DRAFT_MODEL: DRAFT_REVISION}

DEFAULT_ENGINES = 2
MAX_ENGINES = 5
DEFAULT_BALANCERS = 1
MAX_BALANCERS = 2

# Kinds of hosts with simulated accelerators (lab/hosts/hardware.py), each with the address of its first host.
KINDS = {"hopper": 31, "blackwell": 41, "mi300x": 51}
MAX_OF_A_KIND = 4

MAX_SGLANG = 3

# Systems that hosts without simulated accelerators can have; the others, light ones and `services` have the first.
SYSTEMS = ("debian-12", "debian-13")

# Light hosts (lab/light/): as many as have an address; how many the machine's memory carries is looked at by `up`.
FIRST_LIGHT = 100
LIGHT_MODELS = "/srv/models"  # the machine's, which they have mounted read-only
MAX_LIGHT = 150

MAX_MIRRORS = 1
MIRROR_PORT = 5000

# lb1's port 8000 is published here, so that a browser on this machine reaches the endpoint.
HTTP_ADDRESS = "127.0.0.1"
HTTP_PORT = 8080
HTTP_PORT_INSIDE = 8000

SIZES = (
    "engines",
    "balancers",
    *KINDS,
    "mirrors",
    "sglang",
    "light",
)  # numbers that `barewind lab up` is told, and `layout`

Role = Literal["services", "balancer", "engine", "mirror"]


@dataclass(frozen=True)
class Host:
    """A host of the lab. `kind`: which accelerators it simulates, out of KINDS; empty for a host without any.

    `engine`: the real engine that a host without accelerators runs. `light`: it has stand-ins for Docker and the engine.
    `system`: its operating system, out of SYSTEMS.
    """

    name: str
    address: str
    role: Role
    kind: str = ""
    engine: str = ""
    light: bool = False
    system: str = SYSTEMS[0]

    @property
    def container(self) -> str:
        """Name of the host's container; the prefix keeps it apart from containers of others."""
        return f"{NETWORK}-{self.name}"


SERVICES_HOST = Host(SERVICES, SERVICES_ADDRESS, "services")


def layout(
    engines: int = DEFAULT_ENGINES,
    balancers: int = DEFAULT_BALANCERS,
    hopper: int = 0,
    blackwell: int = 0,
    mi300x: int = 0,
    mirrors: int = 0,
    sglang: int = 0,
    light: int = 0,
    system: str = SYSTEMS[0],
) -> tuple[Host, ...]:
    """Hosts of a lab of this size: lb1 .10, engine1 .21, hopper1 .31, blackwell1 .41, mi300x1 .51, mirror1 .61, sglang1 .71,
    light1 .100.

    ValueError when a number is out of range, nothing would serve, or there is no such system.
    """
    simulated = {"hopper": hopper, "blackwell": blackwell, "mi300x": mi300x}
    least = 0 if sglang or light or any(simulated.values()) else 1
    for name, number, first, last in (
        ("engines", engines, least, MAX_ENGINES),
        ("balancers", balancers, 1, MAX_BALANCERS),
        *((kind, number, 0, MAX_OF_A_KIND) for kind, number in simulated.items()),
        ("mirrors", mirrors, 0, MAX_MIRRORS),
        ("sglang", sglang, 0, MAX_SGLANG),
        ("light", light, 0, MAX_LIGHT),
    ):
        if not first <= number <= last:
            raise ValueError(f"{name} must be {first} to {last}, not {number}")
    if system not in SYSTEMS:
        raise ValueError(f"system must be one of {', '.join(SYSTEMS)}, not {system}")
    return (
        *(Host(f"lb{n}", f"172.30.77.{9 + n}", "balancer", system=system) for n in range(1, balancers + 1)),
        *(
            Host(f"engine{n}", f"172.30.77.{20 + n}", "engine", engine="vllm", system=system)
            for n in range(1, engines + 1)
        ),
        *(
            Host(f"{kind}{n}", f"172.30.77.{KINDS[kind] - 1 + n}", "engine", kind)
            for kind, number in simulated.items()
            for n in range(1, number + 1)
        ),
        *(Host(f"mirror{n}", f"172.30.77.{60 + n}", "mirror", system=system) for n in range(1, mirrors + 1)),
        *(
            Host(f"sglang{n}", f"172.30.77.{70 + n}", "engine", engine="sglang", system=system)
            for n in range(1, sglang + 1)
        ),
        *(Host(f"light{n}", f"172.30.77.{FIRST_LIGHT - 1 + n}", "engine", light=True) for n in range(1, light + 1)),
    )


def current() -> tuple[Host, ...]:
    """Hosts of the running lab; those of the default lab when none runs."""
    try:
        recorded = json.loads((paths.state() / "lab.json").read_text())
        sizes = {name: int(recorded[name]) for name in SIZES if name in recorded}
        return layout(**sizes, system=str(recorded.get("system", SYSTEMS[0])))
    except (OSError, ValueError, TypeError):
        return layout()


def find(name: str) -> Host:
    """Host of the current lab by name, `services` included; KeyError when there is none."""
    for host in (SERVICES_HOST, *current()):
        if host.name == name:
            return host
    raise KeyError(f"no host {name} in the lab; there are {', '.join(h.name for h in (SERVICES_HOST, *current()))}")
