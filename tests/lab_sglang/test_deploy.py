"""From a bare machine to a request that the real SGLang has answered."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from barewind.engines.sglang import SGLANG
from barewind.gate import probes
from lab import topology, wait
from lab.hosts import hosts
from tests.support import ports, sglang
from tests.support.commands import json_of
from tests.support.lab import LAB, ask, plans, runs_as_planned, started, weights_directory
from tests.support.sglang import FirstDeploy
from tests.support.starts import phases_are_told

HOST = "sglang1"
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"enum": ["Paris"]}}}},
}


def status() -> dict[str, Any]:
    """What `barewind status` says of the host."""
    rows = json_of("barewind", "status", "--json", LAB.inventory)["engines"]
    return next(row for row in rows if row["host"] == HOST)


def test_a_request_is_answered_through_the_balancer(first_deploy: FirstDeploy) -> None:
    assert first_deploy.run.status == 0
    answer = ask()
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] >= 1
    assert answer.json()["metadata"]["weight_version"]  # a field that SGLang alone has


def test_weights_came_in_its_layout_from_the_hub_and_are_checked(served: None, first_deploy: FirstDeploy) -> None:
    plan = plans(LAB)[HOST]
    assert plan["model"]["layout"] == "hf"
    folder = weights_directory(LAB, HOST)
    names = hosts.exec(HOST, f"cd {folder} && sha256sum --quiet -c SHA256SUMS && ls").stdout.split()
    assert {"config.json", "model-00001-of-00001.safetensors", "processor_config.json", "tekken.json"} <= set(names)
    assert not {"params.json", "consolidated.safetensors"} & set(names)
    assert "model-00001-of-00001.safetensors" in first_deploy.fetched
    assert not {"params.json", "consolidated.safetensors"} & first_deploy.fetched


def test_second_run_changes_nothing_and_restarts_nothing(served: None) -> None:
    before = (started(HOST), started("lb1", "haproxy.service"))
    run = LAB.deploy()
    assert run.status == 0
    assert run.changed == set()
    assert (started(HOST), started("lb1", "haproxy.service")) == before


def test_the_history_tells_the_phases_of_the_start(served: None) -> None:
    phases_are_told(LAB, HOST)


def test_what_plan_prints_is_what_runs(served: None) -> None:
    runs_as_planned(LAB, HOST)


def test_verification_passes(served: None) -> None:
    assert LAB.verify().status == 0


def test_reasoning_comes_in_its_own_field_when_it_is_asked_for(served: None) -> None:
    field = SGLANG.reasoning_field
    assert sglang.chat(HOST, reasoning_effort="high").message[field]
    without = sglang.chat(HOST, reasoning_effort="none").message
    assert without[field] is None
    assert without["content"]


def test_every_probe_of_the_gate_is_answered(served: None) -> None:
    model = topology.MODEL
    asked = [
        probes.completion(model),
        probes.image(model),
        probes.tool(model, strict=False),
        probes.reasoning_on(model, strict=False, field=SGLANG.reasoning_field),
        probes.reasoning_off(model, strict=False, field=SGLANG.reasoning_field),
    ]
    for probe in asked:
        assert probes.problem(probe, *sglang.ask(HOST, SGLANG.chat_path, probe.body)) == ""


def test_no_image_is_fetched_from_an_address_that_a_request_names(served: None) -> None:
    """Images in the request itself are answered, as the gate's probe above shows."""
    unit = "systemd-run -q --unit=listener -p StandardError=file:/run/listener.log python3 -um http.server -b 127.0.0.1 8999"
    hosts.exec(HOST, f"{unit}; until curl -s -o /dev/null 127.0.0.1:8999/before; do sleep 0.1; done")
    try:
        for url in ("http://127.0.0.1:8999/image.png", "http://localhost:8999/image.png"):
            content = [{"type": "image_url", "image_url": {"url": url}}]
            body = {"model": topology.MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": content}]}
            assert sglang.ask(HOST, SGLANG.chat_path, json.dumps(body)).status == 400
        log = hosts.exec(HOST, "cat /run/listener.log").stdout
    finally:
        hosts.exec(HOST, "systemctl stop listener; rm -f /run/listener.log")
    assert "/before" in log
    assert "/image.png" not in log


def test_an_answer_keeps_to_a_schema(served: None) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Paris"]}}, "required": ["city"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}
    answer = sglang.chat(HOST, response_format=wanted, max_tokens=400, reasoning_effort="none").message
    assert answer["content"].lstrip().startswith("{")
    assert "tool_calls" not in sglang.chat(HOST, tools=[TOOL], tool_choice="none").message


def test_status_tells_what_runs_and_what_waits(served: None) -> None:
    slots = plans(LAB)[HOST]["argv"]
    limit = int(slots[slots.index("--max-running-requests") + 1])
    long = {"max_tokens": 1200, "ignore_eos": True}
    asking = [threading.Thread(target=sglang.chat, args=(HOST,), kwargs=long) for _ in range(limit + 2)]
    for thread in asking:
        thread.start()
    try:
        wait.until(lambda: (status()["running"], status()["queued"]) == (limit, 2), 180, "status does not tell of them")
    finally:
        sglang.ask(HOST, "/abort_request", '{"abort_all": true}', key=sglang.admin_key(HOST))
        for thread in asking:
            thread.join()


@pytest.mark.parametrize(
    "name", ["sglang:num_running_reqs", "sglang:num_queue_reqs", "sglang:time_to_first_token_seconds"]
)
def test_metrics_have_the_names_that_barewind_reads(served: None, name: str) -> None:
    assert f"\n{name}" in sglang.ask(HOST, SGLANG.metrics.path).text


def test_the_container_is_told_nothing_but_the_plan(served: None) -> None:
    container = json.loads(hosts.exec(HOST, "docker inspect barewind-engine").stdout)[0]
    assert not container["Config"]["Entrypoint"]  # as upstream's image
    assert container["Config"]["Cmd"][:3] == list(SGLANG.entrypoint)


ADMIN = ("/flush_cache", "/freeze_gc", "/slow_down", "/start_profile", "/release_memory_occupation", "/abort_request")


@pytest.mark.parametrize("path", ADMIN)
def test_administration_wants_a_key(served: None, path: str) -> None:
    assert sglang.ask(HOST, path, "{}").status == 401
    assert sglang.ask(HOST, path, "{}", key="0" * 64).status == 401


def test_its_own_key_opens_it_and_shows_nowhere(served: None) -> None:
    key = sglang.admin_key(HOST)
    assert sglang.ask(HOST, "/freeze_gc", "{}", key=key).status == 200
    told = {
        "the container": hosts.exec(HOST, "docker inspect barewind-engine").stdout,
        "the unit": hosts.exec(HOST, "systemctl cat barewind-engine").stdout,
        "the plan": json.dumps(plans(LAB)[HOST]),
        "the processes": hosts.exec(HOST, "ps -eww -o args").stdout,
        "the log": hosts.exec(HOST, "journalctl -u barewind-engine --no-pager").stdout,
        "what it tells of itself": sglang.ask(HOST, "/server_info").text,
        "what it told of itself": sglang.ask(HOST, "/get_server_info").text,
    }
    assert [place for place, text in told.items() if key in text] == []
    assert '"admin_api_key"' in told["what it tells of itself"]


@pytest.mark.full  # tests/unit/release runs what makes the key twice
def test_each_start_makes_another_key(served: None) -> None:
    before = sglang.admin_key(HOST)
    hosts.exec(HOST, "systemctl restart barewind-engine")
    wait.until(lambda: sglang.ask(HOST, SGLANG.ready_path).status == 200, 300, "it does not come back")
    assert sglang.admin_key(HOST) != before
    assert sglang.ask(HOST, "/flush_cache", "{}", key=before).status == 401
    for path in (SGLANG.health_path, SGLANG.metrics.path, SGLANG.models_path):
        assert sglang.ask(HOST, path).status == 200
    assert sglang.chat(HOST).status == 200


def test_a_stranger_reaches_sshd_alone_and_a_balancer_the_engine(served: None) -> None:
    assert ports.answering(HOST, "services") == {22}
    assert ports.answering(HOST, "lb1") == {22, 8000}
