"""A deploy of balancers that speak TLS, over @fake hosts: refused before anything changes, and without a word of the key."""

from __future__ import annotations

from pathlib import Path

from tests.support.certificates import NAME, Authority
from tests.support.fake_fleet import READY, Clone, balancer, engine, responses
from tests.support.fake_runs import started


def site(clone: Clone, name: str) -> Path:
    """Write an inventory whose balancer shows a certificate of NAME to clients that connect to `name`; returns its key."""
    certificate_file, key_file = Authority().issue(clone.path)
    keys = {"endpoint_tls": True, "endpoint_certificate": certificate_file, "endpoint_key": key_file}
    host, data = balancer()
    engines = [engine(1, responses(**READY), accelerator_drivers="external")]
    clone.inventory(engines=engines, balancers=[(host, data | keys | {"endpoint_name": name})])
    return Path(key_file)


def test_the_certificate_is_there_before_the_configuration_that_names_it_and_its_key_is_not_shown(clone: Clone) -> None:
    key = site(clone, NAME)
    done = clone.pyinfra("site.py", "deploy.py", "-y", "-vvv")
    assert done.returncode == 0, done.stderr
    steps = started(done)
    assert steps.index("Balancer | Certificate") < steps.index("Balancer | HAProxy")
    secret = key.read_text().splitlines()[1]
    assert secret not in done.stdout + done.stderr
    assert f"https://{NAME}:8000" in done.stdout + done.stderr  # whom the gate asks


def test_a_certificate_that_clients_would_refuse_is_refused_before_anything_changes(clone: Clone) -> None:
    site(clone, "other.example.com").chmod(0o644)
    done = clone.pyinfra("site.py", "deploy.py", "-y")
    assert done.returncode == 1
    told = " ".join((done.stdout + done.stderr).split())
    assert "2 problem(s) on 1 host(s), see the table; nothing was changed" in told
    assert "mode 0644 lets others read it" in told
    assert "(endpoint_name)" in told
    assert "Docker | Engine" not in told
