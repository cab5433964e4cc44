"""The one error a person sees: a sentence that says what is wrong and what to do next."""


class LabError(Exception):
    """Something the lab cannot repair by itself; the message names the next step."""
