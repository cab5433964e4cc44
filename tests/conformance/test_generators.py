"""The engines' own load generators, with the words that a bench gives them, measure the stand-in engines, whose rate is known."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from barewind.bench import commands
from barewind.engines import ENGINES
from barewind.engines.load import Load
from lab.images import gpu_packages, sglang_image
from lab.services import models
from tests.conformance.exchanges import MODEL
from tests.support.standin import SGLANG, VLLM, Kind, engine
from tools import schema

# What `vllm` and `python3 -m sglang.bench_serving` are in an image; packages for accelerators are stood in for, as in the lab's.
PROGRAMS = {
    "vllm": "import sys; from vllm.entrypoints.cli.main import main; sys.argv[0] = 'vllm'; main()",
    "sglang": "import gpu_packages; gpu_packages.install(); import runpy, sys; del sys.argv[1:3]; "
    "runpy.run_module('sglang.bench_serving', run_name='__main__', alter_sys=True)",
}
VOCABULARY = "lib/python*/site-packages/mistral_common/data/tekken_240911.json"
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "SGLANG_USE_CPU_ENGINE": "1", "TORCHDYNAMO_DISABLE": "1"}

pytestmark = pytest.mark.conformance


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's model."""
    (vocabulary,) = schema.environment().parents[1].glob(VOCABULARY)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    models.write(models.TARGET, vocabulary, folder)
    return folder


@pytest.mark.parametrize(("name", "kind"), [("vllm", VLLM), ("sglang", SGLANG)])
def test_a_generator_measures_an_engine_of_known_rate(name: str, kind: Kind, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "gpu_packages.py").write_text(Path(gpu_packages.__file__).read_text())
    (tmp_path / "datasets.py").write_text(sglang_image.DATASETS)
    result = tmp_path / "result.json"
    generator = ENGINES[name].generator
    assert generator is not None
    with engine(weights, kind=kind, STANDIN_TOKENS_PER_SECOND="20") as running:
        words = generator(
            Load(
                url=f"http://{running.address}",
                model=MODEL,
                weights=str(weights),
                mistral=name == "vllm",
                requests=6,
                at_a_time=3,
                prompt=64,
                output=16,
                seed=7,
                tpot_limit=500,
            ),
            str(result),
        )
        program = [str(schema.environment()), "-c", PROGRAMS[name], *words[1:]]
        environment = os.environ | ENVIRONMENT | {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(program, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(result.read_text().splitlines()[-1])
    assert [error for error in found["errors"] if error] == []
    told = f"@@bench 0\n@@bench {json.dumps(found | {'failed': 0, 'error': ''})}\n@@bench end"
    (measured,) = commands.read_generated(told, [name])
    assert (measured.completed, measured.output_tokens) == (6, 6 * 16)
    assert abs(measured.prompt_tokens - 6 * 64) <= 6 * 16
    assert 45 <= measured.ms_per_token <= 100  # 50, and what other work on the machine adds
    assert measured.good_requests_per_second is not None
