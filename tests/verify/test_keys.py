"""Every balancer lets in whom the file of keys does, and nobody else."""

from __future__ import annotations

import shlex

import pytest

from barewind.errors import BarewindError
from barewind.keys import commands, file, plan, probe, usage
from barewind.keys.commands import Known
from barewind.keys.file import KeyFile
from barewind.verify.findings import written
from barewind.verify.hosts import Balancer, Expected

SYNC = "barewind keys sync INVENTORY"


@pytest.fixture(scope="session")
def content(expected: Expected) -> KeyFile:
    """The keys of the site."""
    problem = ""
    try:
        return file.read(expected.site.endpoint_keys)
    except BarewindError as error:
        problem = str(error)
    pytest.fail(problem, pytrace=False)


def known(balancer: Balancer) -> Known:
    """What a balancer knows of keys."""
    answer = balancer.host.run(commands.look())
    try:
        return commands.read(answer.stdout, balancer.spec.host)
    except BarewindError as error:
        problem = f"{error} ({answer.stderr.strip()})"
    pytest.fail(problem, pytrace=False)


def test_keys_are_those_of_the_file_in_every_process(balancer: Balancer, content: KeyFile) -> None:
    problems = list(known(balancer).problems(plan.map_text(content), plan.names(content)))
    balancer.expect(not problems, "the keys of the site's file", "; ".join(problems), SYNC)


def test_only_who_has_a_key_is_let_in(balancer: Balancer) -> None:
    url = shlex.quote(f"http://127.0.0.1:{balancer.spec.endpoint_port}/v1/models")
    look = f"curl -s -m 20 -o /dev/null -w '%{{http_code}}' {url}"
    asks = known(balancer).asks
    for title, command, status in (
        ("without a key", look, "401" if asks else "200"),
        ("with one that nobody has", f"{look} -H 'Authorization: Bearer nobody'", "401" if asks else "200"),
        ("with one of its own", probe.with_probe(f"{probe.HEADER} | {look} -H @-"), "200"),
    ):
        answer = balancer.host.run(command).stdout
        balancer.expect(answer == status, f"{status} {title}", answer, "read the log: journalctl -u haproxy.service")


def test_usage_is_summed(balancer: Balancer) -> None:
    for each in (usage.program(balancer.spec.usage_retention), *usage.units()):
        balancer.refuse(written(balancer.host, each))
    states = balancer.host.run(f"systemctl is-active {usage.TIMER}; systemctl is-enabled {usage.TIMER}").stdout.split()
    balancer.expect(states == ["active", "enabled"], f"{usage.TIMER} active and enabled", states, "deploy again")
    done = balancer.host.run(f"{usage.PROGRAM} count && stat -c '%a %U' {usage.SUMS}")
    balancer.expect(
        done.stdout.strip() == "600 root", f"{usage.SUMS} 600 root", done.stdout or done.stderr, "deploy again"
    )
