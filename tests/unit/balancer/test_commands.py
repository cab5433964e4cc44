"""HAProxy's runtime API: what the commands do in a shell, what the answers mean (in the form of 2.4, 2.6 and 2.8)."""

from __future__ import annotations

from pathlib import Path

import pytest

from barewind.balancer import commands as balancer
from barewind.balancer.commands import Admin, Health, Rotation, Server, Worker
from barewind.balancer.names import STATE_PROGRAM
from barewind.errors import BarewindError
from tests.support.haproxy_answers import (
    DOWN,
    DRAINED,
    UNCHECKED,
    UP,
    conn,
    process,
    stat,
    state,
    text,
)
from tests.support.shell import Programs, Shell

pytestmark = pytest.mark.slow


def reading(*processes: list[str]) -> Rotation:
    return balancer.read(text(*processes), "lb1")


NOWHERE = ["@@balancer:worker 7 current", "No such proxy.", "", "Can't find backend.", "", "Can't find backend.", ""]
TWO = (
    process(12, gpu1=(DRAINED, 0), gpu2=(UP, 2)),
    process(10, "old", gpu1=(UP, 3), gpu2=(UP, 1)),
)


# --- What the answers mean --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "admin", "health", "in_rotation", "shown"),
    [
        (UP, Admin.READY, Health.UP, True, "UP"),
        (DOWN, Admin.READY, Health.DOWN, False, "DOWN"),
        ("1 0 15 3", Admin.READY, Health.STARTING, True, "STARTING"),
        ("3 0 15 4", Admin.READY, Health.STOPPING, False, "STOPPING"),
        (UNCHECKED, Admin.READY, Health.UNCHECKED, True, "NOT CHECKED YET"),
        ("1 0 1 0", Admin.READY, Health.UNCHECKED, True, "NOT CHECKED YET"),
        ("2 0 15 0", Admin.READY, Health.UP, True, "UP"),  # while another check runs
        (DRAINED, Admin.DRAIN, Health.UP, False, "DRAIN"),
        ("0 8 8 2", Admin.DRAIN, Health.DOWN, False, "DRAIN"),
        ("2 16 15 3", Admin.DRAIN, Health.UP, False, "DRAIN"),
        ("0 1 15 3", Admin.MAINT, Health.DOWN, False, "MAINT"),
        ("0 9 15 3", Admin.MAINT, Health.DOWN, False, "MAINT"),
        ("0 32 15 3", Admin.MAINT, Health.DOWN, False, "MAINT"),
        ("2 64 15 3", Admin.READY, Health.UP, True, "UP"),  # its address was once set at run time
        ("2 0 15 3 1", Admin.READY, Health.UP, True, "UP"),
        ("2 0 15 3 0", Admin.READY, Health.UP, False, "STANDBY"),
        ("0 0 8 2 0", Admin.READY, Health.DOWN, False, "DOWN"),
        ("2 8 15 3 0", Admin.DRAIN, Health.UP, False, "DRAIN"),
    ],
)
def test_states(fields: str, admin: Admin, health: Health, in_rotation: bool, shown: str) -> None:
    server = reading(process(12, gpu1=(fields, 0))).servers["gpu1"]
    assert (server.admin, server.health, server.in_rotation, server.state) == (admin, health, in_rotation, shown)


def test_requests_are_summed_over_every_process() -> None:
    rotation = reading(*TWO)
    assert {name: (server.state, server.sessions) for name, server in rotation.servers.items()} == {
        "gpu1": ("DRAIN", 3),
        "gpu2": ("UP", 3),
    }
    assert [balancer.in_flight(rotation, name) for name in ("gpu1", "gpu2", "gpu3")] == [3, 3, 0]


def test_a_server_that_only_an_old_process_has_still_has_its_requests() -> None:
    rotation = reading(process(12, gpu2=(UP, 0)), process(10, "old", gpu1=(UP, 4)))
    assert balancer.in_flight(rotation, "gpu1") == 4
    assert not balancer.known([rotation], "gpu1")


