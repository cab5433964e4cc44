"""What a command says while it runs and people should know at once: pyinfra shows what commands print only when asked to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from queue import Queue
from typing import Any

from pyinfra import logger
from pyinfra.connectors import util

from barewind.hosts.packages import WAITS


def install() -> None:
    """Have lines that begin so told as they come, with their host."""
    read_buffer = util.read_buffer

    @functools.wraps(read_buffer)
    def read_buffer_and_tell(
        name: str,
        io: Iterable[Any],
        output_queue: Queue[Any],
        print_output: bool = False,
        print_func: Callable[[str], str] | None = None,
    ) -> None:
        def told() -> Iterator[Any]:
            for line in io:
                text = line if isinstance(line, str) else line.decode("utf-8", "replace")
                if text.startswith(WAITS) and print_func is not None and not print_output:
                    logger.warning(print_func(text.strip()))
                yield line

        read_buffer(name, told(), output_queue, print_output=print_output, print_func=print_func)

    util.read_buffer = read_buffer_and_tell
