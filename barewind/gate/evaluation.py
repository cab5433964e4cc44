"""Whether a release that is new on a host is as good as the one before: a share of right answers, tokens per second.

Shell commands for the host, and what their output means. A command of the user's own is run by operations/evaluation.py.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from barewind.documents import read_yaml
from barewind.engines import ENGINES
from barewind.errors import BarewindError
from barewind.gate.plan import Gate
from barewind.hosts.script import script, split
from barewind.plan.engine import EnginePlan
from barewind.release import history
from barewind.release.history import Event

STREAMS = 8  # requests at a time
TOKENS = 128  # of each request
_ROUNDS = 2  # the better counts: the first may still compile something
_ANSWER = 120  # seconds for one answer
MEASURE = 1800  # seconds for all of it on the host
_QUESTION_TOKENS = 24
_COMMON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
_RATE = "tokens_per_second"


@dataclass(frozen=True)
class Evaluation:
    """What a new release must reach; None: nothing of that kind. `timeout` of the command, in seconds."""

    command: tuple[str, ...] | None
    timeout: int
    accuracy_floor: float | None
    throughput_ratio: float | None
    passed_on: tuple[str, ...] = ()  # variables of the controller that the command may see

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
    """The evaluation that a plan's keys ask for, or None."""
    spec = plan.spec
    if spec.evaluation is None and spec.accuracy_floor is None and spec.throughput_ratio is None:
        return None
    command = tuple(spec.evaluation) if spec.evaluation else None
    return Evaluation(
        command, spec.evaluation_timeout, spec.accuracy_floor, spec.throughput_ratio, tuple(spec.evaluation_env)
    )


def due(events: Iterable[Event], release: str) -> bool:
    """Whether a release is new on the host: started there, and never confirmed to serve."""
    kinds = {event.event for event in events if event.release == release}
    return bool(kinds) and not kinds & {"serving", "restored"}


def environment(gate: Gate, url: str, passed_on: Sequence[str], own: Mapping[str, str]) -> dict[str, str]:
    """Environment variables of the user's command: of this machine's own nothing but what any command needs, and what is named.

    + url: where the controller reaches the engine
    + passed_on: names of variables to pass on
    + own: the variables of this machine

    Raises:
        BarewindError: one that is to be passed on is not set.
    """
    if problem := unset(passed_on, own):
        raise BarewindError(problem)
    return {
        **{name: own[name] for name in (*_COMMON, *passed_on) if name in own},
        "BAREWIND_URL": url,
        "BAREWIND_MODEL": gate.model,
        "BAREWIND_HOST": gate.host,
        "BAREWIND_RELEASE": gate.release,
    }


def unset(passed_on: Sequence[str], own: Mapping[str, str]) -> str:
    """What is wrong with the variables that are to be passed on, given those of this machine; empty if nothing is."""
    missing = [name for name in passed_on if name not in own]
    return f"key 'evaluation_env': {', '.join(missing)} is not set here; set it, or correct the key" if missing else ""


@cache
def questions() -> tuple[Question, ...]:
    """The built-in questions.

    Raises:
        BarewindError: the file is not as it should be.
    """
    entries = read_yaml((resources.files("barewind") / "catalog" / "questions.yaml").read_text())
    try:
        return tuple(Question(str(entry["question"]), tuple(map(str, entry["answer"]))) for entry in entries)
    except (TypeError, LookupError) as error:
        raise BarewindError(f"barewind/catalog/questions.yaml: an entry lacks {error}; correct it") from error


def measuring(gate: Gate, evaluation: Evaluation) -> str:
    """Shell script for the host that asks the questions and puts a small fixed load on the engine."""
    parts: dict[str, str] = {}
    if evaluation.accuracy_floor is not None:
        for number, question in enumerate(questions()):
            asked = f"{_curl(gate)} -d {shlex.quote(_question_body(gate, question))}"
            parts[f"question_{number}"] = asked if gate.header is None else f"{gate.header} | {asked} -H @-"
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
    """The figures that the script prints: {"accuracy": 0.96, "tokens_per_second": 512.0, "streams": 8, "tokens": 128}.

    A round in which a request went unanswered counts for nothing.

    Raises:
        FactProcessError: the output breaks off.
    """
    parts = split(output)
    figures: dict[str, float] = {}
    names = [name for name in parts if name.startswith("question_")]
    if names:
        right = sum(_right(questions()[int(name.partition("_")[2])], "\n".join(parts[name])) for name in names)
        figures["accuracy"] = round(right / len(names), 4)
    rounds = [lines for name, lines in parts.items() if name.startswith("round_")]
    if rounds:
        figures |= {_RATE: round(max(map(_tokens_per_second, rounds)), 2), "streams": STREAMS, "tokens": TOKENS}
    return figures


