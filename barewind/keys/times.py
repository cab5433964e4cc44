"""Times and lengths of time as people write them on a command line. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=3650)


def length(text: str) -> timedelta:
    """A length of time: 30m, 24h, 90d.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text.strip(), re.ASCII)
    found = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not timedelta() < found <= _LONGEST:
        raise ValueError("write minutes, hours or days: 30m, 24h, 90d; ten years at most")
    return found


def moment(text: str, now: datetime, *, past: bool = False) -> datetime:
    """A moment, in whole seconds: a length of time from `now` on (back from it, if `past`), a date, or a time with its zone.

    Raises:
        ValueError: it is none.
    """
    try:
        return now.replace(microsecond=0) + (-length(text) if past else length(text))
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        found = None
    if found is not None and found.tzinfo is None and re.fullmatch(r"[0-9-]+", text.strip()):
        found = found.replace(tzinfo=UTC)
    if found is None or found.tzinfo is None:
        raise ValueError("write a length of time (90d), a date (2027-01-31, UTC) or a time (2027-01-31T12:00:00Z)")
    return found.astimezone(UTC).replace(microsecond=0)


def written(moment: datetime) -> str:
    """A moment as files and tables have it: ISO 8601, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
