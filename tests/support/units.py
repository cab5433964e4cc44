"""Units as systemd reads them, written anew here."""

from __future__ import annotations

import re

from barewind.plan.names import HOST_OPTIONS, HOST_PART


def words(line: str) -> list[str]:
    """A command line as systemd reads it (systemd.service, "Command lines"; systemd.unit, specifiers): written anew here."""
    read: list[str] = []
    word, quote, started, at = "", "", False, 0
    while at < len(line):
        char = line[at]
        if char == "\\":
            at += 1
            word, started = word + {"n": "\n", "t": "\t", "s": " "}.get(line[at], line[at]), True
        elif quote:
            if char == quote:
                quote = ""
            else:
                word += char
        elif char in "'\"":
            quote, started = char, True
        elif char.isspace():
            if started:
                read.append(word)
            word, started = "", False
        elif char == ";" and not started and line[at + 1 : at + 2] in ("", " "):
            raise AssertionError("a command ends here")
        else:
            word, started = word + char, True
        at += 1
    assert not quote
    read += [word] if started else []
    assert not any(re.search(r"(?<![%])%(%%)*(?!%)", word) for word in read), "a specifier would be expanded"
    meant = {f"${name}" for name in (HOST_OPTIONS, HOST_PART)}  # options of the host
    read = [word for word in read if word not in meant]
    assert not any(re.search(r"(?<![$])\$(\$\$)*(?!\$)", word) for word in read), "a variable would be expanded"
    return [word.replace("%%", "%").replace("$$", "$") for word in read]


def exec_start(unit: str) -> list[str]:
    command = re.search(r"^ExecStart=((?:.*\\\n)*.*)$", unit, re.MULTILINE)
    assert command
    return words(command[1].replace("\\\n", " "))
