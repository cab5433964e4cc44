"""The error that a user of the lab sees: a sentence that says what is wrong and what to do next."""


class LabError(Exception):
    """The lab cannot go on by itself; the message names the next step."""
