"""The error that users see: one or more sentences that name file or host, key, finding and next step."""

from __future__ import annotations


class BarewindError(Exception):
    """Something a user can put right. Its text is all that is shown: no traceback."""
