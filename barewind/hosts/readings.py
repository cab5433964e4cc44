"""Facts that the next steps of a host go by, read together: one SSH execution for all of them.

pyinfra reads each fact when its operation runs, one execution each. Here the first operation that asks for a fact also finds out
which facts the later operations of its host begin with, and one script reads them all. Such a reading stands for its fact until
anything but a fact has been run on the host, or it is `AGE` seconds old. What it cannot stand for is asked as ever: a fact whose
script failed, so that the failure is its own; a second question within one operation; a fact of a class with `fresh = True`.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import shlex
import time
from collections.abc import Callable, Generator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast
from weakref import WeakKeyDictionary

from pyinfra.api import FactBase, Host, State, facts
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS
from pyinfra.connectors.util import CommandOutput, OutputLine

from barewind.hosts import held
from barewind.hosts.shell import BROKEN

AGE = 120.0  # seconds; what a host does by itself, or people do there, is not told to this run

_MARK = "@@reading"


@dataclass(frozen=True)
class _Question:
    """A fact's command, and how it is run: with whose privileges, in which environment."""

    command: str
    arguments: str  # the connector's, but for the time limit

    @classmethod
    def of(cls, command: object, arguments: dict[str, Any]) -> _Question:
        wanted = {key: arguments.get(key) for key in CONNECTOR_ARGUMENT_KEYS if key != "_timeout"}
        return cls(str(command), repr(sorted(wanted.items())))


@dataclass
class _Reading:
    """Answers of a host, read at one time (None: that failed), and which operations have had which of them."""

    at: float = field(default_factory=time.monotonic)
    answers: dict[_Question, CommandOutput | None] = field(default_factory=dict)
    given: set[tuple[str | None, _Question]] = field(default_factory=set)


class _Collected(Exception):
    """An operation has asked for its first fact."""


_readings: WeakKeyDictionary[Host, _Reading] = WeakKeyDictionary()
_asking: ContextVar[bool] = ContextVar("asking", default=False)  # a fact is being read
_beside: ContextVar[bool] = ContextVar("beside", default=False)  # what runs is no step
_collecting: ContextVar[list[_Question] | None] = ContextVar("collecting", default=None)


@contextlib.contextmanager
def beside() -> Iterator[None]:
    """What runs on hosts meanwhile changes nothing that a fact tells."""
    token = _beside.set(True)
    try:
        yield
    finally:
        _beside.reset(token)


def install() -> None:
    """Have pyinfra's operations read facts together."""
    get_fact, run_shell_command = facts._get_fact, Host.run_shell_command

    @functools.wraps(get_fact)
    def get_fact_ahead(
        state: State, host: Host, cls: type[FactBase[Any]], args: Any = None, kwargs: Any = None, *rest: Any
    ) -> Any:
        if state.is_executing and _plain(cls):
            command, arguments = _command(state, host, cls, args, kwargs)
            question, collected = _Question.of(command, arguments), _collecting.get()
            if collected is not None:
                collected.append(question)
                raise _Collected
            if question not in _reading(host).answers:
                _read(state, host, question, functools.partial(run_shell_command, host), arguments)
        elif _collecting.get() is not None:
            raise _Collected
        token = _asking.set(True)
        try:
            return get_fact(state, host, cls, args, kwargs, *rest)
        finally:
            _asking.reset(token)

    @functools.wraps(run_shell_command)
    def run_or_remember(self: Host, command: Any, *args: Any, **kwargs: Any) -> tuple[bool, CommandOutput]:
        if _asking.get():
            reading, question = _reading(self), _Question.of(command, kwargs)
            had = (self.executing_op_hash, question)
            answer = reading.answers.get(question)
            if answer is not None and had not in reading.given:
                reading.given.add(had)
                return True, answer
            with held.asked():
                return run_shell_command(self, command, *args, **kwargs)
        elif not _beside.get():
            _readings.pop(self, None)
        return run_shell_command(self, command, *args, **kwargs)

    facts._get_fact = get_fact_ahead  # type: ignore[assignment]
    Host.run_shell_command = run_or_remember  # type: ignore[method-assign]
    for name in ("put_file", "disconnect"):
        setattr(Host, name, _forgetting(getattr(Host, name)))
    Host.noop = _said_once(Host.noop)  # type: ignore[method-assign]


