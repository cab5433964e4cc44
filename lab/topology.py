"""The lab's map: names, addresses, models. Data only; importing it starts nothing and needs nothing running."""

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

ENGINE_IMAGE = f"{REGISTRY}/vllm/vllm-openai:nightly"
STANDIN_IMAGE = f"{REGISTRY}/stand-in/vllm-openai:nightly"  # for hosts with simulated accelerators
MODEL = "barewind-lab/Mistral-Tiny"
MODEL_REVISION = "3501280000000000000000000000000000000001"
DRAFT_MODEL = "barewind-lab/Mistral-Tiny-EAGLE"
DRAFT_REVISION = "3501280000000000000000000000000000000002"

REVISIONS = {MODEL: MODEL_REVISION, DRAFT_MODEL: DRAFT_REVISION}

DEFAULT_ENGINES = 2
MAX_ENGINES = 5
DEFAULT_BALANCERS = 1
MAX_BALANCERS = 2

# Kinds of hosts with simulated accelerators (lab/hardware.py), each with the address of its first host.
KINDS = {"hopper": 31, "blackwell": 41, "mi300x": 51}
MAX_OF_A_KIND = 4

MAX_MIRRORS = 1
MIRROR_PORT = 5000

# lb1's port 8000 is published here, so that a browser on this machine reaches the endpoint.
HTTP_ADDRESS = "127.0.0.1"
HTTP_PORT = 8080
HTTP_PORT_INSIDE = 8000

Role = Literal["services", "balancer", "engine", "mirror"]


@dataclass(frozen=True)
class Host:
    """One machine of the lab. The container has the host's name behind a prefix, to stay clear of others'.

    `kind` says which accelerators are simulated: one of KINDS, or empty for a host without any.
    """

    name: str
    address: str
    role: Role
    kind: str = ""

    @property
    def container(self) -> str:
        """Name of the container that is this host."""
        return f"{NETWORK}-{self.name}"


SERVICES_HOST = Host(SERVICES, SERVICES_ADDRESS, "services")


def layout(
    engines: int = DEFAULT_ENGINES,
    balancers: int = DEFAULT_BALANCERS,
    hopper: int = 0,
    blackwell: int = 0,
    mi300x: int = 0,
    mirrors: int = 0,
) -> tuple[Host, ...]:
    """The hosts of a lab of this size: lb1 .10, engine1 .21, hopper1 .31, blackwell1 .41, mi300x1 .51, mirror1 .61.

    ValueError when a number is out of range or nothing would serve.
    """
    simulated = {"hopper": hopper, "blackwell": blackwell, "mi300x": mi300x}
    least = 0 if any(simulated.values()) else 1
    for name, number, first, last in (
        ("engines", engines, least, MAX_ENGINES),
        ("balancers", balancers, 1, MAX_BALANCERS),
        *((kind, number, 0, MAX_OF_A_KIND) for kind, number in simulated.items()),
        ("mirrors", mirrors, 0, MAX_MIRRORS),
    ):
        if not first <= number <= last:
            raise ValueError(f"{name} must be {first} to {last}, not {number}")
    return (
        *(Host(f"lb{n}", f"172.30.77.{9 + n}", "balancer") for n in range(1, balancers + 1)),
        *(Host(f"engine{n}", f"172.30.77.{20 + n}", "engine") for n in range(1, engines + 1)),
        *(
            Host(f"{kind}{n}", f"172.30.77.{KINDS[kind] - 1 + n}", "engine", kind)
            for kind, number in simulated.items()
            for n in range(1, number + 1)
        ),
        *(Host(f"mirror{n}", f"172.30.77.{60 + n}", "mirror") for n in range(1, mirrors + 1)),
    )


def current() -> tuple[Host, ...]:
    """The hosts of the running lab, or those of the default one when none runs."""
    try:
        recorded = json.loads((paths.state() / "lab.json").read_text())
        sizes = {name: int(recorded[name]) for name in ("engines", "balancers", *KINDS, "mirrors") if name in recorded}
        return layout(**sizes)
    except (OSError, ValueError, TypeError):
        return layout()


def find(name: str) -> Host:
    """The host (or `services`) of that name in the current lab; KeyError when there is none."""
    for host in (SERVICES_HOST, *current()):
        if host.name == name:
            return host
    raise KeyError(f"no host {name} in the lab; there are {', '.join(h.name for h in (SERVICES_HOST, *current()))}")
