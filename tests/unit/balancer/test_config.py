"""HAProxy's configuration and the drop-in of its unit, whole."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from barewind.balancer.config import haproxy_config, haproxy_drop_in
from tests.support.factories import balancer_spec, engine_spec

EXPECTED = Path(__file__).parent / "expected"


def test_the_whole_balancer_configuration() -> None:
    engines = [engine_spec(), engine_spec(host="gpu-h2", address="192.0.2.12")]
    assert haproxy_config(balancer_spec(), engines) == (EXPECTED / "haproxy.cfg").read_text()


def test_a_balancers_own_settings() -> None:
    text = haproxy_config(
        balancer_spec(endpoint_port=80, stream_timeout=900, queue_timeout=5), [engine_spec(engine_port=8100)]
    )
    assert "    bind *:80\n" in text
    assert "    timeout queue 5s\n" in text
    assert "    timeout client 60s\n    timeout server 900s\n" in text
    assert "    server gpu-h1 192.0.2.11:8100 maxconn 512\n" in text
    assert "    server gpu-h1 192.0.2.11:8000 maxconn 32 weight 0\n" in haproxy_config(
        balancer_spec(), [engine_spec(standby=True, max_num_seqs=32)]
    )
    limited = haproxy_config(
        balancer_spec(max_body=5000, requests_per_client=7, connections_per_client=9, trusted_clients=["192.0.2.0/28"]),
        [engine_spec()],
    )
    assert " or { req.body_size gt 5000 }\n" in limited
    assert "acl is_trusted src 192.0.2.0/28\n" in limited
    assert "if { sc1_conn_cur gt 7 } !is_trusted\n" in limited
    assert "if { sc0_conn_cur gt 9 } !is_trusted\n" in limited


def test_a_balancer_without_ipv6_binds_to_what_is_there() -> None:
    assert "bind :::" not in haproxy_config(balancer_spec(), [engine_spec()], ipv6=False)


def test_paths_that_were_added_are_passed_by_their_method() -> None:
    text = haproxy_config(balancer_spec(endpoint_paths=["POST /v1/embeddings", "POST /v1/models"]), [engine_spec()])
    assert "    acl path_post path -m str /v1/embeddings\n" in text
    assert {"    acl path_get path -m str /v1/models", "    acl path_post path -m str /v1/models"} <= set(
        text.splitlines()
    )


def test_the_whole_drop_in_of_haproxys_unit() -> None:
    assert haproxy_drop_in() == (EXPECTED / "haproxy-service.conf").read_text()


def test_haproxys_state_is_saved_after_its_configuration_was_found_good_and_before_it_reloads() -> None:
    reload = re.findall(r"^ExecReload=(.*)$", haproxy_drop_in(), re.MULTILINE)
    assert [line.split()[:2] for line in reload] == [
        [],  # forgets what the package's unit says
        ["/usr/sbin/haproxy", "-Ws"],
        ["/usr/local/lib/barewind/haproxy-state", "save"],
        ["/bin/kill", "-USR2"],
    ]


def test_haproxy_accepts_the_configuration(tmp_path: Path) -> None:
    haproxy = shutil.which("haproxy")
    if haproxy is None:
        pytest.skip(
            "haproxy is not installed: only the text was compared; every deploy runs `haproxy -c` on the balancer"
        )
    config = haproxy_config(balancer_spec(), [engine_spec(), engine_spec(host="gpu-6", address="fd00::6")])
    config = config.replace("user haproxy\n", "").replace("group haproxy\n", "").replace("/run/haproxy", str(tmp_path))
    config = config.replace("chroot /var/lib/haproxy\n", "")
    (tmp_path / "haproxy.cfg").write_text(config)
    done = subprocess.run([haproxy, "-c", "-f", str(tmp_path / "haproxy.cfg")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
