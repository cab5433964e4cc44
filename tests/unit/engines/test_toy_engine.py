"""An engine is a file and an entry of the catalog: a toy that only this test knows is planned, asked and explained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from barewind.balancer.config import haproxy_config
from barewind.compile_cache import commands as cache_commands
from barewind.compile_cache import plan as cache_plan
from barewind.engines import ENGINES
from barewind.errors import BarewindError
from barewind.gate import evaluation, explain
from barewind.gate import plan as gates
from barewind.gate.facts import GateObservation
from barewind.gate.plan import Gate, Observation, Progress
from barewind.lock import resolve
from barewind.mirror.contents import mirrors
from barewind.plan import checks
from barewind.plan.engine import plan_site
from barewind.release.record import read_record, record_of
from barewind.release.unit import engine_unit
from barewind.site.read import read_site
from barewind.spec.keys import EngineSpec
from barewind.spec.site import Site
from barewind.status import commands as status
from tests.support import toy_engine
from tests.support.factories import MEDIUM, UNPRIVILEGED, balancer_spec, engine_entry, engine_spec, entry, locked, plan
from tests.support.fake_fleet import sections
from tests.support.shell import Programs, Shell

REPOSITORY = Path(__file__).parents[3]
NAMES = tuple(ENGINES)  # before the toy is registered
UNIT = "barewind-engine.service"
TOY_DRAFT = {"with": f"/models/{MEDIUM}-EAGLE"}


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    toy_engine.register(monkeypatch)


def toy_spec(**changes: Any) -> EngineSpec:
    return engine_spec(engine="toy", channel="stable", **changes)


def site(**changes: Any) -> Site:
    """An inventory of one host with the toy and a balancer, as a user writes it."""
    host = engine_entry("10.0.0.1", **{"engine": "toy", "channel": "stable"} | changes)
    return read_site([host, entry("10.0.0.9", "balancers")])


def problems(**changes: Any) -> str:
    with pytest.raises(BarewindError) as caught:
        site(**changes)
    return str(caught.value)


# --- Plan ---


def test_it_is_planned_from_an_inventory() -> None:
    written = site()
    made = plan_site(written, locked(written.engines["10.0.0.1"]))["10.0.0.1"]

    assert checks.problems(made) == []
    assert made.image == "docker.io/toys/toy:release-2.1.0"
    assert [layout for *_, layout in made.revisions] == ["hf", "mistral"]
    assert made.command.argv == [
        *("toy-server", "run", "--weights", f"/models/{MEDIUM}", "--call-it", MEDIUM),
        *("--listen", "10.0.0.1", "--tcp-port", "8000", "--shards", "8", "--window", "262144", "--tools", "--think"),
        *("--guess", json.dumps(TOY_DRAFT), "--memory-share", "0.9", "--at-once", "512"),
    ]
    assert made.command.env == UNPRIVILEGED | {
        "HF_HUB_OFFLINE": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
        "TOY_CACHE": "/cache",
    }


def test_keys_and_engine_args_become_its_options() -> None:
    changes: dict[str, Any] = {
        "modality": "image",
        "images_per_prompt": 3,
        "kv_cache_dtype": "fp8",
        "speculative": False,
    }
    argv = plan(toy_spec(**changes, engine_args={"at_once": 7, "think": False, "colour": "red"})).command.argv
    assert argv[argv.index("--pictures") + 1] == '{"image": 3}'
    assert argv[argv.index("--cache-type") + 1] == "eight-bit"
    assert argv[argv.index("--at-once") + 1] == "7"
    assert argv[argv.index("--colour") + 1] == "red"
    assert "--think" not in argv


def test_alike_hosts_serve_the_same_release_each_on_its_own_address() -> None:
    releases = {plan(toy_spec(host=f"gpu{number}", address=f"192.0.2.{number}")).release for number in (1, 2)}
    assert len(releases) == 1
    assert releases != {plan(toy_spec(engine_port=9000)).release}
    assert releases.isdisjoint(plan(engine_spec(engine=name, channel="stable")).release for name in NAMES)


def test_its_memory_is_what_its_traits_say() -> None:
    # the whole vision tower (5356443136 bytes) in every accelerator with images, a share of it with text
    text, images = plan(toy_spec()).sizing.fit, plan(toy_spec(modality="image")).sizing.fit
    assert text is not None
    assert images is not None
    assert images.weights_mib - text.weights_mib == pytest.approx(5356443136 * 7 / 8 / 2**20, abs=1)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"engine": "toi"}, "key 'engine': unknown engine 'toi': did you mean 'toy'?"),
        ({"engine_args": {"listen": "0.0.0.0"}}, "'listen' is set by the key 'address'"),  # noqa: S104
        ({"engine_args": {"slices": 2}}, "'slices' is set by the key 'tensor_parallel_size'"),
        ({"engine_args": {"memory-share": 1.5}}, "'memory-share': Input should be less than 1"),
        ({"engine_args": {"pictures": {"image": 2}}}, "'pictures' needs images"),
        ({"image": "r/toy:release-1.9.0"}, "toy 1.9.0 (r/toy:release-1.9.0) is older than 2.0.0"),
        ({"image": "r/toy:release-2.0.1"}, "is known not to work: its spring breaks"),
        ({"image": "r/toy:release-2.0.2", "speculative": True}, "is older than 2.1.0, the first that drafts"),
        ({"accelerator": "mi300x"}, 'toy has no "stable" image for amd accelerators (channels: none)'),
    ],
)
def test_what_does_not_go_with_it_is_refused(changes: dict[str, Any], problem: str) -> None:
    assert problem in problems(**changes)


def test_its_image_and_weights_are_locked_and_mirrored() -> None:
    wanted = resolve.needs(site())
    assert list(wanted.images) == ["docker.io/toys/toy:release-2.1.0"]
    assert [layout for _, _, layout in wanted.weights] == ["hf", "mistral"]
    mirrored = site(mirror="mirror.example:5000")
    (mirror,) = mirrors(mirrored, locked(*mirrored.engines.values()))
    assert [image.repository for image in mirror.images.values()] == ["docker.io/toys/toy"]


# --- Unit and balancer ---


def test_its_unit_runs_its_command() -> None:
    made = plan(toy_spec())
    lines = [line.strip().removesuffix(" \\") for line in engine_unit(made).splitlines()]
    assert f"{made.pinned_image} toy-server run" in lines
    assert "--listen 192.0.2.11" in lines
    assert "--env=TOY_CACHE=/cache" in lines


def test_balancers_ask_whether_it_is_ready() -> None:
    assert "http-check send meth GET uri /open" in haproxy_config(balancer_spec(), [toy_spec()])


def test_engines_that_no_balancer_can_check_as_one_are_not_mixed() -> None:
    with pytest.raises(
        BarewindError, match=r"key 'engine': one endpoint, but toy, vllm tell their health on different"
    ):
        read_site([engine_entry("10.0.0.1", engine="toy"), engine_entry("10.0.0.2"), entry("10.0.0.9", "balancers")])


def test_its_compile_cache_is_packed_while_it_lives() -> None:
    cache = cache_plan.cache_of(plan(toy_spec()))
    assert cache is not None
    assert " http://192.0.2.11:8000/alive\n" in cache_commands.pack(cache)


# --- Gate ---


class _Toy(BaseHTTPRequestHandler):
    """The toy as a server: everything under its own paths."""

    def do_GET(self) -> None:
        answers = {"/open": "", "/list": json.dumps({"data": [{"id": MEDIUM}]}), "/figures": "toy:busy 2\n"}
        self._answer(answers.get(self.path))

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message: dict[str, Any] = {"role": "assistant", "content": "Hi"}
        if "tools" in asked:
            call = {"name": asked["tools"][0]["function"]["name"], "arguments": '{"unit": "celsius"}'}
            message["tool_calls"] = [{"function": call}]
        elif asked.get("reasoning_effort") == "high":
            message["thoughts"] = "Well"
        choice = {"message": message, "finish_reason": "stop"}
        answer = json.dumps({"choices": [choice], "usage": {"completion_tokens": 1}})
        self._answer(answer if self.path == "/talk" else None)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, text: str | None) -> None:
        self.send_response(404 if text is None else 200)
        self.send_header("Content-Length", str(len(text or "")))
        self.end_headers()
        self.wfile.write((text or "").encode())


@contextmanager
def running() -> Iterator[str]:
    """The toy's URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Toy) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def gate(**changes: Any) -> Gate:
    return gates.of(plan(toy_spec(**changes)))


