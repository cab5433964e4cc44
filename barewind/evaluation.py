"""Whether a release that is new on a host is as good as it was: a share of right answers, tokens per second.

Pure: commands for the host out, what they print in. What the user adds is a command of their own (operations/evaluation.py).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from barewind import history
from barewind.documents import read_yaml
from barewind.errors import BarewindError
from barewind.facts import script, split
from barewind.gates import Gate
from barewind.history import Event
from barewind.plan import EnginePlan

STREAMS = 8  # requests at a time
TOKENS = 128  # of each request
_ROUNDS = 2  # the better one counts: the first may still compile something
_ONE = 120  # seconds for one answer
MEASURE = 1800  # seconds for all of it on the host
_QUESTION_TOKENS = 24
_FIGURE = "tokens_per_second"


@dataclass(frozen=True)
class Evaluation:
    """What is asked of a new release; None: not asked. `timeout` in seconds, of the command."""

    command: tuple[str, ...] | None
    timeout: int
    accuracy_floor: float | None
    throughput_ratio: float | None

    @property
    def measures(self) -> bool:
        """Whether something is measured on the host itself."""
        return self.accuracy_floor is not None or self.throughput_ratio is not None

    @property
    def limit(self) -> int:
        """Seconds that all of it may take."""
        return (MEASURE if self.measures else 0) + (self.timeout if self.command else 0)


@dataclass(frozen=True)
class Question:
    """A question and the answers that are right."""

    question: str
    answer: tuple[str, ...]


def of(plan: EnginePlan) -> Evaluation | None:
    """What a plan's keys ask for; None: nothing."""
    spec = plan.spec
    if spec.evaluation is None and spec.accuracy_floor is None and spec.throughput_ratio is None:
        return None
    command = tuple(spec.evaluation) if spec.evaluation else None
    return Evaluation(command, spec.evaluation_timeout, spec.accuracy_floor, spec.throughput_ratio)


def due(events: Iterable[Event], release: str) -> bool:
    """Whether a release is new on the host: begun there and not yet seen to serve."""
    mine = {one.event for one in events if one.release == release}
    return bool(mine) and not mine & {"serving", "restored"}


def environment(gate: Gate, url: str) -> dict[str, str]:
    """What the user's command is told; `url` is where the controller reaches the engine."""
    return {
        "BAREWIND_URL": url,
        "BAREWIND_MODEL": gate.model,
        "BAREWIND_HOST": gate.host,
        "BAREWIND_RELEASE": gate.release,
    }


@cache
def questions() -> tuple[Question, ...]:
    """The built-in questions.

    Raises:
        BarewindError: the file is not as it should be.
    """
    found = read_yaml((resources.files("barewind") / "catalog" / "questions.yaml").read_text())
    try:
        return tuple(Question(str(one["question"]), tuple(map(str, one["answer"]))) for one in found)
    except (TypeError, LookupError) as error:
        raise BarewindError(f"barewind/catalog/questions.yaml: an entry lacks {error}; correct it") from error


def measuring(gate: Gate, evaluation: Evaluation) -> str:
    """The host's shell script that asks the questions and puts a small fixed load on the engine."""
    parts: dict[str, str] = {}
    if evaluation.accuracy_floor is not None:
        for number, one in enumerate(questions()):
            parts[f"question_{number}"] = f"{_curl(gate)} -d {shlex.quote(_asked(gate, one))}"
    if evaluation.throughput_ratio is not None:
        body = {
            "model": gate.model,
            "messages": [{"role": "user", "content": "Count from one to one thousand in words."}],
            "temperature": 0,
            "ignore_eos": True,  # every answer has the same length, whatever the model says
        }
        parts |= {
            "warm_up": _load(gate, body | {"max_tokens": 16}),
            **{f"round_{number}": _load(gate, body | {"max_tokens": TOKENS}) for number in range(_ROUNDS)},
        }
    return script(**parts)


