"""What tests of commands stand in."""

from tests.support.two_hosts import folder

__all__ = ["folder"]
