"""A key of Barewind's own for as long as something runs that goes through the endpoint: a benchmark, an acceptance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from barewind.controller import controller
from barewind.errors import BarewindError
from barewind.keys import file, plan, text
from barewind.keys.entry import Key
from barewind.keys.telling import look, outdated, tell
from barewind.spec.site import Site

if TYPE_CHECKING:
    from barewind.hosts.reach import Hosts

Say = Callable[[str], None]


@dataclass(frozen=True)
class Session:
    """A key that is good on every balancer, and where the first of them is."""

    key: str = field(repr=False)
    url: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables that OpenAI's libraries read."""
        return {"OPENAI_API_KEY": self.key, "OPENAI_BASE_URL": f"{self.url}/v1"}


@contextmanager
def key_for(site: Site, hosts: Hosts, lifetime: timedelta, say: Say) -> Iterator[Session]:
    """Let a new key without limits in on every balancer for the length of the block. Reloads and restarts of HAProxy keep it.

    + lifetime: after which the key ends, should this process be killed
    + say: is told what a person may want to know

    Raises:
        BarewindError: a balancer could not be told; at the end of the block that is told only, and the key ends by itself.
    """
    made, now = text.new(), datetime.now(UTC).replace(microsecond=0)
    key = Key(plan.SESSION, text.sha256(made), text.hint(made), now, controller(), expires=now + lifetime)
    balancers = list(site.balancers)
    with file.locked(site.endpoint_keys, say):
        before = file.read(site.endpoint_keys)
        if problems := outdated(look(hosts, site.balancers.values()).answers, before.serial):
            raise BarewindError("\n".join(problems))
        content = plan.in_session(before, key)
        file.write(content, site.endpoint_keys)
        told = tell(hosts, balancers, content, newest=before.serial)
    try:
        if told.errors:
            raise BarewindError("\n".join(told.errors.values()))
        yield Session(made, site.balancers[balancers[0]].endpoint_url)
    finally:
        with file.locked(site.endpoint_keys, say):
            before = file.read(site.endpoint_keys)
            content = plan.without(before, key.sha256)
            told = tell(hosts, balancers, content, newest=before.serial)
            file.write(content, site.endpoint_keys)
        for problem in told.errors.values():
            say(f"{problem}. The key of this session ends there at {key.expires:%Y-%m-%d %H:%M} UTC")