def observe(wanted: Gate, shell: Shell, programs: Programs) -> Observation:
    """How the running toy stands, by the script that hosts run."""
    programs(
        systemctl='case "$*" in *-P*) echo active;; *) echo ActiveState=active; echo NRestarts=0; echo Result=success;; esac',
        docker="exit 1",
    )
    with running() as url:
        done = shell(GateObservation().command(replace(wanted, url=url)))
    return GateObservation().process(done.stdout.splitlines())


def test_its_gate_asks_for_what_its_options_enable() -> None:
    everything = ["completion", "image", "tool", "reasoning_on", "reasoning_off"]
    assert [probe.name for probe in gate(modality="image").probes] == everything
    quiet = gate(engine_args={"think": False, "tools": False, "keep-figures-secret": True})
    assert ([probe.name for probe in quiet.probes], quiet.metrics) == (["completion"], None)


def test_it_passes_its_gate(shell: Shell, programs: Programs) -> None:
    wanted = gate(modality="image")
    observation = observe(wanted, shell, programs)
    assert gates.findings(wanted, observation) == []
    assert gates.judge(wanted, observation, Progress(), waited=1).outcome == "passed"


def test_a_wrong_answer_is_found(shell: Shell, programs: Programs) -> None:
    wanted = gate()
    observation = observe(wanted, shell, programs)
    silent = json.dumps({"choices": [{"message": {"role": "assistant"}}], "usage": {"completion_tokens": 1}})
    wrong = replace(
        observation, answers={**observation.answers, "reasoning_on": (200, silent)}, metrics=(), models=(404, "")
    )
    assert gates.findings(wanted, wrong) == [
        "/list: HTTP 404",
        "an answer with reasoning: 'thoughts' is empty ({})",
        "/figures shows no figure that begins with toy:",
    ]


