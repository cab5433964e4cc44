"""No secret of the inventory can be read on a host."""

from __future__ import annotations

import pytest

from barewind.errors import BarewindError
from barewind.mirror.plan import KEY_FILE
from barewind.plan.secrets import file_path
from barewind.verify import secrets
from barewind.verify.findings import Finding, leaks
from barewind.verify.hosts import Balancer, Engine, Expected, Mirror
from barewind.verify.secrets import Secret


@pytest.fixture(scope="session")
def named(expected: Expected) -> tuple[Secret, ...]:
    """The secrets that the inventory names."""
    inventory_secrets: tuple[Secret, ...] = ()
    problem = ""
    try:
        inventory_secrets = secrets.of_inventory(expected.data.values(), expected.plans.values())
    except (BarewindError, OSError) as error:
        problem = str(error)
    if problem:
        pytest.fail(problem, pytrace=False)
    if not inventory_secrets:
        pytest.skip(
            f"the inventory names no secret ({', '.join(secrets.FILE_KEYS + secrets.FILES_KEYS)}, logins): "
            "there is none to look for"
        )
    return inventory_secrets


def test_secrets_cannot_be_read_on_engines(engine: Engine, named: tuple[Secret, ...]) -> None:
    kept = [file_path(str(engine.plan.release))] if engine.plan.secrets else []
    engine.refuse(leaks(engine.host, named, kept=kept))


def test_secrets_are_not_on_balancers(balancer: Balancer, named: tuple[Secret, ...]) -> None:
    balancer.refuse(leaks(balancer.host, named))


def test_no_login_of_a_registry_is_left_on_engines(engine: Engine) -> None:
    """What a pull was given is gone when it ends."""
    left = engine.host.run("ls /run/barewind/pull/*/config.json").stdout.split()
    engine.refuse([Finding("no login in /run", file, "is a pull under way? else remove it") for file in left])


def test_secrets_of_mirrors_are_for_root_alone(mirror: Mirror, named: tuple[Secret, ...]) -> None:
    mirror.refuse(leaks(mirror.host, named, kept=[KEY_FILE] if mirror.spec.mirror_tls else []))
