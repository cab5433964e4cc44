"""HAProxy's answers as its runtime API gives them, in the form of 2.6."""

from __future__ import annotations

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
# How a server is: op_state, admin_state, check status and result.
UP, DOWN, DRAINED, UNCHECKED = "2 0 15 3", "0 0 8 2", "2 8 15 3", "2 0 1 0"


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
    """What a balancer answers for all of its processes."""
    return "\n".join([line for process in processes for line in process] + ["@@balancer:end", ""])
