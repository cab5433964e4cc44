"""Which part of its host an engine gets: the real program, on machines made of files."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from barewind.plan.names import engine_names
from barewind.release.host_part import divide_command, divide_program
from tests.support.factories import engine_spec, lab_spec
from tests.support.shell import Programs, Shell

pytestmark = pytest.mark.slow  # each test runs a program of some dozen processes

HGX = ("1b", "43", "52", "61", "9d", "c3", "d1", "df")  # slots of a common server: four cards on each socket
CPUS = ("0-47,96-143", "48-95,144-191")
MANY = 90000  # MiB


def uuid(slot: str) -> str:
    return f"GPU-5e00{slot}00-0000-4000-8000-0000000000{slot}"


@dataclass
class Machine:
    """A machine of files, and its vendor's tools."""

    root: Path
    programs: Programs
    shell: Shell
    slots: Sequence[str] = HGX

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")

    def sockets(self, cpus: Sequence[str] = CPUS, memory: Sequence[int] = (1048576, 1048576)) -> None:
        for node, (processors, mib) in enumerate(zip(cpus, memory, strict=True)):
            self.write(f"sys/devices/system/node/node{node}/cpulist", processors)
            self.write(f"sys/devices/system/node/node{node}/meminfo", f"Node {node} MemTotal:       {mib * 1024} kB")

    def nvidia(self, slots: Sequence[str] = HGX, node: dict[str, int] | None = None, apps: str = "") -> None:
        """Cards in the order in which nvidia-smi numbers them."""
        self.slots = slots
        lines = [f"{index}, {uuid(slot)}, 00000000:{slot.upper()}:00.0" for index, slot in enumerate(slots)]
        self.write("cards", "\n".join(lines))
        self.programs(
            nvidia_smi=f'case "$1" in --query-gpu=*) cat {self.root}/cards;; *) {apps or ":"};; esac',
        )
        for slot in slots:
            at = (node or {}).get(slot, int(slot > "80"))
            self.write(f"sys/bus/pci/devices/0000:{slot}:00.0/numa_node", str(at))

    def amd(self, slots: Sequence[str] = HGX, busy: Sequence[str] = ()) -> None:
        """Cards as amdgpu has them, whose render nodes come in another order; the console's chip is none of them."""
        self.slots = slots
        for path in ("sys/bus/pci/devices/0000:03:00.0", "dev/dri/by-path"):
            (self.root / path).mkdir(parents=True)
        (self.root / "sys/bus/pci/devices/0000:03:00.0/driver").symlink_to("../drivers/ast")
        for number, slot in enumerate(reversed(slots)):
            place, minor = f"sys/bus/pci/devices/0000:{slot}:00.0", 128 + number
            self.write(f"{place}/numa_node", str(int(slot > "80")))
            self.write(f"{place}/mem_info_vram_used", str((MANY if slot in busy else 280) * 2**20))
            (self.root / place / "driver").symlink_to("../drivers/amdgpu")
            self.write(f"dev/dri/renderD{minor}", "")
            (self.root / f"dev/dri/by-path/pci-0000:{slot}:00.0-render").symlink_to(f"../renderD{minor}")
            topology = f"sys/class/kfd/kfd/topology/nodes/{number + 2}"
            self.write(f"{topology}/properties", f"simd_count 1216\ndrm_render_minor {minor}")
            self.write(f"{topology}/gpu_id", str(5000 + number))

    def divide(self, **keys: Any) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        """What the program of such a host says, and the options of `docker run` that it writes."""
        port = 8000 + keys.get("replica", 0)
        spec = engine_spec(**{"accelerator_count": len(HGX), "engine_port": port} | keys)
        text = divide_program(spec)
        assert text is not None
        text = re.sub(r"(?<!\w)/(?=sys/|proc/|dev/dri)", f"{self.root}/", text)
        (self.root / "divide").write_text(text)
        file = f"{self.root}/{Path(engine_names(spec.replica).host_part_file).name}"
        words = divide_command(spec).replace("%i", str(spec.replica)).split()[2:]
        done = self.shell(f"sh {self.root}/divide {file} {' '.join(words)}")
        if not Path(file).exists():
            return done, []
        options, port = Path(file).read_text().splitlines()
        assert port == f"BAREWIND_ENGINE_PORT={spec.engine_port}"
        assert re.fullmatch(r'BAREWIND_HOST_PART="[^"]*"', options)
        return done, options.split('"')[1].replace(str(self.root), "").split()

    def options(self, **keys: Any) -> list[str]:
        done, options = self.divide(**keys)
        assert done.returncode == 0, done.stderr
        return options

    def refusal(self, **keys: Any) -> str:
        done, options = self.divide(**keys)
        assert (done.returncode, options) == (1, [])
        return done.stderr.strip().replace(str(self.root), "")


@pytest.fixture
def machine(tmp_path: Path, programs: Programs, shell: Shell) -> Machine:
    programs(sleep=f"echo . >> {tmp_path}/slept")
    return Machine(tmp_path, programs, shell)


