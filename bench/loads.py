"""What the benches of rollouts say of a load: its row of a table, and how long engines were out of rotation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.support.load import Change, Load, p99


def print_loads(loads: Mapping[str, Load], what: str) -> None:
    """Print a Markdown table with a row for each load; `what` is counted in rotation: hosts, engines."""
    print(f"\n| | requests | lost | p99 s to the first token | p99 s to the last | fewest {what} in rotation |")
    print("|---|---|---|---|---|---|")
    for name, load in loads.items():
        fewest = min(load.fewest.values())
        print(
            f"| {name} | {load.asked} | {len(load.lost)} | {p99(load.first):.3f} | {p99(load.whole):.2f} | {fewest} |"
        )


def out_of_rotation(changes: Sequence[Change], engines: Sequence[str], balancers: Sequence[str]) -> dict[str, float]:
    """Seconds from the drain on the first balancer to the undrain on the last, by engine."""
    seconds = {}
    for name in engines:
        own = [change for change in changes if change.server == name]
        drained = [change.at for change in own if change.state != "UP"]
        undrained = [
            max(change.at for change in own if change.balancer == balancer and change.state == "UP")
            for balancer in balancers
        ]
        seconds[name] = max(undrained) - min(drained)
    return seconds