def test_an_old_process_of_haproxy_2_4_tells_connections_only() -> None:
    old = ["@@balancer:worker 10 old", *stat(), *conn(gpu1=3), *state(gpu1=UP)]
    rotation = reading(process(12, gpu1=(DRAINED, 0)), old)
    assert balancer.in_flight(rotation, "gpu1") == 3


def test_queued_requests_count() -> None:
    lines = process(12, gpu1=(UP, 2))
    lines[2] = lines[2].replace("gpu1,0,", "gpu1,5,")
    assert balancer.in_flight(reading(lines), "gpu1") == 7


def test_haproxy_that_does_not_run_is_a_state_of_its_own() -> None:
    rotation = balancer.read("Welcome!\n@@balancer:absent\n@@balancer:end\n", "lb1")
    assert not rotation.running
    assert not rotation.servers
    assert balancer.wait_drained({"lb1": rotation}, "gpu1", waited=0, limit=1).outcome == "done"


def test_haproxy_of_another_configuration_knows_no_server() -> None:
    rotation = reading(NOWHERE)
    assert rotation.running
    assert not rotation.servers


@pytest.mark.parametrize("whole", [text(*TWO), text(NOWHERE), "@@balancer:absent\n@@balancer:end\n"])
def test_an_answer_that_breaks_off_anywhere_is_refused(whole: str) -> None:
    for length in range(len(whole) - 1):
        with pytest.raises(BarewindError, match="lb1: HAProxy's answer is not what was expected"):
            balancer.read(whole[:length], "lb1")


@pytest.mark.parametrize(
    "harm",
    [
        lambda lines: [line for line in lines if not line.startswith("@@balancer:worker")],
        lambda lines: [line.replace(" current", " old") for line in lines],
        lambda lines: [line.replace("worker 12", "worker x") for line in lines],
        lambda lines: ["@@balancer:", *lines],
        lambda lines: [line.replace(",2,9,", ",-2,9,") for line in lines],
        lambda lines: [line.replace(",2,9,", ",,9,") for line in lines],
        lambda lines: [line.replace("192.0.2.11 2 8", "192.0.2.11 7 8") for line in lines],
        lambda lines: [line.replace("192.0.2.11 2 8", "192.0.2.11 -1 8") for line in lines],
        lambda lines: [line for line in lines if not line.startswith("engines,gpu2")],
        lambda lines: [line for line in lines if not line.startswith("engines/gpu2")],
        lambda lines: [line for line in lines if " gpu2 " not in line],
        lambda lines: [line for line in lines if not line.startswith(("1", "#", "3 ", "engines"))],
        lambda lines: [lines[0], "(cut off)", *lines[1:]],
        lambda lines: [lines[0], "Permission denied", *lines[1:]],
        lambda lines: [lines[0], "Can't find the target PID matching the prefix '@!12'", *lines[1:]],
        lambda lines: [lines[0], "<html>", *lines[1:]],
    ],
)
def test_garbage_is_refused(harm: object) -> None:
    assert callable(harm)
    with pytest.raises(BarewindError, match="not what was expected"):
        balancer.read("\n".join(harm(text(*TWO).splitlines())), "lb1")


def test_after_a_drain_the_current_process_must_have_it_old_ones_take_nothing_new_anyway() -> None:
    rotations = {"lb1": reading(*TWO)}
    balancer.check_drained(rotations, "gpu1")
    balancer.check_undrained(rotations, "gpu2")
    balancer.check_undrained(rotations, "never heard of")
    with pytest.raises(BarewindError, match="lb1: HAProxy's process 12 has gpu2 in state ready, not drain"):
        balancer.check_drained(rotations, "gpu2")
    with pytest.raises(BarewindError, match="has gpu1 in state drain, not ready"):
        balancer.check_undrained(rotations, "gpu1")


# --- What to wait for -------------------------------------------------------------------------------------------------


def rotation(**servers: tuple[Admin, Health, int]) -> Rotation:
    made = {name: Server(name, admin, health, count, 0) for name, (admin, health, count) in servers.items()}
    return Rotation((Worker(12, True, made),))


READY, DRAIN = Admin.READY, Admin.DRAIN
ABSENT = Rotation(())


