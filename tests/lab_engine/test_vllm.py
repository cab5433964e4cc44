"""From bare machines to a request that the real vLLM has answered, and its upgrade."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lab import topology
from lab.hosts import hosts
from lab.images.vllm_image import VLLM
from tests.support import pages, ports
from tests.support.commands import ROOT, Run, data
from tests.support.lab import LAB, ask, runs_as_planned, started
from tests.support.starts import phases_are_told
from tests.support.upgrades import upgrade_and_way_back

Hosts = tuple[str, ...]

# Counts what is fetched from a listener on the host; run in the engine's container.
MEDIA = """
import base64, http.server, io, json, sys, threading, urllib.error, urllib.request
from PIL import Image
from vllm.multimodal.media import MediaConnector

picture = io.BytesIO()
Image.new("RGB", (8, 8)).save(picture, "PNG")
asked = []

class Listener(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        self.send_response(302 if self.path == "/redirect" else 200)
        self.send_header("Location", "/image")
        self.send_header("Content-Length", str(len(picture.getvalue())))
        self.end_headers()
        self.wfile.write(picture.getvalue())

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"

def fetched(url, domains):
    asked.clear()
    try:
        MediaConnector(allowed_media_domains=domains).fetch_image(url)
    except Exception as error:
        print(type(error).__name__, error)
    return list(asked)

def ask(url):
    content = [{"type": "image_url", "image_url": {"url": url}}]
    body = {"model": sys.argv[2], "max_tokens": 1, "messages": [{"role": "user", "content": content}]}
    request = urllib.request.Request(sys.argv[1], json.dumps(body).encode(), {"Content-Type": "application/json"})
    asked.clear()
    try:
        return urllib.request.urlopen(request, timeout=60).status
    except urllib.error.HTTPError as error:
        return error.code

found = {
    "any domain": fetched(f"{base}/image", []),
    "no domain": fetched(f"{base}/image", ["media.invalid"]),
    "a redirect of a domain": fetched(f"{base}/redirect", ["127.0.0.1"]),
    "in the request": fetched("data:image/png;base64," + base64.b64encode(picture.getvalue()).decode(), ["media.invalid"]),
}
found["status of text only"] = ask(f"{base}/image")
print(json.dumps(found | {"text only": asked}))
"""


def test_a_request_is_answered_through_the_balancer(first_deploy: Run) -> None:
    assert first_deploy.status == 0
    answer = ask()
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] >= 1


def test_the_draft_head_is_used(fleet: Hosts) -> None:
    ask()
    for host in fleet:
        address = topology.find(host).address
        metrics = hosts.exec(host, f"curl -s http://{address}:8000/metrics").stdout
        drafted = [line for line in metrics.splitlines() if line.startswith("vllm:spec_decode_num_drafts_total")]
        assert drafted, f"{host} has no metric of drafts"
        assert sum(float(line.rsplit(" ", 1)[1]) for line in drafted) > 0


def test_second_run_changes_nothing_and_restarts_nothing(fleet: Hosts) -> None:
    before = [started(host) for host in fleet] + [started("lb1", "haproxy.service")]
    run = LAB.deploy()
    assert run.status == 0
    assert run.changed == set()
    assert [started(host) for host in fleet] + [started("lb1", "haproxy.service")] == before


def test_the_history_tells_the_phases_of_the_start(fleet: Hosts) -> None:
    for host in fleet:
        phases_are_told(LAB, host)


def test_what_plan_prints_is_what_runs(fleet: Hosts) -> None:
    for host in fleet:
        runs_as_planned(LAB, host)


def test_verification_passes(fleet: Hosts) -> None:
    assert LAB.verify().status == 0


def test_a_stranger_reaches_sshd_alone_and_a_balancer_the_engine(fleet: Hosts) -> None:
    for host in fleet:
        assert ports.answering(host, "services") == {22}
        assert ports.answering(host, "lb1") == {22, 8000}
        assert ports.beyond_loopback(host) == {22, 8000}


def test_the_demo_of_the_readme_ends_with_an_answer(fleet: None) -> None:
    pages.run("README.md", ROOT, os.environ, only="make demo")


@pytest.mark.full  # two deploys
def test_two_processes_that_share_a_model_open_no_port(fleet: Hosts) -> None:
    """A group of processes has a listener each; on the host's address they were, before."""
    run = LAB.deploy("--limit", "engine1", "--limit", "lb1", *data(accelerator_count=2))
    try:
        assert run.status == 0
        assert hosts.exec("engine1", "pgrep -fc '[V]LLM::Worker'").stdout.strip() == "2"
        assert len(ports.listeners("engine1")) > 4
        assert ports.beyond_loopback("engine1") == {22, 8000}
        assert ports.answering("engine1", "services") == {22}
        assert ports.answering("engine1", "lb1") == {22, 8000}
        assert ask().status_code == 200
    finally:
        assert LAB.deploy("--limit", "engine1", "--limit", "lb1").status == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "Hi"}], "logprobs": True, "top_logprobs": 2},
        ),
        ("/v1/completions", {"prompt": "Hi there", "prompt_logprobs": 2}),
    ],
    ids=["logprobs", "prompt_logprobs"],
)
def test_what_torch_compiles_at_the_first_request_ends_no_engine(
    fleet: Hosts, path: str, body: dict[str, object]
) -> None:
    """Ranks of tokens are counted by a kernel that needs a C++ compiler; without one the engine ended, and the fleet with it."""
    before = [started(host) for host in fleet]
    wanted = json.dumps({"model": topology.MODEL, "max_tokens": 2} | body)
    for host in fleet:
        url = f"http://{topology.find(host).address}:8000{path}"
        asked = f"curl -s -m 600 -o /dev/null -w '%{{http_code}}' -H 'Content-Type: application/json' -d @- {url}"
        assert hosts.exec(host, asked, text=wanted).stdout == "200"
    assert ask().status_code == 200
    assert [started(host) for host in fleet] == before


@pytest.mark.full  # conformance/test_media asks the same code with the same options; lab_sglang asks an engine
def test_no_image_is_fetched_from_an_address_that_a_request_names(fleet: Hosts) -> None:
    """vLLM's own connector in the container as it was deployed, with what is planned for images: docs/security.md."""
    engine = f"http://{topology.find('engine1').address}:8000/v1/chat/completions"
    found = hosts.exec(
        "engine1", f"docker exec -i barewind-engine python3 - {engine} {topology.MODEL}", text=MEDIA
    ).stdout
    assert json.loads(found.splitlines()[-1]) == {
        "any domain": ["/image"],  # the contrast: what vLLM does when it is told nothing
        "no domain": [],
        "a redirect of a domain": ["/redirect"],
        "in the request": [],
        "text only": [],
        "status of text only": 400,
    }


@pytest.mark.full  # four starts of vLLM under load; lab_rollouts upgrades and rolls back the stand-in
def test_an_upgrade_and_the_way_back_lose_no_request(fleet: Hosts, tmp_path: Path) -> None:
    """Another image of it, two hosts, light load."""
    upgrade_and_way_back(fleet, VLLM, tmp_path, least=20, streams=2)
