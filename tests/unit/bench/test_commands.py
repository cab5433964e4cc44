"""A bench's shell commands, run with a `docker` that stands in, and what is read of their output."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from barewind.bench import commands
from barewind.engines import ENGINES
from barewind.engines.load import Load
from barewind.errors import BarewindError
from barewind.plan.engine import EnginePlan
from tests.support.benches import bench, rung
from tests.support.factories import DIGEST, engine_spec, plan
from tests.support.fake_fleet import sections
from tests.support.shell import Programs, Shell

ENGINE_RESULT = {
    "duration": 2.5,
    "completed": 8,
    "total_input_tokens": 512,
    "total_output_tokens": 128,
    "mean_tpot_ms": 20.5,
    "p99_tpot_ms": 30.0,
    "mean_ttft_ms": 50.0,
    "p99_ttft_ms": 90.0,
    "request_goodput": None,
    "max_concurrency": 4,
    "itls": [[0.1, 0.2]],
    "server_info": {"secret": "not to be kept"},
    "errors": ["", ""],
}
# Runs what the container would, with /tmp of the test, and shows the words that come before the image.
DOCKER = """[ "$1" = run ] || { echo "$@" >> "$STAND_IN/ended"; exit 0; }
echo "$@" > "$STAND_IN/words"
while [ "$1" != -c ]; do shift; done; shift 2; shift
[ "$1" = /bin/sh ] && shift && [ "$1" = -c ] && shift
script=$1; shift 2
cat > "$STAND_IN/stdin"
export HOME=$STAND_IN
exec sh -c "$(printf %s "$script" | sed "s#/tmp/#$STAND_IN/#g")" barewind-bench "$@"
"""


def load(made: EnginePlan, **changes: Any) -> Load:
    values: dict[str, Any] = {
        "url": made.url,
        "model": made.served_model_name,
        "weights": f"/models/{made.spec.model}",
        "mistral": made.spec.engine == "vllm",
        "requests": 8,
        "at_a_time": 4,
        "prompt": 64,
        "output": 16,
        "seed": 7,
    }
    return Load(**values | changes)


@pytest.fixture
def generated(shell: Shell, programs: Programs, tmp_path: Path) -> Any:
    """Runs the generators of plans on a host whose images have this generator; returns what the host prints."""

    def run(script: str, *plans: EnginePlan) -> str:
        programs(
            docker=DOCKER, vllm=script, systemctl="", systemd_run='while [ "$1" != /bin/sh ]; do shift; done; exec "$@"'
        )
        done = shell(commands.generate(plans, [load(each) for each in plans], limit=5), STAND_IN=str(tmp_path))
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def writes(result: dict[str, Any], tmp_path: Path) -> str:
    """A generator that writes a result, and much on its output."""
    return f"echo noise; echo more >&2; echo {shlex.quote(json.dumps(result))} > {tmp_path}/result.json"


def test_a_result_is_brought_home_without_what_is_long_or_nobodys_business(generated: Any, tmp_path: Path) -> None:
    output = generated(writes(ENGINE_RESULT, tmp_path), plan())
    assert "not to be kept" not in output
    assert "itls" not in output
    (measured,) = commands.read_generated(output, ["gpu1"])
    assert (measured.seconds, measured.completed, measured.output_tokens) == (2.5, 8, 128)
    assert (measured.ms_per_token, measured.first_token_ms_p99) == (20.5, 90.0)
    assert measured.good_requests_per_second is None


def test_the_generators_container_has_no_rights_and_sees_the_weights_alone(generated: Any, tmp_path: Path) -> None:
    made = plan()
    generated(writes(ENGINE_RESULT, tmp_path), made)
    words = (tmp_path / "words").read_text().split()
    before = words[: words.index(made.pinned_image)]
    for option in ("--rm", "--pull=never", "--user=64000:64000", "--cap-drop=ALL", "--read-only", "--network=host"):
        assert option in before
    assert "--security-opt=no-new-privileges" in before
    assert "--env=HF_HUB_OFFLINE=1" in before
    assert not [word for word in before if word.startswith(("--device", "--gpus", "--privileged"))]
    assert [word for word in before if word.startswith("--volume")] == [
        f"--volume={made.directories[0]}:/models/{made.spec.model}:ro"
    ]
    assert made.pinned_image.endswith(DIGEST)
    assert (tmp_path / "stdin").read_text() == ".\n"  # no key is asked for


def test_what_is_left_of_an_earlier_one_is_removed_first(generated: Any, tmp_path: Path) -> None:
    generated(writes(ENGINE_RESULT, tmp_path), plan())
    assert (tmp_path / "ended").read_text() == "rm -f barewind-bench-0\n"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo 'ValueError: no such model' >&2; exit 1", "the load generator failed: ValueError: no such model"),
        ("exit 3", "the load generator failed: it said nothing"),
        ("sleep 30", "the load generator failed"),  # beyond its limit
        ("echo started", "FileNotFoundError"),  # no result
    ],
)
def test_a_generator_that_fails_is_told_with_its_last_words(script: str, problem: str, generated: Any) -> None:
    output = generated(script, plan())
    with pytest.raises(
        BarewindError, match=f"gpu1: .*{problem}" if "File" not in problem else "gpu1: the load generator"
    ):
        commands.read_generated(output, ["gpu1"])


def test_requests_that_were_answered_by_errors_are_told_with_the_answer(generated: Any, tmp_path: Path) -> None:
    failed = ENGINE_RESULT | {"errors": ["", "Service Unavailable", "Bad Gateway"]}
    output = generated(writes(failed, tmp_path), plan())
    with pytest.raises(BarewindError, match=r"gpu1: 2 requests were not answered .*: Service Unavailable"):
        commands.read_generated(output, ["gpu1"])


@pytest.mark.parametrize("lacking", ["duration", "mean_tpot_ms"])
def test_a_result_that_lacks_a_figure_is_told(lacking: str, generated: Any, tmp_path: Path) -> None:
    result = {name: value for name, value in ENGINE_RESULT.items() if name != lacking}
    output = generated(writes(result, tmp_path), plan())
    with pytest.raises(BarewindError, match="gpu1: the result of the load generator is not understood"):
        commands.read_generated(output, ["gpu1"])


def test_each_engine_of_a_host_has_a_generator_of_its_own(generated: Any, tmp_path: Path) -> None:
    plans = [plan(engine_spec(replicas=2, replica=number, engine_port=8000 + number)) for number in range(2)]
    output = generated(writes(ENGINE_RESULT, tmp_path), *plans)
    assert len(commands.read_generated(output, ["gpu1-0", "gpu1-1"])) == 2
    assert "barewind-bench-1" in (tmp_path / "ended").read_text()


def test_an_answer_that_breaks_off_is_no_measurement() -> None:
    with pytest.raises(BarewindError, match="gpu1: the host's answer breaks off"):
        commands.read_generated('@@bench 0\n@@bench {"completed": 1}', ["gpu1"])


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_every_engine_brings_a_generator(engine: str) -> None:
    generator = ENGINES[engine].generator
    assert generator is not None
    words = generator(load(plan(engine_spec(engine=engine)), tpot_limit=25), "/tmp/result.json")
    assert words[words.index("--max-concurrency") + 1] == "4"
    assert words[words.index("--goodput") + 1] == "tpot:25"


def test_a_look_tells_what_runs_and_whether_the_image_is_there() -> None:
    told = sections(
        drained=['{"at": "2026-11-30T08:00:00Z", "by": "ann@ws1"}'],
        state_0=["ActiveState=active"],
        release_0=["0123456789ab"],
        image_0=["present"],
        state_1=["ActiveState=inactive"],
        release_1=["0123456789ab"],
        image_1=[],
    )
    seen, drained = commands.read_look("\n".join(told), 2)
    assert [(each.release, each.image) for each in seen] == [("0123456789ab", True), (None, False)]
    assert drained is not None
    assert drained.by == "ann@ws1"


def test_benches_are_kept_for_root_alone_and_the_oldest_go(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barewind.release.record.DIRECTORY", str(tmp_path))
    for number in range(commands.KEPT + 2):
        assert shell(commands.keep(bench(rung(1, goodput=float(number))))).returncode == 0
    file = tmp_path / "0123456789ab.bench"
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(kept) == commands.KEPT
    assert kept[-1]["rungs"][0]["goodput"] == commands.KEPT + 1
    assert oct(file.stat().st_mode)[-3:] == "600"