@pytest.mark.parametrize(
    ("rotations", "waited", "outcome", "left", "message"),
    [
        ([rotation(gpu1=(DRAIN, Health.UP, 0)), ABSENT], 0, "done", 0, "none"),
        ([rotation(), ABSENT], 0, "done", 0, "none"),
        ([rotation(gpu1=(DRAIN, Health.UP, 2)), rotation(gpu1=(DRAIN, Health.UP, 1))], 9, "waiting", 3, "2 on lb1, 1 on lb2"),
        ([rotation(gpu1=(DRAIN, Health.UP, 2)), ABSENT], 10, "gave up", 2, "2 on lb1, after 10 s"),
        ([rotation(gpu1=(DRAIN, Health.UP, 0)), ABSENT], 99, "done", 0, "none"),
        ([rotation(gpu1=(READY, Health.UP, 0)), ABSENT], 0, "waiting", 1, "still in rotation on lb1"),
    ],
)  # fmt: skip
def test_waiting_for_a_drain(rotations: list[Rotation], waited: float, outcome: str, left: int, message: str) -> None:
    wait = balancer.wait_drained(dict(zip(("lb1", "lb2"), rotations, strict=True)), "gpu1", waited=waited, limit=10)
    assert (wait.outcome, wait.left) == (outcome, left)
    assert message in wait.message


@pytest.mark.parametrize(
    ("health", "waited", "outcome", "message"),
    [
        (Health.UP, 0, "done", "gpu1: in rotation everywhere"),
        (Health.STARTING, 0, "done", "gpu1: in rotation everywhere"),
        (Health.UNCHECKED, 0, "waiting", "gpu1: NOT CHECKED YET on lb2"),
        (Health.DOWN, 5, "waiting", "gpu1: DOWN on lb2"),
        (Health.DOWN, 61, "gave up", "gpu1: DOWN on lb2, after 61 s"),
    ],
)
def test_waiting_for_a_return(health: Health, waited: float, outcome: str, message: str) -> None:
    now = {"lb1": rotation(gpu1=(READY, Health.UP, 4)), "lb2": rotation(gpu1=(READY, health, 0)), "lb3": rotation()}
    wait = balancer.wait_undrained(now, "gpu1", waited=waited, limit=60)
    assert (wait.outcome, wait.message) == (outcome, message)


def test_who_stands_by_is_back_when_it_is_healthy_though_it_gets_no_requests() -> None:
    for fields, outcome in (("2 0 15 3 0", "done"), ("0 0 8 2 0", "waiting"), ("2 8 15 3 0", "waiting")):
        now = {"lb1": reading(process(12, gpu1=(fields, 0)))}
        assert balancer.wait_undrained(now, "gpu1", waited=0, limit=9).outcome == outcome


def test_who_stands_by() -> None:
    first, second = (reading(process(12, gpu1=(UP, 0), gpu2=(f"{state} 0", 0))) for state in (UP, DOWN))
    other = reading(process(12, gpu2=(f"{UP} 5", 0)))
    assert [balancer.standby([first, second, ABSENT], name) for name in ("gpu1", "gpu2", "gpu3")] == [
        False,
        True,
        False,
    ]
    assert not balancer.standby([first, other], "gpu2")
    assert [balancer.available([rotation], "gpu2") for rotation in (first, second)] == [True, False]
    assert balancer.without_server({"lb1": first}, ["gpu1"]) == ["lb1"]


def test_waiting_for_the_first_checks() -> None:
    now = {"lb1": rotation(a=(READY, Health.UNCHECKED, 0), b=(READY, Health.UP, 0)), "lb2": ABSENT}
    assert balancer.wait_checked(now, waited=0, limit=20).left == 1
    assert balancer.wait_checked({"lb2": ABSENT}, waited=0, limit=20).outcome == "done"


def test_who_serves() -> None:
    sees, blind = rotation(a=(READY, Health.UP, 0), b=(DRAIN, Health.UP, 2)), rotation(a=(READY, Health.DOWN, 0))
    assert balancer.serving([blind, sees], "a")  # one balancer that has lost sight of it is no proof
    assert not balancer.serving([blind, ABSENT], "a")
    assert not balancer.serving([sees], "b")
    assert [balancer.drained_on({"lb1": blind, "lb2": sees}, name) for name in "abc"] == [[], ["lb2"], []]
    assert [balancer.known([blind, ABSENT], name) for name in "ab"] == [True, False]


