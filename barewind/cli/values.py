"""Values of arguments and options that have a syntax of their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from barewind.keys import times
from barewind.keys.file import is_id


def now() -> datetime:
    """This moment, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


class Moment(click.ParamType[datetime]):
    """A moment that is to come or, with `past`, was."""

    name = "time"

    def __init__(self, *, past: bool = False) -> None:
        """Whether a length of time counts from now on, or back from now."""
        self._past = past

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment; what is none is wrong use."""
        if isinstance(value, datetime):
            return value
        try:
            found = times.moment(value, now(), past=self._past)
        except ValueError as error:
            self.fail(f"{value!r}: {error}.", param, ctx)
        if (found > now()) is self._past:
            self.fail(f"{value!r} is {'still to come' if self._past else 'over'}.", param, ctx)
        return found


class Length(click.ParamType[timedelta]):
    """A length of time."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The length; what is none is wrong use."""
        if isinstance(value, timedelta):
            return value
        try:
            return times.length(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}.", param, ctx)


class KeyId(click.ParamType[str]):
    """Whose key it is: a team, or a client of a team."""

    name = "team"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The id; what is none is wrong use."""
        if not is_id(str(value)):
            self.fail(
                f"{value!r}: write team or team/name, each of small letters, digits and -, 32 at most: alpha/ci.",
                param,
                ctx,
            )
        return str(value)
