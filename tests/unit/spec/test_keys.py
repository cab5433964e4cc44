"""What a user may write, and what is said when it is wrong."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from barewind.errors import BarewindError
from barewind.site.read import read_site
from barewind.spec.keys import KNOWN_KEYS, SiteSpec
from tests.support.factories import LAB_MODEL, engine_entry, engine_spec, entry

ALL_PY = Path(__file__).parents[3] / "group_data" / "all.py"
MEDIUM_EAGLE = "mistralai/Mistral-Medium-3.5-128B-EAGLE"


def problems(*entries: Any) -> list[str]:
    with pytest.raises(BarewindError) as caught:
        read_site(list(entries))
    return str(caught.value).splitlines()


def test_a_right_host_gets_the_documented_defaults() -> None:
    site = read_site([engine_entry("10.0.0.1"), entry("10.0.0.2", "balancers")])

    spec = site.engines["10.0.0.1"]
    assert (spec.accelerator, spec.accelerator_count, spec.modality, spec.speculative) == ("h200", 8, "text", "auto")
    assert spec.address == "10.0.0.1"
    assert site.balancers["10.0.0.2"].endpoint_port == 8000
    assert site.lock_file == "barewind.lock.yaml"
    assert list(site.engines) == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("data", "address"),
    [
        ({"ssh_hostname": "10.0.0.9"}, "10.0.0.9"),
        ({"ssh_hostname": "jump.example", "address": "10.0.0.8"}, "10.0.0.8"),
        ({"address": "fd00::1"}, "fd00::1"),
        ({"address": "FD00:0::0001"}, "fd00::1"),
    ],
)
def test_address_is_the_explicit_one_or_the_ssh_hostname(data: dict[str, str], address: str) -> None:
    assert read_site([engine_entry("gpu1", **data)]).engines["gpu1"].address == address


@pytest.mark.parametrize(("address", "host"), [("10.0.0.1", "10.0.0.1"), ("fd00::1", "[fd00::1]")])
def test_an_ipv6_address_stands_in_brackets_in_a_url(address: str, host: str) -> None:
    assert read_site([engine_entry("gpu1", address=address)]).engines["gpu1"].url_host == host


WRONG = [
    # data, what the one line says
    (
        {"acelerator": "h200"},
        "group_data/site.py: key 'acelerator': unknown; did you mean 'accelerator'? (keys of your own begin with x_)",
    ),
    (
        {"zzz": 1},
        "group_data/site.py: key 'zzz': unknown; group_data/all.py lists the keys. (keys of your own begin with x_)",
    ),
    ({"accelerator_count": 8.0}, "key 'accelerator_count': Input should be a valid integer, found 8.0"),
    ({"accelerator_count": "8"}, "key 'accelerator_count': Input should be a valid integer, found '8'"),
    ({"accelerator_count": True}, "key 'accelerator_count': Input should be a valid integer, found True"),
    ({"accelerator_count": 0}, "key 'accelerator_count': Input should be greater than or equal to 1, found 0"),
    ({"accelerator_count": -8}, "key 'accelerator_count': Input should be greater than or equal to 1, found -8"),
    ({"accelerator_count": 1000}, "key 'accelerator_count': Input should be less than or equal to 64, found 1000"),
    ({"accelerators": [0, 0, 1]}, "key 'accelerators': 0 stands there more than once; name each accelerator once"),
    ({"accelerators": []}, "key 'accelerators': List should have at least 1 item"),
    (
        {"accelerators": [6, 7, 8, 9]},
        "key 'accelerators': 8, 9: a host with accelerator_count 8 numbers them from 0 to 7",
    ),
    ({"accelerators": ["0"]}, "key 'accelerators.0': Input should be a valid integer, found '0'"),
    ({"replicas": 0}, "key 'replicas': Input should be greater than or equal to 1, found 0"),
    (
        {"replicas": 3},
        "key 'replicas': 3 does not divide the 8 accelerators that are used; set it to one of 1, 2, 4, 8",
    ),
    (
        {"replicas": 4, "accelerators": [0, 1, 2, 3, 4, 5]},
        "key 'replicas': 4 does not divide the 6 accelerators that are used; set it to one of 1, 2, 3, 6",
    ),
    (
        {"replicas": 4, "tensor_parallel_size": 4},
        "key 'tensor_parallel_size': 4 is more than the 2 accelerators of each of 4 replicas; lower it or leave it out",
    ),
    ({"accelerators": [0, 1], "tensor_parallel_size": 4}, "4 is more than the 2 of 'accelerators'; lower it"),
    ({"accelerators": [0, 1, 2]}, "key 'accelerators': 3 does not divide the 96 heads and 8 KV heads of"),
    (
        {"replicas": 2, "accelerators": [0, 1, 2, 3, 4, 5]},
        "key 'replicas': 3 does not divide the 96 heads and 8 KV heads of",
    ),
    (
        {"replicas": 4, "tensor_parallel_size": 2, "engine_args": {"data-parallel-size": 2}},
        "2 engines side by side of 2 accelerators each: 4 accelerators needed, 2 there for each replica",
    ),
    (
        {"replicas": 2, "engine_env": {"CUDA_VISIBLE_DEVICES": "0"}},
        "key 'engine_env': 'CUDA_VISIBLE_DEVICES' chooses accelerators, and each engine gets its own from the host",
    ),
    ({"replica": 1}, "key 'replica': unknown; did you mean 'replicas'?"),
    ({"gpu_ids": [0]}, "key 'gpu_ids': unknown; use the key 'accelerators'"),
    ({"accelerator": "h2000"}, "key 'accelerator': unknown accelerator 'h2000': known: a100, b200,"),
    ({"accelerator": "zx81"}, "key 'accelerator': unknown accelerator 'zx81': known: a100, b200, b300, cpu,"),
    (
        {"model": "mistralai/Mistral-Medium-3.5"},
        "key 'model': unknown model 'mistralai/Mistral-Medium-3.5': did you mean 'mistralai/Mistral-Medium-3.5-128B'?",
    ),
    ({"draft": "mistral"}, "key 'draft': unknown model 'mistral': "),
    ({"tensor_parallel_size": 0}, "key 'tensor_parallel_size': Input should be greater than or equal to 1, found 0"),
    (
        {"tensor_parallel_size": 16},
        "key 'tensor_parallel_size': 16 is more than accelerator_count 8; lower it or leave it out",
    ),
    ({"context_length": -1}, "key 'context_length': Input should be greater than or equal to 1024, found -1"),
    ({"images_per_prompt": 2}, 'key \'images_per_prompt\': needs modality = "image", found "text"'),
    ({"modality": "video"}, "key 'modality': Input should be 'text' or 'image', found 'video'"),
    ({"channel": "latest"}, "key 'channel': Input should be 'nightly' or 'stable', found 'latest'"),
    ({"engine": "vlm"}, "key 'engine': unknown engine 'vlm': did you mean 'vllm'?"),
    ({"gpu_memory_utilization": 1.0}, "key 'gpu_memory_utilization': Input should be less than 1, found 1.0"),
    ({"gpu_memory_utilization": 90}, "key 'gpu_memory_utilization': Input should be less than 1, found 90"),
    ({"max_num_seqs": -1}, "key 'max_num_seqs': Input should be greater than or equal to 1, found -1"),
    ({"engine_port": 70000}, "key 'engine_port': Input should be less than or equal to 65535, found 70000"),
    ({"engine_env": {"A": 1}}, "key 'engine_env.A': Input should be a valid string, found 1"),
    ({"data_dir": "var/lib"}, "key 'data_dir': found 'var/lib'; write an absolute path"),
    ({"data_dir": "/var/lib/x; rm"}, "key 'data_dir': found '/var/lib/x; rm'; write an absolute path"),
    ({"hub_endpoint": "huggingface.co"}, "key 'hub_endpoint': found 'huggingface.co'; write an http(s) URL"),
    ({"image": "vllm/vllm-openai@sha256:12"}, "key 'image': found 'vllm/vllm-openai@sha256:12'; write registry/"),
    ({"image": "two words"}, "key 'image': found 'two words'; write registry/repository:tag"),
    ({"insecure_registries": "10.0.0.1:5000"}, "key 'insecure_registries': Input should be a valid list"),
    (
        {"accelerator": "cpu", "accelerator_count": 1, "model": LAB_MODEL},
        "key 'image': accelerator \"cpu\" has no upstream image; name the CPU build of the engine",
    ),
    (
        {"model": MEDIUM_EAGLE, "speculative": True},
        f"key 'speculative': no draft is known for {MEDIUM_EAGLE}; name one with 'draft' or set",
    ),
    ({"address": "gpu1.example"}, "key 'address': 'gpu1.example' is no IP address; set 'address' to the host's IP"),
    ({"address": "10.0.0.256"}, "key 'address': '10.0.0.256' is no IP address"),
    ({"lock_file": 1}, "key 'lock_file': Input should be a valid string, found 1"),
]


@pytest.mark.parametrize(
    ("data", "said"), WRONG, ids=[",".join(f"{k}={v}" for k, v in one.items()) for one, _ in WRONG]
)
def test_a_wrong_value_is_one_line_with_file_key_and_finding(data: dict[str, Any], said: str) -> None:
    (line,) = problems(engine_entry("10.0.0.7", **data))
    assert said in line
    assert line.endswith("(on 10.0.0.7)")
    assert line.startswith(("group_data/site.py: key '", "host '10.0.0.7': key '"))


@pytest.mark.parametrize("tokens", [0, -1, 17, 2.5, "yes", None])
def test_speculative_is_a_switch_or_a_small_number(tokens: Any) -> None:
    assert all(
        line.startswith("group_data/site.py: key 'speculative") for line in problems(engine_entry(speculative=tokens))
    )


@pytest.mark.parametrize("tokens", ["auto", True, False, 1, 16])
def test_speculative_keeps_its_type(tokens: Any) -> None:
    spec = read_site([engine_entry(speculative=tokens)]).engines["10.0.0.1"]
    assert type(spec.speculative) is type(tokens)
    assert spec.speculative == tokens


@pytest.mark.parametrize("data", [{"tensor_parallel_size": 8}, {"modality": "image", "images_per_prompt": 2}])
def test_what_goes_together_is_accepted(data: dict[str, Any]) -> None:
    assert read_site([engine_entry(**data)]).engines


def test_a_missing_accelerator_names_the_groups_to_set_it_in() -> None:
    assert problems(entry("10.0.0.1", "blackwell", "prod")) == [
        "key 'accelerator': not set; set it in a group_data file of blackwell, prod (on 10.0.0.1)",
        "key 'accelerator_count': not set; set it in a group_data file of blackwell, prod (on 10.0.0.1)",
    ]


def test_a_host_name_that_is_no_address_needs_one() -> None:
    (line,) = problems(engine_entry("gpu-h1"))
    assert line.startswith("host 'gpu-h1': key 'address': 'gpu-h1' is no IP address; set 'address'")


def test_a_balancer_needs_no_accelerator_and_is_validated_too() -> None:
    assert problems(entry("10.0.0.2", "balancers", stream_timeout=1)) == [
        "group_data/site.py: key 'stream_timeout': Input should be greater than or equal to 60, found 1; "
        "see group_data/all.py (on 10.0.0.2)"
    ]


def test_problems_of_all_hosts_are_reported_together_and_the_same_one_once() -> None:
    lines = problems(
        engine_entry("10.0.0.1", modalty="text"),
        engine_entry("10.0.0.2", modalty="text", max_num_seqs="8"),
        entry("10.0.0.3", "balancers", queue_timeout=0),
    )

    assert len(lines) == 3
    assert "key 'modalty': unknown; did you mean 'modality'?" in lines[0]
    assert lines[0].endswith("(on 10.0.0.1, 10.0.0.2)")
    assert "key 'max_num_seqs'" in lines[1]
    assert lines[1].endswith("(on 10.0.0.2)")
    assert "key 'queue_timeout'" in lines[2]


def test_a_problem_of_many_hosts_names_five() -> None:
    (line,) = problems(*(engine_entry(f"10.0.0.{n}", channel="x") for n in range(1, 9)))
    assert line.endswith("(on 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5 and 3 more)")


SITE_WIDE = {
    # key: two values
    "lock_file": ("a.yaml", "b.yaml"),
    "endpoint_keys": ("a.yaml", "b.yaml"),
    "reason": ("nightly", "bigger context"),
    "release": ("0123456789ab", "ba9876543210"),
    "to": ("green", "blue"),
    "share": ("10,100", 50),
    "step_seconds": (5, 10),
}


def test_every_site_wide_key_is_in_the_table() -> None:
    # tests/unit/catalog/test_own.py has the other, whose files must be there
    assert {*SITE_WIDE, "catalog"} == set(SiteSpec.model_fields)


@pytest.mark.parametrize("key", SITE_WIDE)
def test_hosts_must_agree_on_what_holds_for_the_site(key: str) -> None:
    one, two = SITE_WIDE[key]
    hosts = [
        engine_entry("10.0.0.1", **{key: one}),
        engine_entry("10.0.0.2", **{key: two}),
        engine_entry("10.0.0.3", **{key: one}),
        entry("10.0.0.4", "balancers"),
    ]
    assert problems(*hosts) == [
        f"key '{key}': must be the same on every host, but is {one!r} on 10.0.0.1, 10.0.0.3 (group_data/site.py) and "
        f"{two!r} on 10.0.0.2 (group_data/site.py) and not set on 10.0.0.4; set it once, in group_data/all.py or with --data"
    ]
    assert problems(*reversed(hosts)) == [
        f"key '{key}': must be the same on every host, but is not set on 10.0.0.4 and {one!r} on 10.0.0.3, 10.0.0.1 "
        f"(group_data/site.py) and {two!r} on 10.0.0.2 (group_data/site.py); set it once, in group_data/all.py or with --data"
    ]


@pytest.mark.parametrize("key", SITE_WIDE)
def test_what_all_hosts_say_holds_for_the_site(key: str) -> None:
    value = {key: SITE_WIDE[key][0]}
    site = read_site([engine_entry("10.0.0.1", **value), entry("10.0.0.4", "balancers", **value)])
    assert getattr(site, "shares" if key == "share" else key) == getattr(SiteSpec(**value), key)


def test_keys_of_pyinfra_and_of_the_site_itself_are_let_through() -> None:
    foreign = {"ssh_user": "ops", "ssh_port": 22, "_sudo": True, "_timeout": 300, "fake_delay": 0, "x_rack": "R12"}
    assert read_site([engine_entry(**foreign)]).engines


@pytest.mark.parametrize(
    "data",
    [
        {"served_model_name": "medium\nExecStartPre=/bin/x"},
        {"engine_env": {"A": "1\nExecStartPre=/bin/x"}},
        {"engine_args": {"chat-template": "a\nb"}},
    ],
    ids=lambda data: next(iter(data)),
)
def test_values_with_line_breaks_are_refused(data: dict[str, Any]) -> None:
    assert problems(engine_entry(**data))


@pytest.mark.parametrize("option", ["port", "--port", "host", "served-model-name", "served_model_name"])
def test_engine_args_cannot_move_what_a_key_of_its_own_says(option: str) -> None:
    (line,) = problems(engine_entry(engine_args={option: "9000"}))
    assert option.strip("-") in line


def test_tls_wants_a_name_a_certificate_and_a_key_or_says_how_to_do_without() -> None:
    said = problems(engine_entry(), entry("10.0.0.2", "balancers", endpoint_tls=True))
    ways = ["write the name by which clients connect", "name the file (PEM, with the chain) on the controller"]
    ways.append("name the file (PEM, mode 0600) on the controller")
    keys = ["endpoint_name", "endpoint_certificate", "endpoint_key"]
    assert [line.partition(": ")[2] for line in said] == [
        f"key '{key}': not set; {way}, or set endpoint_tls = False: plain HTTP (on 10.0.0.2)"
        for key, way in zip(keys, ways, strict=True)
    ]


@pytest.mark.parametrize(
    "name", ["https://llm.example.com", "llm.example.com:443", "a b", "-a", "*.example.com", "", "fe80::1%eth0"]
)
def test_what_is_no_name_of_the_endpoint_is_refused(name: str) -> None:
    (said,) = problems(engine_entry(), entry("10.0.0.2", "balancers", endpoint_name=name))
    assert f"key 'endpoint_name': found {name!r}; write the name or address by which clients connect" in said


def test_balancers_alone_have_nothing_to_balance() -> None:
    assert problems(entry("10.0.0.2", "balancers"))


def test_engines_behind_one_endpoint_serve_one_model() -> None:
    assert problems(engine_entry("10.0.0.1", served_model_name="a"), engine_entry("10.0.0.2", served_model_name="b"))


def test_two_hosts_with_one_address_are_refused() -> None:
    assert problems(engine_entry("a", address="10.0.0.1"), engine_entry("b", address="10.0.0.1"))


def documented() -> set[str]:
    """Keys that group_data/all.py assigns or shows commented out."""
    return set(re.findall(r"^(?:# )?(\w+) = ", ALL_PY.read_text(), re.MULTILINE))


def test_every_key_is_documented_in_group_data_all() -> None:
    assert KNOWN_KEYS - documented() == set()


def test_group_data_all_documents_no_key_that_does_not_exist() -> None:
    pyinfra_keys = {key for key in documented() if key.startswith(("ssh_", "_"))}
    assert documented() - pyinfra_keys - KNOWN_KEYS == set()


def test_what_group_data_all_assigns_is_the_default_of_each_key() -> None:
    assigned = {key: value for key, value in runpy.run_path(str(ALL_PY)).items() if key in KNOWN_KEYS}
    assert len(assigned) > 15
    engine = {k: v for k, v in assigned.items() if k not in ("endpoint_port", "stream_timeout", "queue_timeout")}
    balancer = {k: v for k, v in assigned.items() if k not in engine}

    bare = read_site([engine_entry("10.0.0.1"), entry("10.0.0.2", "balancers")])
    written = read_site([engine_entry("10.0.0.1", **engine), entry("10.0.0.2", "balancers", **balancer)])

    assert written == bare


@pytest.mark.parametrize(
    "value", [0, 65536, -1, "30000-", "30100-30000", "30000-30000", "a", "22; accept", "1\n2", True, 2.5]
)
def test_what_is_no_port_and_no_range_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        engine_spec(open_ports=[value])


def test_ports_and_ranges_are_taken_as_they_are() -> None:
    assert engine_spec(open_ports=[9100, "30000", "30001-30010"]).open_ports == [9100, 30000, "30001-30010"]


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/v1/embeddings",
            "DELETE /v1/models",
            "POST v1/x",
            "POST /v1/x/",
            "POST //x",
            "POST /v1/../x",
            "POST /x%2fy",
        ),
        *("GET /x?y", "GET /", "GET /x\n    http-request allow", "GET /x y", "GET /'", "GET /x\n"),
    ],
)
def test_an_endpoint_path_is_a_method_and_a_plain_path(path: str) -> None:
    said = problems(engine_entry(), entry("10.0.0.2", "balancers", endpoint_paths=["POST /v1/embeddings", path]))
    assert len(said) == 1
    assert "key 'endpoint_paths.1'" in said[0]


def test_no_key_opens_an_engines_inside_to_clients() -> None:
    said = problems(
        engine_entry(), entry("10.0.0.2", "balancers", endpoint_paths=["POST /sleep", "POST /v1/embeddings"])
    )
    assert len(said) == 1
    assert "key 'endpoint_paths': 'POST /sleep' shows or changes the inside of vllm" in said[0]
