"""Plans of a site -> what each host copies, from where, and whom it serves."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from barewind.plan.engine import plan_host
from barewind.weights.plan import HostJob, host_jobs, program
from tests.support.factories import engine_spec, locked


def site(*hosts: dict[str, Any]) -> dict[str, HostJob]:
    """Jobs of hosts gpu1, gpu2, ... that differ in the keys given."""
    specs = [
        engine_spec(**{"host": f"gpu{number}", "address": f"192.0.2.{number}"} | keys)
        for number, keys in enumerate(hosts, start=1)
    ]
    return host_jobs({spec.host: plan_host(spec, locked(spec)) for spec in specs})


def rings(job: HostJob) -> list[list[str]]:
    return [file_set["ring"] for file_set in job.data["sets"]]


def test_hosts_that_want_the_same_files_stand_in_one_ring_in_the_order_of_their_addresses() -> None:
    jobs = site({"address": "192.0.2.30"}, {"address": "192.0.2.4"}, {"address": "192.0.2.100"})
    assert {tuple(ring) for job in jobs.values() for ring in rings(job)} == {("gpu2", "gpu1", "gpu3")}
    assert jobs["gpu1"].peers == ("gpu2", "gpu3")
    assert jobs["gpu1"].data["peers"] == jobs["gpu2"].data["peers"]


def test_a_host_without_the_draft_shares_the_model() -> None:
    jobs = site({}, {}, {"speculative": False})
    assert rings(jobs["gpu1"]) == [["gpu1", "gpu2", "gpu3"], ["gpu1", "gpu2"]]
    assert rings(jobs["gpu3"]) == [["gpu1", "gpu2", "gpu3"]]


def test_another_revision_is_another_ring() -> None:
    spec = engine_spec(host="gpu1", address="192.0.2.1")
    other = engine_spec(host="gpu2", address="192.0.2.2")
    jobs = host_jobs(
        {
            "gpu1": plan_host(spec, locked(spec)),
            "gpu2": plan_host(other, locked(other, revision="e" * 40)),
        }
    )
    assert rings(jobs["gpu1"]) == [["gpu1"], ["gpu1", "gpu2"]]  # the draft is the same


def test_a_host_alone_opens_no_port() -> None:
    (job,) = site({}).values()
    assert (job.peers, job.data["peers"], job.firewall) == ((), [], None)
    assert job.data["endpoint"] == "https://huggingface.co"


@pytest.mark.parametrize(
    ("keys", "endpoint", "source"),
    [
        ({}, "https://huggingface.co", "hub"),
        ({"weights_path": "http://mirror/models"}, "http://mirror/models", "mirror"),
        ({"weights_source": "hub"}, "https://huggingface.co", "hub"),
        ({"weights_source": "mirror", "weights_path": "http://mirror/models"}, "http://mirror/models", "mirror"),
    ],
)
def test_where_files_come_from_in_the_first_place(keys: dict[str, Any], endpoint: str, source: str) -> None:
    jobs = site(keys, keys)
    assert {(job.data["endpoint"], job.data["source"]) for job in jobs.values()} == {(endpoint, source)}
    assert bool(jobs["gpu1"].peers) == ("weights_source" not in keys)


def test_files_in_a_path_are_asked_of_nobody() -> None:
    (job,) = site({"weights_source": "path", "weights_path": "/srv/models"}).values()
    assert "endpoint" not in job.data
    assert job.path == "/srv/models"
    assert job.data["sets"][0]["path"] == f"/srv/models/mistralai--Mistral-Medium-3.5-128B/{'c' * 40}-mistral"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"weights_source": "path"}, "wants the hosts' directory"),
        ({"weights_source": "path", "weights_path": "http://mirror"}, "wants the hosts' directory"),
        ({"weights_source": "mirror"}, "wants the mirror's http(s) URL"),
        ({"weights_source": "mirror", "weights_path": "/srv"}, "wants the mirror's http(s) URL"),
        ({"weights_source": "hub", "weights_path": "http://mirror"}, "does not use; remove one of the two"),
        ({"weights_path": "/srv"}, "does not use; remove one of the two"),
        ({"weights_path": "relative"}, "write an absolute path or an http(s) URL"),
        ({"weights_rate_limit": 0.0}, "greater than 0"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        engine_spec(**keys)


def test_the_firewall_lets_in_who_wants_the_same_files() -> None:
    jobs = site({}, {}, {"address": "2001:db8::3"}, {"weights_source": "hub"})
    rules = jobs["gpu1"].firewall
    assert rules is not None
    accepted = [line.strip() for line in rules.splitlines() if "accept" in line and "saddr" in line]
    assert accepted == [
        "ip saddr 192.0.2.1 tcp dport 8010 accept",
        "ip saddr 192.0.2.2 tcp dport 8010 accept",
        "ip6 saddr 2001:db8::3 tcp dport 8010 accept",
    ]
    assert rules.rstrip().endswith("tcp dport 8010 drop\n  }\n}")
    assert jobs["gpu4"].firewall is None


def test_a_host_that_only_passes_on_asks_nobody_and_has_no_token() -> None:
    job = site({}, {})["gpu1"]
    directory = next(iter(job.directories))
    serving = job.only([directory])
    assert list(serving.directories) == [directory]
    assert "endpoint" not in serving.data
    assert serving.id != job.id
    assert serving.peers == job.peers


def test_the_limit_is_in_bytes_for_the_program() -> None:
    assert site({"weights_rate_limit": 12.5})["gpu1"].data["rate_limit"] == 12_500_000


def test_the_program_is_the_same_each_time_and_runs_without_anything_of_ours(tmp_path: Path) -> None:
    program.cache_clear()
    first = program()
    program.cache_clear()
    assert program() == first
    file = tmp_path / "agent.pyz"
    file.write_bytes(first)
    script = (
        "import sys; sys.path[:0] = [sys.argv[1]]; import barewind.weights.agent.agent as a; "
        "assert a.__file__.startswith(sys.argv[1]), a.__file__"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(file)], capture_output=True, text=True, cwd="/"
    )
    assert (done.returncode, done.stderr) == (0, "")
