"""What one client may take of an endpoint, and so what is left to the others. Every default, and why. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from barewind.engines.candidate import SEQUENCES
from barewind.engines.sizing import size
from barewind.spec.keys import BalancerSpec, EngineSpec

KIB, MIB = 2**10, 2**20

# A body, bytes. Text: a token is 4 bytes of English, 8 leave room for other scripts, JSON's quotes and tools; 1 MiB for what is
# no prompt. Images come as base64 within the body: 40 MiB hold 4 photographs of 7.5 MB.
BYTES_PER_TOKEN, BESIDE_TEXT = 8, MIB
WITH_IMAGES = 40 * MIB

# What HAProxy holds of a body before it asks for an engine, bytes. A body that fits has arrived as a whole by then, however
# slowly it came, and costs no engine anything; a longer one is passed on from there, and holds a place until it ends.
# Memory: what has arrived, up to this, for each connection that is sending: 64 of them 16 MiB, all 8192 at once 2 GiB. A larger
# buffer costs every streamed event time: bench/README.md, the endpoint.
BUFFER = 256 * KIB
HEADERS = 16 * KIB  # HAProxy's and uvicorn's own limits are about this; the buffer would let more pass

# Seconds that a body (its first BUFFER bytes) has to arrive: 10, and one for each 50 kB, which the slowest of uplinks manages.
ARRIVAL = ((128 * KIB, 12), (None, 15))

# A body that is waited for before its request is refused, over HTTP/2: bytes that a client sends before it is told to go on
# (RFC 9113, 6.9.2), and seconds that one without a key has for it.
WINDOW, REFUSAL_TIME = 65535, 2

CONNECTIONS = 8192  # of all clients together; each costs a balancer about 34 kB while it waits
HEADER_TIME = 10  # seconds for the headers of a request
SILENCE = 60  # seconds that a client may neither send what it owes nor take what it gets

# Answers 500 in ten seconds that one key may have had from engines before it waits: an ordinary client has none.
FAILURES = 4

# Requests at a time of one address (IPv6: of one /64, which a single client has): fewer than a quarter of the engines' places,
# since whoever sends a long body or takes its answer slowly holds a place for as long as it likes. No fewer than 4: what has just
# ended is counted for a moment longer. An address that stands for many people is named in trusted_clients.
PART, LEAST = 4, 4


@dataclass(frozen=True)
class Limits:
    """The limits of a balancer, as its template wants them. Sizes are in bytes.

    + slots: by engine, requests that its engine gets at a time; the rest waits at the balancer
    """

    max_body: int
    requests_per_client: int
    connections_per_client: int
    slots: dict[str, int]


def limits(spec: BalancerSpec, engines: Sequence[EngineSpec]) -> Limits:
    """The limits of one balancer over a fleet. Several balancers do not divide the places: engines queue what two let through."""
    places = slots(engines)
    return Limits(
        max_body=spec.max_body or max(map(largest_body, engines)),
        requests_per_client=spec.requests_per_client or _below_a_part(engines, places),
        connections_per_client=spec.connections_per_client,
        slots=places,
    )


def slots(engines: Sequence[EngineSpec]) -> dict[str, int]:
    """By engine, the requests that it runs at a time."""
    return {engine.name: size(engine).sequences or SEQUENCES for engine in engines}


def largest_body(engine: EngineSpec) -> int:
    """The bytes of the longest request that a host's engine could want."""
    if engine.modality == "image":
        return WITH_IMAGES
    return BYTES_PER_TOKEN * size(engine).context_length + BESIDE_TEXT


def _below_a_part(engines: Sequence[EngineSpec], places: dict[str, int]) -> int:
    """Less than a part of the places of the engines that serve: hosts that stand by have none to fill."""
    serving = sum(places[engine.name] for engine in engines if not engine.standby) or sum(places.values())
    return max(LEAST, (serving - 1) // PART)
