"""Images of requests: the engines' own code with what is planned, and a listener that writes down what it is asked for."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from barewind.engines import ENGINES
from tests.support.factories import engine_spec, plan
from tools import schema

IN_THE_REQUEST = {"the request itself": [True]}


def fetched(engine: str, *domains: str) -> dict[str, Any]:
    """What comes, and what is asked for, with the options and the environment of a host with images."""
    made = plan(
        engine_spec(engine=engine, modality="image", image_domains=list(domains), accept_risks=["local-image-files"])
    ).command
    (allowed,) = [option.value for option in made.options if option.flag == "--allowed-media-domains"]
    assert isinstance(allowed, list)
    return run(engine, allowed, made.env)


def run(engine: str, allowed: list[str], env: dict[str, str]) -> dict[str, Any]:
    program = str(Path(__file__).with_name("fetch_media.py"))
    settings = {name: value for name, value in env.items() if "MEDIA" in name}
    output = subprocess.run(
        [str(schema.environment()), program, engine, *allowed],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    ).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_by_default_images_come_in_requests_and_nothing_is_fetched(engine: str) -> None:
    assert fetched(engine) == {
        "an address": [False],
        "a name": [False],
        "a redirect": [False],
        "a user before the name": [False],
        **IN_THE_REQUEST,
    }


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_images_are_fetched_from_the_hosts_that_are_named_and_no_redirect_leads_out_of_them(engine: str) -> None:
    found = fetched(engine, "localhost")
    assert found["a redirect"] in ([False, "/redirect"], [True, "/redirect"])  # its own body; never /redirected
    del found["a redirect"]
    assert found == {
        "an address": [False],
        "a name": [True, "/image"],
        "a user before the name": [False],
        **IN_THE_REQUEST,
    }


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_what_is_not_said_means_every_host(engine: str) -> None:
    """The contrast: without the planned option a client reads what the host reaches."""
    found = run(engine, [], {})
    assert found["an address"] == [True, "/image"]
    assert found["a redirect"] == [True, "/redirect", "/redirected"]
