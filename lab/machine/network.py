"""Takes back what a Docker Engine changes of the machine's network, after the lab has started and stopped it.

When Docker stops, it leaves behind its chains, the rules that jump to them, its bridge docker0, packet forwarding, and
the policy DROP that it gave FORWARD when it switched forwarding on. Docker's rules are recognised by their form
(`_RULES`); all other rules stay, and so does what was there before.
"""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import paths, proc, state, topology

FAMILIES = {"iptables": "ip", "ip6tables": "ip6"}  # program -> nft's name of the family

# Settings that Docker changes -> program of the family in which it then sets the policy of FORWARD.
FORWARDING = {
    "/proc/sys/net/ipv4/ip_forward": "iptables",
    "/proc/sys/net/ipv6/conf/all/forwarding": "ip6tables",
    "/proc/sys/net/ipv6/conf/default/forwarding": "ip6tables",
}
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_CHAIN = r"DOCKER(?:-[A-Z0-9-]+)?"
_BRIDGE = r"(?:docker0|br-[0-9a-f]{12})"
# Rules outside of its own chains, as iptables-save writes them: recorded from docker.io 20.10; those of Docker 28 are in
# its repository, moby/moby: integration/network/bridge/iptablesdoc/generated.
_SET = r"-m set --match-set docker-ext-bridges-v[46] dst"
_MASQUERADE = rf"-A POSTROUTING -s (?P<network>\S+) ! -o {_BRIDGE} -j MASQUERADE"
_RULES = (
    rf"-A \S+ (?:.* )?-j {_CHAIN}",
    rf"-A FORWARD (?:-o {_BRIDGE}|{_SET}) -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    rf"-A FORWARD -i (?P<bridge>{_BRIDGE}) (?:! )?-o (?P=bridge) -j (?:ACCEPT|DROP)",
    rf"-A PREROUTING -d \S+ ! -i {_BRIDGE} -j DROP",
    _MASQUERADE,
)
# For a container that connects to its own published port; names no bridge.
_HAIRPIN = r"-A POSTROUTING -s (?P<address>[\da-f.:]+)/\d+ -d (?P=address)/\d+ -p (\w+) -m \2 --dport \d+ -j MASQUERADE"
_OWN_CHAIN = re.compile(_CHAIN)
_FOR_USERS = "DOCKER-USER"  # where administrators put rules of theirs; Docker's own only returns


@dataclass(frozen=True)
class Network:
    """The part of the network that Docker may change. `rules`: what iptables-save writes, by program; `settings`: by path."""

    rules: dict[str, str]
    settings: dict[str, str]
    bridges: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table of the packet filter. `policies`: by built-in chain; `chains`: the others; `rules`: `-A CHAIN ...`, in order."""

    policies: dict[str, str]
    chains: tuple[str, ...]
    rules: tuple[str, ...]


def record() -> None:
    """Record the network as it is, before a Docker Engine is started; nothing happens if there is a record of this boot.

    So the first record counts after a crash, which leaves the engine's changes behind. Of an earlier boot nothing is left.
    """
    boot = BOOT_ID.read_text().strip()
    if _read_record(boot) is None:
        state.write_text(_path(), json.dumps({"boot": boot, **asdict(read())}))


def restore() -> None:
    """Take back what Docker changed since `record`; only to be called when no Docker Engine runs."""
    before = _read_record(BOOT_ID.read_text().strip())
    if before is None:
        return
    now = read()
    settings = changed_settings(before, now)
    forwarded = {FORWARDING[path] for path in settings}
    for program, family in FAMILIES.items():
        old, new = before.rules.get(program, ""), now.rules.get(program, "")
        if commands := undo(old, new, forwarded=program in forwarded):
            proc.run([f"{program}-restore", "--noflush"], text=commands)
        for table in empty_tables(old, new, _read_rules(program)) if shutil.which("nft") else ():
            proc.run(["nft", "delete", "table", family, table])
    for bridge in added_bridges(before, now):
        proc.run(["ip", "link", "delete", bridge])
    for path, value in settings.items():  # last: were this interrupted, they would still say that Docker forwarded
        Path(path).write_text(f"{value}\n")
    _path().unlink()


def read() -> Network:
    """The network as it is now."""
    rules = {program: _read_rules(program) for program in FAMILIES}
    settings = {path: Path(path).read_text().strip() for path in FORWARDING if Path(path).exists()}
    links = json.loads(proc.run(["ip", "-json", "link", "show", "type", "bridge"]).stdout or "[]")
    return Network(rules, settings, tuple(sorted(link["ifname"] for link in links if "ifname" in link)))


def undo(before: str, now: str, *, forwarded: bool) -> str:
    """Input of `iptables-restore --noflush` that takes Docker's part out of the rules; empty where there is none.

    + before, now: what iptables-save wrote
    + forwarded: Docker switched forwarding on, and so set the policy of FORWARD
    """
    old, new = tables(before), tables(now)
    sections = [
        f"*{name}\n{lines}COMMIT\n"
        for name, table in new.items()
        if (lines := "".join(f"{line}\n" for line in _undo(name, old.get(name), table, forwarded)))
    ]
    return "".join(sections)


def tables(saved: str) -> dict[str, Table]:
    """Tables by name, as read from iptables-save."""
    by_name: dict[str, Table] = {}
    for section in re.findall(r"^\*(.*?)^COMMIT$", saved, re.MULTILINE | re.DOTALL):
        name, *lines = section.splitlines()
        declared = [line[1:].split()[:2] for line in lines if line.startswith(":")]
        by_name[name] = Table(
            {chain: policy for chain, policy in declared if policy != "-"},
            tuple(chain for chain, policy in declared if policy == "-"),
            tuple(line for line in lines if line.startswith("-A ")),
        )
    return by_name


def changed_settings(before: Network, now: Network) -> dict[str, str]:
    """Settings that have changed: path -> earlier value."""
    return {path: value for path, value in before.settings.items() if now.settings.get(path, value) != value}


def added_bridges(before: Network, now: Network) -> list[str]:
    """Docker's bridges that were not there before."""
    return [name for name in now.bridges if re.fullmatch(_BRIDGE, name) and name not in before.bridges]


