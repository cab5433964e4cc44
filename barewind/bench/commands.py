"""Shell commands of a bench for the host that its generators run on, and how their output is read.

A generator runs in a container of the engine's own image, without rights, devices or a place to write to but its own memory. It
sees the weights, for their tokenizer, and the host's network. It ends by itself, whatever becomes of the controller.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from barewind.balancer import maintenance
from barewind.balancer.maintenance import Maintenance
from barewind.bench.document import Bench
from barewind.engines import ENGINES
from barewind.engines.base import UNPRIVILEGED
from barewind.engines.load import FIGURES, GOODPUT, KEY_VARIABLE, Load
from barewind.errors import BarewindError
from barewind.gate import plan as gates
from barewind.gate import probes
from barewind.gate.facts import question, read_answer
from barewind.hosts.script import script, split
from barewind.plan import secrets
from barewind.plan.container import rights, weights_volumes
from barewind.plan.engine import EnginePlan
from barewind.release.commands import read_engine, show_release, show_unit
from barewind.release.record import bench_path

KEPT = 50  # benches that a host keeps of each release
_CONTAINER = "barewind-bench"
_HOME = UNPRIVILEGED["HOME"]  # the container's own memory
_RESULT = f"{_HOME}/result.json"
_MARK = "@@bench"
_SLACK = 60  # seconds beyond a generator's own limit
_TOLD = 2000  # characters of what a generator that failed has said

# What is left of a result: numbers, and the first request that failed.
_REDUCE = f"""import json
result = json.loads(open({_RESULT!r}).read().splitlines()[-1])
errors = [error for error in result.get("errors") or () if error]
kept = {{name: value for name, value in result.items() if isinstance(value, (int, float))}}
print({_MARK!r}, json.dumps(kept | {{"failed": len(errors), "error": errors[0][-{_TOLD}:] if errors else ""}}))
"""
_RUN = (
    'limit=$1; shift; timeout -k 10 "$limit" "$@" > "$HOME/log" 2>&1; status=$?; [ $status != 0 ] || python3 -c '
    f"{shlex.quote(_REDUCE)} || status=1; [ $status = 0 ] || "
    f'{{ echo "{_MARK} failed $status"; tail -c {_TOLD} "$HOME/log"; }}'
)


@dataclass(frozen=True)
class Seen:
    """How an engine stands: the release that it serves, None where none runs; whether its planned image is on the host."""

    release: str | None
    image: bool


@dataclass(frozen=True)
class Measured:
    """What one generator has measured; times in milliseconds, but `seconds`."""

    seconds: float
    completed: int
    prompt_tokens: int
    output_tokens: int
    ms_per_token: float
    ms_per_token_p99: float
    first_token_ms: float
    first_token_ms_p99: float
    good_requests_per_second: float | None = None


def look(plans: Sequence[EnginePlan]) -> str:
    """Shell command that prints how engines of a host stand, and who has put it into maintenance; `read_look` reads it."""
    sections = {"drained": maintenance.READ}
    for place, plan in enumerate(plans):
        sections |= {
            f"state_{place}": show_unit(plan.names.unit),
            f"release_{place}": show_release(plan.names.container),
            f"image_{place}": f"docker image inspect -f present {shlex.quote(plan.pinned_image)}",
        }
    return script(**sections)


def read_look(output: str, count: int) -> tuple[list[Seen], Maintenance | None]:
    """How the engines stand, in their order, and who has put their host into maintenance.

    Raises:
        FactProcessError: the output breaks off.
    """
    parts = split(output.splitlines())
    seen = []
    for place in range(count):
        engine = read_engine({name: parts.get(f"{name}_{place}", []) for name in ("state", "release")})
        release = engine["release"] if engine["active"] else None
        seen.append(Seen(release, parts.get(f"image_{place}") == ["present"]))
    return seen, maintenance.read(parts.get("drained", []))


def ask(plan: EnginePlan, url: str) -> str:
    """Shell command that asks for a completion, as clients do, and prints the answer."""
    probe = probes.completion(plan.served_model_name)
    data = f"-H 'Content-Type: application/json' -d {shlex.quote(probe.body)}"
    path = ENGINES[plan.spec.engine].chat_path
    return script(answer=f"up=1; {question(gates.at(plan, url), path, data)}")


def read_ask(output: str, plan: EnginePlan) -> str:
    """What is wrong with the answer; empty if nothing is.

    Raises:
        FactProcessError: the output breaks off.
    """
    status, text = read_answer(split(output.splitlines()).get("answer", []))
    return probes.problem(probes.completion(plan.served_model_name), status, text)


def generate(plans: Sequence[EnginePlan], loads: Sequence[Load], *, limit: int) -> str:
    """Shell command that puts loads on engines, a generator for each, all at the same time; `read_generated` reads its output.

    + limit: seconds after which a generator ends

    Raises:
        BarewindError: the lock does not hold the image.
    """
    begun = [
        f'{{ {_run(plan, load, number, limit)}; }} > "$d/{number}" 2>&1 &'
        for number, (plan, load) in enumerate(zip(plans, loads, strict=True))
    ]
    outputs = [f'echo "{_MARK} {number}"; cat "$d/{number}"' for number in range(len(begun))]
    script = ["d=$(mktemp -d) || exit 1", "trap 'rm -rf \"$d\"' EXIT", *begun, "wait", *outputs, f'echo "{_MARK} end"']
    # A unit of its own: `stop` ends it whole, and systemd does when its time is over.
    unit = f"systemd-run --quiet --wait --pipe --collect --unit={_CONTAINER} -p RuntimeMaxSec={limit + _SLACK}"
    # What a controller that is gone has left loads the engine still; the lease is ours now.
    return f"{stop(len(begun))}; {unit} /bin/sh -c {shlex.quote(chr(10).join(script))}"


def read_generated(output: str, names: Sequence[str]) -> list[Measured]:
    """What the generators have measured, in their order; `names` are those of the engines, for messages.

    Raises:
        BarewindError: one has failed, or a request of it was answered by an error; the message has the answer.
    """
    lines = output.splitlines()
    if not lines or lines[-1] != f"{_MARK} end":
        raise BarewindError(f"{', '.join(names)}: the host's answer breaks off; look at its memory and disk space")
    measured, problems = [], []
    for number, name in enumerate(names):
        own = _own(lines, number)
        found = next((line.removeprefix(f"{_MARK} ") for line in own if line.startswith(f"{_MARK} {{")), None)
        if found is None:
            problems.append(f"{name}: the load generator failed: {_said(own)}")
            continue
        result = json.loads(found)
        if result["failed"] or not result.get("completed"):
            failed = result["failed"] or "all"
            problems.append(
                f"{name}: {failed} requests were not answered as they should; one of them: {_short(result['error'])}"
            )
            continue
        measured.append(_measured(result, name))
    if problems:
        raise BarewindError("\n".join(problems))
    return measured


def stop(count: int) -> str:
    """Shell command that ends what so many generators have left."""
    names = " ".join(_name(number) for number in range(count))
    return f"systemctl stop {_CONTAINER} 2> /dev/null; docker rm -f {names} > /dev/null 2>&1 || :"


def keep(bench: Bench) -> str:
    """Shell command that keeps a bench with the release that it is of, and no more than the last ones."""
    file = shlex.quote(bench_path(str(bench.release)))
    line = shlex.quote(json.dumps(bench.model_dump(mode="json")))
    return (
        f"( umask 077; f={file}; touch $f && {{ [ -z \"$(tail -c 1 $f)\" ] || echo >> $f; }} && printf '%s\\n' {line} >> $f && "
        f'if [ "$(wc -l < $f)" -gt {KEPT} ]; then tail -n {KEPT} $f > $f.new && mv -f $f.new $f; fi )'
    )


def _run(plan: EnginePlan, load: Load, number: int, limit: int) -> str:
    spec, engine = plan.spec, ENGINES[plan.spec.engine]
    if engine.generator is None:
        raise BarewindError(f"{plan.name}: the images of {engine.name} bring no load generator")
    env = {"HF_HUB_OFFLINE": "1", **UNPRIVILEGED, **engine.generator_env}
    docker = [
        *("docker", "run", f"--name={_name(number)}", "--rm", "--interactive", "--pull=never", "--network=host"),
        *(*rights(spec), "--security-opt=no-new-privileges", "--log-driver=none", "--entrypoint=/bin/sh"),
        *weights_volumes(spec, plan.manifests[:1]),
        *(f"--env={name}={value}" for name, value in sorted(env.items())),
        plan.pinned_image,
        *("-c", secrets.LAUNCH, "barewind-secrets", "/bin/sh", "-c", _RUN, "barewind-bench", str(limit)),
        *engine.generator(load, _RESULT),
    ]
    key = secrets.client_key(engine.name, tuple(plan.secrets), str(plan.release), KEY_VARIABLE)
    return f"{key} | {shlex.join(docker)}"


def _name(number: int) -> str:
    return f"{_CONTAINER}-{number}"


def _own(lines: Sequence[str], number: int) -> list[str]:
    begin, end = f"{_MARK} {number}", (f"{_MARK} {number + 1}", f"{_MARK} end")
    first = lines.index(begin) + 1 if begin in lines else len(lines)
    last = next((at for at in range(first, len(lines)) if lines[at] in end), len(lines))
    return list(lines[first:last])


def _measured(result: Mapping[str, Any], name: str) -> Measured:
    values = {own: float(result.get(theirs, math.nan)) for own, theirs in FIGURES.items()}
    if not all(map(math.isfinite, values.values())) or values["seconds"] <= 0:
        raise BarewindError(
            f"{name}: the result of the load generator is not understood; this version of it is not known to Barewind"
        )
    good = result.get(GOODPUT)
    return Measured(
        seconds=values["seconds"],
        completed=round(values["completed"]),
        prompt_tokens=round(values["prompt_tokens"]),
        output_tokens=round(values["output_tokens"]),
        ms_per_token=values["ms_per_token"],
        ms_per_token_p99=values["ms_per_token_p99"],
        first_token_ms=values["first_token_ms"],
        first_token_ms_p99=values["first_token_ms_p99"],
        good_requests_per_second=None if good is None else float(good),
    )


def _said(lines: Sequence[str]) -> str:
    """The last of what a generator has said; of a Python program that is the error."""
    words = [line.strip() for line in lines if line.strip() and not line.startswith(_MARK)]
    return _short(" | ".join(words[-3:])) if words else "it said nothing"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 600 else f"...{flat[-600:]}"
