"""`barewind plan` about speed, and `--compare`: what is shown, and what is said of wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from barewind.cli.main import main
from barewind.compare.document import Comparison
from tests.support.two_hosts import GROUP, INVENTORY


def plan(*arguments: str, columns: int = 250) -> Result:
    result = CliRunner(env={"COLUMNS": str(columns)}).invoke(main, ["plan", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def lines(result: Result) -> list[str]:
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_a_plan_has_three_lines_about_speed_for_hosts_that_are_alike(folder: Path) -> None:
    result = plan("site.py", "--data", "speculative=false")
    assert result.exit_code == 0
    shown = [line for line in lines(result) if line.startswith(("speed ", "within ", "layout "))]
    assert [line.split(" ")[0] for line in shown] == ["speed", "within", "layout"]
    assert (
        "90 tokens/s of the host with 1 request in flight (11.0 ms per token), 670 with 8 (11.8), 2151 with 32 (14.8)"
        in shown[0]
    )
    assert "4805 with 128 (26.5), 6168 with 512 (82.9)" in shown[0]
    assert shown[1].startswith("within 10 %; the first token within 40 %")
    assert shown[1].endswith("measured on this hardware: no")
    assert "replicas = 4 (tensor parallel 2) does more from 384 in flight on" in shown[2]


def test_a_plan_says_where_nothing_is_known(folder: Path) -> None:
    (folder / "group_data" / "gpus.py").write_text(GROUP.replace("h200", "a100"))
    result = plan("site.py")
    assert "speed no estimate: nothing is known of how fast a100 is" in lines(result)
    assert result.exit_code == 0


def test_hosts_that_are_alike_are_compared_in_one_table(folder: Path) -> None:
    result = plan("site.py", "--compare", "--data", "cost_per_hour=24.5")
    assert (result.exit_code, result.stderr) == (0, "")
    shown = lines(result)
    assert shown[1].startswith(
        "10.0.0.1, 10.0.0.2: 8 x h200, vllm, mistralai/Mistral-Medium-3.5-128B; with 32 requests"
    )
    assert shown[1].endswith("the best throughput first, estimates within 10 %")
    assert shown[2] == (
        "layout draft cache modality context KV tokens sequences tokens/s ms per token cost of 1M tokens note"
    )
    assert shown[3] == "1 x TP 8 yes fp8 text 262144 4777104 18 2629 12.1 2.59"
    (planned,) = [line for line in shown if line.endswith("planned")]
    assert planned == "1 x TP 8 yes bf16 text 262144 2388544 9 2594 12.2 2.62 planned"
    assert len([line for line in shown if " x TP " in line]) == 24
    assert shown[-2:] == [
        "note: these weights bring no scales for a KV cache in fp8; see what it does to answers first",
        "left out: 8 that do not fit",
    ]


def test_what_is_beyond_what_a_host_takes_queues(folder: Path) -> None:
    result = plan("site.py", "--compare", "--in-flight", "600", "--objective", "latency")
    assert any(line.startswith("1 x TP 8 ") and line.endswith("planned, 88 queue") for line in lines(result))
    assert any(line.startswith("4 x TP 2 ") and line.endswith(" 88 queue") for line in lines(result))


def test_a_narrow_terminal_gets_paragraphs(folder: Path) -> None:
    result = plan("site.py", "--compare", columns=60)
    assert "draft yes, cache fp8, modality text, context 262144, KV tokens 4777104" in " ".join(lines(result))


def test_the_comparison_as_json_is_as_its_schema_says(folder: Path) -> None:
    result = plan("site.py", "--compare", "--json", "--in-flight", "8", "--host", "10.0.0.2")
    (found,) = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert Comparison.model_validate(found).model_dump(mode="json") == found
    assert (found["hosts"], found["in_flight"], found["too_large"]) == (["10.0.0.2"], 8, 8)
    assert found["setups"][0]["estimate"]["in_flight"] == 8


def test_a_host_on_which_nothing_fits_is_status_1_beside_those_on_which_something_does(folder: Path) -> None:
    (folder / "site.py").write_text(INVENTORY.replace('"10.0.0.2", {}', '"10.0.0.2", {"accelerator_count": 1}'))
    result = plan("site.py", "--compare")
    assert result.exit_code == 1
    assert result.stderr == "Error: 10.0.0.2: no set-up is left: 8 that do not fit\n"
    assert "10.0.0.1: 8 x h200" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--compare", "--in-flight", "0"), 2, "Invalid value for '--in-flight': 0 is not in the range x>=1."),
        (("--compare", "--in-flight", "many"), 2, "'many' is not a valid integer range"),
        (("--compare", "--objective", "speed"), 2, "'speed' is not one of 'throughput', 'latency', 'cost', 'context'."),
        (("--in-flight", "8"), 2, "Error: --in-flight and --objective go with --compare."),
        (("--objective", "cost"), 2, "Error: --in-flight and --objective go with --compare."),
        (("--compare", "--host", "10.0.0.3"), 2, "no engine host '10.0.0.3'; hosts: 10.0.0.1, 10.0.0.2."),
        (
            ("--compare", "--objective", "cost"),
            1,
            "Error: key 'cost_per_hour': not set, and --objective cost sorts by it; set it in group data: what such a host "
            "costs an hour, in any currency (on 10.0.0.1, 10.0.0.2)",
        ),
    ],
)
def test_wrong_use_is_told(folder: Path, arguments: tuple[str, ...], status: int, message: str) -> None:
    result = plan("site.py", *arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert message in result.stderr


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("-1", "key 'cost_per_hour': Input should be greater than 0, found -1"),
        ("0", "key 'cost_per_hour': Input should be greater than 0, found 0"),
        ("'24.50 EUR'", "key 'cost_per_hour': Input should be a valid number, found '24.50 EUR'"),
        ("float('inf')", "key 'cost_per_hour': Input should be a finite number, found inf"),
        ("True", "key 'cost_per_hour': Input should be a valid number, found True"),
    ],
)
def test_a_cost_that_is_none_is_refused(folder: Path, value: str, message: str) -> None:
    (folder / "group_data" / "gpus.py").write_text(f"{GROUP}cost_per_hour = {value}\n")
    result = plan("site.py", "--compare")
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr


def test_a_cost_changes_nothing_that_hosts_serve(folder: Path) -> None:
    plain, costly = (
        json.loads(plan("site.py", "--json", *data).stdout) for data in ((), ("--data", "cost_per_hour=24"))
    )
    assert plain == costly


@pytest.mark.parametrize("inventory", ["", "gpus = []\nbalancers = ['10.0.0.9']\n", "balancers = ['10.0.0.9']\n"])
def test_an_inventory_without_engine_hosts_is_told(folder: Path, inventory: str) -> None:
    (folder / "site.py").write_text(inventory)
    result = plan("site.py", "--compare")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert "host" in result.stderr
