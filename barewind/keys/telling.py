"""The balancers of an inventory, asked about keys and told of them, outside of a deploy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from barewind.errors import BarewindError
from barewind.hosts.ask import Answers
from barewind.keys import commands, plan
from barewind.keys.commands import Known
from barewind.keys.file import KeyFile

if TYPE_CHECKING:
    from barewind.hosts.reach import Hosts

_ANSWER = 60  # seconds a balancer gets: it may wait 30 for another command about its keys


def look(hosts: Hosts, balancers: Collection[str]) -> Answers[Known]:
    """What each balancer knows of keys; of one that does not answer, why."""
    return _asked(hosts, balancers, commands.look())


def tell(hosts: Hosts, balancers: Collection[str], content: KeyFile, *, anyhow: bool = False) -> Answers[Known]:
    """Have every balancer know these keys and no others, at once, without a reload. One that cannot be told, or that knows
    something else afterwards, has an error, which says what it does then.

    + anyhow: also one that knows the keys of a later file
    """
    text = plan.map_text(content)
    told = _asked(hosts, balancers, commands.tell(anyhow=anyhow), text)
    errors = dict(told.errors)
    for name, known in told.answers.items():
        if known.later is not None:
            errors[name] = later(name, known.later, content.serial)
        elif problems := list(known.problems(text, plan.names(content))):
            errors[name] = f"{name}: {'; '.join(problems)}, although it was told"
    return Answers({name: known for name, known in told.answers.items() if name not in errors}, errors)


def outdated(known: Mapping[str, Known], content: KeyFile) -> list[str]:
    """Why balancers would not be told: they have the keys of a later file."""
    serials = {name: plan.serial(answer.file[0]) for name, answer in known.items() if answer.file is not None}
    return [later(name, serial, content.serial) for name, serial in serials.items() if serial > content.serial]


def later(balancer: str, serial: int, own: int) -> str:
    """Why a balancer was not told, and what to do about it."""
    return (
        f"{balancer}: has the keys of serial {serial}, this file is of serial {own}: with an older one revoked keys would be "
        "good again. Take the newest file (git pull); if it is lost: barewind keys sync INVENTORY --overwrite"
    )


def _asked(hosts: Hosts, balancers: Collection[str], command: str, stdin: str | None = None) -> Answers[Known]:
    answers: dict[str, Known] = {}
    errors: dict[str, str] = {}
    for name, (output, problem) in hosts.ask(dict.fromkeys(balancers, command), timeout=_ANSWER, stdin=stdin).items():
        if problem:
            errors[name] = f"{name}: does not answer ({problem.splitlines()[-1]})"
            continue
        try:
            answers[name] = commands.read(output, name)
        except BarewindError as error:
            errors[name] = str(error)
    return Answers(answers, errors)
