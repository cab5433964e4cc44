"""The real `pyinfra` command in a folder of its own, with pyinfra's @fake connector in place of hosts."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.factories import MEDIUM
from tests.support.fake_fleet import READY, Clone, balancer, engine, gate, responses, serving


def assert_refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert done.returncode != 0
    for text in said:
        assert text in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "Starting operation" not in done.stderr


def test_the_whole_order_of_a_first_deploy(clone: Clone) -> None:
    clone.inventory(engines=[engine(1), engine(2)], balancers=[balancer()])

    done = clone.pyinfra("site.py", "deploy.py", "--dry", "--json")

    assert done.returncode == 0, done.stderr
    gpus, balancers = ["@fake/gpu1", "@fake/gpu2"], ["@fake/lb1"]
    assert [(one["name"], sorted(one["hosts_with_change"])) for one in json.loads(done.stdout)["plan"]] == [
        ("Docker | Engine", gpus),
        ("NVIDIA | Software", gpus),
        ("NVIDIA | Kernel module", gpus),
        ("NVIDIA | Restart, if need be", gpus),
        ("NVIDIA | Services", gpus),
        ("NVIDIA | Accelerators are as planned", gpus),
        ("Image | By digest", gpus),
        ("Weights | Of model and draft", gpus),
        ("Everything is in place", []),
        ("History | On record", gpus),
        ("Engine | Unit", gpus),
        ("Gate | Engine answers", gpus),
        ("History | Phases of its start", []),
        ("Compile cache | Packed for other hosts", []),
        ("History | It serves", gpus),
        ("Rotation | Batch 1 of 1: undrain", gpus),
        ("The batch serves", []),
        ("Keys | Who may ask", balancers),
        ("Image | Of earlier releases", []),
        ("Keys | Usage", balancers),
        ("Balancer | HAProxy", balancers),
        ("Balancer | Certificate", []),
        (f"Gate | Endpoint answers for {MEDIUM}", balancers),
    ]


def test_one_failing_engine_stops_the_deploy_before_the_balancer_and_no_secret_is_shown(clone: Clone) -> None:
    token = clone.path / "token"
    token.write_text("hf_very_secret")
    token.chmod(0o600)
    broken = {"journalctl -u barewind-engine": gate("CUDA out of memory", state="failed")}  # the gate's look
    clone.inventory(
        engines=[
            engine(1, responses(**READY), accelerator_drivers="external", hub_token_file=str(token)),
            engine(2, responses(**READY) | broken, accelerator_drivers="external"),
        ],
        balancers=[balancer()],
    )

    done = clone.pyinfra("site.py", "deploy.py", "-y", "-vvv", "--debug")

    assert done.returncode != 0
    started = [line.split(": ", 1)[1].strip() for line in done.stderr.splitlines() if "Starting operation: " in line]
    assert started[-1].startswith("Gate | Engine answers")
    assert "Weights | Of model and draft" in started
    assert "out of memory" in done.stderr
    assert "systemd-run --quiet --unit=barewind-weights" in done.stderr  # what gets the token on its standard input
    shown = done.stdout + done.stderr
    logs = "".join(file.read_text() for file in clone.path.glob("*.log"))
    assert "hf_very_secret" not in shown + logs


def test_preflight_asks_each_host_once(clone: Clone) -> None:
    clone.inventory(engines=[engine(1, responses(os=["debian 10"])), engine(2)])
    done = clone.pyinfra("site.py", "deploy.py", "-y", "--debug")
    asked = [line for line in done.stderr.splitlines() if "simulating command" in line and "os-release" in line]
    assert len(asked) == 2


def test_preflight_shows_every_problem_of_every_host_in_one_table_and_nothing_runs(clone: Clone) -> None:
    clone.inventory(
        engines=[engine(1, responses(os=["debian 10"], listener=["nginx"])), engine(2, responses(pci=[]))],
        balancers=[balancer()],
    )

    done = clone.pyinfra("site.py", "deploy.py", "-y")

    assert_refused(done, "preflight: 3 problem(s) on 2 host(s), see the table; nothing was changed")
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in done.stderr.splitlines() if "│" in line]
    assert [row[:2] for row in rows if row[0]] == [
        ["@fake/gpu1", "runs debian 10"],
        ["@fake/gpu1", "port 8000 is taken by 'nginx'"],
        ["@fake/gpu2", "has no accelerator on its PCI bus, the inventory says 8 x h200"],
    ]


def test_a_host_whose_state_cannot_be_read_is_a_row_of_the_table_too(clone: Clone) -> None:
    unreadable = responses() | {"/etc/os-release": {"success": False, "stderr": "sudo: a password is required"}}
    clone.inventory(engines=[engine(1, unreadable), engine(2, responses(os=["debian 10"]))])
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert_refused(
        done, "sudo: a password is required", "its state cannot be read", "preflight: 2 problem(s) on 2 host(s)"
    )


def test_without_a_lock_nothing_runs_and_the_next_step_is_named(clone: Clone) -> None:
    (clone.path / "barewind.lock.yaml").unlink()
    clone.inventory(engines=[engine(1)])
    assert_refused(clone.pyinfra("site.py", "deploy.py", "-y"), "nothing was changed", "run: barewind lock INVENTORY")


def test_a_limit_deploys_only_what_it_names(clone: Clone) -> None:
    clone.inventory(engines=[engine(1), engine(2, responses(os=["debian 10"]))], balancers=[balancer()])
    done = clone.pyinfra("site.py", "deploy.py", "--dry", "--json", "--limit", "@fake/gpu1")
    assert done.returncode == 0, done.stderr
    hosts = {host for one in json.loads(done.stdout)["plan"] for host in one["hosts_with_change"]}
    assert hosts == {"@fake/gpu1"}


@pytest.mark.parametrize(
    ("inventory", "arguments", "said"),
    [
        (None, ["nowhere.py"], "nowhere.py: no such inventory file; see inventory/prod.py for an example."),
        ("engines = []\n", ["site.py"], "site.py: no host in it; see inventory/prod.py for an example."),
        (
            "engines = [('@fake/a', 'h200')]\n",
            ["site.py"],
            "site.py: group 'engines', host 1: found ('@fake/a', 'h200'); write \"name\" or (\"name\", {\"key\": value}).",
        ),
        (
            "engines = [('@fake/a', {'adress': '10.0.0.1', 'accelerator': 'h200', 'accelerator_count': 8})]\n",
            ["site.py"],
            "site.py: host '@fake/a': key 'adress': unknown; did you mean 'address'?",
        ),
        (
            "engines = [('@fake/a', {'address': '10.0.0.1', 'accelerator': 'h200', 'accelerator_count': 8})]\n",
            ["site.py", "--limit", "nobody"],
            "",
        ),
        (
            "engines = [('@fake/a', {'address': '10.0.0.1', 'accelerator': 'h200', 'accelerator_count': 8})]\n",
            ["site.py", "--limit", "engine*", "--exclude", "@fake/a"],
            "",
        ),
    ],
    ids=["missing", "empty", "malformed host", "misspelled key", "limit without a match", "all excluded"],
)
def test_what_pyinfra_lets_pass_with_status_0_is_refused(
    clone: Clone, inventory: str | None, arguments: list[str], said: str
) -> None:
    clone.inventory(inventory or "engines = []\n")
    file, *options = arguments
    assert_refused(clone.pyinfra(file, "deploy.py", "-y", *options), said or "no host")


@pytest.mark.parametrize("what", ["deploy.py", "tasks/steps/gate.py", "tasks.steps.gate.engines"])
@pytest.mark.parametrize("flag", ["--no-wait", "--serial"])
def test_an_order_that_knows_no_batches_is_refused(clone: Clone, flag: str, what: str) -> None:
    clone.inventory(engines=[engine(1)], balancers=[balancer()])
    done = clone.pyinfra("site.py", what, "-y", flag)
    assert_refused(done, f"nothing was changed\n{flag}: ", "a rollout goes batch by batch; leave it out")
    assert "Connecting to hosts" not in done.stderr


@pytest.mark.parametrize("arguments", [("deploy.py", "--dry"), ("exec", "--", "uptime"), ("debug-inventory",)])
def test_an_order_of_what_is_no_rollout_is_free(clone: Clone, arguments: tuple[str, ...]) -> None:
    clone.inventory(engines=[engine(1)], balancers=[balancer()])
    done = clone.pyinfra("--serial", "-y", "site.py", *arguments)
    assert done.returncode == 0, done.stderr


def test_a_host_whose_state_cannot_be_read_in_its_turn_ends_the_run_without_a_traceback(clone: Clone) -> None:
    broken = {"docker image ls": ["@@barewind:images"]}
    clone.inventory(engines=[engine(1, serving() | broken, accelerator_drivers="external")], balancers=[balancer()])
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode != 0
    assert "login scripts and disk space" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("address", "url"), [("10.0.0.9", "http://10.0.0.9:8000"), ("fd00::2", "http://[fd00::2]:8000")]
)
def test_the_endpoints_gate_asks_where_clients_connect(clone: Clone, address: str, url: str) -> None:
    name, data = balancer()
    clone.inventory(engines=[engine(1)], balancers=[(name, data | {"address": address})])
    done = clone.pyinfra("site.py", "tasks.steps.gate.endpoint", "-y", "--debug")
    asked = [command for command in done.stderr.split("simulating command") if "@@barewind:answer" in command]
    assert asked
    assert all(f"{url}/v1/chat/completions" in command for command in asked)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"import sys\nsys.exit(3)\n", "group_data/all.py: ends the program (SystemExit with 3)"),
        (b"x ===\n", "group_data/all.py: SyntaxError: invalid syntax (all.py, line 1)"),
        (b"x = '\xff'\n", "group_data/all.py: is not UTF-8 (byte 0xff in line 1)"),
        (b"1/0\n", "group_data/all.py: ZeroDivisionError: division by zero"),
    ],
    ids=["exit", "syntax", "letters", "error"],
)
def test_group_data_that_cannot_be_read_ends_a_deploy_in_words(clone: Clone, content: bytes, said: str) -> None:
    clone.inventory(engines=[engine(1)])
    (clone.path / "group_data").mkdir(exist_ok=True)
    (clone.path / "group_data" / "all.py").write_bytes(content)
    assert_refused(clone.pyinfra("site.py", "deploy.py", "-y"), "nothing was changed", said)
