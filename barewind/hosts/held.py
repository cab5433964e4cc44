"""One shell for each SSH connection, held open: what is asked of a host goes through it, a command after the other.

An SSH execution of its own takes three round trips and, on the host, a process of sshd's and the user's login shell with its
start-up files. Here there is one for all questions of a run; a command takes one round trip. It runs as it would otherwise: in a
process of its own, with sudo if it says so, without standard input, with its own status. What comes while another is in the shell
gets an execution of its own; so does what a host's steps do, which is not asked for here.
"""

from __future__ import annotations

import contextlib
import functools
import io
import secrets
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import paramiko

_METHOD = "exec_command"  # of paramiko.SSHClient
_ATTRIBUTE = "barewind_shell"  # of a paramiko.Transport
_MARK = "@@held"
_wanted: ContextVar[bool] = ContextVar("held shell wanted", default=False)


@contextlib.contextmanager
def asked() -> Iterator[None]:
    """What is run on hosts meanwhile, without a terminal or standard input, may go through the shells that are held."""
    token = _wanted.set(True)
    try:
        yield
    finally:
        _wanted.reset(token)


def install() -> None:
    """Have SSH clients of this process hold a shell for what is asked."""
    exec_command = getattr(paramiko.SSHClient, _METHOD)

    @functools.wraps(exec_command)
    def exec_or_tell(self: paramiko.SSHClient, command: str, *args: Any, **kwargs: Any) -> Any:
        transport = self.get_transport()
        if _wanted.get() and not kwargs.get("get_pty") and transport is not None:
            shell = _taken(transport)
            if shell is not None:
                return shell.run(transport, command)
        return exec_command(self, command, *args, **kwargs)

    setattr(paramiko.SSHClient, _METHOD, exec_or_tell)


class _Shell:
    """A shell on a host; `taken` while a command is in it, `closed` when it is of no use any more."""

    def __init__(self) -> None:
        self.taken = False
        self.closed = False
        self._channel: paramiko.Channel | None = None
        self._outputs: tuple[Any, ...] = ()
        self._running = 0  # outputs of the command that have not been read to their ends

    @property
    def alive(self) -> bool:
        """Whether a command may be told to it: its host may have ended it meanwhile."""
        channel = self._channel
        ended = channel is not None and (channel.closed or channel.eof_received or channel.exit_status_ready())
        return not (self.closed or ended)

    def run(self, transport: paramiko.Transport, command: str) -> tuple[io.BytesIO, _Output, _Output]:
        """Run a command; returns what paramiko's `exec_command` does, as far as pyinfra uses it."""
        mark = f"{_MARK} {secrets.token_hex(8)}"
        begin = f"printf '{mark}\\n'; printf '{mark}\\n' >&2"
        end = f"printf '\\n{mark} %s\\n' $?; printf '\\n{mark} -\\n' >&2"
        try:
            channel = self._channel or self._begin(transport)
            channel.sendall(f"{begin}; (\n{command}\n) </dev/null; {end}\n".encode())
        except BaseException:
            self.close()
            raise
        self._running = len(self._outputs)
        stdout, stderr = (_Output(self, file, mark) for file in self._outputs)
        return io.BytesIO(), stdout, stderr

    def output_ended(self) -> None:
        """One of a command's outputs is read to its end; after the second the next command may come."""
        self._running -= 1
        self.taken = self._running > 0

    def close(self) -> None:
        """End it: where its output stands is not known any more."""
        self.closed = True
        if self._channel is not None:
            self._channel.close()

    def _begin(self, transport: paramiko.Transport) -> paramiko.Channel:
        self._channel = transport.open_session()
        self._channel.exec_command("exec sh")
        self._outputs = self._channel.makefile("r"), self._channel.makefile_stderr("r")
        return self._channel


class _Output:
    """One of the two outputs of a command, to be read once: what stands between its marks, in lines."""

    def __init__(self, shell: _Shell, file: Any, mark: str) -> None:
        self.channel = self  # of which pyinfra wants the status
        self._shell = shell
        self._file = file
        self._mark = mark
        self._status = -1  # as of an execution whose connection has ended

    def recv_exit_status(self) -> int:
        """The status of the command, once its output has been read."""
        return self._status

    def __iter__(self) -> Iterator[str]:
        ended = False
        try:
            begun, before = False, ""
            for line in self._file:
                mark, _, status = line.rstrip("\n").rpartition(" ")
                ended = begun and mark == self._mark
                if ended:
                    self._status = int(status) if status.isdigit() else -1
                    break
                if begun and before:
                    yield before
                # The mark at the end stands on a line of its own, whether the output ended with a newline or not.
                before, begun = (line, True) if begun else ("", line.rstrip("\n") == self._mark)
            if before and not (ended and before == "\n"):
                yield before
        finally:
            if ended:
                self._shell.output_ended()
            else:  # the connection has ended, or whoever reads has given up
                self._shell.close()


def _taken(transport: paramiko.Transport) -> _Shell | None:
    """The shell of a connection, taken; None if a command is in it."""
    shell: _Shell | None = getattr(transport, _ATTRIBUTE, None)
    if shell is None or not shell.alive:
        shell = _Shell()
        setattr(transport, _ATTRIBUTE, shell)
    if shell.taken:
        return None
    shell.taken = True
    return shell