def gpus(*slots: str) -> str:
    return "--env=NVIDIA_VISIBLE_DEVICES=" + ",".join(f"nvidia.com/gpu={uuid(slot)}" for slot in slots)


def near(socket: int) -> list[str]:
    return [f"--cpuset-cpus={CPUS[socket]}", f"--cpuset-mems={socket}"]


@pytest.mark.parametrize(
    ("replicas", "replica", "slots", "socket"),
    [
        (2, 0, HGX[:4], 0),
        (2, 1, HGX[4:], 1),
        (4, 0, HGX[:2], 0),
        (4, 1, HGX[2:4], 0),
        (4, 3, HGX[6:], 1),
        (8, 4, HGX[4:5], 1),
    ],
)
def test_eight_nvidia_cards_on_two_sockets(
    machine: Machine, replicas: int, replica: int, slots: Sequence[str], socket: int
) -> None:
    machine.sockets()
    machine.nvidia()
    assert machine.options(replicas=replicas, replica=replica) == [gpus(*slots), *near(socket)]


def test_cards_whose_numbers_are_not_in_the_order_of_their_sockets(machine: Machine) -> None:
    machine.sockets()
    machine.nvidia(slots=("df", "1b", "d1", "43", "c3", "52", "9d", "61"))
    assert machine.options(replicas=2, replica=0) == [gpus("1b", "43", "52", "61"), *near(0)]
    assert machine.options(replicas=4, replica=3) == [gpus("d1", "df"), *near(1)]
    machine.nvidia(node=dict(zip(HGX, (1, 0, 1, 0, 1, 0, 1, 0), strict=True)))
    assert machine.options(replicas=2, replica=1) == [gpus("1b", "52", "9d", "d1"), *near(1)]


def test_cards_that_the_key_names_are_those_of_the_tools_numbers(machine: Machine) -> None:
    machine.sockets()
    machine.nvidia()
    assert machine.options(accelerators=[0, 1, 2, 3]) == [gpus(*HGX[:4]), *near(0)]
    assert machine.options(accelerators=[7, 4, 0, 3], replicas=2, replica=1) == [gpus("9d", "df"), *near(1)]
    both = [f"--cpuset-cpus={CPUS[0]},{CPUS[1]}", "--cpuset-mems=0,1"]
    assert machine.options(accelerators=[3, 4]) == [gpus("61", "9d"), *both]


@pytest.mark.parametrize(
    ("cpus", "memory", "node", "expected"),
    [
        (CPUS[:1], [1048576], {}, []),  # one node
        (CPUS, [1048576, 1048576], dict.fromkeys(HGX, -1), []),  # firmware that does not say
        (CPUS, [1048576, 0], {}, [f"--cpuset-cpus={CPUS[1]}"]),  # no memory there
        ((*CPUS, ""), [1048576, 1048576, 98304], {}, near(1)),  # memory of a card, which has no processors
        ((CPUS[0], ""), [1048576, 98304], {}, []),
        ((), [], {}, []),  # a kernel that knows no nodes
    ],
)
def test_processors_are_told_only_where_there_is_a_choice(
    machine: Machine, cpus: Sequence[str], memory: Sequence[int], node: dict[str, int], expected: list[str]
) -> None:
    machine.sockets(cpus, memory)
    machine.nvidia(node=node)
    assert machine.options(replicas=2, replica=1) == [gpus(*HGX[4:]), *expected]


def test_an_exchanged_card_is_taken_as_the_one_before_was(machine: Machine) -> None:
    machine.sockets()
    machine.nvidia(slots=("1b", "44", *HGX[2:]))
    assert machine.options(replicas=4, replica=0) == [gpus("1b", "44"), *near(0)]


def test_a_missing_card_stops_every_replica(machine: Machine) -> None:
    """Whose it was nobody can tell: divided anew, the others would take cards from each other."""
    machine.sockets()
    machine.nvidia(slots=HGX[:7])
    for replica in range(2):
        assert machine.refusal(replicas=2, replica=replica) == (
            f"gpu-h1-{replica}: the host has 7 accelerators, the inventory says 8; look for a failed card (journalctl -k -b), or "
            "correct accelerator_count and accelerators, and deploy"
        )


def test_a_tool_that_answers_with_a_complaint(machine: Machine) -> None:
    machine.programs(
        nvidia_smi="echo 'Unable to determine the device handle for GPU0000:9D:00.0: Unknown Error'; exit 15"
    )
    said = machine.refusal(replicas=2, replica=0)
    assert said.startswith(
        "gpu-h1-0: cannot choose its accelerators: nvidia-smi does not list them (Unable to determine"
    )
    assert "journalctl -k -b" in said


def test_a_number_that_no_card_has(machine: Machine) -> None:
    """Not between keys, which are checked before: cards that the tool numbers otherwise than from 0 on."""
    machine.nvidia()
    machine.write("cards", (machine.root / "cards").read_text().replace("0, GPU", "8, GPU"))
    said = machine.refusal(accelerators=[0, 1])
    assert said == "gpu-h1: the host has no accelerator 0, but 8 1 2 3 4 5 6 7; correct accelerators, and deploy"


