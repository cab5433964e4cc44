"""What the stand-in is told of an engine: a `Dialect` in a folder of its own. Everything else is the same for all engines."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.standin.answer import Answer
from lab.standin.metrics import Metrics
from lab.standin.pages import Page
from lab.standin.question import Question
from lab.standin.settings import Settings


@dataclass(frozen=True)
class Stop:
    """What SIGTERM does.

    + drains: running requests end by themselves, and new ones are taken; else both depend on --shutdown-timeout
    + starting: exit status while it starts; None: what the system does, which lets process 1 of a container go on
    + farewell: what is logged last
    """

    drains: bool
    starting: int | None
    farewell: str


@dataclass(frozen=True)
class Crash:
    """How the engine dies: what it logs, with which status, and whether requests are answered before.

    + silence: seconds from that to its end, in which nothing is generated
    """

    line: str
    status: int
    answers: bool
    silence: float = 0


@dataclass(frozen=True)
class Dialect:
    """An engine, as the server and the program ask for it.

    + name: barewind's
    + program: what its messages call the program
    + version: the one that was recorded
    + options: its file of recorded options
    + parse: the words of its command line -> options; exits as argparse does
    + settings: options and environment -> settings
    + load: settings -> tokens that a request may have, or StartError
    + read: settings, that length, path, content type and body -> what is asked for, or Problem
    + answer: the form of its answers
    + metrics: settings -> its metrics
    + pages: path -> page
    + below: beginning of a path -> page
    + posted: pages that may be asked by POST too
    + uncounted: paths that are in no metric
    + guarded: whether a path needs the key, if there is one
    + unauthorized: body of the answer without it
    + error: status and message -> body of an error
    + invalid: body of the error of a value that is not looked at more closely
    + failed: message of the error that a broken engine answers
    + refusal: message of the error while it shuts down
    + begins_early: headers of a stream are sent before the first token
    + warm_up: seconds from the first connection that is accepted until it is ready
    + line, uvicorn: a line of its log, and one that its HTTP server writes
    + error_line: a line of its errors
    + taken: what that says of a port that another process has; {error}, {host}, {port}
    + greeting: what it logs first; {version}
    + serving: what it logs when it accepts connections; {address}
    + warm: what it logs when it takes requests
    """

    name: str
    program: str
    version: str
    options: str
    parse: Callable[[Sequence[str], str, Sequence[str]], argparse.Namespace]
    settings: Callable[[argparse.Namespace, Mapping[str, str]], Settings]
    load: Callable[[Settings], int]
    read: Callable[[Settings, int, str, str, bytes], Question]
    answer: type[Answer]
    metrics: Callable[[Settings], Metrics]
    pages: Mapping[str, Page]
    guarded: Callable[[str], bool]
    unauthorized: bytes
    error: Callable[[int, str], dict[str, Any]]
    invalid: Callable[[Exception], dict[str, Any]]
    failed: str
    refusal: str
    crash: Crash
    line: Callable[[str], str]
    uvicorn: Callable[[str], str]
    error_line: Callable[[str], str]
    taken: str
    greeting: str
    serving: str
    warm: str
    stop: Stop
    below: Mapping[str, Page] = field(default_factory=dict)
    posted: tuple[str, ...] = ()
    uncounted: tuple[str, ...] = ()
    begins_early: bool = True
    warm_up: float = 0