def problems(evaluation: Evaluation, figures: Mapping[str, float], events: Sequence[Event], release: str) -> list[str]:
    """The figures that are too low, each as a sentence."""
    findings = []
    floor, accuracy = evaluation.accuracy_floor, figures.get("accuracy", 0.0)
    if floor is not None and accuracy < floor:
        findings.append(
            f"answers {accuracy:.0%} of the questions right, accuracy_floor is {floor:.0%} (see docs/gates.md)"
        )
    ratio, rate = evaluation.throughput_ratio, figures.get(_RATE, 0.0)
    if ratio is not None and rate <= 0:
        findings.append("a request of the fixed load was not answered, there is no throughput to compare")
    elif ratio is not None and (before := rate_before(events, release, figures)) and rate < ratio * before[1]:
        findings.append(
            f"{rate:.0f} tokens/s under the fixed load, release {before[0]} had {before[1]:.0f}: less than "
            f"throughput_ratio {ratio:g} of it"
        )
    return findings


def rate_before(events: Sequence[Event], release: str, figures: Mapping[str, float]) -> tuple[str, float] | None:
    """The release that served before, and its tokens per second under the same load; None where there is no such figure."""
    before = history.previous(events, release)
    if before is None:
        return None
    earlier = history.figures(events, before)
    same_load = all(earlier.get(name) == figures.get(name) for name in ("streams", "tokens"))
    return (before, earlier[_RATE]) if same_load and earlier.get(_RATE, 0) > 0 else None


def describe(figures: Mapping[str, float], before: tuple[str, float] | None) -> str:
    """The figures as a line for the log; `before` as `rate_before` returns it."""
    sentences = []
    if "accuracy" in figures:
        sentences.append(f"{figures['accuracy']:.0%} of {len(questions())} questions right")
    if _RATE in figures:
        comparison = f"release {before[0]} had {before[1]:.0f}" if before else "nothing to compare it with yet"
        sentences.append(f"{figures[_RATE]:.0f} tokens/s ({comparison})")
    return ", ".join(sentences)


def _question_body(gate: Gate, question: Question) -> str:
    body: dict[str, object] = {
        "model": gate.model,
        "messages": [{"role": "user", "content": question.question}],
        "max_tokens": _QUESTION_TOKENS,
        "temperature": 0,
    }
    if any(probe.name == "reasoning_off" and probe.strict for probe in gate.probes):
        body["reasoning_effort"] = "none"
    return json.dumps(body)


def _curl(gate: Gate) -> str:
    url = shlex.quote(gate.url + ENGINES[gate.engine].chat_path)
    return f"curl -sS --noproxy '*' -m {_ANSWER} -H 'Content-Type: application/json' {url}"


def _load(gate: Gate, body: Mapping[str, object]) -> str:
    """Shell command that sends requests at the same time and prints the tokens of each, then the nanoseconds of all."""
    header = ("", "") if gate.header is None else (f"{gate.header} | ", " -H @-")
    request = (
        f'{header[0]}{_curl(gate)} -d "$body"{header[1]} | grep -o \'"completion_tokens": *[0-9][0-9]*\' | head -n 1'
    )
    return (
        f"export body={shlex.quote(json.dumps(body))}; start=$(date +%s%N); "
        f"seq {STREAMS} | xargs -P {STREAMS} -I '{{}}' sh -c {shlex.quote(request)}; echo $(($(date +%s%N) - start))"
    )


def _right(question: Question, text: str) -> bool:
    try:
        content = str(json.loads(text)["choices"][0]["message"]["content"])
    except (ValueError, LookupError, TypeError):
        return False
    return any(
        re.search(rf"(?<![\w.,]){re.escape(answer)}(?!\w|[.,]\d)", content, re.IGNORECASE) for answer in question.answer
    )


def _tokens_per_second(lines: Sequence[str]) -> float:
    tokens = [int(line.rpartition(":")[2]) for line in lines if line.startswith('"completion_tokens"')]
    nanoseconds = next((int(line) for line in lines if line.isdigit()), 0)
    return sum(tokens) / nanoseconds * 1e9 if len(tokens) == STREAMS and nanoseconds else 0.0
