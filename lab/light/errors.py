"""Why a command ends without having done what it was asked for."""

from __future__ import annotations

LIMITS = "this host has the lab's stand-in for Docker (docs/lab.md)"


class DockerError(Exception):
    """The message goes to standard error; `status` is the command's exit status, as Docker has it."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def not_known(what: str, status: int = 125) -> DockerError:
    """Something of Docker's that the stand-in does not have."""
    return DockerError(f"docker: {what} is not known here: {LIMITS}", status)