def test_which_balancers_a_leave_would_empty() -> None:
    now = {
        "lb1": rotation(a=(READY, Health.UP, 0), b=(READY, Health.UP, 0)),
        "lb2": rotation(a=(READY, Health.UP, 0), b=(READY, Health.DOWN, 0)),
        "lb3": rotation(a=(DRAIN, Health.UP, 0)),
        "lb4": ABSENT,
    }
    assert balancer.without_server(now, ["a"]) == ["lb2"]
    assert balancer.without_server(now, ["b"]) == []
    assert balancer.without_server(now, ["a", "b"]) == ["lb1", "lb2"]


# --- What the commands do in a shell ----------------------------------------------------------------------------------

FAKE_HAPROXY = """
read -r command
echo "$command" >> asked
case $command in
'show proc') [ -e stuck ] && exit 1; cat procs; [ -e procs.next ] && mv procs.next procs; exit 0 ;;
@!*' set server '*) echo "$command" | tr ';' '\\n' | sed 's/.*//' ;;
@!*' show stat '*) cat stat ;;
@!*' show servers conn '*) cat conn ;;
@!*' show servers state '*) cat state ;;
esac
"""
PROCS = """\
#<PID>          <type>          <reloads>       <uptime>        <version>
4               master          1 [failed: 0]   0d00h00m01s     2.6.12
# workers
{}# old workers
{}# programs

"""


@pytest.fixture
def haproxy(programs: Programs, tmp_path: Path) -> Path:
    """A HAProxy of two processes that drained gpu1, in a host's shell."""
    programs(systemctl="echo active", socat=FAKE_HAPROXY, sleep="")
    (tmp_path / "procs").write_text(PROCS.format("12  worker  0  0d  2.6.12\n", "10  worker  1  0d  2.6.12\n"))
    for name, lines in (("stat", stat(gpu1=2)), ("conn", conn(gpu1=2)), ("state", state(gpu1=DRAINED))):
        (tmp_path / name).write_text("\n".join([*lines, ""]))
    return tmp_path


def test_a_drain_is_told_to_every_process_before_it_is_asked_for_its_requests(shell: Shell, haproxy: Path) -> None:
    done = shell(balancer.drain("gpu1", "gpu2"))

    assert balancer.in_flight(balancer.read(done.stdout, "lb1"), "gpu1") == 4
    assert (haproxy / "asked").read_text().splitlines() == [
        "show proc",
        *(
            f"@!{pid} {command}"
            for pid in (12, 10)
            for command in (
                f"set server engines/gpu1 state drain; @!{pid} set server engines/gpu2 state drain",
                "show stat engines 4 -1",
                "show servers conn engines",
                "show servers state engines",
            )
        ),
        "show proc",
    ]


def test_a_look_changes_nothing_and_a_return_says_ready(shell: Shell, haproxy: Path) -> None:
    assert balancer.read(shell(balancer.show_servers()).stdout, "lb1").servers["gpu1"].sessions == 4
    assert "set server" not in (haproxy / "asked").read_text()
    shell(balancer.undrain("gpu1"))
    assert "@!10 set server engines/gpu1 state ready" in (haproxy / "asked").read_text()