def test_a_card_that_another_process_holds(machine: Machine) -> None:
    machine.sockets()
    machine.write("proc/4711/comm", "python3")
    machine.nvidia(apps=f"echo '{uuid('61')}, 4711, 90000 MiB'; echo '{uuid('43')}, 4712, [N/A]'")
    said = machine.refusal(replicas=2, replica=0)
    assert said.startswith(
        "gpu-h1-0: memory of its accelerators is in use: accelerator 3 (0000:61:00.0) by process 4711 ("
    )
    assert (
        "process 4711 (python3, 90000 MiB); accelerator 1 (0000:43:00.0) by process 4712 (gone, [N/A]). End that"
        in said
    )
    assert (machine.root / "slept").read_text().count(".") == 29
    assert machine.options(replicas=2, replica=1) == [gpus(*HGX[4:]), *near(1)]  # the sibling's are free


def test_a_card_that_is_free_a_moment_later(machine: Machine) -> None:
    machine.nvidia(apps=f"[ -s {machine.root}/slept ] || echo '{uuid('1b')}, 4711, 90000 MiB'")
    assert machine.options(replicas=8, replica=0) == [gpus("1b")]
    assert (machine.root / "slept").read_text() == ".\n"


def test_a_start_that_fails_leaves_no_options_of_another_card(machine: Machine) -> None:
    machine.nvidia()
    machine.options(replicas=2, replica=0)
    machine.nvidia(slots=HGX[:7])
    done, options = machine.divide(replicas=2, replica=0)
    assert (done.returncode, options) == (1, [])


def nodes(*numbers: int) -> list[str]:
    return ["--device=/dev/kfd", *(f"--device=/dev/dri/renderD{number}" for number in numbers)]


@pytest.mark.parametrize("access", ["devices", "toolkit"])
def test_eight_amd_cards_on_two_sockets(machine: Machine, access: str) -> None:
    machine.sockets()
    machine.amd()
    keys = {"accelerator": "mi300x", "amd_container_access": access}
    assert machine.options(replicas=2, replica=0, **keys) == [*nodes(135, 134, 133, 132), *near(0)]
    assert machine.options(replicas=4, replica=2, **keys) == [*nodes(131, 130), *near(1)]
    assert machine.options(accelerators=[0, 7], **keys)[:3] == nodes(135, 128)


def test_a_missing_amd_card(machine: Machine) -> None:
    machine.amd(HGX[:7])
    assert "the host has 7 accelerators, the inventory says 8" in machine.refusal(
        accelerator="mi300x", replicas=2, replica=1
    )


def test_an_amd_card_without_a_node(machine: Machine) -> None:
    machine.amd()
    (machine.root / "dev/dri/renderD128").unlink()
    said = machine.refusal(accelerator="mi300x", replicas=2, replica=0)
    assert said.startswith("gpu-h1-0: cannot choose its accelerators: 0000:df:00.0 has no node in /dev/dri; look at:")


def test_an_amd_card_that_another_process_holds(machine: Machine) -> None:
    machine.sockets()
    machine.amd(busy=("43", "d1"))
    machine.write("proc/4711/comm", "python3")
    machine.write("sys/class/kfd/kfd/proc/4711/vram_5006", str(MANY * 2**20))  # 43's number to the driver for computing
    machine.write("sys/class/kfd/kfd/proc/4711/vram_5005", "0")
    said = machine.refusal(accelerator="mi300x", replicas=4, replica=0)
    assert "in use: accelerator 1 (0000:43:00.0) by process 4711 (python3) (90000 MiB). End that" in said
    said = machine.refusal(accelerator="mi300x", replicas=4, replica=3)
    assert "in use: accelerator 6 (0000:d1:00.0) by no process that amdgpu knows (90000 MiB). End that" in said
    assert machine.options(accelerator="mi300x", replicas=4, replica=1) == [*nodes(133, 132), *near(0)]


def test_engines_without_accelerators_share_the_processors(machine: Machine) -> None:
    machine.sockets()
    cpu = {"accelerator": "cpu", "accelerator_count": 1, "image": "registry.example/cpu:v0.32.0", "replicas": 2}
    assert machine.options(**cpu, replica=1) == []


def test_engines_of_a_host_meet_on_ports_of_their_own(machine: Machine) -> None:
    machine.nvidia()
    keys = {"engine": "sglang", "speculative": False, "replicas": 8}
    assert machine.options(**keys, replica=0) == ["--env=SGLANG_TCP_STORE_PORT=29600", gpus("1b")]
    assert machine.options(**keys, replica=7) == ["--env=SGLANG_TCP_STORE_PORT=29607", gpus("df")]


def test_an_engine_that_has_all_of_its_host_needs_no_program() -> None:
    assert divide_program(engine_spec()) is None
    assert divide_program(lab_spec()) is None
