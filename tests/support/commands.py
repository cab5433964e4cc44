"""The project's own commands, run as a user runs them: in the repository's folder, with nobody at the keyboard."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_LIMIT = 1200  # seconds, for any command
_CHANGED = re.compile(r"\[([^\]]+)\] .*Success")  # hosts with the same news stand together
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Run:
    """A command that has ended: both outputs together, as a person would see them."""

    status: int
    output: str

    @property
    def changed(self) -> set[str]:
        """Hosts on which an operation changed something."""
        return {name for names in _CHANGED.findall(self.output) for name in unfolded(names)}


def unfolded(names: str) -> list[str]:
    """Names as a run prints them: `a, b`, and of many `a1 to a3, b (4 hosts)`."""
    every = []
    for part in re.sub(r" \(\d+ hosts\)$", "", names).split(", "):
        first, _, last = part.partition(" to ")
        start = re.search(r"\d+", first)
        if not last or start is None:
            every.append(part)
        else:
            end = re.search(r"\d+", last)
            assert end is not None
            every += [re.sub(r"\d+", str(number), first, count=1) for number in range(int(start[0]), int(end[0]) + 1)]
    return every


class BackgroundRun:
    """A command that runs while the test does something else: watches it, kills it, or waits for its end."""

    def __init__(self, *words: str, root: Path = ROOT) -> None:
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            [str(root / ".venv" / "bin" / words[0]), *words[1:]],
            cwd=root,
            env=os.environ | {"COLUMNS": "200", "PYINFRA_PROGRESS": "off"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def prints(self, text: str, seconds: float = 180) -> bool:
        """Wait until it prints a text; False if it has ended without, or the time is over."""
        with self._news:
            self._news.wait_for(lambda: self._has_printed(text) or not self._reader.is_alive(), seconds)
            return self._has_printed(text)

    def kill(self) -> Run:
        """End it as if the controller lost its power."""
        self._process.send_signal(signal.SIGKILL)
        return self.end()

    def interrupt(self) -> Run:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)
        return self.end()

    def end(self, seconds: float = _LIMIT) -> Run:
        """Wait for its end."""
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._reader.join()
            output = "".join(self._lines)
            print(output)  # pytest shows it when the test fails
        assert not re.search(r"^Traceback", output, re.MULTILINE)  # one in the log of an engine that fails is indented
        return Run(status, output)

    def _has_printed(self, text: str) -> bool:
        return any(text in line for line in self._lines)

    def _read(self) -> None:
        for line in self._process.stdout or ():
            with self._news:
                self._lines.append(_COLOURS.sub("", line))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


def command(*words: str, root: Path = ROOT) -> Run:
    """Run one of the project's commands to its end. `root`: a checkout of the project other than this one."""
    run = BackgroundRun(*words, root=root).end()
    assert "Traceback (most recent call last)" not in run.output
    return run


def answer(*words: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command whose standard output is for programs; its exit status may be any."""
    done = subprocess.run(
        [str(root / ".venv" / "bin" / words[0]), *words[1:]], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return done


def json_of(*words: str, root: Path = ROOT) -> Any:
    """The JSON that a command prints."""
    done = answer(*words, root=root)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@dataclass(frozen=True)
class Site:
    """An inventory with keys set on top, by pyinfra's options, and the commands for it. `root`: a checkout of the project."""

    inventory: str
    keys: tuple[str, ...] = ()
    root: Path = ROOT

    def deploy(self, *options: str) -> Run:
        """Deploy as a user does."""
        return self.pyinfra("deploy.py", *options)

    def begin_deploy(self, *options: str) -> BackgroundRun:
        """Begin a deploy that is not waited for."""
        return BackgroundRun("pyinfra", self.inventory, "deploy.py", "-y", *self.keys, *options, root=self.root)

    def pyinfra(self, deploy_file: str, *options: str) -> Run:
        """Run a file of the project's, or one function of its."""
        return command("pyinfra", self.inventory, deploy_file, "-y", *self.keys, *options, root=self.root)

    def barewind(self, *words: str) -> Run:
        """Run a subcommand that takes an inventory; options go before it."""
        return command("barewind", *words, self.inventory, *self.keys, root=self.root)

    def verify(self, *options: str) -> Run:
        """Check every host against the plan; only of a site without keys on top."""
        assert not self.keys
        words = ("pytest", "tests/verify", "--inventory", self.inventory, "-p", "no:cacheprovider", *options)
        return command(*words, root=self.root)


def data(**keys: object) -> list[str]:
    """pyinfra's options that set keys of the inventory."""
    return [
        word
        for key, value in keys.items()
        for word in ("--data", f"{key}={value if isinstance(value, str) else json.dumps(value)}")
    ]


def limit(*names: str) -> list[str]:
    """pyinfra's options that leave all hosts but some out of a run."""
    return [word for name in names for word in ("--limit", name)]
