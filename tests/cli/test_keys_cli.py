"""`barewind keys` over @fake balancers, as a shell runs it: what goes where, and what is refused."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from barewind.keys import file, plan, text
from barewind.keys.commands import MODE
from barewind.keys.file import KeyFile
from tests.support.fake_fleet import PYINFRA, Clone, balancer, engine, responses
from tests.support.fake_runs import rows
from tests.support.keys import key

BAREWIND = str(PYINFRA.with_name("barewind"))


def told(content: KeyFile) -> list[str]:
    """What a balancer without HAProxy answers that knows these keys."""
    return [f"@@keys:file {MODE}", *plan.map_text(content).splitlines(), "@@keys:end"]


def lb(number: int, **answers: Any) -> tuple[str, dict[str, Any]]:
    """A balancer that answers so to what has these words in it."""
    _, data = balancer()
    return f"@fake/lb{number}", data | {"address": f"10.0.0.{8 + number}", "fake_responses": answers}


def run(clone: Clone, *words: str) -> subprocess.CompletedProcess[str]:
    command, *rest = words
    return subprocess.run(
        [BAREWIND, "keys", command, "site.py", *rest],
        cwd=clone.path,
        env=clone.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_key_alone_is_on_standard_output_and_in_no_file(clone: Clone) -> None:
    """The balancers' answers are those of no keys: they say so, and the key is shown all the same."""
    empty = told(KeyFile())
    clone.inventory(engines=[engine(1)], balancers=[lb(1, **{"keys.map": empty}), lb(2, **{"keys.map": empty})])
    done = run(clone, "add", "alpha/ci", "--rpm", "600", "--priority", "batch")
    assert done.returncode == 1
    assert text.is_key(done.stdout.removesuffix("\n"))
    made = done.stdout.strip()
    for name in ("@fake/lb1", "@fake/lb2"):
        assert f"{name}: lacks alpha/ci (...{made[-4:]}), although it was told. It does not let it in" in done.stderr
    assert made not in done.stderr
    assert "Traceback" not in done.stderr
    (entry,) = file.read(clone.path / "keys.yaml").keys
    assert (entry.id, entry.sha256, entry.requests_per_minute, entry.priority) == (
        "alpha/ci",
        text.sha256(made),
        600,
        "batch",
    )
    assert [one for one in clone.path.rglob("*") if one.is_file() and made in one.read_text(errors="ignore")] == []


def test_the_file_is_where_the_lock_file_is_unless_it_is_named(clone: Clone) -> None:
    (clone.path / "locks").mkdir()
    (clone.path / "barewind.lock.yaml").replace(clone.path / "locks" / "barewind.lock.yaml")
    clone.inventory(
        engines=[engine(1, lock_file="locks/barewind.lock.yaml")],
        balancers=[
            ("@fake/lb1", lb(1, **{"keys.map": told(KeyFile())})[1] | {"lock_file": "locks/barewind.lock.yaml"})
        ],
    )
    run(clone, "add", "alpha")
    assert (clone.path / "locks" / "keys.yaml").exists()


def test_every_balancer_that_differs_is_listed_with_the_way_out(clone: Clone) -> None:
    content = KeyFile(2, (key("alpha/ci"), key("beta")))
    file.write(content, clone.path / "keys.yaml")
    clone.inventory(
        engines=[engine(1)],
        balancers=[
            lb(1, **{"keys.map": told(content)}),
            lb(2, **{"keys.map": told(KeyFile(1, content.keys[:1]))}),
            lb(3, **{"keys.map": {"success": False, "stderr": "no route to host"}}),
        ],
    )
    done = run(clone, "list")
    assert done.returncode == 2
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["alpha/ci", "beta"]
    assert "@fake/lb2: lacks beta (...beta)" in done.stderr
    assert "@fake/lb3: does not answer (no route to host)" in done.stderr
    assert "To bring every balancer to the file: barewind keys sync site.py" in done.stderr
    found = json.loads(run(clone, "list", "--json").stdout)
    assert found["differences"] == {"@fake/lb1": [], "@fake/lb2": ["lacks beta (...beta)"]}
    assert list(found["silent"]) == ["@fake/lb3"]


def test_usage_is_summed_over_balancers_and_a_silent_one_is_told(clone: Clone) -> None:
    sums = ["@@usage:begin", "2026-11-30 alpha/ci 5 1 0 100 20 4 0", "@@usage:end"]
    clone.inventory(
        engines=[engine(1)],
        balancers=[
            lb(1, **{"/usage show": sums}),
            lb(2, **{"/usage show": sums}),
            lb(3, **{"/usage show": {"success": False, "stderr": "no route to host"}}),
        ],
    )
    done = run(clone, "usage", "--since", "2026-11-01", "--csv")
    assert done.returncode == 2
    assert done.stdout.splitlines() == [
        "day,id,requests,refused,failed,tokens_in,tokens_out,tokens_cached,estimated",
        "2026-11-30,alpha/ci,10,2,0,200,40,8,0",
    ]
    assert done.stderr == "@fake/lb3: no route to host. What it has carried is not in these sums\n"
    by_team = run(clone, "usage", "--by", "team", "--json")
    assert json.loads(by_team.stdout)[0] | {"team": "alpha", "requests": 10} == json.loads(by_team.stdout)[0]
    assert "10" in run(clone, "usage").stdout


def test_keys_are_for_balancers(clone: Clone) -> None:
    clone.inventory(engines=[engine(1)])
    for words in (("add", "alpha"), ("list",), ("usage",), ("session", "--", "true")):
        done = run(clone, *words)
        assert done.returncode == 1
        assert "no host in the group 'balancers'" in done.stderr
    assert not (clone.path / "keys.yaml").exists()


# --- In a deploy: before anything is changed ---------------------------------------------------------------------------


def test_an_older_file_is_refused_in_the_table_of_preflight(clone: Clone) -> None:
    name, data = balancer()
    known = responses(pci=[], disks=[], keys=plan.map_text(KeyFile(6)).splitlines())
    clone.inventory(engines=[engine(1)], balancers=[(name, data | {"fake_responses": known})])
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode != 0
    finding, remedy = rows(done.stderr)["@fake/lb1"]
    assert "has the keys of serial 6, the file here is of serial 0" in finding
    assert "take the newest file (git pull)" in remedy
    assert "Starting operation" not in done.stderr


def test_a_balancer_that_asks_for_keys_of_which_there_is_none_is_refused_with_both_ways_on(clone: Clone) -> None:
    name, data = balancer()
    clone.inventory(engines=[engine(1)], balancers=[(name, data | {"endpoint_open": False})])
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode != 0
    finding, remedy = rows(done.stderr)["@fake/lb1"]
    assert "nobody has a key" in finding
    assert "barewind keys add INVENTORY TEAM" in remedy
    assert "or let in whoever reaches" in remedy
    assert "Starting operation" not in done.stderr


def test_every_mistake_of_a_file_edited_by_hand_is_told_before_anything_is_changed(clone: Clone) -> None:
    (clone.path / "keys.yaml").write_text("keys:\n- {id: alpha/ci, parallel: 0}\n")
    clone.inventory(engines=[engine(1)], balancers=[balancer()])
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode != 0
    assert "nothing was changed" in done.stderr
    assert "keys.yaml: entry 1 (alpha/ci): key 'parallel': found 0" in done.stderr
    assert "keys.yaml: entry 1 (alpha/ci): key 'sha256': is missing" in done.stderr
    assert "Starting operation" not in done.stderr
    assert "Traceback" not in done.stderr