def empty_tables(before: str, docker: str, after: str) -> list[str]:
    """Tables that Docker made and that are empty now; none where the backend is not nftables, which alone can delete them.

    + before, docker, after: what iptables-save wrote before Docker, while its rules were there, and after
    """
    if "(nf_tables)" not in docker:
        return []
    earlier, made = tables(before), tables(docker)
    return [name for name, table in tables(after).items() if name in made and name not in earlier and _is_empty(table)]


def _undo(name: str, before: Table | None, now: Table, forwarded: bool) -> Iterator[str]:
    kept = before or Table({}, (), ())
    dockers = [chain for chain in now.chains if _OWN_CHAIN.fullmatch(chain)]
    if any(rule.startswith(f"-A {_FOR_USERS} ") and rule != f"-A {_FOR_USERS} -j RETURN" for rule in now.rules):
        dockers.remove(_FOR_USERS)
    gone = [chain for chain in dockers if chain not in kept.chains]
    if name == "filter" and forwarded and now.policies.get("FORWARD") == "DROP":
        policy = kept.policies.get("FORWARD", "ACCEPT")
        if policy != "DROP":
            yield f":FORWARD {policy} [0:0]"
    networks = _networks(now)
    for rule in now.rules:
        chain, target = rule.split()[1], rule.rpartition(" -j ")[2]
        if rule in kept.rules or chain in gone or (target == _FOR_USERS and _FOR_USERS not in dockers):
            continue
        if chain in dockers or _is_dockers(rule, networks):
            yield rule.replace("-A ", "-D ", 1)
    yield from (f"-F {chain}" for chain in gone)
    yield from (f"-X {chain}" for chain in gone)


def _is_dockers(rule: str, networks: list[str]) -> bool:
    if any(re.fullmatch(form, rule) for form in _RULES):
        return True
    hairpin = re.fullmatch(_HAIRPIN, rule)
    if hairpin is None:
        return False
    address = ipaddress.ip_address(hairpin["address"])
    return any(address in ipaddress.ip_network(network) for network in networks)


def _networks(table: Table) -> list[str]:
    """Docker's networks: those that it masquerades, and the lab's, which is gone by now."""
    masquerades = (re.fullmatch(_MASQUERADE, rule) for rule in table.rules)
    return [topology.SUBNET, *(match["network"] for match in masquerades if match)]


def _is_empty(table: Table) -> bool:
    return not table.chains and not table.rules and set(table.policies.values()) <= {"ACCEPT"}


def _read_rules(program: str) -> str:
    """What iptables-save writes; nothing where the program or the kernel's packet filter is missing."""
    if not shutil.which(f"{program}-save"):
        return ""
    result = proc.run([f"{program}-save"], check=False)
    return result.stdout if result.returncode == 0 else ""


def _path() -> Path:
    return paths.state() / "network.json"


def _read_record(boot: str) -> Network | None:
    """The record of this boot, or None."""
    try:
        values = json.loads(_path().read_text())
        if values["boot"] != boot:
            return None
        return Network(values["rules"], values["settings"], tuple(values["bridges"]))
    except (OSError, ValueError, KeyError):
        return None
