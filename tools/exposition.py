"""What a scrape finds of counters of given names: run in the engines' environment, names on standard input.

Prints a JSON object: each of the answers that a client asks for by its Accept header -> the names in it.
"""

import json
import re
import sys

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import choose_encoder

# What Prometheus asks for: 2.42 (scrape/scrape.go, scrapeAcceptHeader) and 3.5, which says how names may look.
CLIENTS = {
    "prometheus2": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "prometheus3": "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
}

registry = CollectorRegistry()
for name in json.load(sys.stdin):
    Counter(name, "about", registry=registry).inc()
found = {}
for client, accept in CLIENTS.items():
    encoder, _ = choose_encoder(accept)
    found[client] = sorted(set(re.findall(r"^([A-Za-z_:]\w*(?::\w+)*)", encoder(registry).decode(), re.MULTILINE)))
json.dump(found, sys.stdout)
