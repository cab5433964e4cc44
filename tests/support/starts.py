"""The phases of engines' starts, as `barewind status --history` tells them, and a start anew that is read ahead for."""

from __future__ import annotations

from tests.support.commands import Site, json_of

PHASES = [
    "first_line",
    "weights",
    "warm_up",
    "ready",
]  # of the lab's engines: nothing is compiled, no graphs are captured


def last_phases(site: Site) -> dict[str, dict[str, float]]:
    """Seconds by phase of each engine's last start, by the engine's name; only of starts of the release that runs."""
    engines = json_of("barewind", "status", "--history", "--json", site.inventory)["engines"]
    return {
        row["host"]: event["phases"]
        for row in engines
        for event in row["events"]
        if event["phases"] and event["release"] == row["release"]
    }


def phases_are_told(site: Site, host: str) -> None:
    """The history of a host tells the phases of its start, as numbers and in the table for people."""
    phases = last_phases(site)[host]
    assert list(phases) == PHASES
    assert phases["weights"] + phases["first_line"] + phases["warm_up"] < phases["ready"] + 1
    assert 1 < phases["first_line"] < phases["ready"] < 600
    shown = site.barewind("status", "--history").output
    assert f"start: {phases['ready']:.0f} s: first line" in shown or f"start: {phases['ready']:.1f} s: first" in shown
