"""The program that writes a host's figures, run in a real shell beside tools that print what the real ones print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from barewind.balancer.maintenance import FILE as MAINTENANCE_FILE
from barewind.drivers.vendors import VENDORS
from barewind.lease.commands import DIRECTORY as LEASE
from barewind.monitoring import names
from barewind.monitoring.exporter import Cards, exporter, figures_program
from barewind.spec.site import engines_of
from tests.support.factories import balancer_spec, engine_spec, monitor_spec
from tests.support.shell import Programs, Shell

JOURNAL = """case "$*" in
  *"-n 0"*) ;;
  *" -k"*) cat {kernel} 2> /dev/null ;;
  *) cat {engines} 2> /dev/null ;;
esac
for word in "$@"; do case "$word" in --cursor-file=*) echo s=1 > "${{word#*=}}" ;; esac; done"""
SMI = 'echo "0, 80, 70000, 143771, 61, 512.33, 0, Not Active"; echo "1, [N/A], 70000, 143771, 66, 500.1, 2, Active"'
XID = "NVRM: Xid (PCI:0000:1a:00): {}, pid=1, name=engine"


class Host:
    """A host's files in a folder, and what its program writes."""

    def __init__(self, folder: Path, shell: Shell, programs: Programs) -> None:
        self.folder, self.shell = folder, shell
        self.kernel, self.engines = folder / "kernel", folder / "engines"
        programs(
            journalctl=JOURNAL.format(kernel=self.kernel, engines=self.engines),
            docker="echo 0123456789ab",
        )
        programs(**{"nvidia-smi": SMI})

    def figures(self, program: str) -> dict[str, str]:
        for path in (names.TEXTFILES, MAINTENANCE_FILE, LEASE):
            program = program.replace(path, f"{self.folder}{path}")
        ran = self.shell(program, STATE_DIRECTORY=f"{self.folder}/state")
        assert (ran.returncode, ran.stderr) == (0, "")
        text = Path(f"{self.folder}{names.TEXTFILES}/barewind.prom").read_text()
        assert re.fullmatch(r"([a-z_]+({[^}\n]*})? -?[0-9.e+]+\n)+", text)  # the format of Prometheus' text
        return dict(line.rsplit(" ", 1) for line in text.splitlines())


@pytest.fixture
def host(tmp_path: Path, shell: Shell, programs: Programs) -> Host:
    return Host(tmp_path, shell, programs)


def cards(vendor: str) -> Cards:
    known = VENDORS[vendor]
    return Cards(known.figures, known.kernel_errors, known.harmless_errors)


def test_cards_engines_and_the_plan_are_told(host: Host) -> None:
    found = host.figures(figures_program([engine_spec()], cards("nvidia")))

    assert found['barewind_gpu_utilization_ratio{gpu="0"}'] == "0.8"
    assert found['barewind_gpu_memory_used_bytes{gpu="0"}'] == str(70000 * 2**20)
    assert 'barewind_gpu_utilization_ratio{gpu="1"}' not in found  # [N/A]
    assert found['barewind_gpu_thermal_slowdown{gpu="1"}'] == "1"
    assert found["barewind_accelerators_planned"] == "8"
    assert found["barewind_maintenance"] == "0"
    assert found['barewind_release_info{server="gpu-h1",runtime="vllm",release="0123456789ab"}'] == "1"
    assert int(found['barewind_engine_max_num_seqs{server="gpu-h1",runtime="vllm"}']) > 0


def test_each_replica_is_told_by_itself(host: Host) -> None:
    replicas = engines_of(engine_spec(replicas=2))
    found = host.figures(figures_program(replicas, None))

    assert {name for name in found if "max_num_seqs" in name} == {
        f'barewind_engine_max_num_seqs{{server="gpu-h1-{number}",runtime="vllm",replica="{number}"}}'
        for number in (0, 1)
    }
    assert not any(name.startswith("barewind_gpu") for name in found)


def test_errors_are_counted_on_and_what_was_before_is_not(host: Host) -> None:
    program = figures_program([engine_spec()], cards("nvidia"))
    host.kernel.write_text(XID.format(79) + "\n")
    assert not any("kernel_errors" in name for name in host.figures(program))  # the first look

    host.kernel.write_text("\n".join([XID.format(79), XID.format(31), "usb 1-1: new device"]) + "\n")
    host.engines.write_text("torch.OutOfMemoryError: CUDA out of memory.\nINFO: fine\n")
    counted = 'barewind_kernel_errors_total{kind="xid",code="79",gpu="0000:1a:00"}'
    first, second = host.figures(program), host.figures(program)

    assert {name: value for name, value in first.items() if "kernel_errors" in name} == {counted: "1"}  # 31 is harmless
    assert second[counted] == "2"
    assert (first['barewind_engine_log_errors_total{kind="memory"}'], second[counted]) == ("1", "2")


@pytest.mark.parametrize(
    ("vendor", "line", "labels"),
    [
        (
            "nvidia",
            "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 12028, Fatal",
            'kind="sxid",code="12028",gpu="0000:05:00.0"',
        ),
        ("nvidia", "NVRM: GPU 0000:1a:00.0 has fallen off the bus.", 'kind="lost",code="0",gpu="-"'),
        (
            "amd",
            "amdgpu 0000:03:00.0: 2 new uncorrectable hardware errors detected in umc block",
            'kind="ras",code="0",gpu="0000:03:00.0"',
        ),
        ("amd", "amdgpu 0000:03:00.0: ring gfx timeout, signaled", 'kind="driver",code="0",gpu="0000:03:00.0"'),
    ],
)
def test_what_a_line_of_the_kernel_says(vendor: str, line: str, labels: str, host: Host) -> None:
    program = figures_program([engine_spec()], cards(vendor))
    host.figures(program)
    host.kernel.write_text(f"{line}\n")

    assert host.figures(program)[f"barewind_kernel_errors_total{{{labels}}}"] == "1"


def test_maintenance_and_the_lease_are_told_with_their_times(host: Host) -> None:
    for path, text in (
        (MAINTENANCE_FILE, '{"at": "2026-11-30T08:00:00Z", "by": "ops", "why": null}\n'),
        (f"{LEASE}/owner.json", '{"since": "2020-01-01T00:00:00Z", "token": "x"}\n'),
    ):
        file = Path(f"{host.folder}{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    found = host.figures(figures_program([], None))

    assert found["barewind_maintenance"] == "1"
    assert found["barewind_maintenance_since_seconds"] == "1796025600"
    assert int(found["barewind_lease_seconds"]) > 86400


def test_the_exporter_answers_monitors_alone() -> None:
    monitors = [monitor_spec(), monitor_spec(host="mon2", address="fd00::8")]
    planned = exporter(balancer_spec(), [], monitors, None)

    assert "ip saddr 10.0.0.7 tcp dport 9100 accept" in planned.firewall.content
    assert "ip6 saddr fd00::8 tcp dport 9100 accept" in planned.firewall.content
    assert "tcp dport 9100 drop" in planned.firewall.content
    assert "--web.listen-address=192.0.2.2:9100 " in planned.drop_in.content
    assert planned.drop_in.content.index("nft -f") < planned.drop_in.content.index("ExecStart=/usr/bin/prometheus")
