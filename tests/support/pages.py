"""The commands of a page, run one after the other in a terminal as a reader runs them: the page must show what comes.

A page has its commands in fenced blocks. In ```sh each line is a command; in ```console a line with `$ ` in front is one, and the
lines below it are of its output: `...` stands for what varies, within a line or for whole ones. What a reader is asked stands
there with the answer: `Write these to .? [y/N]: y`. `(exit status 1)` below a command says that it ends so.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.commands import ROOT
from tests.support.terminal import Terminal

_FENCE = re.compile(r"```(\w*)$")
_INDENTED = re.compile(r"( {4}|\t)\S")  # a block without a fence, below an empty line
_QUESTION = re.compile(r"(.*\[y/N\]:) ?(\w*)|(Press enter to execute)\.\.\.")
_STATUS = re.compile(r"\(exit status (\d+)\)")
_COLUMNS = 160
_LIMIT = 900  # seconds, for any command


@dataclass(frozen=True)
class Command:
    """A command of a page, the line that it stands in, and what the page shows of its output."""

    line: int
    text: str
    shown: tuple[str, ...] = ()

    @property
    def questions(self) -> list[tuple[str, str]]:
        """What is asked meanwhile, and the answers."""
        matches = [match for line in self.shown if (match := _QUESTION.fullmatch(line))]
        return [((match[1] or match[3]).rpartition("...")[2], match[2] or "") for match in matches]

    @property
    def status(self) -> int:
        """The exit status that it must have."""
        return next((int(match[1]) for line in self.shown if (match := _STATUS.fullmatch(line))), 0)

    def missing(self, output: str) -> list[str]:
        """Lines that the page shows and that are none of the output's; white space counts once."""
        lines = [" ".join(line.split()) for line in output.splitlines()]
        expected = [line for line in self.shown if line != "..." and not _STATUS.fullmatch(line)]
        return [line for line in expected if not any(_pattern(line).search(each) for each in lines)]


def commands(page: str) -> list[Command]:
    """The commands of a page, in its order. A block that nobody would run is an error, but for ```text and ```python."""
    found: list[Command] = []
    language, before = "", ""
    for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
        fence = _FENCE.match(line)
        if fence is not None:
            language = "" if language else fence[1] or "no language"
            assert language in ("", "sh", "console", "text", "python"), f"{page}:{number}: no block is of {language}"
        elif not language:
            assert before or not _INDENTED.match(line), f"{page}:{number}: a block without a fence"
        elif found and found[-1].text.endswith("\\"):
            found[-1] = Command(found[-1].line, f"{found[-1].text[:-1]}{line.strip()}")
        elif language == "sh" or line.startswith("$ "):
            found.append(Command(number, line.removeprefix("$ ")))
        elif language == "console":
            found[-1] = Command(found[-1].line, found[-1].text, (*found[-1].shown, line.strip()))
        before = line
    return found


def run(
    page: str,
    folder: Path,
    environment: Mapping[str, str],
    *,
    instead: Mapping[str, str] | None = None,
    before: Mapping[str, Callable[[], None]] | None = None,
    only: str = "",
) -> None:
    """Run the commands of a page in a folder. A folder that one enters, or a variable that one sets, is there for the next.

    + instead: texts of the page, and what stands for each of them here; one that the page does not have is an error
    + before: what a reader does by hand before the first command that begins so
    + only: those that begin so
    """
    wanted = [command for command in commands(page) if command.text.startswith(only)]
    text = "\n".join(line for command in wanted for line in (command.text, *command.shown))
    instead = instead or {}
    assert wanted
    assert [old for old in instead if old not in text] == []
    by_hand = dict(before or {})
    with tempfile.NamedTemporaryFile() as state:
        for command in wanted:
            for start in [start for start in by_hand if command.text.startswith(start)]:
                by_hand.pop(start)()
            _run(page, _replaced(command, instead), folder, environment, Path(state.name))
    assert not by_hand


def _run(page: str, command: Command, folder: Path, environment: Mapping[str, str], state: Path) -> None:
    script = f'. {state}\n{command.text}\nstatus=$?\n{{ export -p; echo cd "$PWD"; }} > {state}\nexit $status\n'
    print(f"{page}:{command.line}: $ {command.text}")
    bash = ["bash", "-c", script]
    with Terminal(bash, columns=_COLUMNS, folder=folder, environment=environment, limit=_LIMIT) as terminal:
        for question, answer in command.questions:
            terminal.wait_for(question)
            terminal.type(f"{answer}\n")
        status = terminal.end()
        output = terminal.plain
        assert status == command.status, f"{page}:{command.line}: {command.text} ended with status {status}"
        missing = command.missing(output)
        assert missing == [], f"{page}:{command.line}: {command.text} does not print {missing}"


def _replaced(command: Command, instead: Mapping[str, str]) -> Command:
    texts = [command.text, *command.shown]
    for old, new in instead.items():
        texts = [text.replace(old, new) for text in texts]
    return Command(command.line, texts[0], tuple(texts[1:]))


def _pattern(shown: str) -> re.Pattern[str]:
    if question := _QUESTION.fullmatch(shown):
        shown = question[1] or question[3]
    return re.compile(".*".join(re.escape(" ".join(part.split())) for part in shown.split("...")))
