"""HAProxy's runtime API: what the commands do in a shell, what the answers mean (in the form of 2.4, 2.6 and 2.8)."""

from __future__ import annotations

from pathlib import Path

import pytest

from barewind import balancer
from barewind.balancer import Admin, Health, Rotation, Server, Worker
from barewind.errors import BarewindError
from tests.unit.conftest import Programs, Shell

STAT = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status"
CONN = (
    "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb safe_nb idle_lim idle_cur "
    "idle_per_thr[2]"
)
STATE = (
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change "
    "srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id "
    "srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port"
)
UP, DOWN, DRAINED, UNCHECKED = (
    "2 0 15 3",
    "0 0 8 2",
    "2 8 15 3",
    "2 0 1 0",
)  # op_state, admin_state, check status and result


def stat(**servers: int) -> list[str]:
    """`show stat`: sessions by server."""
    rows = [f"engines,{name},0,0,{count},9,,9,0,0,,0,,0,0,0,0,UP" for name, count in servers.items()]
    return [STAT, *rows, ""]


def conn(**servers: int) -> list[str]:
    """`show servers conn`: connections in use by server."""
    rows = [f"engines/{name} 3/1 192.0.2.11 8000 - 5000 {count} 9 9 0 0 -1 0 0 0" for name, count in servers.items()]
    return [CONN, *rows, ""]


def state(**servers: str) -> list[str]:
    """`show servers state`: the four fields of a kind by server, and a weight if it is not 100."""
    rows = []
    for name, fields in servers.items():
        operation, admin, check, result, *weight = fields.split()
        rows.append(
            f"3 engines 1 {name} 192.0.2.11 {operation} {admin} {(*weight, 100)[0]} 100 7 {check} {result} 4 6 0 0 0 - 8000 "
            "- 0 0 - - 0"
        )
    return ["1", STATE, *rows, ""]


def process(pid: int, age: str = "current", **servers: tuple[str, int]) -> list[str]:
    """All that one process says of its servers: kind and requests."""
    requests = {name: count for name, (_, count) in servers.items()}
    states = {name: kind for name, (kind, _) in servers.items()}
    return [f"@@balancer:worker {pid} {age}", *stat(**requests), *conn(**requests), *state(**states)]


def text(*processes: list[str]) -> str:
    return "\n".join([line for one in processes for line in one] + ["@@balancer:end", ""])


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
    found = reading(process(12, gpu1=(fields, 0))).servers["gpu1"]
    assert (found.admin, found.health, found.in_rotation, found.state) == (admin, health, in_rotation, shown)


def test_requests_are_summed_over_every_process() -> None:
    found = reading(*TWO)
    assert {name: (one.state, one.sessions) for name, one in found.servers.items()} == {
        "gpu1": ("DRAIN", 3),
        "gpu2": ("UP", 3),
    }
    assert [balancer.in_flight(found, name) for name in ("gpu1", "gpu2", "gpu3")] == [3, 3, 0]


def test_a_server_that_only_an_old_process_has_still_has_its_requests() -> None:
    found = reading(process(12, gpu2=(UP, 0)), process(10, "old", gpu1=(UP, 4)))
    assert balancer.in_flight(found, "gpu1") == 4
    assert not balancer.known([found], "gpu1")


def test_an_old_process_of_haproxy_2_4_tells_connections_only() -> None:
    old = ["@@balancer:worker 10 old", *stat(), *conn(gpu1=3), *state(gpu1=UP)]
    found = reading(process(12, gpu1=(DRAINED, 0)), old)
    assert balancer.in_flight(found, "gpu1") == 3


def test_queued_requests_count() -> None:
    lines = process(12, gpu1=(UP, 2))
    lines[2] = lines[2].replace("gpu1,0,", "gpu1,5,")
    assert balancer.in_flight(reading(lines), "gpu1") == 7


def test_haproxy_that_does_not_run_is_a_state_of_its_own() -> None:
    found = balancer.read("Welcome!\n@@balancer:absent\n@@balancer:end\n", "lb1")
    assert not found.running
    assert not found.servers
    assert balancer.drained({"lb1": found}, "gpu1", waited=0, limit=1).outcome == "done"


def test_haproxy_of_another_configuration_knows_no_server() -> None:
    found = reading(NOWHERE)
    assert found.running
    assert not found.servers


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
    assert balancer.read_drained(text(*TWO), "lb1", "gpu1").running
    assert balancer.read_ready(text(*TWO), "lb1", "gpu2", "never heard of").running
    with pytest.raises(BarewindError, match="lb1: HAProxy's process 12 has gpu2 in state ready, not drain"):
        balancer.read_drained(text(*TWO), "lb1", "gpu1", "gpu2")
    with pytest.raises(BarewindError, match="has gpu1 in state drain, not ready"):
        balancer.read_ready(text(*TWO), "lb1", "gpu1")


# --- What to wait for -------------------------------------------------------------------------------------------------