def test_a_new_release_is_measured_on_its_own_path() -> None:
    both = evaluation.Evaluation(None, 1, 0.5, 0.5)
    script = evaluation.measuring(gate(), both)
    assert "http://192.0.2.11:8000/talk" in script
    assert "/v1/" not in script


# --- Record, status, failure ---


def test_a_release_on_record_says_that_it_is_the_toys() -> None:
    made = plan(toy_spec(modality="image"))
    record = record_of(made, engine_unit(made))
    assert record.engine == "toy"
    again = read_record(record.text)
    assert again == record
    assert gates.of_record(again, plan()) == gates.of(made)


def test_its_status_and_metrics_are_read() -> None:
    written = site()
    plans = plan_site(written, locked(written.engines["10.0.0.1"]))
    command = status.looks(written, plans)["10.0.0.1"]
    assert all(part in command for part in ("http://10.0.0.1:8000/open", "/figures", "toy:busy", "toy:waiting"))
    answer = sections(
        state=["ActiveState=active", "NeedDaemonReload=no", "UnitFileState=enabled"],
        release=[str(plans["10.0.0.1"].release)],
        health=["200"],
        metrics=['toy:busy{part="a"} 2', 'toy:busy{part="b"} 1', "toy:waiting 4"],
    )
    (row,) = status.read(written, plans, {"10.0.0.1": ("\n".join(answer), "")}).engines
    assert (row.healthy, row.running, row.queued, row.findings) == (True, 3, 4, [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "toy: no room for 4096 tokens",
            "out of memory: the KV cache does not fit beside the weights; lower context_length",
        ),
        ("toy: spring broken: left", "the toy's spring left is broken; wind it up"),
        ("OSError: [Errno 98] Address already in use", "the port is taken by another process; end it"),
    ],
)
def test_its_failures_are_explained(line: str, reason: str) -> None:
    assert str(explain.explain(["winding up", line], "toy")).startswith(reason)
    assert all(explain.explain([line], name) is None for name in NAMES) or "Errno" in line


# --- Nobody else knows an engine ---


def test_no_other_file_names_an_engine() -> None:
    homes = {f"barewind/engines/{name}.py" for name in NAMES} | {"barewind/engines/__init__.py"}
    word = re.compile("|".join(NAMES), re.IGNORECASE)
    naming = []
    for folder in ("barewind", "tasks", "templates"):
        for file in (REPOSITORY / folder).rglob("*"):
            path = str(file.relative_to(REPOSITORY))
            if not file.is_file() or "__pycache__" in path or path.startswith("barewind/catalog/") or path in homes:
                continue
            if file.is_symlink():  # to group_data/all.py, where people read which engines there are
                continue
            naming += [
                f"{path}:{number}" for number, line in enumerate(file.read_text().splitlines(), 1) if word.search(line)
            ]
    assert naming == []
