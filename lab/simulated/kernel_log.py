"""/dev/kmsg of a simulated host: a pseudo-terminal with this program at its other end.

Lines written to it come back as records that journald takes for the kernel's (`journalctl -k`). It differs from the real
device in that a record is read only once, by journald. `dmesg` asks the machine's kernel instead. The program also
watches the simulated files of /proc/sys and /sys, and gives what is written there the form that the kernel would:
`echo always > .../transparent_hugepage/enabled` is read back as `[always] madvise never`.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import os
import re
import select
import signal
import termios
import time
from collections import deque
from pathlib import Path

from lab.simulated import host

_IN_CLOSE_WRITE = 8
_POLL = 20  # milliseconds between two checks whether journald has read the last record
_CHOICES = ("always", "madvise", "never")


def start() -> None:
    """Make /dev/kmsg and serve it in a process of its own; called before systemd starts."""
    master, slave = os.openpty()
    # A line is a record; nothing is added or echoed.
    mode = termios.tcgetattr(slave)
    mode[0] = mode[1] = 0
    mode[3] = termios.ICANON
    termios.tcsetattr(slave, termios.TCSANOW, mode)
    os.fchmod(slave, 0o644)
    Path("/dev/kmsg").unlink(missing_ok=True)
    Path("/dev/kmsg").symlink_to(os.ttyname(slave))
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            _keep(master, slave)
        finally:
            os._exit(1)
    os.close(master)
    os.close(slave)


def _keep(master: int, slave: int) -> None:
    records: deque[bytes] = deque()
    number, rest = 0, b""
    watch, watched = _watch()
    poll = select.poll()
    poll.register(master, select.POLLIN)
    poll.register(watch, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll(_POLL if records else None):
            if descriptor == watch:
                _settle(watch, watched)
                continue
            rest += os.read(master, 4096)
            *lines, rest = rest.split(b"\n")
            for line in lines:
                if record := _record(number, line.decode(errors="replace")):
                    records.append(record)
                    number += 1
        if records and _unread(slave) == 0:
            os.write(master, records.popleft())


def _record(number: int, line: str) -> bytes | None:
    """Record of a line `<3>text` as /dev/kmsg has it: priority, number, microseconds since boot."""
    match = re.match(r"(?:<(\d+)>)?(.*)", line.strip())
    if match is None or not match[2]:
        return None
    microseconds = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    return f"{int(match[1] or 4) & 7},{number},{microseconds},-;{match[2][:900]}\n".encode()


def _unread(slave: int) -> int:
    waiting = array.array("i", [0])
    fcntl.ioctl(slave, termios.FIONREAD, waiting)
    return waiting[0]


def _watch() -> tuple[int, dict[int, Path]]:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    names = [host.FILES / "enabled", *sorted((host.FILES / "sys").glob("*"))]
    return descriptor, {libc.inotify_add_watch(descriptor, bytes(path), _IN_CLOSE_WRITE): path for path in names}


def _settle(watch: int, watched: dict[int, Path]) -> None:
    events = os.read(watch, 4096)
    at, changed = 0, set()
    while at < len(events):
        changed.add(int.from_bytes(events[at : at + 4], "little"))
        at += 16 + int.from_bytes(events[at + 12 : at + 16], "little")
    for number in changed:
        path = watched[number]
        text = path.read_text()
        settled = settled_choice(text) if path.name == "enabled" else settled_number(text)
        if settled != text:
            path.write_text(settled)
    with contextlib.suppress(BlockingIOError):
        os.read(watch, 4096)  # events of what was just written


def settled_choice(text: str) -> str:
    """What the kernel would show after a word was written over the beginning of the file."""
    chosen = next((word for word in _CHOICES if text.startswith(word)), None)
    return " ".join(f"[{word}]" if word == chosen else word for word in _CHOICES) + "\n" if chosen else text


def settled_number(text: str) -> str:
    """The first line alone: a shorter number that overwrites a longer leaves the rest of it behind."""
    return text.split("\n", 1)[0] + "\n"
