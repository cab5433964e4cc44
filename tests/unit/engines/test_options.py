"""What the engines' command lines accept: on the recorded ones, and on a small one for the edges."""

from __future__ import annotations

import json

import pytest

from barewind.engines import ENGINES, options, sizing
from barewind.engines.options import Flag, Positional, Schema
from barewind.engines.remedies import remedies
from barewind.engines.workload import Workload
from barewind.errors import BarewindError
from barewind.spec.keys import EngineSpec
from tests.support.factories import engine_spec, lab_spec

SMALL = Schema(
    engine="small",
    version="1.0.0",
    flexible=False,
    size_suffixes=("k",),
    size_decimal_suffixes=(),
    positionals=(Positional(name="model", values="?"),),
    options=(
        Flag(names=("--port", "-p"), values=1, type="int"),
        Flag(names=("--pair",), values=2),
        Flag(names=("--many",), values="+", type="int"),
        Flag(names=("--any",), values="*"),
        Flag(names=("--maybe",), values="?"),
        Flag(names=("--tag",), values=1, repeatable=True),
        Flag(names=("--level",), values=1, type="int", choices=(1, 2)),
        Flag(names=("--limit",), values=1, type="int", optional=True),
        Flag(names=("--size",), values=1, type="size", words=("auto",)),
        Flag(names=("--ratio",), values=1, type="float"),
        Flag(names=("--quiet",), negated=("--no-quiet",), values=0),
        Flag(names=("--map",), values=1, type="text-or-object"),
        Flag(names=("--needed",), values=1, required=True),
    ),
)


@pytest.mark.parametrize(
    "argv",
    [
        ["m"],
        ["m", "--port", "1"],
        ["m", "--port=1"],
        ["m", "-p", "1"],
        ["m", "-p1"],
        ["m", "--pair", "a", "b"],
        ["m", "--many", "1", "2", "3"],
        ["m", "--any"],
        ["m", "--any", "a", "b"],
        ["m", "--maybe"],
        ["m", "--maybe", "x"],
        ["m", "--tag", "a", "--tag", "b"],
        ["m", "--level", "2"],
        ["m", "--limit", "None"],
        ["m", "--size", "4k"],
        ["m", "--size", "auto"],
        ["m", "--ratio", "-0.5"],
        ["m", "--quiet"],
        ["m", "--no-quiet"],
        ["m", "--map", "some text"],
        ["m", "--map", '{"a": 1}'],
        ["m", "--map="],
        ["m", "--map", "-x y"],
        ["--", "m"],
    ],
)
def test_taken(argv: list[str]) -> None:
    needed = [] if argv[0] == "--" else ["--needed", "x"]
    problems = options.check(SMALL, [*argv[:1], *needed, *argv[1:]] if needed else ["--needed=x", *argv])
    assert [problem for problem in problems if "write the model first" not in problem] == []


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["--prt", "1"], "--prt is unknown to small 1.0.0; did you mean --port?"),
        (["--zzzzz", "1"], "--zzzzz is unknown to small 1.0.0; leave it out."),
        (["--por", "1"], "--por is an abbreviation: small 1.0.0 would read it as --port; write the option in full."),
        (
            ["--ma=1"],
            "--ma is unknown to small 1.0.0, and short for any of --many, --maybe, --map; write the option in full.",
        ),
        (["--port"], "--port needs a value, but has none; write a value behind it."),
        (["--port", "--quiet"], "--port needs a value, but has none; write a value behind it."),
        (["--pair", "a"], "--pair needs 2 values, but has 1; write 2 values behind it."),
        (["--many"], "--many needs a value, but has none; write a value behind it."),
        (["--many", "1", "x"], "--many wants a whole number, not 'x'; correct the value."),
        (["--port", "abc"], "--port wants a whole number, not 'abc'; correct the value."),
        (["--port="], "--port wants a whole number, not ''; correct the value."),
        (["-px"], "-p wants a whole number, not 'x'; correct the value."),
        (["--ratio", "x"], "--ratio wants a number, not 'x'; correct the value."),
        (
            ["--size", "4K"],
            "--size wants a whole number, with one of k behind it if you like, not '4K'; correct the value.",
        ),
        (["--level", "3"], "--level has the value '3', which is not among 1, 2; choose one of these."),
        (["--quiet=yes"], "--quiet takes no value, but has 'yes'; write --quiet alone."),
        (["--quiet", "yes"], "'yes' belongs to no option; leave it out."),
        (["--port", "1", "--port", "2"], "--port is given twice; small would take the last: keep one."),
        (["--port", "1", "-p=2"], "-p is given twice (as --port before); small would take the last: keep one."),
        (
            ["--quiet", "--no-quiet"],
            "--no-quiet is given twice (as --quiet before); small would take the last: keep one.",
        ),
        (["--map.a", "1"], "--map.a is unknown to small 1.0.0; did you mean --map?"),
    ],
)
def test_refused(argv: list[str], problem: str) -> None:
    assert options.check(SMALL, ["m", "--needed=x", *argv]) == [problem]


def test_a_required_option_is_missed() -> None:
    assert options.check(SMALL, ["m"]) == ["--needed is missing; small 1.0.0 requires it."]


def test_the_model_goes_first() -> None:
    assert options.check(SMALL, ["--needed=x", "--quiet", "m"]) == ["'m' stands behind options; write the model first."]


