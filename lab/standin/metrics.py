"""The engine's figures under vLLM's names, with its labels and buckets. Left out: the `_created` series."""

import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

STEP_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
FIRST_TOKEN = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560),
)
NEXT_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
WHOLE = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
FINISHED = ("stop", "length", "abort", "error", "repetition")


class Histogram:
    """Counts by upper bound."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """In Prometheus' text format."""
        engine, model = labels.split(",", 1)
        bounds = [*(str(float(bound)) for bound in self.bounds), "+Inf"]
        for bound, count in zip(bounds, accumulate(self.counts), strict=True):
            yield f'{name}_bucket{{{engine},le="{bound}",{model}}} {float(count)}'
        yield f"{name}_count{{{labels}}} {float(sum(self.counts))}"
        yield f"{name}_sum{{{labels}}} {self.sum}"


class Metrics:
    """Everything that is counted."""

    def __init__(self, model: str, drafted: int) -> None:
        quoted = model.replace("\\", "\\\\").replace('"', '\\"')
        self.labels = f'engine="0",model_name="{quoted}"'
        self.drafted = drafted  # tokens per draft; 0: no drafting, and no figures of it
        self.started = time.time()
        self.running = self.waiting = 0
        self.capacity = 1
        self.prompt_tokens = self.generation_tokens = self.drafts = 0
        self.finished = dict.fromkeys(FINISHED, 0)
        self.step_tokens = Histogram(STEP_TOKENS)
        self.first_token = Histogram(FIRST_TOKEN)
        self.next_token = Histogram(NEXT_TOKEN)
        self.whole = Histogram(WHOLE)
        self.queued = Histogram(WHOLE)
        self.requests: dict[tuple[str, str, str], int] = {}

    def answered(self, handler: str, method: str, status: int) -> None:
        """Count an HTTP answer as the instrumentation of vLLM's server does."""
        key = (handler, method, f"{status // 100}xx")
        self.requests[key] = self.requests.get(key, 0) + 1

    def text(self) -> str:
        """All of them in Prometheus' text format."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        start = "process_start_time_seconds"
        yield from (f"# HELP {start} Start time of the process since unix epoch in seconds.", f"# TYPE {start} gauge")
        yield f"{start} {self.started}"
        if self.drafted:
            yield from self._counter("spec_decode_num_drafts", "Number of spec decoding drafts.", self.drafts)
            tokens = self.drafts * self.drafted
            yield from self._counter("spec_decode_num_draft_tokens", "Number of draft tokens.", tokens)
            yield from self._counter("spec_decode_num_accepted_tokens", "Number of accepted tokens.", 0)
        usage = self.running / self.capacity
        yield from self._gauge("num_requests_running", "Number of requests in model execution batches.", self.running)
        yield from self._gauge("num_requests_waiting", "Number of requests waiting to be processed.", self.waiting)
        yield from self._gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", usage)
        queries = "Prefix cache queries, in terms of number of queried tokens."
        yield from self._counter("prefix_cache_queries", queries, self.prompt_tokens)
        yield from self._counter("prefix_cache_hits", "Prefix cache hits, in terms of number of cached tokens.", 0)
        yield from self._counter("num_preemptions", "Cumulative number of preemption from the engine.", 0)
        yield from self._counter("prompt_tokens", "Number of prefill tokens processed.", self.prompt_tokens)
        yield from self._counter("generation_tokens", "Number of generation tokens processed.", self.generation_tokens)
        yield from _head("vllm:request_success_total", "counter", "Count of successfully processed requests.")
        engine, model = self.labels.split(",", 1)
        for reason, count in self.finished.items():
            yield f'vllm:request_success_total{{{engine},finished_reason="{reason}",{model}}} {float(count)}'
        for name, about, histogram in (
            ("iteration_tokens_total", "Histogram of number of tokens per engine_step.", self.step_tokens),
            ("time_to_first_token_seconds", "Histogram of time to first token in seconds.", self.first_token),
            ("inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", self.next_token),
            ("e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", self.whole),
            ("request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", self.queued),
        ):
            yield from _head(f"vllm:{name}", "histogram", about)
            yield from histogram.lines(f"vllm:{name}", self.labels)
        yield from _head("http_requests_total", "counter", "Total number of requests by method, status and handler.")
        for (handler, method, status), count in self.requests.items():
            labels = f'handler="{handler}",method="{method}",status="{status}"'
            yield f"http_requests_total{{{labels}}} {float(count)}"

    def _counter(self, name: str, about: str, value: float) -> Iterator[str]:
        yield from _head(f"vllm:{name}_total", "counter", about)
        yield f"vllm:{name}_total{{{self.labels}}} {float(value)}"

    def _gauge(self, name: str, about: str, value: float) -> Iterator[str]:
        yield from _head(f"vllm:{name}", "gauge", about)
        yield f"vllm:{name}{{{self.labels}}} {float(value)}"


def _head(name: str, kind: str, about: str) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
