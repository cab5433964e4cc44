"""What differs between hosts behind one endpoint: whom a request meets is up to the balancer, so that clients see all of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from barewind.engines import ENGINES, sizing
from barewind.engines.workload import DEFAULT_IMAGES
from barewind.spec.keys import EngineSpec
from barewind.spec.site import Site

_MOST_HOSTS = 5


def differences(site: Site) -> Iterator[str]:
    """A sentence per aspect in which answers depend on the host; none where no balancer stands before the hosts."""
    if not site.balancers:
        return
    yield from _engines(site)
    specs = list(site.engines.values())
    for title, value, remedy in _ASPECTS:
        hosts: dict[str, list[str]] = defaultdict(list)
        for spec in specs:
            if (stated := value(spec)) is not None:
                hosts[stated].append(spec.name)
        if len(hosts) > 1:
            yield f"one endpoint, but {title}: {_stated(hosts)}; {remedy}"


def _context(spec: EngineSpec) -> str:
    return f"{sizing.size(spec).context_length} tokens"


def _modality(spec: EngineSpec) -> str:
    return "text and images" if spec.modality == "image" else "text alone"


def _images(spec: EngineSpec) -> str | None:
    return str(spec.images_per_prompt or DEFAULT_IMAGES) if spec.modality == "image" else None


def _domains(spec: EngineSpec) -> str | None:
    return (", ".join(sorted(spec.image_domains)) or "none") if spec.modality == "image" else None


def _key(spec: EngineSpec) -> str:
    """Whether clients must show a key. That hosts have the same one nobody can tell without showing it."""
    variable = ENGINES[spec.engine].api_key_variable
    return "with a key" if variable is not None and variable in spec.engine_secrets else "without a key"


def _weights(spec: EngineSpec) -> str:
    return spec.model if spec.model_revision is None else f"{spec.model} @ {spec.model_revision}"


# What depends on the host, what it is on each (None: nothing), what comes of it.
_ASPECTS: tuple[tuple[str, Callable[[EngineSpec], str | None], str], ...] = (
    (
        "the context depends on the host",
        _context,
        "some hosts refuse longer prompts: set the same context_length on all, or use one inventory each",
    ),
    (
        "images depend on the host",
        _modality,
        "some hosts refuse requests with images: set the same modality on all, or use one inventory each",
    ),
    (
        "the number of images per prompt depends on the host",
        _images,
        "set the same images_per_prompt on all",
    ),
    (
        "the hosts that images may come from depend on the host",
        _domains,
        "set the same image_domains on all",
    ),
    (
        "the key of clients depends on the host",
        _key,
        "some hosts answer 401 or let everybody in: set the same engine_secrets on all",
    ),
    (
        "the weights depend on the host",
        _weights,
        "right while traffic moves from one to the other, else set the same model_revision on all",
    ),
)


def _stated(hosts: Mapping[str, list[str]]) -> str:
    return " and ".join(f"{value} on {_some(names)}" for value, names in hosts.items())


def _some(hosts: list[str]) -> str:
    rest = len(hosts) - _MOST_HOSTS
    return ", ".join(hosts[:_MOST_HOSTS]) + (f" and {rest} more" if rest > 0 else "")


def _engines(site: Site) -> Iterator[str]:
    """Engines of several kinds behind one name: which one answers, and so how an answer looks, is up to the balancer."""
    hosts: dict[str, list[EngineSpec]] = defaultdict(list)
    for spec in site.engines.values():
        hosts[spec.engine].append(spec)
    answers = [ENGINES[engine].answers for engine in hosts]
    aspects = [aspect for aspect in zip(*answers, strict=True) if len(set(aspect)) > 1]
    if not aspects:
        return
    name = next(spec.served_model_name or spec.model for spec in site.engines.values())
    behind = " and ".join(f"{engine} ({', '.join(_called(engine, hosts))})" for engine in hosts)
    differences = "; ".join(
        f"{engine}: " + ", ".join(aspect[at] for aspect in aspects) for at, engine in enumerate(hosts)
    )
    yield (
        f"'{name}' is answered by {behind}, whose answers differ. {differences}. Clients must take both, or each engine gets a "
        "name and an inventory of its own: docs/recipes.md, Two engines behind one name"
    )


def _called(engine: str, hosts: Mapping[str, list[EngineSpec]]) -> list[str]:
    """The groups that only hosts with this engine are in; the hosts themselves where there is none."""
    others = {group for other, specs in hosts.items() if other != engine for spec in specs for group in spec.groups}
    own = dict.fromkeys(group for spec in hosts[engine] for group in spec.groups if group not in others)
    return list(own) or [spec.name for spec in hosts[engine]]
