"""The engine's metrics under vLLM's names, with its labels and buckets, written by the library that vLLM uses.

Left out: the `_created` series.
"""

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from lab.standin.metrics import Metrics

STEP_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
FIRST_TOKEN = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560),
)
NEXT_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
WHOLE = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
FINISHED = ("stop", "length", "abort", "error", "repetition")


class VllmMetrics(Metrics):
    """All metrics. `drafted`: tokens per draft; `capacity`: requests that fill the KV cache."""

    def __init__(self, model: str, drafted: int, capacity: int) -> None:
        super().__init__()
        self._labels = {"engine": "0", "model_name": model}
        self._drafted = drafted  # tokens per draft; 0: no drafting, and no metrics of it
        self._capacity = capacity
        ProcessCollector(registry=self.registry)
        if drafted:
            self._drafts = self._counter("spec_decode_num_drafts", "Number of spec decoding drafts.")
            self._draft_tokens = self._counter("spec_decode_num_draft_tokens", "Number of draft tokens.")
            self._counter("spec_decode_num_accepted_tokens", "Number of accepted tokens.")
        self._running = self._gauge("num_requests_running", "Number of requests in model execution batches.")
        self._waiting = self._gauge("num_requests_waiting", "Number of requests waiting to be processed.")
        self._usage = self._gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.")
        queries = "Prefix cache queries, in terms of number of queried tokens."
        self._cache_queries = self._counter("prefix_cache_queries", queries)
        self._counter("prefix_cache_hits", "Prefix cache hits, in terms of number of cached tokens.")
        self._counter("num_preemptions", "Cumulative number of preemption from the engine.")
        self._prompt_tokens = self._counter("prompt_tokens", "Number of prefill tokens processed.")
        self._generation_tokens = self._counter("generation_tokens", "Number of generation tokens processed.")
        finished = Counter(
            "vllm:request_success",
            "Count of successfully processed requests.",
            [*self._labels, "finished_reason"],
            registry=self.registry,
        )
        self._finished = {reason: finished.labels(**self._labels, finished_reason=reason) for reason in FINISHED}
        self._step_tokens = self._histogram(
            "iteration_tokens_total", "Histogram of number of tokens per engine_step.", STEP_TOKENS
        )
        self._first_token = self._histogram(
            "time_to_first_token_seconds", "Histogram of time to first token in seconds.", FIRST_TOKEN
        )
        self._next_token = self._histogram(
            "inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", NEXT_TOKEN
        )
        self._whole = self._histogram(
            "e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", WHOLE
        )
        self._queued = self._histogram(
            "request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", WHOLE
        )
        self._answers = Counter(
            "http_requests",
            "Total number of requests by method, status and handler.",
            ["handler", "method", "status"],
            registry=self.registry,
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
        self._prompt_tokens.inc(tokens)
        self._cache_queries.inc(tokens)

    def first_token(self, seconds: float, *, streamed: bool) -> None:
        """Count a request's first token, so long after its arrival."""
        del streamed
        self._first_token.observe(seconds)

    def next_token(self, seconds: float) -> None:
        """Count a further token, so long after the one before, and its draft where there is a drafting model."""
        self._next_token.observe(seconds)
        if self._drafted:
            self._drafts.inc()
            self._draft_tokens.inc(self._drafted)

    def generated(self, tokens: int) -> None:
        """Count tokens that were generated."""
        self._generation_tokens.inc(tokens)

    def step(self, tokens: int) -> None:
        """Count a step of the engine over so many tokens."""
        self._step_tokens.observe(tokens)

    def ended(self, reason: str, seconds: float, *, prompt: int, tokens: int, streamed: bool) -> None:
        """Count a request that has all its tokens."""
        del prompt, tokens, streamed
        self._finished[reason].inc()
        self._whole.observe(seconds)

    def dropped(self, reason: str, requests: int = 1) -> None:
        """Count requests that have ended before their time."""
        self._finished[reason].inc(requests)

    def answered(self, path: str, method: str, status: int, *, known: bool) -> None:
        """Count an HTTP answer as the instrumentation of vLLM's server does."""
        self._answers.labels(handler=path if known else "none", method=method, status=f"{status // 100}xx").inc()

    def _counter(self, name: str, about: str) -> Counter:
        return Counter(f"vllm:{name}", about, list(self._labels), registry=self.registry).labels(**self._labels)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"vllm:{name}", about, list(self._labels), registry=self.registry).labels(**self._labels)

    def _histogram(self, name: str, about: str, bounds: tuple[float, ...]) -> Histogram:
        family = Histogram(f"vllm:{name}", about, list(self._labels), buckets=bounds, registry=self.registry)
        return family.labels(**self._labels)
