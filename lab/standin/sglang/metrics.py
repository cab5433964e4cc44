"""The engine's metrics under SGLang's names, with its labels and buckets, as far as Barewind and its dashboards read them.

Tokens of prompts and answers are counted when a request has ended; what is counted at each step has `realtime` in its name.
A figure with labels of its own is there once it has been counted. Left out: the `_created` series.
"""

from prometheus_client import Counter, Gauge, Histogram

from lab.standin.metrics import Metrics

FIRST_TOKEN = (0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400)
WHOLE = (*FIRST_TOKEN, 600, 1200, 1800, 2400)
NEXT_TOKEN = (
    *(0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8),
    *(1, 2, 4, 6, 8),
)
QUEUED = (
    *(0, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 10, 15, *range(20, 101, 10), *range(200, 1001, 100)),
    *(1200, 1400, 1600, 1800, 2000, 2500, 3000),
)
RANKS = {"moe_ep_rank": "0", "pp_rank": "0", "tp_rank": "0"}  # whose figures the scheduler's are


class SglangMetrics(Metrics):
    """All metrics. `drafted`: tokens per draft; `capacity`: requests that fill the KV cache."""

    def __init__(self, model: str, drafted: int, capacity: int) -> None:
        super().__init__()
        self._labels = {"engine_type": "unified", "model_name": model}
        self._capacity = capacity
        self._running = self._gauge("num_running_reqs", "The number of running requests.")
        self._waiting = self._gauge("num_queue_reqs", "The number of requests in the waiting queue.")
        self._usage = self._gauge("token_usage", "The token usage.")
        for name, about in (
            ("cache_hit_rate", "The prefix cache hit rate."),
            ("spec_accept_length", "Mean acceptance length of speculative decoding."),
            ("spec_accept_rate", "Speculative acceptance rate."),
        ):
            self._gauge(name, about)
        self._gauge("spec_num_draft_tokens", "The number of draft tokens.").set(drafted)
        self._queued = self._histogram("queue_time_seconds", "Histogram of queueing time in seconds.", QUEUED, **RANKS)
        self._next_token = self._histogram(
            "inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", NEXT_TOKEN
        )
        streamed = ["is_streaming"]
        self._first_token = self._family(
            "time_to_first_token_seconds", "Histogram of time to first token in seconds.", FIRST_TOKEN, streamed
        )
        self._whole = self._family(
            "e2e_request_latency_seconds", "Histogram of End-to-end request latency in seconds", WHOLE, streamed
        )
        self._per_token = self._family(
            "request_time_per_output_token_seconds",
            "Histogram of time per output token in seconds.",
            NEXT_TOKEN,
            streamed,
        )
        self._prompt_tokens = self._counter("prompt_tokens", "Number of prefill tokens processed.", streamed)
        self._generation_tokens = self._counter("generation_tokens", "Number of generation tokens processed.", streamed)
        self._requests = self._counter("num_requests", "Number of requests processed.", streamed)
        self._aborted = self._counter("num_aborted_requests", "Number of requests aborted.", [])
        self._realtime = self._counter("realtime_tokens", "Total number of tokens processed.", ["mode", *RANKS])
        paths = ["endpoint", "method"]
        self._asked = Counter("sglang:http_requests", "Total number of HTTP requests.", paths, registry=self.registry)
        self._answers = Counter(
            "sglang:http_responses", "Total number of HTTP responses.", [*paths, "status_code"], registry=self.registry
        )

    def requests(self, running: int, waiting: int) -> None:
        """Set how many requests are in the engine."""
        self._running.set(running)
        self._waiting.set(waiting)
        self._usage.set(running / self._capacity)

    def admitted(self, waited: float) -> None:
        """Count a request that has come into the batch."""
        self._queued.observe(waited)

    def prompts(self, tokens: int) -> None:
        """Count the tokens of prompts that were read; no prompt is in the cache."""
        self._now("prefill_compute", tokens)

    def first_token(self, seconds: float, *, streamed: bool) -> None:
        """Count a first token. That of an answer which is not streamed is counted when the answer has ended."""
        if streamed:
            self._first_token.labels(**self._labels, is_streaming="true").observe(seconds)

    def next_token(self, seconds: float) -> None:
        """Count a further token, so long after the one before."""
        self._next_token.observe(seconds)

    def generated(self, tokens: int) -> None:
        """Count tokens that were generated."""
        self._now("decode", tokens)

    def step(self, tokens: int) -> None:
        """Nothing is counted by step."""

    def ended(self, reason: str, seconds: float, *, prompt: int, tokens: int, streamed: bool) -> None:
        """Count a request that has all its tokens."""
        del reason
        labels = {**self._labels, "is_streaming": "true" if streamed else "false"}
        self._requests.labels(**labels).inc()
        self._prompt_tokens.labels(**labels).inc(prompt)
        self._generation_tokens.labels(**labels).inc(tokens)
        self._whole.labels(**labels).observe(seconds)
        self._per_token.labels(**labels).observe(seconds / tokens)
        if not streamed:
            self._first_token.labels(**labels).observe(seconds)

    def dropped(self, reason: str, requests: int = 1) -> None:
        """Count requests that have ended before their time."""
        del reason
        if requests:
            self._aborted.labels(**self._labels).inc(requests)

    def answered(self, path: str, method: str, status: int, *, known: bool) -> None:
        """Count an HTTP answer."""
        del known
        self._asked.labels(endpoint=path, method=method).inc()
        self._answers.labels(endpoint=path, method=method, status_code=str(status)).inc()

    def _now(self, mode: str, tokens: int) -> None:
        if tokens:
            self._realtime.labels(**self._labels, **RANKS, mode=mode).inc(tokens)

    def _counter(self, name: str, about: str, labels: list[str]) -> Counter:
        return Counter(f"sglang:{name}", about, [*self._labels, *labels], registry=self.registry)

    def _gauge(self, name: str, about: str) -> Gauge:
        family = Gauge(f"sglang:{name}", about, [*self._labels, *RANKS], registry=self.registry)
        return family.labels(**self._labels, **RANKS)

    def _family(self, name: str, about: str, bounds: tuple[float, ...], labels: list[str]) -> Histogram:
        names = [*self._labels, *labels]
        return Histogram(f"sglang:{name}", about, names, buckets=bounds, registry=self.registry)

    def _histogram(self, name: str, about: str, bounds: tuple[float, ...], **labels: str) -> Histogram:
        return self._family(name, about, bounds, list(labels)).labels(**self._labels, **labels)