def _plain(cls: type[FactBase[Any]]) -> bool:
    """Whether a fact is what its command prints, at any moment of the run."""
    conditions = (cls.requires_command, cls.check_preconditions, cls.shell_executable)
    return conditions == (FactBase.requires_command, FactBase.check_preconditions, None) and not getattr(
        cls, "fresh", False
    )


def _said_once(method: Callable[..., Any]) -> Callable[..., Any]:
    """That nothing is to be done is said when an operation runs, not when it is looked at."""

    @functools.wraps(method)
    def say(self: Host, *args: Any, **kwargs: Any) -> None:
        if _collecting.get() is None:
            method(self, *args, **kwargs)

    return say


def _forgetting(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def forget_and_call(self: Host, *args: Any, **kwargs: Any) -> Any:
        _readings.pop(self, None)
        return method(self, *args, **kwargs)

    return forget_and_call


def _reading(host: Host) -> _Reading:
    """The reading of a host that still stands for its facts; an empty one without."""
    reading = _readings.get(host)
    if reading is None or time.monotonic() - reading.at > AGE:
        reading = _readings[host] = _Reading()
    return reading


def _command(
    state: State, host: Host, cls: type[FactBase[Any]], args: Any, kwargs: Any
) -> tuple[object, dict[str, Any]]:
    own, wanted = facts._handle_fact_kwargs(state, host, cls, args, kwargs)
    arguments = {key: value for key, value in wanted.items() if key in CONNECTOR_ARGUMENT_KEYS}
    return facts._make_command(cls().command, dict(own)), arguments


def _read(
    state: State,
    host: Host,
    first: _Question,
    run: Callable[..., tuple[bool, CommandOutput]],
    arguments: dict[str, Any],
) -> None:
    """Ask a host `first`, and what its later operations ask for first in the same way; nothing, where that is nothing more."""
    later = (question for question in _asked_later(state, host) if question.arguments == first.arguments)
    questions = list(dict.fromkeys([first, *later]))
    if len(questions) == 1:
        return
    token = secrets.token_hex(8)
    command, shown = (
        together([question.command for question in questions], token),
        {"print_output": state.print_fact_output, "print_input": state.print_fact_input},
    )
    with contextlib.suppress(*BROKEN), held.asked():  # then each is asked by itself
        done, output = run(command, **shown, **arguments)
        if done:
            answers = split(output.stdout_lines, token)
            _readings[host] = _Reading(answers={each: _output(answers.get(at)) for at, each in enumerate(questions)})


def together(commands: list[str], token: str) -> str:
    """A shell command that runs commands one after the other and prints after each its place and its status."""
    return "; ".join(
        f'sh -c {shlex.quote(command)} </dev/null; echo "{_MARK} {token} {at} $?"'
        for at, command in enumerate(commands)
    )


def split(lines: list[str], token: str) -> dict[int, list[str]]:
    """The output of `together`, in lines, by the places of the commands that succeeded."""
    answers: dict[int, list[str]] = {}
    output: list[str] = []
    for line in lines:
        before, mark, after = line.partition(f"{_MARK} {token} ")
        if before or not mark:  # output without a newline at its end has the mark on its last line
            output.append(before)
        if mark:
            at, _, status = after.partition(" ")
            if status == "0":
                answers[int(at)] = output
            output = []
    return answers


def _output(lines: list[str] | None) -> CommandOutput | None:
    return None if lines is None else CommandOutput([OutputLine("stdout", line) for line in lines])


def _asked_later(state: State, host: Host) -> Iterator[_Question]:
    """The first fact of each operation that the host has after the one that runs, if that is before anything it does."""
    order = host.op_hash_order
    if host.executing_op_hash not in order:
        return
    kept = (host.in_op, host.current_op_hash, host.current_op_global_arguments, host.current_op_deploy_data)
    for operation in order[order.index(host.executing_op_hash) + 1 :]:
        collected: list[_Question] = []
        token = _collecting.set(collected)
        commands = state.ops[host][operation].command_generator()
        try:
            with contextlib.suppress(Exception):  # what is wrong with an operation is told when its turn has come
                next(commands, None)
        finally:
            cast(Generator[Any], commands).close()
            _collecting.reset(token)
            host.in_op, host.current_op_hash, host.current_op_global_arguments, host.current_op_deploy_data = kept
        yield from collected