def test_a_drain_prints_the_servers_that_it_names_and_a_look_prints_all(shell: Shell, haproxy: Path) -> None:
    kinds = {"gpu1": DRAINED, "gpu10": UP, "gpu2": DRAINED, "h1": UP}
    for name, lines in (
        ("stat", stat(**dict.fromkeys(kinds, 2))),
        ("conn", conn(**dict.fromkeys(kinds, 2))),
        ("state", state(**kinds)),
    ):
        (haproxy / name).write_text("\n".join([*lines, ""]))
    assert balancer.read(shell(balancer.show_servers()).stdout, "lb1").servers.keys() == kinds.keys()
    named = balancer.read(shell(balancer.drain("gpu1", "gpu2", "unknown")).stdout, "lb1")
    assert {name: server.sessions for name, server in named.servers.items()} == {"gpu1": 4, "gpu2": 4}


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        (f"{UP}", False),
        ("1 0 15 3", False),  # its share grows
        ("2 0 7 0", False),  # another check runs
        (DOWN, True),
        (DRAINED, True),
        ("3 0 15 4", True),
        ("2 1 15 3", True),
        (UNCHECKED, True),
        (f"{UP} 0", True),
        (f"{UP} 25", True),
    ],
)
def test_a_second_look_prints_states_only_where_one_has_changed(
    shell: Shell, haproxy: Path, now: str, changed: bool
) -> None:
    def serve(kind: str, requests: int) -> None:
        for name, lines in (
            ("stat", stat(gpu1=0, gpu2=requests)),
            ("conn", conn(gpu1=0, gpu2=requests)),
            ("state", state(gpu1=DRAINED, gpu2=kind)),
        ):
            (haproxy / name).write_text("\n".join([*lines, ""]))

    serve(UP, 2)
    first = balancer.read(shell(balancer.show_servers()).stdout, "lb1")
    serve(now, 5)
    printed = shell(balancer.show_servers(first.fingerprint)).stdout
    again = balancer.read(printed, "lb1", first)
    assert (again is not first) == changed
    assert ("gpu2" in printed) == changed
    assert not changed or again == reading(
        *(process(pid, age, gpu1=(DRAINED, 0), gpu2=(now, 5)) for pid, age in ((12, "current"), (10, "old")))
    )


def test_a_second_look_notices_a_server_a_process_or_a_line_more_or_less(shell: Shell, haproxy: Path) -> None:
    first = balancer.read(shell(balancer.show_servers()).stdout, "lb1")
    again = balancer.show_servers(first.fingerprint)
    assert balancer.read(shell(again).stdout, "lb1", first) is first
    whole = (haproxy / "state").read_text()
    (haproxy / "state").write_text("\n".join(whole.splitlines()[:-1]) + "\n")
    with pytest.raises(BarewindError, match="not what was expected"):
        balancer.read(shell(again).stdout, "lb1", first)
    (haproxy / "state").write_text(whole)
    (haproxy / "procs").write_text(PROCS.format("14  worker  0  0d  2.6.12\n", ""))
    assert [worker.pid for worker in balancer.read(shell(again).stdout, "lb1", first).workers] == [14]
    with pytest.raises(BarewindError, match="not what was expected"):
        balancer.read("@@balancer:unchanged\n@@balancer:end\n", "lb1")


def test_many_servers_are_told_over_few_connections_each_of_them_once(shell: Shell, haproxy: Path) -> None:
    names = [f"gpu{number}" for number in range(1, 301)]
    balancer.read(shell(balancer.drain(*names)).stdout, "lb1")
    told = [line for line in (haproxy / "asked").read_text().splitlines() if "set server" in line]
    assert max(map(len, told)) <= 8000  # HAProxy's master takes some 16000
    assert len(told) == 2 * 2
    orders = [order.strip() for line in told for order in line.split(";")]
    assert orders == [f"@!{pid} set server engines/{name} state drain" for pid in (12, 10) for name in names]


def test_an_order_that_is_not_answered_is_noticed(shell: Shell, programs: Programs, haproxy: Path) -> None:
    programs(socat=FAKE_HAPROXY.replace("tr ';'", "tr '.'"))  # answers the first of a line alone
    with pytest.raises(BarewindError, match=r"not what was expected.*cut off"):
        balancer.read(shell(balancer.drain("gpu1", "gpu2")).stdout, "lb1")


@pytest.mark.parametrize(("count", "length", "parts"), [(0, 4, 1), (1, 4, 1), (1000, 40, 1), (1000, 200, 3)])
def test_as_many_servers_as_one_command_can_name(count: int, length: int, parts: int) -> None:
    names = [f"{number:0{length}d}" for number in range(count)]
    divided = balancer.divided(names)
    assert [name for part in divided for name in part] == names
    assert len(divided) == parts
    assert all(len(balancer.drain(*part)) < 128 * 1024 - 20_000 for part in divided)


