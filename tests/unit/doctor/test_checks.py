"""What the doctor says of a controller and of hosts, from what is known of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from barewind.doctor import checks
from barewind.doctor.commands import HostAnswer, read
from barewind.doctor.controller import Controller
from barewind.doctor.finding import Finding, State, lines
from tests.support.certificates import NAME, Authority
from tests.support.factories import balancer_spec

GIB = 2**30
BESIDE = "/srv/site/.venv/bin"
GOOD = Controller(
    python=(3, 12, 3),
    beside=BESIDE,
    programs={"barewind": f"{BESIDE}/barewind", "pyinfra": f"{BESIDE}/pyinfra"},
    installed=(("1.4.0", "/srv/site/.venv/lib/python3.12/site-packages"),),
    unfit=(),
    keys=1,
    clock_kept=True,
    free={"/srv/site": 80 * GIB, "/tmp": 8 * GIB},
    most_files=1_048_576,
)
ADDRESSES = {"gpu1": "10.0.0.1", "gpu2": "10.0.0.2"}


def found(machine: Controller, hosts: int = 2) -> list[Finding]:
    return list(checks.controller(machine, hosts, ADDRESSES))


def test_the_certificate_of_balancers_is_looked_at_once(tmp_path: Path) -> None:
    def told(files: tuple[str, str], name: str = NAME) -> list[tuple[State, str, str]]:
        keys = {"endpoint_tls": True, "endpoint_certificate": files[0], "endpoint_key": files[1]}
        balancers = {lb: balancer_spec(host=lb, endpoint_name=name, **keys) for lb in ("lb1", "lb2")}
        return [(each.state, each.found, each.remedy) for each in checks.certificates(balancers)]

    good, authority = Authority().issue(tmp_path), Authority("Another")
    assert list(checks.certificates({"lb1": balancer_spec()})) == []
    assert told(good) == [(State.OK, f"{good[0]} is good for {NAME}", "")]
    ((state, said, remedy),) = told(good, "other.example.com")
    assert (state, remedy) == (State.WRONG, "get one for it")
    assert said.endswith(f"is for {NAME}, and clients connect to other.example.com (endpoint_name)")
    ((state, said, remedy),) = told(authority.issue(tmp_path, begins=-80, expires=10, name="ending"))
    assert (state, remedy) == (State.LOOK, "renew it, and deploy")
    assert said.endswith("in 10 days")


def test_a_good_controller_has_nothing_to_mend() -> None:
    assert {each.state for each in found(GOOD)} == {State.OK}


@pytest.mark.parametrize(
    ("changes", "state", "subject", "told"),
    [
        ({"python": (3, 10, 12)}, State.WRONG, "Python", "3.10.12; use 3.11 or newer"),
        (
            {"installed": (("1.3.0", "/a"), ("1.4.0", "/b"))},
            State.WRONG,
            "Barewind",
            "2 are installed: 1.3.0 in /a, 1.4.0 in /b",
        ),
        (
            {"programs": GOOD.programs | {"pyinfra": "/usr/bin/pyinfra"}},
            State.LOOK,
            "pyinfra",
            f"finds /usr/bin/pyinfra, which is not of this Barewind; activate this one's environment (. {BESIDE}/activate)",
        ),
        (
            {"programs": {"barewind": None}},
            State.LOOK,
            "barewind",
            f"activate its environment, or call {BESIDE}",
        ),
        (
            {"unfit": ("pyinfra is 3.9, not <3.11,>=3.10",)},
            State.WRONG,
            "packages",
            "not <3.11,>=3.10; pip install",
        ),
        ({"keys": -1}, State.LOOK, "SSH agent", "SSH_AUTH_SOCK names one that does not answer"),
        ({"keys": 0}, State.LOOK, "SSH agent", "has no key; ssh-add"),
        ({"is_site": True}, State.WRONG, "config.py", "is not here: pyinfra runs without Barewind's checks; "),
        (
            {"is_site": True, "config": "from pyinfra import config\nconfig.FAIL_PERCENT = 50\n"},
            State.WRONG,
            "config.py",
            "does not load Barewind into pyinfra; move what is there away",
        ),
        (
            {"is_site": True, "config": "pyinfra_hooks.install()\n", "pinned": "1.3.0"},
            State.LOOK,
            "requirements.txt",
            "asks for Barewind 1.3.0, and 1.4.0 is installed; pip install -r requirements.txt",
        ),
        ({"clock_kept": False}, State.LOOK, "clock", "not synchronised; apt install chrony"),
        ({"free": {"/tmp": GIB // 2}}, State.WRONG, "/tmp", "0.5 GiB free; free at least 1 GiB there"),
        ({"most_files": 100}, State.WRONG, "open files", "100 at most, and 2 hosts need 104; raise the hard limit"),
        ({"proxies": {"https_proxy": "http://proxy:3128"}}, State.LOOK, "no_proxy", "does not name 2 of 2 hosts"),
        (
            {"proxies": {"https_proxy": "http://proxy:3128"}, "no_proxy": "10.0.0.1"},
            State.LOOK,
            "no_proxy",
            "1 of 2 hosts",
        ),
    ],
)
def test_what_is_to_mend_is_told_with_what_helps(
    changes: dict[str, Any], state: State, subject: str, told: str
) -> None:
    wrong = [each for each in found(replace(GOOD, **changes)) if each.state != State.OK]
    assert [(each.subject, each.state) for each in wrong] == [(subject, state)]
    assert told in wrong[0].sentence


@pytest.mark.parametrize("no_proxy", ["10.0.0.1, 10.0.0.2", "gpu1,gpu2", "*", "10.0.0.0/8"])
def test_hosts_that_are_named_do_not_go_through_the_proxy(no_proxy: str) -> None:
    machine = replace(GOOD, proxies={"https_proxy": "http://proxy:3128"}, no_proxy=no_proxy)
    assert {each.state for each in found(machine)} == {State.OK}


def test_the_password_of_a_proxy_is_not_shown() -> None:
    machine = replace(GOOD, proxies={"https_proxy": "http://ann:hunter2@proxy:3128"}, no_proxy="*")
    assert "hunter2" not in "".join(lines(found(machine)))


def on_hosts(**answers: HostAnswer) -> list[Finding]:
    return list(checks.hosts(answers, {name: f"10.0.0.{number}" for number, name in enumerate(answers)}))


GOOD_HOST = HostAnswer(user="0", skew=0.4, python=(3, 11))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (HostAnswer("Could not connect ([Errno None] Unable to connect to port 22 on 10.0.0.1)"), "sshd running"),
        (HostAnswer("Could not connect (timed out)"), "does a firewall"),
        (HostAnswer("Could not resolve hostname ([Errno -2] Name or service not known)"), "set ssh_hostname"),
        (
            HostAnswer("SSH error (StrictPolicy: No host key for 10.0.0.1 found in known_hosts)"),
            "compare its fingerprint",
        ),
        (HostAnswer("SSH host key error (Host key for 10.0.0.1 does not match.)"), "somebody is in between"),
        (HostAnswer("Authentication error (username=ops) (Authentication failed.)"), "correct ssh_user and ssh_key"),
        (HostAnswer("Private key file (/a/key) is encrypted, set ssh_key_password to use this key"), "ssh-add"),
        (HostAnswer("sudo: a terminal is required to read the password\nsudo: a password is required"), "NOPASSWD"),
        (HostAnswer("ops is not in the sudoers file."), "group sudo"),
        (HostAnswer("something new"), "something new; try it by hand: ssh -v HOST"),
        (replace(GOOD_HOST, user="1000"), "as user 1000 there, not as root; set _sudo = True"),
        (replace(GOOD_HOST, python=None), "has no python3; apt install python3"),
        (replace(GOOD_HOST, python=(3, 8)), "has Python 3.8; install a supported system"),
        (replace(GOOD_HOST, skew=-95.0), "its clock is 95 s behind"),
    ],
)
def test_what_is_wrong_with_a_host_is_told_with_what_helps(answer: HostAnswer, told: str) -> None:
    findings = on_hosts(lb1=GOOD_HOST, gpu1=answer, gpu2=GOOD_HOST)
    assert [each.subject for each in findings if each.state == State.WRONG] == ["gpu1"]
    assert told in findings[1].sentence


def test_where_most_hosts_agree_it_is_this_machines_clock_that_is_wrong() -> None:
    ahead = replace(GOOD_HOST, skew=120.0)
    findings = on_hosts(gpu1=ahead, gpu2=ahead, gpu3=GOOD_HOST)
    assert [(each.subject, each.found) for each in findings if each.state == State.WRONG] == [
        ("clock", "120 s behind most hosts"),
        ("gpu3", "its clock is 120 s behind"),
    ]


def test_three_hundred_hosts_with_one_problem_are_one_line() -> None:
    names = {f"gpu{number}": f"10.0.1.{number}" for number in range(300)}
    answers = {
        name: HostAnswer(f"Could not connect ([Errno None] Unable to connect to port 22 on {address})")
        for name, address in names.items()
    }
    (line,) = lines(checks.hosts(answers, names))
    assert line.startswith(
        "wrong gpu0 to gpu299 (300 hosts): Could not connect (Unable to connect to port 22 on its address)"
    )


def test_an_answer_that_breaks_off_is_none() -> None:
    assert "breaks off" in read("@@barewind:user\n0\n", "", 0.0).problem


def test_a_host_tells_who_it_runs_as_and_what_time_it_has() -> None:
    printed = "@@barewind:user\n0\n@@barewind:clock\n130.5\n@@barewind:python\n3 11\n@@barewind:end\n"
    assert read(printed, "", 100.0) == HostAnswer(user="0", skew=30.5, python=(3, 11))


@pytest.mark.parametrize(("told", "wrong"), [("", 0), ("a\nb", 2), ("\n".join("abcdefgh"), 6)])
def test_of_many_problems_with_keys_the_first_are_told(told: str, wrong: int) -> None:
    findings = list(checks.keys(told))
    assert sum(each.state == State.WRONG for each in findings) == wrong
