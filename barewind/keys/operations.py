"""The keys on balancers, and what sums their usage, as a deploy has them."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host, logger
from pyinfra.api import FunctionCommand, Host, OperationError, State, StringCommand, operation

from barewind.errors import BarewindError
from barewind.hosts.operations import ManagedFile, known
from barewind.hosts.shell import run
from barewind.keys import commands, file, plan
from barewind.keys.facts import KnownKeys, UsageProgram
from barewind.keys.file import KeyFile
from barewind.keys.telling import outdated

_TIMEOUT = 60  # seconds


@operation()
def told(keys: str) -> Generator[FunctionCommand, None, None]:
    """Have a balancer know the keys of a file, and no others, without a reload.

    The file is read when the balancer is told, not when the run began: somebody may have been revoked meanwhile.

    + keys: the file, on this machine

    **Example:**

    .. code:: python

        told(name="Who may ask", keys="keys.yaml")
    """
    now = known(host.get_fact(KnownKeys), host.name, "the keys")
    content = _read(keys)
    text = plan.map_text(content)
    if problems := outdated({host.name: now}, content.serial):
        raise OperationError(problems[0])
    if now.file is not None and now.file[0] == text and not any(now.problems(text, {})):
        host.noop("the balancer already knows these keys")
        return
    yield FunctionCommand(_tell, (), {"keys": keys})


@operation()
def counted(program: ManagedFile, units: list[ManagedFile], timer: str) -> Generator[StringCommand, None, None]:
    """Have a balancer sum the usage of keys from HAProxy's log.

    + program: what sums
    + units: files of systemd
    + timer: the one that runs it

    **Example:**

    .. code:: python

        counted(name="Usage", program=ManagedFile("/usr/local/lib/barewind/usage", "..."), units=[...], timer="...")
    """
    files = [program, *units]
    facts = known(
        host.get_fact(UsageProgram, paths=[each.path for each in files], timer=timer), host.name, "what sums usage"
    )
    changed = [each for each in files if each.differs(facts["files"])]
    for each in changed:
        yield each.write()
    if any(unit in changed for unit in units):
        yield StringCommand("systemctl daemon-reload")
    if not (facts["enabled"] and facts["running"]):
        yield StringCommand(f"systemctl enable --now {timer}")
    if not changed and facts["enabled"] and facts["running"]:
        host.noop("usage is already summed")


def _read(keys: str) -> KeyFile:
    try:
        return file.read(keys)
    except BarewindError as error:
        raise OperationError(str(error)) from error


def _tell(state: State, host: Host, keys: str) -> bool:
    content = file.read(keys)
    text = plan.map_text(content)
    answer = run(state, host, commands.tell(content.serial), timeout=_TIMEOUT, stdin=text)
    if answer.problem:
        return _failed(host, f"{host.name}: cannot be told its keys ({answer.problem})")
    answered = commands.read(answer.output, host.name)
    if problems := outdated({host.name: answered}, content.serial):
        if file.read(keys) != content:  # somebody has changed the file just now, and told the balancer first
            return _tell(state, host, keys)
        return _failed(host, problems[0])
    problems = list(answered.problems(text, plan.names(content)))
    return not problems or _failed(host, f"{host.name}: {'; '.join(problems)}, although it was told")


def _failed(host: Host, problem: str) -> bool:
    logger.error(f"{host.print_prefix}{problem}")
    return False