def test_every_problem_is_told() -> None:
    assert len(options.check(SMALL, ["m", "--prt", "1", "--level", "x", "--port"])) == 4


@pytest.mark.parametrize(
    "argv",
    [
        ["--tensor_parallel_size", "2"],
        ["--tensor-parallel-size=2"],
        ["-tp", "2"],
        ["-O3"],
        ["-O", "3"],
        ["-cc.mode", "3"],
        ["--speculative-config.model", "d", "--speculative_config.num_speculative_tokens=3"],
        ["--kernel-config", '{"enable_cutedsl_warmup": false}'],
        ["--served-model-name", "a", "b"],
        ["--max-model-len", "auto"],
        ["--max-model-len", "25.6k"],
        ["--moe-backend", "FlashInfer-Cutlass"],
        ["--no-enable-prefix-caching"],
    ],
)
def test_vllm_takes(argv: list[str]) -> None:
    assert options.check(options.load("vllm", "0.32.0"), ["m", *argv]) == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--speculative-model", "d"], ["unknown to vllm 0.32.0", "use the key 'draft'"]),
        (["--num_speculative_tokens=3"], ["unknown to vllm 0.32.0", "use the key 'speculative'"]),
        (["--enable-mm"], ["would read it as --enable-mm-embeds", "use the key 'modality'"]),
        (["--enforce-eagr"], ["did you mean --enforce-eager?"]),
        (["--tensor-parallel-size", "two"], ["--tensor-parallel-size wants a whole number, not 'two'"]),
        (["--speculative-config", "{model: d}"], ["--speculative-config wants JSON"]),
        (["--kernel-config", "[]"], ["wants a JSON object"]),
        (["--kernel-config", '{"cutedsl_warmup": false}'], ["no key 'cutedsl_warmup'", "'enable_cutedsl_warmup'"]),
        (["--kernel-config.cutedsl_warmup", "false"], ["no key 'cutedsl_warmup'"]),
        (["--port.x", "1"], ["--port.x names a key inside --port"]),
        (["--speculative-config.model"], ["needs a value"]),
        (["--speculative-config.model", "d", "--speculative-config", "{}"], ["as a whole and by key"]),
        (["--speculative-config.model", "d", "--speculative_config.model", "e"], ["given twice"]),
        (["--kv-cache-dtype", "fp9"], ["which is not among", "choose one of these"]),
        (["--max-model-len", "1.5K"], ["wants a whole number"]),
        (["--model", "n"], ["unknown to vllm 0.32.0", "use the key 'model'"]),
    ],
)
def test_vllm_refuses(argv: list[str], words: list[str]) -> None:
    (problem,) = options.check(options.load("vllm", "0.32.0"), ["m", *argv], remedies("vllm"))
    assert all(word in problem for word in words), problem


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--model_path", "n"], ["did you mean --model-path?"]),
        (["--tp", "4"], ["would read it as --tp-size"]),
        (["--dtype", "fp8"], ["not among auto, bfloat16"]),
        (["--context-length", "64K"], ["wants a whole number, with one of k, Ki"]),
        (["n"], ["'n' belongs to no option"]),
    ],
)
def test_sglang_refuses(argv: list[str], words: list[str]) -> None:
    (problem,) = options.check(options.load("sglang", "0.5.23"), ["--model-path", "m", *argv])
    assert all(word in problem for word in words), problem


@pytest.mark.parametrize(
    "spec", [engine_spec(speculative=3), engine_spec(modality="image", speculative=False), lab_spec(speculative=True)]
)
def test_planned_commands_are_right(spec: EngineSpec) -> None:
    settled = sizing.size(spec)
    command = ENGINES["vllm"].command(Workload(spec, settled, "/models/m", "/models/d" if settled.draft else None))
    assert options.check(options.load("vllm"), command.argv) == []


@pytest.mark.parametrize(
    ("version", "loaded"),
    [
        (None, "0.32.0"),
        ("0.32.0", "0.32.0"),
        ("v0.32.0", "0.32.0"),
        ("0.32.1", "0.32.0"),
        ("0.33.0rc1.dev12+g1a2b3c4", "0.32.0"),
        ("1.0", "0.32.0"),
    ],
)
def test_the_newest_known_release_not_above(version: str | None, loaded: str) -> None:
    assert options.load("vllm", version).version == loaded


@pytest.mark.parametrize(
    ("engine", "version", "words"),
    [
        ("vllm", "0.1.0", "no options are known of vllm 0.1.0, only of 0.32.0"),
        ("vllm", "nightly", "'nightly' is no engine version"),
        ("llamafile", None, "no options are known of engine 'llamafile'"),
    ],
)
def test_nothing_is_known(engine: str, version: str | None, words: str) -> None:
    with pytest.raises(BarewindError, match=words):
        options.load(engine, version)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_recorded_file_has_one_option_per_line_in_order(engine: str) -> None:
    schema = options.load(engine)
    file = options.resources.files("barewind.catalog") / "options" / f"{engine}-{schema.version}.json"
    lines = [line for line in file.read_text().splitlines() if line.startswith('    {"names"')]
    names = [json.loads(line.removesuffix(","))["names"][0] for line in lines]
    assert names == sorted(flag.names[0] for flag in schema.options)
