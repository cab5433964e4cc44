"""Commands in a terminal, on hosts whose sudo wants one (`_get_pty = True`): what passes through it is not changed by it.

A terminal as paramiko asks for it echoes what is written to it, secrets too, ends lines with a carriage return, takes no line
of more than 4095 bytes (termios(3)) and never tells a command that its input has ended.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST
from pyinfra.api import StringCommand
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput, OutputLine

# Modes of RFC 4254, 8, that are switched off: IGNPAR, PARMRK, INPCK, ISTRIP, INLCR, IGNCR, ICRNL, IUCLC, IXON, IXANY, IXOFF;
# ISIG, ICANON, XCASE, ECHO and its kind, IEXTEN; OPOST, OLCUC, ONLCR, OCRNL, ONOCR, ONLRET.
_OFF = (*range(30, 41), 50, 51, 52, 53, 54, 55, 56, 59, 60, 61, *range(70, 76))
_END = b"\0"
MODES = b"".join(bytes([mode]) + bytes(4) for mode in _OFF) + _END


def install() -> None:
    """Have terminals of SSH connections pass bytes as they are, and commands in them know where their input ends."""
    run_shell_command = SSHConnector.run_shell_command

    @functools.wraps(run_shell_command)
    def run_shell_command_in_terminal(
        self: SSHConnector, command: StringCommand, *args: Any, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        if not arguments.get("_get_pty"):
            return run_shell_command(self, command, *args, **arguments)
        if arguments.get("_stdin"):
            command = _with_input(command, arguments["_stdin"])
        done, output = run_shell_command(self, command, *args, **arguments)
        return done, CommandOutput([OutputLine(line.buffer_name, line.line.rstrip("\r")) for line in output])

    for owner, method in ((paramiko.Channel, get_pty), (SSHConnector, run_shell_command_in_terminal)):
        setattr(owner, method.__name__, method)  # functools.wraps has given it pyinfra's name


def _with_input(command: StringCommand, stdin: str | Sequence[str]) -> StringCommand:
    """A command that reads as much as pyinfra's `write_stdin` will write, and then an end."""
    lines = [stdin] if isinstance(stdin, str) else stdin
    length = sum(len((line if line.endswith("\n") else f"{line}\n").encode()) for line in lines)
    return StringCommand(f"head -c {length} | {{", command, "\n}")


def get_pty(
    self: Any,
    term: str = "vt100",
    width: int = 80,
    height: int = 24,
    width_pixels: int = 0,
    height_pixels: int = 0,
) -> None:
    """`paramiko.Channel.get_pty`, which sends no modes, with modes."""
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(self.remote_chanid)
    message.add_string("pty-req")
    message.add_boolean(True)
    message.add_string(term)
    for size in (width, height, width_pixels, height_pixels):
        message.add_int(size)
    message.add_string(MODES)
    self._event_pending()
    self.transport._send_user_message(message)
    self._wait_for_event()
