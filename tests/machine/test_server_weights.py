"""Base weights through a real HAProxy: who gets how many of the requests in flight, and what a reload with others changes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from barewind.balancer import commands as balancer
from lab import wait
from tests.support.endpoint_client import CHAT, Answer, ask
from tests.support.endpoint_engine import FakeEngine
from tests.support.haproxy import HAProxy, engine_at

IN_FLIGHT = 20


@pytest.fixture
def engines() -> Iterator[list[FakeEngine]]:
    """Engines that hold every request."""
    with ExitStack() as stack:
        yield [stack.enter_context(FakeEngine(held=True)) for _ in range(3)]


@contextmanager
def in_flight(port: int, engines: list[FakeEngine], count: int) -> Iterator[list[Future[Answer]]]:
    """So many requests that engines work on, each sent when the one before has arrived; they end with the context."""
    asked: list[Future[Answer]] = []
    with ThreadPoolExecutor(count) as pool:
        try:
            for number in range(1, count + 1):
                asked.append(pool.submit(ask, port, CHAT, "POST", body="{}"))
                wait.until(lambda number=number: arrived(engines) == number, 60, "a request does not arrive")
            yield asked
        finally:
            for engine in engines:
                engine.held = False


def arrived(engines: list[FakeEngine]) -> int:
    return sum(len(engine.requests) for engine in engines)


def test_an_engine_over_eight_has_as_many_requests_in_flight_as_two_over_four(
    haproxy: HAProxy, engines: list[FakeEngine]
) -> None:
    whole, *halves = engines
    haproxy.use(
        [
            engine_at("gpu1", whole.port),
            *(engine_at(f"gpu2-{n}", half.port, tensor_parallel_size=4) for n, half in enumerate(halves)),
        ]
    )
    haproxy.start()
    assert weights(haproxy.until(balancer.wait_checked)) == {"gpu1": 100, "gpu2-0": 50, "gpu2-1": 50}
    with in_flight(haproxy.port, engines, IN_FLIGHT) as asked:
        sessions = {name: server.sessions for name, server in haproxy.look().servers.items()}
    assert sessions == {
        "gpu1": pytest.approx(IN_FLIGHT / 2, abs=1),
        "gpu2-0": pytest.approx(IN_FLIGHT / 4, abs=1),
        "gpu2-1": pytest.approx(IN_FLIGHT / 4, abs=1),
    }
    assert {answer.result().status for answer in asked} == {200}


def test_a_reload_with_other_weights_moves_no_server_in_or_out(haproxy: HAProxy, engines: list[FakeEngine]) -> None:
    ports = [engine.port for engine in engines]
    small = [engine_at(f"gpu{n}", port, tensor_parallel_size=4) for n, port in enumerate(ports, 1)]
    haproxy.use(small)
    haproxy.start()
    haproxy.until(balancer.wait_checked)
    haproxy.ask(balancer.weigh({"gpu1": 0, "gpu2": 60}))  # traffic that was moved, and is not permanent
    haproxy.drain("gpu3")
    with in_flight(haproxy.port, engines, 4) as asked:
        large = engine_at("gpu4", ports[0], accelerator_count=16)
        haproxy.use([*small, large])
        haproxy.hook("ExecReload")
        now = haproxy.look()
        assert weights(now) == {"gpu1": 0, "gpu2": 15, "gpu3": 25, "gpu4": 100}
        assert [now.servers[f"gpu{n}"].state for n in (1, 2, 3)] == ["STANDBY", "UP", "DRAIN"]
        assert now.servers["gpu2"].sessions == 4
        haproxy.until(lambda now, **limits: balancer.wait_undrained(now, "gpu4", **limits))
    assert {answer.result().status for answer in asked} == {200}

    haproxy.use(small)  # and back
    haproxy.hook("ExecReload")
    assert weights(haproxy.look()) == {"gpu1": 0, "gpu2": 60, "gpu3": 100}


def weights(rotation: balancer.Rotation) -> dict[str, int]:
    return {name: server.weight for name, server in rotation.servers.items()}