def test_a_reload_meanwhile_starts_it_anew(shell: Shell, haproxy: Path) -> None:
    (haproxy / "procs.next").write_text(PROCS.format("14  worker  0  0d  2.6.12\n", "12  worker  1  0d  2.6.12\n"))
    rotation = balancer.read(shell(balancer.drain("gpu1")).stdout, "lb1")
    assert [(worker.pid, worker.current) for worker in rotation.workers] == [(14, True), (12, False)]
    assert "@!14 set server engines/gpu1 state drain" in (haproxy / "asked").read_text()


def test_a_process_that_is_cut_off_is_noticed(shell: Shell, haproxy: Path) -> None:
    for file in ("stat", "conn", "state"):
        whole = (haproxy / file).read_text()
        for part in ("", "\n".join(whole.splitlines()[:-1]) + "\n", whole.splitlines()[0] + "\n"):
            (haproxy / file).write_text(part)
            with pytest.raises(BarewindError, match="not what was expected"):
                balancer.read(shell(balancer.show_servers()).stdout, "lb1")
        (haproxy / file).write_text(whole)


def test_a_haproxy_that_runs_and_does_not_answer_is_an_error(shell: Shell, haproxy: Path) -> None:
    (haproxy / "stuck").touch()
    done = shell(balancer.show_servers())
    assert done.returncode == 1
    assert "HAProxy runs, but /run/haproxy-master.sock does not tell its processes" in done.stderr


def test_weights_are_told_to_every_process_and_looked_at(shell: Shell, haproxy: Path) -> None:
    wanted = {"gpu1": 25, "gpu2": 0}
    output = shell(balancer.weigh(wanted)).stdout
    for pid in (12, 10):
        told = f"@!{pid} set server engines/gpu1 weight 25; @!{pid} set server engines/gpu2 weight 0"
        assert told in (haproxy / "asked").read_text().splitlines()
    with pytest.raises(BarewindError, match="lb1: HAProxy's process 12 has gpu1 at weight 100, not 25"):
        balancer.read_weighed(output, "lb1", wanted)
    (haproxy / "state").write_text("\n".join([*state(gpu1=f"{UP} 25"), ""]))
    rotation = balancer.read_weighed(shell(balancer.weigh(wanted)).stdout, "lb1", wanted)
    assert rotation.servers["gpu1"].weight == 25


@pytest.mark.parametrize("weight", [-1, 257])
def test_what_is_no_weight_is_refused(weight: int) -> None:
    with pytest.raises(BarewindError, match=f"gpu1: {weight}: not a weight of HAProxy"):
        balancer.weigh({"gpu1": weight})


@pytest.mark.parametrize("state", ["inactive", "failed", "unknown"])
def test_no_haproxy(shell: Shell, programs: Programs, state: str) -> None:
    programs(systemctl=f"echo {state}; exit 3", socat="exit 1")
    assert balancer.read(shell(balancer.drain("gpu1")).stdout, "lb1") == Rotation(())


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a'b", "a\nb", "$(id)", "a\\", "größe"])
def test_what_is_no_servers_name_gets_to_no_shell(name: str) -> None:
    for command in (balancer.drain, balancer.undrain):
        with pytest.raises(BarewindError, match="rename the host"):
            command("gpu1", name)


def test_a_drain_that_cannot_be_written_down_is_an_error(shell: Shell, haproxy: Path) -> None:
    program = haproxy / "haproxy-state"
    program.write_text("#!/bin/sh\necho 'No space left on device' >&2; exit 1\n")
    program.chmod(0o755)
    done = shell(balancer.drain("gpu1").replace(STATE_PROGRAM, str(program)))
    assert done.returncode == 1
    assert "No space left" in done.stderr


def test_a_thousand_servers_are_summed_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    summed: list[str] = []
    requests = Rotation._requests

    def count(self: Rotation, server: str) -> tuple[int, int]:
        summed.append(server)
        return requests(self, server)

    monkeypatch.setattr(Rotation, "_requests", count)
    names = [f"gpu{number}" for number in range(1000)]
    rotation = balancer.read(text(process(12, "current", **dict.fromkeys(names, (UP, 1)))), "lb1")
    assert all(balancer.serving([rotation], name) for name in names)
    assert len(summed) == 1000