def read(output: list[str]) -> dict[str, float]:
    """Figures out of what the script prints: {"accuracy": 0.96, "tokens_per_second": 512.0, "streams": 8, "tokens": 128}.

    A round in which a request went unanswered counts for nothing.

    Raises:
        FactProcessError: the output breaks off.
    """
    found = split(output)
    figures: dict[str, float] = {}
    asked = [name for name in found if name.startswith("question_")]
    if asked:
        right = sum(_right(questions()[int(name.partition("_")[2])], "\n".join(found[name])) for name in asked)
        figures["accuracy"] = round(right / len(asked), 4)
    rounds = [lines for name, lines in found.items() if name.startswith("round_")]
    if rounds:
        figures |= {_FIGURE: round(max(map(_rate, rounds)), 2), "streams": STREAMS, "tokens": TOKENS}
    return figures


def problems(evaluation: Evaluation, figures: Mapping[str, float], events: Sequence[Event], release: str) -> list[str]:
    """What is too low, in words."""
    found = []
    floor, accuracy = evaluation.accuracy_floor, figures.get("accuracy", 0.0)
    if floor is not None and accuracy < floor:
        found.append(
            f"answers {accuracy:.0%} of the questions right, accuracy_floor is {floor:.0%} (see docs/gates.md)"
        )
    ratio, rate = evaluation.throughput_ratio, figures.get(_FIGURE, 0.0)
    if ratio is not None and rate <= 0:
        found.append("a request of the fixed load was not answered, there is no throughput to compare")
    elif ratio is not None and (before := reference(events, release, figures)) and rate < ratio * before[1]:
        found.append(
            f"{rate:.0f} tokens/s under the fixed load, release {before[0]} had {before[1]:.0f}: less than "
            f"throughput_ratio {ratio:g} of it"
        )
    return found


def reference(events: Sequence[Event], release: str, figures: Mapping[str, float]) -> tuple[str, float] | None:
    """The release that served before, and its tokens per second under the same load; None where there is no such figure."""
    before = history.previous(events, release)
    if before is None:
        return None
    known = history.figures(events, before)
    same = all(known.get(name) == figures.get(name) for name in ("streams", "tokens"))
    return (before, known[_FIGURE]) if same and known.get(_FIGURE, 0) > 0 else None


def describe(figures: Mapping[str, float], before: tuple[str, float] | None) -> str:
    """The figures in a line."""
    said = []
    if "accuracy" in figures:
        said.append(f"{figures['accuracy']:.0%} of {len(questions())} questions right")
    if _FIGURE in figures:
        than = f"release {before[0]} had {before[1]:.0f}" if before else "nothing to compare it with yet"
        said.append(f"{figures[_FIGURE]:.0f} tokens/s ({than})")
    return ", ".join(said)


def _asked(gate: Gate, one: Question) -> str:
    body: dict[str, object] = {
        "model": gate.model,
        "messages": [{"role": "user", "content": one.question}],
        "max_tokens": _QUESTION_TOKENS,
        "temperature": 0,
    }
    if any(probe.name == "reasoning_off" and probe.strict for probe in gate.probes):
        body["reasoning_effort"] = "none"
    return json.dumps(body)


def _curl(gate: Gate) -> str:
    url = shlex.quote(gate.url + "/v1/chat/completions")
    return f"curl -sS --noproxy '*' -m {_ONE} -H 'Content-Type: application/json' {url}"


def _load(gate: Gate, body: Mapping[str, object]) -> str:
    """Some requests at the same time: prints nanoseconds and the tokens of each."""
    one = f'{_curl(gate)} -d "$body" | grep -o \'"completion_tokens": *[0-9][0-9]*\' | head -n 1'
    return (
        f"export body={shlex.quote(json.dumps(body))}; begun=$(date +%s%N); "
        f"seq {STREAMS} | xargs -P {STREAMS} -I '{{}}' sh -c {shlex.quote(one)}; echo $(($(date +%s%N) - begun))"
    )


def _right(question: Question, text: str) -> bool:
    try:
        said = str(json.loads(text)["choices"][0]["message"]["content"])
    except (ValueError, LookupError, TypeError):
        return False
    return any(re.search(rf"(?<![\w.,]){re.escape(one)}(?!\w|[.,]\d)", said, re.IGNORECASE) for one in question.answer)


def _rate(lines: Sequence[str]) -> float:
    tokens = [int(line.rpartition(":")[2]) for line in lines if line.startswith('"completion_tokens"')]
    took = next((int(line) for line in lines if line.isdigit()), 0)
    return sum(tokens) / took * 1e9 if len(tokens) == STREAMS and took else 0.0
