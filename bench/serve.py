"""What a load generator adds to what it measures: `python -m bench.serve`, with the lab's models made (`barewind lab up`).

vLLM's own generator, with the words that `barewind bench` gives it, asks the stand-in engine (lab/standin/), which makes a token
of each request every 20 ms, however many there are, and takes no time for prompts. What is measured beyond that is the
generator's, and the machine's that both share.
"""

from __future__ import annotations

import json
import resource
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click

from barewind.engines.load import FIGURES, Generator, Load
from barewind.engines.vllm import VLLM
from lab import paths, topology
from tests.support.standin import engine
from tools import schema

RATE = 50  # tokens a second of each request of the stand-in engine
_PROGRAM = "import sys; from vllm.entrypoints.cli.main import main; sys.argv[0] = 'vllm'; main()"


@dataclass(frozen=True)
class Run:
    """A rung: what was measured, and what the generator took of the machine; seconds by the clock and of processors."""

    measured: dict[str, float]
    seconds: float
    cpu: float


@click.command()
@click.argument("loads", nargs=-1, type=int)
@click.option("--output", default=64, help="Tokens of each answer.")
def main(loads: tuple[int, ...], output: int) -> None:
    """Measure so many requests in flight (1, 8, 32 and 128), and print the table."""
    model = paths.cache() / "models" / topology.MODEL
    if not model.is_dir():
        raise click.ClickException(f"{model}: is not there; run: barewind lab up")
    generator = VLLM.generator
    if generator is None:
        raise click.ClickException("vLLM's images bring no load generator any more")
    options = ["--served-model-name", topology.MODEL, "--max-num-seqs", "1024"]
    python = str(schema.environment())
    click.echo(
        "| in flight | requests | ms per token (20) | p99 | ms to the first token | tokens/s, of the engine's | s | CPU s |"
    )
    click.echo("|---|---|---|---|---|---|---|---|")
    with engine(model, *options, STANDIN_TOKENS_PER_SECOND=str(RATE)) as standin:
        for at_a_time in loads or (1, 8, 32, 128):
            run = _rung(generator, python, f"http://{standin.address}", str(model), at_a_time, output)
            own = run.measured
            rate = own["output_tokens"] / own["seconds"]
            click.echo(
                f"| {at_a_time} | {own['completed']:.0f} | {own['ms_per_token']:.2f} | {own['ms_per_token_p99']:.2f} | "
                f"{own['first_token_ms']:.0f} | {rate:.0f}, {rate / RATE / at_a_time:.2f} | {run.seconds:.1f} | {run.cpu:.1f} |"
            )


def _rung(generator: Generator, python: str, url: str, model: str, at_a_time: int, output: int) -> Run:
    load = Load(
        url=url,
        model=topology.MODEL,
        weights=model,
        mistral=True,
        requests=4 * at_a_time,
        at_a_time=at_a_time,
        prompt=64,
        output=output,
        seed=at_a_time,
    )
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        words = generator(load, str(result))[1:]
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run([python, "-c", _PROGRAM, *words], cwd=folder, capture_output=True, text=True, check=False)
        seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise click.ClickException(f"the generator ended with status {done.returncode}: {done.stderr[-2000:]}")
        told = json.loads(result.read_text())
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run({own: float(told[theirs]) for own, theirs in FIGURES.items()}, seconds, cpu)


if __name__ == "__main__":
    main()
