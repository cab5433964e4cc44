"""A published run again, step by step: an engine's scheduler around the law of a step."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field

from barewind.speed.steady import REQUEST
from barewind.speed.step import draft_time, step_time
from bench.estimate.published import Length, Run

_BATCHED_TOKENS = 8192  # of a step
_MOST_SEQUENCES = 1024


@dataclass
class Request:
    """A request on its way: `read` of its prompt's tokens are in the cache."""

    prompt: int
    output: int
    arrived: float = 0
    read: int = 0
    first: float = 0


@dataclass
class Result:
    """What a benchmark would print; seconds."""

    seconds: float = 0
    firsts: list[float] = field(default_factory=list)
    per_token: list[float] = field(default_factory=list)
    tokens: int = 0

    @property
    def tokens_per_second(self) -> float:
        """Of answers."""
        return self.tokens / self.seconds

    @property
    def first_token(self) -> float:
        """Mean of all requests, seconds."""
        return sum(self.firsts) / len(self.firsts)

    @property
    def ms_per_token(self) -> float:
        """Mean of all requests."""
        return sum(self.per_token) / len(self.per_token) * 1000


class Engine:
    """One engine under the load of a run, `at_a_time` requests in flight until none is left; `seed` is of drawn lengths."""

    def __init__(self, run: Run, seed: int = 0) -> None:
        drawn = random.Random(seed)  # noqa: S311 - no secret
        self.run = run
        self.runner = run.runner
        self.coming = deque(
            Request(_length(drawn, run.prompt), _length(drawn, run.output)) for _ in range(run.requests)
        )
        self.waiting: deque[Request] = deque()
        self.ends: list[tuple[int, int, Request]] = []  # step at which a request ends, a number of its own, the request
        self.steps = self.started = self.reserved = 0
        self.cached = 0.0  # tokens of KV cache that are read in a step
        self.stall = run.stall
        self.result = Result()
        for _ in range(min(run.at_a_time, run.requests)):
            self._arrive()

    def finish(self) -> Result:
        """Step until every request is answered."""
        while self.ends or self.waiting:
            self._step()
        return self.result

    def _arrive(self) -> None:
        if self.coming:
            request = self.coming.popleft()
            request.arrived = self.result.seconds
            self.waiting.append(request)

    def _step(self) -> None:
        decoding = len(self.ends)
        chunks, attended, read = self._prompts(decoding)
        decodes = 0 if self.run.separate and chunks else decoding
        seconds = step_time(
            self.runner,
            sequences=decodes,
            kv_tokens=self.cached if decodes else 0,
            prompt_tokens=chunks,
            attended=attended,
        )
        if decodes:
            seconds += draft_time(self.runner, decodes)
        if chunks:
            seconds, self.stall = seconds + self.stall, 0
        self.result.seconds += seconds
        if decodes:
            self._decoded(decodes)
        for request in read:
            self._begin(request)

    def _prompts(self, decoding: int) -> tuple[int, float, list[Request]]:
        """What a step reads of prompts: tokens, the sum of those before each of them, and the prompts that are whole then."""
        room = _BATCHED_TOKENS - (0 if self.run.separate else decoding * self.runner.rows)
        chunks, attended = 0, 0.0
        read: list[Request] = []
        while room > 0 and self.waiting and self._admits(self.waiting[0], decoding + len(read)):
            request = self.waiting[0]
            chunk = min(room, request.prompt - request.read)
            attended += chunk * (request.read + chunk / 2)
            request.read += chunk
            chunks += chunk
            room -= chunk
            if request.read == request.prompt:
                read.append(self.waiting.popleft())
        return chunks, attended, read

    def _admits(self, request: Request, running: int) -> bool:
        """Whether a request's tokens have room in the cache, which is kept for them from then on."""
        if request.read:
            return True
        need = request.prompt + request.output
        if running >= _MOST_SEQUENCES or (running and self.reserved + need > (self.run.kv_tokens or math.inf)):
            return False
        self.reserved += need
        return True

    def _begin(self, request: Request) -> None:
        """Its prompt is read, and the first token there."""
        request.first = self.result.seconds
        self.result.firsts.append(request.first - request.arrived + REQUEST)
        self.cached += request.prompt
        steps = max(1, math.ceil((request.output - 1) / self.runner.accepted))
        self.started += 1
        heapq.heappush(self.ends, (self.steps + steps, self.started, request))

    def _decoded(self, decodes: int) -> None:
        self.steps += 1
        self.cached += decodes * self.runner.accepted
        while self.ends and self.ends[0][0] <= self.steps:
            request = heapq.heappop(self.ends)[2]
            size = request.prompt + request.output
            self.cached = max(0.0, self.cached - size)
            self.reserved -= size
            self.result.tokens += request.output
            self.result.per_token.append((self.result.seconds - request.first) / (request.output - 1))
            self._arrive()


def _length(drawn: random.Random, length: Length) -> int:
    return max(2, drawn.randint(*length) if isinstance(length, tuple) else length)
