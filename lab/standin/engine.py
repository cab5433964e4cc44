"""Continuous batching without a model: every step gives each running request a token."""

import asyncio
from collections import deque
from typing import Protocol

from lab.standin.metrics import Metrics
from lab.standin.settings import Settings

RECHECK = 0.05  # seconds between two checks of an engine that hangs


class Listener(Protocol):
    """Receiver of a request's tokens."""

    def token(self, place: int, last: str | None) -> None:
        """Receive token number `place`, from 0. `last`: reason of the end, with the last token."""

    def aborted(self, reason: str) -> None:
        """Receive the end without a token: "abort", or "error" when the engine has died."""


class Refused(Exception):
    """The engine accepts no more requests."""


class Generation:
    """A request inside the engine."""

    def __init__(
        self, listener: Listener, prompt: int, tokens: int, finish: str, sequences: int = 1, *, streamed: bool = False
    ) -> None:
        self.listener = listener
        self.prompt = prompt  # tokens
        self.tokens = tokens  # to generate, per sequence
        self.finish = finish  # "length" or "stop"
        self.sequences = sequences
        self.streamed = streamed
        self.done = 0
        self.arrived = self.latest = 0.0  # seconds of the loop's clock: arrival, last token


class Engine:
    """Running and waiting requests, and the clock that drives them."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.running: list[Generation] = []
        self.waiting: deque[Generation] = deque()
        self.closed = False  # no more requests are accepted
        self.frozen = False  # nothing is generated any more
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def fails(self, how: str) -> bool:
        """Whether the engine has this failure, and its time has come."""
        return self.settings.fail == how and self._loop.time() - self._started >= self.settings.fail_after

    def submit(self, generation: Generation) -> None:
        """Accept a request.

        Raises:
            Refused: the engine is shutting down.
        """
        if self.closed:
            raise Refused
        generation.arrived = self._loop.time()
        self.waiting.append(generation)
        self._count()

    def cancel(self, generation: Generation) -> None:
        """Drop a request whose client has gone."""
        if generation in self.running:
            self.running.remove(generation)
        elif generation in self.waiting:
            self.waiting.remove(generation)
        else:
            return
        self.metrics.dropped("abort")
        self._count()

    def abort(self, reason: str) -> None:
        """End all requests at once."""
        ended = [*self.running, *self.waiting]
        self.running.clear()
        self.waiting.clear()
        self.metrics.dropped(reason, len(ended))
        self._count()
        for generation in ended:
            generation.listener.aborted(reason)

    async def idle(self) -> None:
        """Return when no request is left."""
        await self._idle.wait()

    async def run(self) -> None:
        """Run steps for ever."""
        due = 0.0
        while True:
            if not self._work.is_set():
                await self._work.wait()
                due = 0.0
            now = self._loop.time()
            pace = self.settings.tokens_per_second * (0.5 if self.fails("slow") else 1)
            due = (
                max(due, now - 1) + 1 / pace if due else now + 1 / pace
            )  # what was missed is made up for, within a second
            await asyncio.sleep(max(due - now, 0))
            prompts = self._admit()
            if self.frozen or self.fails("hang"):
                await asyncio.sleep(RECHECK)
            else:
                self._step(prompts)

    def _admit(self) -> int:
        """Move waiting requests into the batch while there is room; returns the tokens of their prompts."""
        tokens = 0
        while self.waiting and len(self.running) < self.settings.max_num_seqs:
            generation = self.waiting.popleft()
            self.metrics.admitted(self._loop.time() - generation.arrived)
            self.running.append(generation)
            tokens += generation.prompt
        self._count()
        return tokens

    def _step(self, prompts: int) -> None:
        now = self._loop.time()
        self.metrics.prompts(prompts)
        tokens = prompts
        for generation in list(self.running):
            tokens += generation.sequences
            self._token(generation, now)
        if tokens:
            self.metrics.step(tokens)
        self._count()

    def _token(self, generation: Generation, now: float) -> None:
        place = generation.done
        if place == 0:
            self.metrics.first_token(now - generation.arrived, streamed=generation.streamed)
        else:
            self.metrics.next_token(now - generation.latest)
        generation.latest = now
        generation.done += 1
        self.metrics.generated(generation.sequences)
        last = generation.finish if generation.done >= generation.tokens else None
        if last:
            self.running.remove(generation)
            self.metrics.ended(
                last,
                now - generation.arrived,
                prompt=generation.prompt,
                tokens=generation.done * generation.sequences,
                streamed=generation.streamed,
            )
        generation.listener.token(place, last)

    def _count(self) -> None:
        self.metrics.requests(len(self.running), len(self.waiting))
        if self.running or self.waiting:
            self._work.set()
            self._idle.clear()
        else:
            self._work.clear()
            self._idle.set()