def rotation(**servers: tuple[Admin, Health, int]) -> Rotation:
    made = {name: Server(name, admin, health, count, 0) for name, (admin, health, count) in servers.items()}
    return Rotation((Worker(12, True, made),))


READY, DRAIN = Admin.READY, Admin.DRAIN
ABSENT = Rotation(())


@pytest.mark.parametrize(
    ("rotations", "waited", "outcome", "left", "said"),
    [
        ([rotation(gpu1=(DRAIN, Health.UP, 0)), ABSENT], 0, "done", 0, "none"),
        ([rotation(), ABSENT], 0, "done", 0, "none"),
        ([rotation(gpu1=(DRAIN, Health.UP, 2)), rotation(gpu1=(DRAIN, Health.UP, 1))], 9, "waiting", 3, "2 on lb1, 1 on lb2"),
        ([rotation(gpu1=(DRAIN, Health.UP, 2)), ABSENT], 10, "gave up", 2, "2 on lb1, after 10 s"),
        ([rotation(gpu1=(DRAIN, Health.UP, 0)), ABSENT], 99, "done", 0, "none"),
        ([rotation(gpu1=(READY, Health.UP, 0)), ABSENT], 0, "waiting", 1, "still in rotation on lb1"),
    ],
)  # fmt: skip
def test_waiting_for_a_drain(rotations: list[Rotation], waited: float, outcome: str, left: int, said: str) -> None:
    wait = balancer.drained(dict(zip(("lb1", "lb2"), rotations, strict=True)), "gpu1", waited=waited, limit=10)
    assert (wait.outcome, wait.left) == (outcome, left)
    assert said in wait.said


@pytest.mark.parametrize(
    ("health", "waited", "outcome", "said"),
    [
        (Health.UP, 0, "done", "gpu1: in rotation everywhere"),
        (Health.STARTING, 0, "done", "gpu1: in rotation everywhere"),
        (Health.UNCHECKED, 0, "waiting", "gpu1: NOT CHECKED YET on lb2"),
        (Health.DOWN, 5, "waiting", "gpu1: DOWN on lb2"),
        (Health.DOWN, 61, "gave up", "gpu1: DOWN on lb2, after 61 s"),
    ],
)
def test_waiting_for_a_return(health: Health, waited: float, outcome: str, said: str) -> None:
    now = {"lb1": rotation(gpu1=(READY, Health.UP, 4)), "lb2": rotation(gpu1=(READY, health, 0)), "lb3": rotation()}
    wait = balancer.returned(now, "gpu1", waited=waited, limit=60)
    assert (wait.outcome, wait.said) == (outcome, said)


def test_who_stands_by_is_back_when_it_is_healthy_though_it_gets_no_requests() -> None:
    for fields, outcome in (("2 0 15 3 0", "done"), ("0 0 8 2 0", "waiting"), ("2 8 15 3 0", "waiting")):
        now = {"lb1": reading(process(12, gpu1=(fields, 0)))}
        assert balancer.returned(now, "gpu1", waited=0, limit=9).outcome == outcome


def test_who_stands_by() -> None:
    one, two = (reading(process(12, gpu1=(UP, 0), gpu2=(f"{state} 0", 0))) for state in (UP, DOWN))
    other = reading(process(12, gpu2=(f"{UP} 5", 0)))
    assert [balancer.standby([one, two, ABSENT], name) for name in ("gpu1", "gpu2", "gpu3")] == [False, True, False]
    assert not balancer.standby([one, other], "gpu2")
    assert [balancer.available([found], "gpu2") for found in (one, two)] == [True, False]
    assert balancer.emptied({"lb1": one}, ["gpu1"]) == ["lb1"]


def test_waiting_for_the_first_checks() -> None:
    now = {"lb1": rotation(a=(READY, Health.UNCHECKED, 0), b=(READY, Health.UP, 0)), "lb2": ABSENT}
    assert balancer.settled(now, waited=0, limit=20).left == 1
    assert balancer.settled({"lb2": ABSENT}, waited=0, limit=20).outcome == "done"


def test_who_serves() -> None:
    sees, blind = rotation(a=(READY, Health.UP, 0), b=(DRAIN, Health.UP, 2)), rotation(a=(READY, Health.DOWN, 0))
    assert balancer.serving([blind, sees], "a")  # one balancer that has lost sight of it is no proof
    assert not balancer.serving([blind, ABSENT], "a")
    assert not balancer.serving([sees], "b")
    assert [balancer.kept_out([blind, sees], name) for name in "abc"] == [False, True, False]
    assert [balancer.known([blind, ABSENT], name) for name in "ab"] == [True, False]


def test_which_balancers_a_leave_would_empty() -> None:
    now = {
        "lb1": rotation(a=(READY, Health.UP, 0), b=(READY, Health.UP, 0)),
        "lb2": rotation(a=(READY, Health.UP, 0), b=(READY, Health.DOWN, 0)),
        "lb3": rotation(a=(DRAIN, Health.UP, 0)),
        "lb4": ABSENT,
    }
    assert balancer.emptied(now, ["a"]) == ["lb2"]
    assert balancer.emptied(now, ["b"]) == []
    assert balancer.emptied(now, ["a", "b"]) == ["lb1", "lb2"]


