"""What profiles and expected loads have to tell: keys that contradict a profile, and loads that hosts do not take at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from barewind import catalog
from barewind.engines.candidate import key_of, with_engine_args
from barewind.engines.command import option_of
from barewind.engines.profile import TOKENS
from barewind.engines.sizing import keeping_to_limit, recipe_of, size
from barewind.engines.workload import Sizing
from barewind.output.names import fold
from barewind.spec.keys import EngineSpec
from barewind.spec.site import Site


def conflicts(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    """Key and sentence of a profile that cannot be had."""
    if spec.profile == "recipe" and recipe_of(spec) is None:
        on = f"on {spec.accelerator}" if not catalog.accelerators()[spec.accelerator].is_cpu else "without accelerators"
        yield (
            "profile",
            f'nobody has published a command for {spec.model} with {spec.engine} {on}; use "balanced", "latency" or "throughput"',
        )


def notes(site: Site) -> Iterator[str]:
    """A line for each difference, with the engines that have it."""
    engines: dict[str, list[str]] = defaultdict(list)
    for host in site.engine_hosts.values():
        for line in dict.fromkeys(_of_host(host[0])):  # its engines are alike
            engines[line].append(host[0].host)
    for line, names in engines.items():
        yield f"{line} (on {fold(names)})"


def _of_host(spec: EngineSpec) -> Iterator[str]:
    settled = size(spec)
    if settled.fit is None:
        return
    yield from _contradicted(spec, settled)
    yield from _tpot(spec, settled)
    yield from _beyond(spec, settled)


def _contradicted(spec: EngineSpec, settled: Sizing) -> Iterator[str]:
    """Keys that say otherwise than a profile which somebody has chosen: the key holds."""
    if spec.profile == "balanced":  # which nobody has to choose
        return
    said = with_engine_args(spec)
    for key in ("max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization", "context_length", "speculative"):
        kept = getattr(said, key)
        if kept is None or kept == "auto" or (key in _FITTING and spec.profile != "recipe"):
            continue
        args = {name: value for name, value in spec.engine_args.items() if key_of(option_of(name), spec.engine) != key}
        other = size(spec.model_copy(update={key: "auto" if key == "speculative" else None, "engine_args": args}))
        wanted, planned = _shown(other, key), _shown(settled, key)
        if wanted != planned:
            yield f"key 'profile': \"{spec.profile}\" would have {key} {wanted}; the key says {planned}, and holds"
    if spec.profile == "recipe" and said.kv_cache_dtype == "fp8":
        yield "key 'profile': \"recipe\" would leave kv_cache_dtype to the engine; the key says fp8, and holds"


_FITTING = ("gpu_memory_utilization", "context_length")  # which only a published command says


def _shown(sizing: Sizing, key: str) -> str:
    values: dict[str, object] = {
        "max_num_seqs": sizing.sequences,
        "max_num_batched_tokens": sizing.batched_tokens,
        "gpu_memory_utilization": sizing.utilization,
        "context_length": sizing.context_length,
        "speculative": sizing.draft is not None,
    }
    return "left to the engine" if key in sizing.left_open else str(values[key])


def _tpot(spec: EngineSpec, settled: Sizing) -> Iterator[str]:
    if spec.tpot_limit is None:
        return
    keeping = keeping_to_limit(spec, settled)
    if keeping is None:
        yield f"key 'tpot_limit': changes nothing, since nothing is known of how fast {spec.accelerator} is here"
    elif keeping == 0:
        yield (
            f"key 'tpot_limit': {spec.tpot_limit:g} ms per token is less than one request alone takes (estimate), and changes "
            "nothing; more accelerators for each engine make it less"
        )
    elif settled.sequences is not None and settled.sequences > keeping:
        yield (
            f"key 'tpot_limit': {settled.sequences} sequences at a time take longer than {spec.tpot_limit:g} ms per token "
            f"(estimate); {keeping} keep to it"
        )


def _beyond(spec: EngineSpec, settled: Sizing) -> Iterator[str]:
    """A load that is expected and that the host does not run at a time."""
    fit = settled.fit
    if spec.expected_concurrency is None or settled.sequences is None or fit is None or not fit.fits:
        return
    held = fit.kv_token_capacity // min(2 * TOKENS, settled.context_length)
    together = spec.replicas * fit.data_parallel * min(settled.sequences, held)
    if spec.expected_concurrency > together:
        yield (
            f"key 'expected_concurrency': {spec.expected_concurrency} in flight, and the host runs {together} at a time: "
            f"{spec.expected_concurrency - together} wait for others to end; more hosts, or other set-ups "
            "(barewind plan --compare), take more"
        )
