"""The balancers of an inventory, asked about keys and told of them, outside of a deploy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from barewind.balancer import peers
from barewind.errors import BarewindError
from barewind.hosts.ask import Answers
from barewind.keys import commands, plan
from barewind.keys.commands import Known
from barewind.keys.file import KeyFile
from barewind.spec.keys import BalancerSpec

if TYPE_CHECKING:
    from barewind.hosts.reach import Hosts

_ANSWER = 60  # seconds a balancer gets: it may wait 30 for another command about its keys


def look(hosts: Hosts, balancers: Collection[BalancerSpec]) -> Answers[Known]:
    """What each balancer of a site knows of keys; of one that does not answer, why."""
    return _asked(hosts, {spec.host: commands.look(peers.table(spec, balancers)) for spec in balancers})


def tell(hosts: Hosts, balancers: Collection[str], content: KeyFile, *, newest: int | None = None) -> Answers[Known]:
    """Have every balancer know these keys and no others, at once, without a reload. One that cannot be told, or that knows
    something else afterwards, has an error, which says what it does then.

    + newest: serial of the newest keys that may be replaced: of the file before it was changed; None: of these
    """
    text, newest = plan.map_text(content), content.serial if newest is None else newest
    told = _asked(hosts, dict.fromkeys(balancers, commands.tell(newest)), text)
    errors = dict(told.errors)
    for name, known in told.answers.items():
        taken = known.file is not None and known.file[0] == text
        if not taken and (problems := outdated({name: known}, newest)):
            errors[name] = problems[0]
        elif problems := list(known.problems(text, plan.names(content))):
            errors[name] = f"{name}: {'; '.join(problems)}, although it was told"
    return Answers({name: known for name, known in told.answers.items() if name not in errors}, errors)


def outdated(known: Mapping[str, Known], own: int) -> list[str]:
    """Why balancers are not told: they have the keys of a later file than that of this serial."""
    found = {name: plan.newer(answer.file[0], own) for name, answer in known.items() if answer.file is not None}
    return [f"{name}: {'; '.join(problem)}" for name, problem in found.items() if problem]


def _asked(hosts: Hosts, wanted: Mapping[str, str], stdin: str | None = None) -> Answers[Known]:
    answers: dict[str, Known] = {}
    errors: dict[str, str] = {}
    for name, (output, problem) in hosts.ask(wanted, timeout=_ANSWER, stdin=stdin).items():
        if problem:
            errors[name] = f"{name}: does not answer ({problem.splitlines()[-1]})"
            continue
        try:
            answers[name] = commands.read(output, name)
        except BarewindError as error:
            errors[name] = str(error)
    return Answers(answers, errors)
