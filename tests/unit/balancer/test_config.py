"""HAProxy's configuration and the drop-in of its unit, whole."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from barewind.balancer import peers
from barewind.balancer.config import curl_options, haproxy_config, haproxy_drop_in, tokens_program
from tests.support.factories import balancer_spec, engine_spec

EXPECTED = Path(__file__).parent / "expected"


def test_the_whole_balancer_configuration() -> None:
    engines = [engine_spec(), engine_spec(host="gpu-h2", address="192.0.2.12")]
    assert haproxy_config(balancer_spec(), engines) == (EXPECTED / "haproxy.cfg").read_text()


def test_the_whole_configuration_of_a_balancer_that_asks_for_keys() -> None:
    text = haproxy_config(balancer_spec(endpoint_open=False, queue_limit=64), [engine_spec()])
    assert text == (EXPECTED / "haproxy-keys.cfg").read_text()


def test_balancers_that_ask_for_keys_tell_each_other_behind_a_packet_filter() -> None:
    own, other = (balancer_spec(host=f"lb{at}", address=f"192.0.2.{at}", endpoint_open=False) for at in (2, 3))
    stranger = balancer_spec(host="lb4", address="192.0.2.4")  # it asks for none
    both = [own, other, stranger]
    text = haproxy_config(own, [engine_spec()], balancers=both)
    assert "    bind 192.0.2.2:8020 transparent\n    server lb2\n    server lb3 192.0.2.3:8020\n" in text
    assert "192.0.2.4" not in text
    firewall = peers.firewall(own, both)
    assert firewall is not None
    assert "    ip saddr 192.0.2.3 tcp dport 8020 accept\n    tcp dport 8020 drop\n" in firewall.content
    assert "192.0.2.4" not in firewall.content
    assert [peers.table(one, both) for one in both] == ["keys.lb2", "keys.lb3", "keys"]
    assert haproxy_drop_in(firewall.path) == f"{haproxy_drop_in()}ExecStartPre=/usr/sbin/nft -f {firewall.path}\n"


@pytest.mark.parametrize("open_", [True, False])
def test_a_balancer_without_another_is_told_nothing_from_elsewhere(open_: bool) -> None:
    own = balancer_spec(endpoint_open=open_)
    others = [own, balancer_spec(host="lb9", endpoint_open=True)]
    assert haproxy_config(own, [engine_spec()], balancers=others) == haproxy_config(own, [engine_spec()])
    assert peers.firewall(own, others) is None


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


def test_tls_is_spoken_on_every_address_and_changes_nothing_else() -> None:
    tls = {"endpoint_tls": True, "endpoint_name": "llm.example.com", "endpoint_certificate": "a", "endpoint_key": "b"}
    plain, encrypted = (haproxy_config(balancer_spec(**keys), [engine_spec()]) for keys in ({}, tls))
    options = " ssl crt /etc/haproxy/barewind/endpoint.pem alpn h2,http/1.1 ssl-min-ver TLSv1.2"
    assert f"    bind *:8000{options}\n    bind :::8000 v6only{options}\n" in encrypted
    comment = next(line for line in encrypted.splitlines(keepends=True) if "# HTTP/2 for who can" in line)
    assert encrypted.replace(options, "").replace(comment, "") == plain


def test_a_balancer_asks_itself_by_the_name_that_clients_use() -> None:
    assert curl_options(balancer_spec()) == ()
    tls = {"endpoint_tls": True, "endpoint_certificate": "a", "endpoint_key": "b", "endpoint_port": 443}
    spec = balancer_spec(endpoint_name="LLM.example.com", address="fd00::2", **tls)
    assert spec.endpoint_url == "https://llm.example.com:443"
    assert curl_options(spec)[-1] == "llm.example.com:443:[fd00::2]:443"
    assert curl_options(balancer_spec(endpoint_name="a.example")) == ("--connect-to", "a.example:8000:192.0.2.2:8000")
    assert curl_options(balancer_spec(endpoint_name="fd00::9", **tls))[-1] == "[fd00::9]:443:192.0.2.2:443"


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


@pytest.mark.parametrize(
    "keys", [{}, {"endpoint_open": False, "queue_limit": 9, "cors_origins": ["https://a.example"]}]
)
def test_haproxy_accepts_the_configuration(tmp_path: Path, keys: dict[str, object]) -> None:
    haproxy = shutil.which("haproxy")
    if haproxy is None:
        pytest.skip(
            "haproxy is not installed: only the text was compared; every deploy runs `haproxy -c` on the balancer"
        )
    config = haproxy_config(balancer_spec(**keys), [engine_spec(), engine_spec(host="gpu-6", address="fd00::6")])
    (tmp_path / "tokens.lua").write_text(tokens_program())
    (tmp_path / "keys.map").touch()
    config = config.replace("/etc/haproxy/barewind", str(tmp_path))
    config = config.replace("user haproxy\n", "").replace("group haproxy\n", "").replace("/run/haproxy", str(tmp_path))
    config = config.replace("chroot /var/lib/haproxy\n", "")
    (tmp_path / "haproxy.cfg").write_text(config)
    done = subprocess.run([haproxy, "-c", "-f", str(tmp_path / "haproxy.cfg")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
