"""Run test suites and tell where the time went: `python -m tools.suites test`, `all`, or names of suites.

`test` leaves out what is marked `full`; `all`, and a suite that is named, leave out nothing. Suites that use the lab, of which a
machine has one, run one after the other; the others run beside them, one after the other too.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import click

ROOT = Path(__file__).resolve().parent.parent
SHORTER = ("-m", "not full")  # pytest's options of `make test`
_SLOWEST = 5


@dataclass(frozen=True)
class Suite:
    """What one command tests. `lab`: it brings the lab up as it needs it; `full`: all its tests are marked so."""

    name: str
    about: str
    lab: bool = False
    full: bool = False
    command: tuple[str, ...] = ()  # default: pytest on tests/NAME


# Those of the lab are in an order in which the hosts of one are of use to the next.
SUITES = (
    Suite("lint", "style, layers", command=("make", "-s", "lint")),
    Suite("types", "mypy", command=("make", "-s", "types")),
    Suite("unit", "decisions as data, facts, operations"),
    Suite("cli", "the pyinfra command on @fake hosts"),
    Suite("conformance", "the engines' own parsers"),
    Suite("machine", "real programs and links on this machine"),
    Suite("lab_up", "images and hosts", lab=True, command=(".venv/bin/barewind", "lab", "up", "--engines", "2")),
    Suite("lab_systems", "hosts of another Debian", lab=True, full=True),
    Suite("lab_upgrade", "hosts that an older Barewind has deployed to", lab=True),
    Suite("lab", "what happens around an engine", lab=True),
    Suite("lab_engine", "the real vLLM", lab=True),
    Suite("lab_images", "a mirror", lab=True),
    Suite("lab_rollouts", "rollouts under streaming load", lab=True),
    Suite("lab_fleet", "many light hosts", lab=True),
    Suite("lab_accelerators", "drivers of simulated accelerators", lab=True),
    Suite("lab_replicas", "a host with several engines", lab=True),
    Suite("lab_sglang", "the real SGLang", lab=True),
    Suite("lab_tutorial", "docs/tutorial.md, from nothing to nothing", lab=True, full=True),
)


@dataclass(frozen=True)
class Result:
    """What became of a suite. `tests`: seconds by test, its setup and teardown included."""

    suite: Suite
    status: int
    seconds: float
    tests: dict[str, float]
    failed: int = 0
    skipped: int = 0


@click.command()
@click.argument("which", nargs=-1, required=True, type=click.Choice(["test", "all", *(suite.name for suite in SUITES)]))
def main(which: tuple[str, ...]) -> None:
    """Run suites; the exit status is the worst of theirs."""
    wanted = chosen(which)
    begun = time.monotonic()
    with Runner(shorter=which == ("test",), live=len(wanted) == 1) as runner:
        results = runner.run(wanted)
    click.echo(table(results, time.monotonic() - begun))
    sys.exit(max(result.status for result in results))


def chosen(which: Sequence[str]) -> list[Suite]:
    """The suites of these names; `all` stands for every one, `test` for those that have shorter tests."""
    return [suite for suite in SUITES if suite.name in which or "all" in which or ("test" in which and not suite.full)]


class Runner:
    """Runs suites in two rows side by side. `live`: output is shown as it comes, not when its suite has ended."""

    def __init__(self, *, shorter: bool, live: bool) -> None:
        self._options = SHORTER if shorter else ()
        self._live = live
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = threading.Event()

    def __enter__(self) -> Runner:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing goes on in the background, however this ends."""
        self._stopped.set()
        for process in self._running:
            process.send_signal(signal.SIGINT)

    def run(self, suites: Sequence[Suite]) -> list[Result]:
        """Run all of them, whatever becomes of the others; results in the order of the suites."""
        rows = [[suite for suite in suites if suite.lab is lab] for lab in (True, False)]
        pool = ThreadPoolExecutor(len(rows))
        futures = [pool.submit(self._row, row) for row in rows]
        try:
            results = {result.suite: result for future in futures for result in future.result()}
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return [results[suite] for suite in suites]

    def _row(self, suites: Sequence[Suite]) -> list[Result]:
        results = []
        for suite in suites:
            if self._stopped.is_set():
                break
            click.echo(f"{time.strftime('%T')} {suite.name}: {suite.about}")
            results.append(self._suite(suite))
        return results

    def _suite(self, suite: Suite) -> Result:
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            pytest = (
                str(Path(sys.executable).with_name("pytest")),
                f"tests/{suite.name}",
                *self._options,
                f"--junitxml={report}",
            )
            begun = time.monotonic()
            process = subprocess.Popen(
                suite.command or pytest, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            self._running.add(process)
            lines = []
            for line in process.stdout or ():
                lines.append(line)
                if self._live:
                    click.echo(line, nl=False)
            status = process.wait()
            self._running.discard(process)
            if not self._live:
                click.echo("".join(lines), nl=False)
            return _result(suite, status, time.monotonic() - begun, report)


def table(results: Sequence[Result], seconds: float) -> str:
    """Where the time went, by suite, each with its slowest tests."""
    lines = ["", f"{'suite':17}{'seconds':>8}{'tests':>7}{'failed':>8}{'skipped':>9}  slowest"]
    for result in results:
        verdict = "" if result.status == 0 else f"  FAILED with status {result.status}"
        counts = f"{len(result.tests):7}{result.failed:8}{result.skipped:9}" if result.tests else " " * 24
        lines.append(f"{result.suite.name:17}{result.seconds:8.1f}{counts}{verdict}")
        slowest = sorted(result.tests, key=lambda name: -result.tests[name])[:_SLOWEST]
        lines += [f"{'':50}{result.tests[name]:6.1f}  {name}" for name in slowest]
    total = sum(len(result.tests) for result in results)
    lines.append(f"{'all':17}{seconds:8.1f}{total:7}")
    return "\n".join(lines)


def _result(suite: Suite, status: int, seconds: float, report: Path) -> Result:
    if not report.exists():
        return Result(suite, status, seconds, {})
    cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 - pytest has just written it
    names = [f"{case.get('classname', '')}::{case.get('name')}".removeprefix(f"tests.{suite.name}.") for case in cases]
    tests = {name: float(case.get("time", 0)) for name, case in zip(names, cases, strict=True)}
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    skipped = sum(case.find("skipped") is not None for case in cases)
    return Result(suite, status, seconds, tests, failed, skipped)


if __name__ == "__main__":
    main()
