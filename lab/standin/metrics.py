"""What an engine counts; its own module gives the figures its names, labels and buckets."""

from abc import ABC, abstractmethod

import prometheus_client
from prometheus_client import CollectorRegistry


class Metrics(ABC):
    """All metrics of an engine, by what happens. Times are in seconds. `streamed`: the answer is sent token by token."""

    def __init__(self) -> None:
        prometheus_client.disable_created_metrics()
        self.registry = CollectorRegistry()

    @abstractmethod
    def requests(self, running: int, waiting: int) -> None:
        """Set how many requests are in the engine."""

    @abstractmethod
    def admitted(self, waited: float) -> None:
        """Count a request that has come into the batch."""

    @abstractmethod
    def prompts(self, tokens: int) -> None:
        """Count the tokens of prompts that were read; no prompt is in the cache."""

    @abstractmethod
    def first_token(self, seconds: float, *, streamed: bool) -> None:
        """Count a request's first token, so long after its arrival."""

    @abstractmethod
    def next_token(self, seconds: float) -> None:
        """Count a further token, so long after the one before."""

    @abstractmethod
    def generated(self, tokens: int) -> None:
        """Count tokens that were generated."""

    @abstractmethod
    def step(self, tokens: int) -> None:
        """Count a step of the engine over so many tokens."""

    @abstractmethod
    def ended(self, reason: str, seconds: float, *, prompt: int, tokens: int, streamed: bool) -> None:
        """Count a request that has all its tokens."""

    @abstractmethod
    def dropped(self, reason: str, requests: int = 1) -> None:
        """Count requests that have ended before their time."""

    @abstractmethod
    def answered(self, path: str, method: str, status: int, *, known: bool) -> None:
        """Count an HTTP answer. `known`: the server has this path."""

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return prometheus_client.generate_latest(self.registry)
