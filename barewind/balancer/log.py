"""The line that a balancer logs of each request: one flat JSON object, at the request's end. Pure.

Nothing in it is of a query, a body or an answer. docs/endpoint.md lists the fields; what sums the usage of keys reads them.
"""

from __future__ import annotations

_PATH = 256  # bytes of a path; a longer one is nobody's
_METHOD = 16
_SLASHES = r"regsub(\\\\/,/,g)"  # json() writes \/ for /, which nobody would look for


def log_format() -> str:
    """HAProxy's format of the line. What clients wrote is escaped; numbers that may be missing stand in quotes."""
    texts = {
        "at": "%[date,utime(%Y-%m-%dT%H:%M:%SZ)]",
        "balancer": "%H",
        "id": "%ID",
        "client": "%ci",
        "key": "%[var(txn.key)]",
        "method": f"%[capture.req.method,bytes(0,{_METHOD}),json(utf8s)]",
        "path": f"%[capture.req.uri,field(1,?),bytes(0,{_PATH}),json(utf8s),{_SLASHES}]",
        "code": "%[var(txn.code)]",
        "engine": "%s",
        "in": "%[var(txn.tokens_in)]",
        "out": "%[var(txn.tokens_out)]",
        "cached": "%[var(txn.tokens_cached)]",
        "events": "%[var(txn.events)]",
        "end": "%tsc",
        "retries": "%rc",
    }
    numbers = {
        "status": "%ST",
        "queue_ms": "%Tw",
        "connect_ms": "%Tc",
        "first_ms": "%Tr",
        "total_ms": "%Ta",
        "bytes_in": "%U",
        "bytes_out": "%B",
        "queued": "%bq",
    }
    fields = [f'"{name}":"{value}"' for name, value in texts.items()]
    fields += [f'"{name}":{value}' for name, value in numbers.items()]
    return "{" + ",".join(fields) + "}"
