"""What is wrong on a host, judged by the output of commands that change nothing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from testinfra.host import Host

from barewind.gate import plan as gates
from barewind.hosts.file import HostFile
from barewind.hosts.paths import PROGRAMS, SETTINGS
from barewind.plan.engine import EnginePlan
from barewind.plan.names import CONTAINER, RELEASES
from barewind.verify.secrets import Secret

DEPLOY = "deploy again: pyinfra INVENTORY deploy.py"

# Where a secret would turn up if a step leaked it: process lists, container settings, units, logs, Barewind's own files.
_PLACES = {
    "the process list": "ps -ewwo args",
    "docker inspect": f"docker inspect $(docker container ls -aq --filter name={CONTAINER})",
    "systemd units": "cat /etc/systemd/system/*.service",
    "the journal": "journalctl -o cat --no-pager -n 20000",
}
# What engines get by file, one for each release that the host may be rolled back to.
_RELEASES_SECRETS = f"{RELEASES}/*.secrets"
_OPEN = (
    f"for f in {_RELEASES_SECRETS}; do "
    """[ ! -e "$f" ] || [ "$(stat -c '%a %U %G' "$f")" = '600 root root' ] || echo "$f"; done"""
)
_OURS = f"find {SETTINGS} {PROGRAMS} /tmp /var/tmp -xdev -type f -size -1024k"


@dataclass(frozen=True)
class Finding:
    """What was expected of a host, what is there instead, and what to do about it."""

    expectation: str
    actual: str
    remedy: str


def firewall(host: Host, file: HostFile, table: str) -> list[Finding]:
    """The file of a packet filter table and the rules that are in force: both must be what the plan renders, line for line."""
    loaded = host.run(f"nft list table inet {shlex.quote(table)}").stdout
    problems = written(host, file)
    if _rules(loaded) != _rules(file.content):
        difference = _difference(_rules(file.content), _rules(loaded)) if loaded else "no such table"
        problems.append(Finding(f"the rules of {file.path} in force (nft list table inet {table})", difference, DEPLOY))
    return problems


def written(host: Host, file: HostFile) -> list[Finding]:
    """A file of a host must hold what the plan says, for root to change."""
    content = host.run(f"cat {shlex.quote(file.path)}")
    mode = host.run(f"stat -c '%a %U %G' {shlex.quote(file.path)}").stdout.strip()
    if content.stdout != file.content:
        difference = _difference(file.content.splitlines(), content.stdout.splitlines()) or "other line ends"
        return [Finding(f"{file.path} as planned", difference if content.rc == 0 else "no such file", DEPLOY)]
    if mode != f"{file.mode} root root":
        return [Finding(f"{file.path} of mode {file.mode}, owner and group root", mode, DEPLOY)]
    return []


def listening(host: Host, plan: EnginePlan) -> list[int]:
    """The ports that processes of an engine's container listen on, but for those that only the host itself reaches."""
    container = host.run(f"docker inspect -f '{{{{.Id}}}}' {plan.names.container}").stdout.strip() or "none"
    members = {path.split("/")[2] for path in host.run(f"grep -ls {container} /proc/[0-9]*/cgroup").stdout.split()}
    ports = set()
    for line in host.run("ss -Hltnp").stdout.splitlines():
        address, _, port = line.split()[3].rpartition(":")
        own = members & set(re.findall(r"pid=(\d+)", line))
        if own and not address.strip("[]").removeprefix("::ffff:").startswith("127.") and address != "[::1]":
            ports.add(int(port))
    return sorted(ports)


def health(host: Host, plan: EnginePlan) -> list[Finding]:
    """The engine's own health path must answer 200."""
    url = plan.url + gates.of(plan).health
    code = host.run(f"curl -s -o /dev/null -w '%{{http_code}}' -m 60 {shlex.quote(url)}").stdout
    remedy = f"read the log: journalctl -u {plan.names.unit}"
    return [] if code == "200" else [Finding(f"{url} to answer 200", code or "no answer", remedy)]


def leaks(host: Host, secrets: Iterable[Secret], *, kept: Collection[str] = ()) -> list[Finding]:
    """Secrets of the inventory that can be read on a host; `kept` are files that hold one there, for root alone.

    A secret never goes into a command line: what the host prints is searched here.
    """
    problems = []
    for file in kept:
        mode = host.run(f"stat -c '%a %U %G' {shlex.quote(file)}").stdout.strip()
        if mode != "600 root root":
            problems.append(Finding(f"{file} 600 root root", mode or "no such file", DEPLOY))
    open_files = [line for line in host.run(_OPEN).stdout.splitlines() if line.startswith(f"{RELEASES}/")]
    problems += [Finding(f"{file} 600 root root", "another mode or owner", DEPLOY) for file in open_files]
    others = f" -not -path '{_RELEASES_SECRETS}'" + "".join(f" -not -path {shlex.quote(file)}" for file in kept)
    places = _PLACES | {"files of ours": f"{_OURS}{others} -exec cat {{}} +"}
    for place, command in places.items():
        output = host.run(command).stdout
        problems += [
            Finding(f"no {secret.name} in {place}", "it is there", f"find it with: {command}; then replace it")
            for secret in secrets
            if secret.is_in(output)
        ]
    return problems


def _rules(text: str) -> list[str]:
    """The lines inside a table, as `nft list` and our templates have them in common."""
    lines = [line.partition("#")[0].strip().replace('"', "") for line in text.splitlines()]
    # Later versions of nft list a match of flags as "syn / fin,syn,rst,ack".
    lines = [
        re.sub(r"tcp flags syn / (\S+)", lambda match: f"tcp flags & ({match[1].replace(',', ' | ')}) == syn", line)
        for line in lines
    ]
    return [
        re.sub(r"\b(ip saddr \S+)/32\b|\b(ip6 saddr \S+)/128\b", lambda match: match[1] or match[2], line)
        for line in lines
        if line and not line.startswith(("table ", "delete table ", "}"))
    ]


def _difference(planned: list[str], actual: list[str]) -> str:
    more = [f"too much: {line.strip()}" for line in actual if line not in planned]
    less = [f"lacking: {line.strip()}" for line in planned if line not in actual]
    return "; ".join(more + less) or ("the lines in another order" if planned != actual else "")
