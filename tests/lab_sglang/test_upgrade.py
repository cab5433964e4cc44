"""The real SGLang upgraded, rolled back, stopped, and made to fail."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import wait
from lab.hosts import hosts
from lab.images.sglang_image import SGLANG
from tests.support import ports, sglang
from tests.support.commands import data
from tests.support.lab import ENGINE_UNIT, LAB, servers, started, weights_directory
from tests.support.upgrades import upgrade_and_way_back

pytestmark = pytest.mark.full  # each starts an engine at least once, which takes a minute of two cores

SHARD = "model-00001-of-00001.safetensors"


@pytest.fixture
def mended(fleet: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """For tests that break something: a deploy afterwards puts it right."""
    yield fleet
    assert LAB.deploy().status == 0


def test_a_rolling_upgrade_and_the_way_back_lose_no_request(fleet: tuple[str, ...], tmp_path: Path) -> None:
    upgrade_and_way_back(fleet, SGLANG, tmp_path, least=200, streams=4)


def test_an_option_that_only_the_running_engine_refuses_stops_at_the_first_host(mended: tuple[str, ...]) -> None:
    """It stays out, its reason is told, and the other host goes on."""
    before = {host: started(host) for host in mended}
    options = {**sglang.ENGINE_ARGS, "load-format": "gguf"}
    run = LAB.deploy(*data(engine_args=options))
    assert run.status != 0
    first, other = mended
    assert re.search(rf"{first}: release \w+ does not pass its gate: .+", run.output)
    assert f"{first}: reason: the engine crashed" in run.output
    assert "ValueError: /models/barewind-lab/Mistral-Tiny is not a file." in run.output  # its log's end is shown
    assert servers("lb1")[first].state != "UP"
    assert servers("lb1")[other].state == "UP"
    assert started(other) == before[other]


def test_an_unknown_option_is_refused_before_anything_changes(fleet: tuple[str, ...]) -> None:
    before = {host: started(host) for host in fleet}
    run = LAB.deploy(*data(engine_args={**sglang.ENGINE_ARGS, "gpu-memory-utilisation": 0.5}))
    assert run.status != 0
    assert "gpu-memory-utilisation" in run.output
    assert run.changed == set()
    assert {host: started(host) for host in fleet} == before


def test_damaged_weights_are_not_served_and_fetched_again_from_the_other_host(mended: tuple[str, ...]) -> None:
    host, other = mended
    file = f"{weights_directory(LAB, host)}/{SHARD}"
    hosts.exec(host, f"chmod 644 {file}; truncate -s -1000 {file}; systemctl restart {ENGINE_UNIT}", check=False)
    wait.until(lambda: servers("lb1")[host].state == "DOWN", 60, f"{host} still gets requests")
    assert "changed since its SHA-256 was checked" in hosts.exec(host, f"journalctl -u {ENGINE_UNIT} -n 50").stdout
    assert sglang.chat(other).status == 200
    run = LAB.deploy()
    assert run.status == 0
    assert f"[{host}] has all" in run.output
    assert sglang.chat(host).status == 200


def test_a_stop_lets_running_requests_end(mended: tuple[str, ...]) -> None:
    """/ready turns 503 at once, what runs ends whole, and the unit ends by itself."""
    host = mended[0]
    answers: list[sglang.Answer] = []
    long = {"max_tokens": 500, "ignore_eos": True, "stream": True}
    asking = [threading.Thread(target=lambda: answers.append(sglang.chat(host, **long))) for _ in range(4)]
    for thread in asking:
        thread.start()
    running = "sglang:num_running_reqs{.*} 4.0"
    wait.until(lambda: re.search(running, sglang.ask(host, "/metrics").text) is not None, 60, "no request runs")
    stopping = threading.Thread(target=lambda: hosts.exec(host, f"systemctl stop {ENGINE_UNIT}"))
    stopping.start()
    wait.until(lambda: sglang.ask(host, "/ready").status == 503, 60, "/ready is not 503")
    assert sglang.ask(host, "/health").status == 503
    assert sglang.chat(host).status == 200  # new requests are taken for as long as it runs
    for thread in (*asking, stopping):
        thread.join()
    assert [answer.text.rstrip().endswith("data: [DONE]") for answer in answers] == [True] * 4
    assert all('"finish_reason":"length"' in answer.text for answer in answers)
    assert hosts.exec(host, f"systemctl show -P Result {ENGINE_UNIT}").stdout.strip() == "success"


def test_two_processes_share_a_model(mended: tuple[str, ...]) -> None:
    """Tensor parallelism over Gloo; on a processor SGLang wants to be told which cores each takes."""
    host = mended[0]
    cores = {"SGLANG_CPU_OMP_THREADS_BIND": "0|1"}
    run = LAB.deploy("--limit", host, "--limit", "lb1", *data(accelerator_count=2, engine_env=cores))
    assert run.status == 0
    assert "--tp-size 2" in hosts.exec(host, "docker inspect -f '{{join .Config.Cmd \" \"}}' barewind-engine").stdout
    assert hosts.exec(host, "pgrep -fc '[s]glang::scheduler_TP'").stdout.strip() == "2"
    assert sglang.chat(host).status == 200
    assert ports.answering(host, "services") == {22}
    assert ports.answering(host, "lb1") == {22, 8000}
    open_to_all = ports.beyond_loopback(host) - {22, 8000}
    assert len(open_to_all) == 1  # torch's TCPStore, whatever address it is given
    assert 22000 <= min(open_to_all) <= 29999
