"""The error that users see: sentences that name file or host, key, finding and next step."""

from __future__ import annotations


class BarewindError(Exception):
    """Something that a user can put right. Its message is shown without a traceback."""