# --- What the commands do in a shell ----------------------------------------------------------------------------------

FAKE_HAPROXY = """
read -r command
echo "$command" >> asked
case $command in
'show proc') [ -e stuck ] && exit 1; cat procs; [ -e procs.next ] && mv procs.next procs; exit 0 ;;
@!*' set server '*) echo ;;
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

    assert balancer.in_flight(balancer.read_drained(done.stdout, "lb1", "gpu1"), "gpu1") == 4
    assert (haproxy / "asked").read_text().splitlines() == [
        "show proc",
        *(
            f"@!{pid} {command}"
            for pid in (12, 10)
            for command in (
                "set server engines/gpu1 state drain",
                "set server engines/gpu2 state drain",
                "show stat engines 4 -1",
                "show servers conn engines",
                "show servers state engines",
            )
        ),
        "show proc",
    ]


def test_a_look_changes_nothing_and_a_return_says_ready(shell: Shell, haproxy: Path) -> None:
    assert balancer.read(shell(balancer.rotation()).stdout, "lb1").servers["gpu1"].sessions == 4
    assert "set server" not in (haproxy / "asked").read_text()
    shell(balancer.ready("gpu1"))
    assert "@!10 set server engines/gpu1 state ready" in (haproxy / "asked").read_text()


def test_a_reload_meanwhile_starts_it_anew(shell: Shell, haproxy: Path) -> None:
    (haproxy / "procs.next").write_text(PROCS.format("14  worker  0  0d  2.6.12\n", "12  worker  1  0d  2.6.12\n"))
    found = balancer.read(shell(balancer.drain("gpu1")).stdout, "lb1")
    assert [(one.pid, one.current) for one in found.workers] == [(14, True), (12, False)]
    assert "@!14 set server engines/gpu1 state drain" in (haproxy / "asked").read_text()


def test_a_process_that_is_cut_off_is_noticed(shell: Shell, haproxy: Path) -> None:
    for file in ("stat", "conn", "state"):
        whole = (haproxy / file).read_text()
        for part in ("", "\n".join(whole.splitlines()[:-1]) + "\n", whole.splitlines()[0] + "\n"):
            (haproxy / file).write_text(part)
            with pytest.raises(BarewindError, match="not what was expected"):
                balancer.read(shell(balancer.rotation()).stdout, "lb1")
        (haproxy / file).write_text(whole)


def test_a_haproxy_that_runs_and_does_not_answer_is_an_error(shell: Shell, haproxy: Path) -> None:
    (haproxy / "stuck").touch()
    done = shell(balancer.rotation())
    assert done.returncode == 1
    assert "HAProxy runs, but /run/haproxy-master.sock does not tell its processes" in done.stderr


def test_weights_are_told_to_every_process_and_looked_at(shell: Shell, haproxy: Path) -> None:
    wanted = {"gpu1": 25, "gpu2": 0}
    output = shell(balancer.weigh(wanted)).stdout
    for pid in (12, 10):
        assert f"@!{pid} set server engines/gpu1 weight 25" in (haproxy / "asked").read_text().splitlines()
    with pytest.raises(BarewindError, match="lb1: HAProxy's process 12 has gpu1 at weight 100, not 25"):
        balancer.read_weighed(output, "lb1", wanted)
    (haproxy / "state").write_text("\n".join([*state(gpu1=f"{UP} 25"), ""]))
    found = balancer.read_weighed(shell(balancer.weigh(wanted)).stdout, "lb1", wanted)
    assert found.servers["gpu1"].weight == 25


@pytest.mark.parametrize("weight", [-1, 257])
def test_what_is_no_weight_is_refused(weight: int) -> None:
    with pytest.raises(BarewindError, match=f"gpu1: {weight}: no weight"):
        balancer.weigh({"gpu1": weight})


@pytest.mark.parametrize("said", ["inactive", "failed", "unknown"])
def test_no_haproxy(shell: Shell, programs: Programs, said: str) -> None:
    programs(systemctl=f"echo {said}; exit 3", socat="exit 1")
    assert balancer.read(shell(balancer.drain("gpu1")).stdout, "lb1") == Rotation(())


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a'b", "a\nb", "$(id)", "a\\", "größe"])
def test_what_is_no_servers_name_gets_to_no_shell(name: str) -> None:
    for command in (balancer.drain, balancer.ready):
        with pytest.raises(BarewindError, match="rename the host"):
            command("gpu1", name)


def test_a_drain_that_cannot_be_written_down_is_an_error(shell: Shell, haproxy: Path) -> None:
    program = haproxy / "haproxy-state"
    program.write_text("#!/bin/sh\necho 'No space left on device' >&2; exit 1\n")
    program.chmod(0o755)
    done = shell(balancer.drain("gpu1").replace(balancer.STATE_PROGRAM, str(program)))
    assert done.returncode == 1
    assert "No space left" in done.stderr
