"""Continuous batching without a model: every step gives each running request one token."""

import asyncio
from collections import deque
from typing import Protocol

from lab.standin.metrics import Metrics
from lab.standin.settings import Settings

LOOK_AGAIN = 0.05  # seconds; how often an engine that hangs looks whether it still does


class Listener(Protocol):
    """Who wants the tokens of a request."""

    def token(self, place: int, last: str | None) -> None:
        """Token number `place`, from 0; `last` is the reason to finish when it is the last one."""

    def aborted(self, reason: str) -> None:
        """No more tokens will come: "abort", or "error" when the engine died."""


class Refused(Exception):
    """The engine takes no requests any more."""


class Generation:
    """One request inside the engine."""

    def __init__(self, listener: Listener, prompt: int, tokens: int, finish: str, sequences: int = 1) -> None:
        self.listener = listener
        self.prompt = prompt  # tokens
        self.tokens = tokens  # to generate, per sequence
        self.finish = finish  # "length" or "stop"
        self.sequences = sequences
        self.done = 0
        self.came = self.latest = 0.0


class Engine:
    """Requests that run, requests that wait, and the clock that drives them."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.running: list[Generation] = []
        self.waiting: deque[Generation] = deque()
        self.closed = False
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        metrics.capacity = settings.max_num_seqs

    def fails(self, how: str) -> bool:
        """Whether it is time for this failure."""
        return self.settings.fail == how and self._loop.time() - self._started >= self.settings.fail_after

    def submit(self, generation: Generation) -> None:
        """Take a request.

        Raises:
            Refused: the engine is shutting down.
        """
        if self.closed:
            raise Refused
        generation.came = self._loop.time()
        self.waiting.append(generation)
        self._count()

    def cancel(self, generation: Generation) -> None:
        """Forget a request whose client has gone."""
        if generation in self.running:
            self.running.remove(generation)
        elif generation in self.waiting:
            self.waiting.remove(generation)
        else:
            return
        self.metrics.finished["abort"] += 1
        self._count()

    def abort(self, reason: str) -> None:
        """End everything at once."""
        ended = [*self.running, *self.waiting]
        self.running.clear()
        self.waiting.clear()
        self.metrics.finished[reason] += len(ended)
        self._count()
        for generation in ended:
            generation.listener.aborted(reason)

    async def idle(self) -> None:
        """Return when no request is left."""
        await self._idle.wait()

    async def run(self) -> None:
        """Step for ever."""
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
            if self.fails("hang"):
                await asyncio.sleep(LOOK_AGAIN)
            else:
                self._step(prompts)

    def _admit(self) -> int:
        """Let those that wait into the batch while there is room; returns the tokens of their prompts."""
        tokens = 0
        while self.waiting and len(self.running) < self.settings.max_num_seqs:
            generation = self.waiting.popleft()
            self.metrics.queued.observe(self._loop.time() - generation.came)
            self.running.append(generation)
            tokens += generation.prompt
        self._count()
        return tokens

    def _step(self, prompts: int) -> None:
        now = self._loop.time()
        self.metrics.prompt_tokens += prompts
        tokens = prompts
        for generation in list(self.running):
            tokens += generation.sequences
            self._token(generation, now)
        if tokens:
            self.metrics.step_tokens.observe(tokens)
        self._count()

    def _token(self, generation: Generation, now: float) -> None:
        place = generation.done
        if place == 0:
            self.metrics.first_token.observe(now - generation.came)
        else:
            self.metrics.next_token.observe(now - generation.latest)
            self.metrics.drafts += bool(self.settings.draft_tokens)
        generation.latest = now
        generation.done += 1
        self.metrics.generation_tokens += generation.sequences
        last = generation.finish if generation.done >= generation.tokens else None
        if last:
            self.running.remove(generation)
            self.metrics.finished[last] += 1
            self.metrics.whole.observe(now - generation.came)
        generation.listener.token(place, last)

    def _count(self) -> None:
        self.metrics.running, self.metrics.waiting = len(self.running), len(self.waiting)
        if self.running or self.waiting:
            self._work.set()
            self._idle.clear()
        else:
            self._work.clear()
            self._idle.set()
