"""Spec and lock -> what a host runs: the whole argument list, and when a release is another one."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from barewind.errors import BarewindError
from barewind.lock.file import Lock
from barewind.plan import checks
from barewind.plan.checks import require_locked
from barewind.plan.document import as_json
from barewind.plan.engine import plan_host, plan_site
from barewind.registry.image import LockedImage
from barewind.spec.keys import EngineSpec
from barewind.spec.site import Site
from tests.support.factories import (
    DIGEST,
    DRAFT_REVISION,
    FILES,
    LAB_IMAGE,
    LAB_MODEL,
    MEDIUM,
    REVISION,
    UNPRIVILEGED,
    engine_spec,
    lab_spec,
    locked,
    plan,
)

H200 = [
    "/models/mistralai/Mistral-Medium-3.5-128B",
    *("--served-model-name", "mistralai/Mistral-Medium-3.5-128B"),
    *("--host", "192.0.2.11"),
    *("--port", "8000"),
    *("--tokenizer-mode", "mistral"),
    *("--config-format", "mistral"),
    *("--load-format", "mistral"),
    *("--tensor-parallel-size", "8"),
    *("--max-model-len", "262144"),
    "--enable-auto-tool-choice",
    *("--tool-call-parser", "mistral"),
    *("--reasoning-parser", "mistral"),
    *("--shutdown-timeout", "600"),
    "--language-model-only",
    "--speculative-config",
    '{"model": "/models/mistralai/Mistral-Medium-3.5-128B-EAGLE", "method": "eagle", '
    '"num_speculative_tokens": 3, "max_model_len": 65536}',
    *("--safetensors-load-strategy", "prefetch"),
    *("--gpu-memory-utilization", "0.9"),
    *("--max-num-seqs", "512"),
    *("--max-num-batched-tokens", "6144"),
]
DRAFT = H200.index("--speculative-config")
LOADING = H200.index("--safetensors-load-strategy")
SHARES = H200.index("--gpu-memory-utilization")  # memory share and batch sizes stand from here on
ENV = {
    "GLOO_SOCKET_IFNAME": "lo",
    **UNPRIVILEGED,
    "HF_HUB_OFFLINE": "1",
    "NCCL_SOCKET_IFNAME": "lo",
    "TRITON_CACHE_DIR": "/cache/triton",
    "VLLM_CACHE_ROOT": "/cache",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "75",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
    "TORCHINDUCTOR_CACHE_DIR": "/cache/inductor",
    "VLLM_NO_USAGE_STATS": "1",
}


def after(argv: list[str], flag: str) -> str:
    return argv[argv.index(flag) + 1]


def test_eight_h200_text_only() -> None:
    command = plan(engine_spec()).command
    assert command.argv == H200
    assert command.env == ENV


def test_mi300x() -> None:
    made = plan(engine_spec(accelerator="mi300x", context_length=131072))
    expected = [*H200[:DRAFT], "--enable-prefix-caching", *H200[LOADING:]]  # no draft: nobody has published a run
    expected[expected.index("262144")] = "131072"

    assert made.command.argv == expected
    assert made.command.env == ENV | {
        "VLLM_ROCM_USE_AITER": "1",
        "SAFETENSORS_FAST_GPU": "1",
        "NCCL_MIN_NCHANNELS": "112",
    }
    assert made.image == "docker.io/vllm/vllm-openai-rocm:nightly"


def test_lab_host_without_accelerator() -> None:
    args = {"enforce-eager": True, "max-num-seqs": 8}
    assert plan(lab_spec(engine_args=args)).command.argv == [
        "/models/barewind-lab/Mistral-Tiny",
        *("--served-model-name", "barewind-lab/Mistral-Tiny"),
        *("--host", "172.30.77.21"),
        *("--port", "8000"),
        *("--tokenizer-mode", "mistral"),
        *("--config-format", "mistral"),
        *("--load-format", "mistral"),
        *("--tensor-parallel-size", "1"),
        *("--max-model-len", "2048"),
        "--enable-auto-tool-choice",
        *("--tool-call-parser", "mistral"),
        *("--reasoning-parser", "mistral"),
        *("--shutdown-timeout", "30"),
        "--language-model-only",
        "--speculative-config",
        '{"model": "/models/barewind-lab/Mistral-Tiny-EAGLE", "method": "eagle", '
        '"num_speculative_tokens": 3, "max_model_len": 2048}',
        "--enforce-eager",
        *("--max-num-seqs", "8"),
    ]


@pytest.mark.parametrize(("per_prompt", "shown"), [(None, '{"image": 4}'), (2, '{"image": 2}')])
def test_image_modality_loads_the_vision_tower(per_prompt: int | None, shown: str) -> None:
    at = H200.index("--language-model-only")
    domains = ["--allowed-media-domains", "media.invalid"]
    images = ["--limit-mm-per-prompt", shown, *domains, "--mm-encoder-tp-mode", "data"]
    expected = [*H200[:at], *images, *H200[at + 1 : -1], "8192"]  # a step holds the tokens of a whole image
    assert plan(engine_spec(modality="image", images_per_prompt=per_prompt)).command.argv == expected


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_images_come_from_the_hosts_that_are_named_and_no_others(engine: str) -> None:
    """To both engines an empty list means every host: without any there must be one that cannot exist."""
    consent = {"engine": engine, "modality": "image", "accept_risks": ["local-image-files"]}

    def given(**keys: Any) -> list[str]:
        argv = plan(engine_spec(**consent | keys)).command.argv
        at = argv.index("--allowed-media-domains") + 1
        return argv[at : next(i for i in range(at, len(argv)) if argv[i].startswith("--"))]

    assert given() == ["media.invalid"]
    assert given(image_domains=["Images.Example.com", "cdn.example.com"]) == ["images.example.com", "cdn.example.com"]
    assert "--allowed-media-domains" not in plan(engine_spec(engine=engine)).command.argv


def test_an_engine_that_takes_images_also_in_text_only_service_is_told_to_take_none() -> None:
    argv = plan(engine_spec(engine="sglang")).command.argv
    assert argv[argv.index("--limit-mm-data-per-request") + 1] == '{"image": 0, "video": 0, "audio": 0}'


def test_on_one_accelerator_the_vision_tower_is_not_shared() -> None:
    argv = plan(engine_spec(modality="image", accelerator="b300", accelerator_count=1)).command.argv
    assert "--mm-encoder-tp-mode" not in argv


def test_without_speculation_there_is_no_draft_and_the_memory_share_is_the_usual_one() -> None:
    made = plan(engine_spec(speculative=False))
    expected = [*H200[:DRAFT], *H200[LOADING:]]
    assert made.command.argv == expected
    assert as_json(made)["draft"] is None
    assert [manifest.model for manifest in made.manifests] == [MEDIUM]


def test_optional_limits_are_passed_on() -> None:
    argv = plan(
        engine_spec(
            gpu_memory_utilization=0.92,
            max_num_seqs=64,
            max_num_batched_tokens=8192,
            kv_cache_dtype="fp8",
            tensor_parallel_size=4,
            engine_port=8100,
            served_model_name="medium",
            speculative=5,
            context_length=32768,
        )
    ).command.argv

    assert after(argv, "--gpu-memory-utilization") == "0.92"
    assert after(argv, "--max-num-seqs") == "64"
    assert after(argv, "--max-num-batched-tokens") == "8192"
    assert after(argv, "--kv-cache-dtype") == "fp8"
    assert after(argv, "--tensor-parallel-size") == "4"
    assert after(argv, "--port") == "8100"
    assert after(argv, "--served-model-name") == "medium"
    draft = json.loads(after(argv, "--speculative-config"))
    assert draft["num_speculative_tokens"] == 5
    assert draft["max_model_len"] == 32768  # the draft's limit is never above the model's


@pytest.mark.parametrize(
    ("engine_args", "gone", "added"),
    [
        ({"max-log-len": 100}, [], ["--max-log-len", "100"]),
        ({"max_log_len": 100}, [], ["--max-log-len", "100"]),
        ({"--max-log-len": 100}, [], ["--max-log-len", "100"]),
        ({"async-scheduling": True}, [], ["--async-scheduling"]),
        ({"enforce-eager": False}, [], []),
        ({"gpu-memory-utilization": 0.8}, ["--gpu-memory-utilization", "0.9"], ["--gpu-memory-utilization", "0.8"]),
        ({"enable-auto-tool-choice": False}, ["--enable-auto-tool-choice"], []),
        ({"tool_call_parser": False}, ["--tool-call-parser", "mistral"], []),
        ({"compilation-config": {"level": 3}}, [], ["--compilation-config", '{"level": 3}']),
    ],
)
def test_engine_args_add_replace_and_leave_out(engine_args: dict[str, Any], gone: list[str], added: list[str]) -> None:
    expected = list(H200)
    if gone:
        at = expected.index(gone[0])
        assert expected[at : at + len(gone)] == gone
        del expected[at : at + len(gone)]
    assert plan(engine_spec(engine_args=engine_args)).command.argv == expected + added


def test_engine_args_replace_an_option_under_its_other_names_too() -> None:
    at = SHARES
    by_alias = plan(engine_spec(engine_args={"device-memory-utilization": 0.8})).command.argv
    assert by_alias == [*H200[:at], *H200[at + 2 :], "--device-memory-utilization", "0.8"]

    # the negation of what is planned for AMD
    amd = plan(engine_spec(accelerator="mi300x", engine_args={"no-enable-prefix-caching": True})).command.argv
    assert amd == [*H200[:DRAFT], *H200[LOADING:], "--no-enable-prefix-caching"]


def test_an_option_set_to_false_does_not_turn_off_what_is_planned_on() -> None:
    argv = plan(engine_spec(accelerator="mi300x", engine_args={"no-enable-prefix-caching": False})).command.argv
    assert "--enable-prefix-caching" in argv


def test_engine_env_adds_and_replaces() -> None:
    made = plan(engine_spec(engine_env={"NCCL_DEBUG": "INFO", "VLLM_NO_USAGE_STATS": "0"}))
    assert made.command.env == ENV | {"NCCL_DEBUG": "INFO", "VLLM_NO_USAGE_STATS": "0"}
    assert "--env=NCCL_DEBUG=INFO" in made.container
    assert "--env=VLLM_NO_USAGE_STATS=0" in made.container


WEIGHTS = "/var/lib/barewind/weights"
VLLM = [
    "GLOO_SOCKET_IFNAME=lo",
    "NCCL_SOCKET_IFNAME=lo",
    "TORCHINDUCTOR_CACHE_DIR=/cache/inductor",
    "TRITON_CACHE_DIR=/cache/triton",
    "VLLM_CACHE_ROOT=/cache",
    "VLLM_HOST_IP=127.0.0.1",
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE=75",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS=0",
    "VLLM_NO_USAGE_STATS=1",
]


def mounts(spec: EngineSpec) -> list[str]:
    return [option for option in plan(spec).container if option.startswith("--volume=")]


def environment(*more: str) -> list[str]:
    return sorted(f"--env={variable}" for variable in ["HF_HUB_OFFLINE=1", *VLLM, *more])


def test_an_engine_has_no_rights_on_its_host() -> None:
    common = [
        "--name=barewind-engine",
        "--rm",
        "--pull=never",
        "--network=host",
        "--ipc=private",
        "--shm-size=32g",
        "--user=64000:64000",
        "--cap-drop=ALL",
        "--read-only",
        "--tmpfs=/tmp:rw,exec,nosuid,nodev,mode=1777,size=32g",
        "--ulimit=stack=67108864",
        "--security-opt=no-new-privileges",
        "--log-driver=none",
        "--ulimit=memlock=-1",
    ]
    nvidia = ["--runtime=nvidia", "--env=NVIDIA_VISIBLE_DEVICES=nvidia.com/gpu=all"]
    amd = ["--device=/dev/kfd", "--device=/dev/dri", "--cap-add=SYS_NICE", "--cap-add=SYS_PTRACE"]
    user = [f"{name}={value}" for name, value in UNPRIVILEGED.items()]
    on_h200, on_mi300x = engine_spec(), engine_spec(accelerator="mi300x")

    assert list(plan(on_h200).container) == [*common, *nvidia, *mounts(on_h200), *environment(*user)]
    aiter = ["NCCL_MIN_NCHANNELS=112", "SAFETENSORS_FAST_GPU=1", "VLLM_ROCM_USE_AITER=1"]
    assert list(plan(on_mi300x).container) == [*common, *amd, *mounts(on_mi300x), *environment(*user, *aiter)]
    toolkit = list(plan(engine_spec(accelerator="mi300x", amd_container_access="toolkit")).container)
    assert {"--runtime=amd", "--env=AMD_VISIBLE_DEVICES=all", "--cap-add=SYS_NICE"} <= set(toolkit)
    assert not [option for option in toolkit if option.startswith(("--device=", "--security-opt=seccomp"))]


@pytest.mark.parametrize(("accelerators", "size"), [(1, 8), (2, 8), (4, 16), (8, 32)])
def test_shared_memory_follows_the_number_of_processes(accelerators: int, size: int) -> None:
    assert f"--shm-size={size}g" in plan(engine_spec(tensor_parallel_size=accelerators)).container


def test_hosts_of_different_size_serve_the_same_release() -> None:
    assert not [
        option for option in plan(engine_spec()).container if option.startswith(("--pids-limit", "--group-add"))
    ]


def test_without_hardening_the_container_is_what_it_was_before() -> None:
    common = [
        "--name=barewind-engine",
        "--rm",
        "--pull=never",
        "--network=host",
        "--ipc=host",
        "--ulimit=stack=67108864",
        "--security-opt=no-new-privileges",
        "--log-driver=none",
    ]
    weights = [
        f"--volume={WEIGHTS}/mistralai--Mistral-Medium-3.5-128B/{REVISION}-mistral:/models/{MEDIUM}:ro",
        f"--volume={WEIGHTS}/mistralai--Mistral-Medium-3.5-128B-EAGLE/{DRAFT_REVISION}-mistral:/models/{MEDIUM}-EAGLE:ro",
    ]
    pinned_memory = "--ulimit=memlock=-1"
    nvidia = ["--runtime=nvidia", "--env=NVIDIA_VISIBLE_DEVICES=nvidia.com/gpu=all"]
    amd = ["--device=/dev/kfd", "--device=/dev/dri", "--group-add=video", "--security-opt=seccomp=unconfined"]
    aiter = ["NCCL_MIN_NCHANNELS=112", "SAFETENSORS_FAST_GPU=1", "VLLM_ROCM_USE_AITER=1"]
    # The values that were defaults then: whoever sets them keeps the release, its cache too; but not on AMD.
    values = {"max_num_batched_tokens": 16384, "gpu_memory_utilization": 0.85, "speculative": True, "max_num_seqs": 128}
    before: dict[str, Any] = {"container_hardening": False, **values}
    before["engine_args"] = {"safetensors-load-strategy": False}

    on_h200 = [*common, pinned_memory, *nvidia, *weights, "--volume=/var/lib/barewind/cache/ac9099d44ff4:/cache"]
    assert list(plan(engine_spec(**before)).container) == [*on_h200, *environment()]
    on_mi300x = [*common, pinned_memory, *amd, *weights, "--volume=/var/lib/barewind/cache/f7cf002039e4:/cache"]
    made = plan(engine_spec(accelerator="mi300x", **before))
    assert list(made.container) == [*on_mi300x, *environment(*aiter)]
    in_lab = list(plan(lab_spec(container_hardening=False)).container)[: len(common) + 1]
    assert in_lab == [
        *common,
        f"--volume={WEIGHTS}/barewind-lab--Mistral-Tiny/{REVISION}-mistral:/models/{LAB_MODEL}:ro",
    ]


def test_a_cache_that_root_filled_is_not_taken_over() -> None:
    assert not set(mounts(engine_spec())) >= set(mounts(engine_spec(container_hardening=False)))


def test_an_init_hears_sigterm_for_an_engine_that_does_not_yet() -> None:
    assert {name: "--init" in plan(engine_spec(engine=name)).container for name in ("vllm", "sglang")} == {
        "vllm": False,
        "sglang": True,
    }


def test_the_data_directory_is_where_the_weights_and_caches_are() -> None:
    made = plan(engine_spec(data_dir="/raid"))
    assert made.directories[0] == f"/raid/weights/mistralai--Mistral-Medium-3.5-128B/{REVISION}-mistral"
    assert any(re.fullmatch(r"--volume=/raid/cache/\w{12}:/cache", option) for option in made.container)


def test_url_of_an_ipv6_host_is_bracketed() -> None:
    assert plan(engine_spec(address="fd00::1")).url == "http://[fd00::1]:8000"
    assert plan(engine_spec()).url == "http://192.0.2.11:8000"


@pytest.mark.parametrize(
    ("changes", "lock_changes"),
    [
        ({}, {"digest": "sha256:" + "2b" * 32}),
        ({}, {"revision": "e" * 40}),
        ({}, {"draft_revision": "e" * 40}),
        ({"speculative": False}, {}),
        ({"context_length": 65536}, {}),
        ({"engine_args": {"enforce-eager": True}}, {}),
        ({"engine_env": {"NCCL_DEBUG": "INFO"}}, {}),
        ({"data_dir": "/raid"}, {}),
    ],
)
def test_a_release_is_another_when_anything_that_matters_is(
    changes: dict[str, Any], lock_changes: dict[str, str]
) -> None:
    before = plan(engine_spec())
    after_change = plan(engine_spec(**changes), **lock_changes)
    assert before.release is not None
    assert after_change.release is not None
    assert after_change.release != before.release


def test_a_release_is_the_same_on_a_host_of_another_name() -> None:
    assert plan(engine_spec(host="gpu-h9", groups=("other",))).release == plan(engine_spec()).release
    # times and registries that the container never sees
    assert plan(engine_spec(startup_timeout=60, insecure_registries=["r:5000"])).release == plan(engine_spec()).release


def test_the_same_image_by_tag_or_by_digest_is_the_same_release() -> None:
    by_digest = engine_spec(image=f"docker.io/vllm/vllm-openai:nightly@{DIGEST}")
    assert plan(by_digest, digest="sha256:" + "9" * 64).digest == DIGEST  # the reference's own digest has the last word
    assert plan(by_digest).release == plan(engine_spec()).release
    assert plan(by_digest).pinned_image == f"docker.io/vllm/vllm-openai@{DIGEST}"


def test_a_host_that_the_lock_does_not_hold_has_a_plan_but_no_release() -> None:
    spec = engine_spec()
    made = plan_host(spec, Lock())

    assert made.command.argv == H200
    assert (made.release, made.digest, made.manifests) == (None, None, ())
    assert made.revisions == (
        (MEDIUM, "c4be198050fb5789774a55b92ed697becfbf20ae", "mistral"),
        (f"{MEDIUM}-EAGLE", "main", "mistral"),
    )
    with pytest.raises(
        BarewindError, match=r"^gpu-h1: image docker.io/vllm/vllm-openai:nightly is not locked; run: barewind lock"
    ):
        _ = made.pinned_image


def test_a_lock_without_the_draft_is_not_enough() -> None:
    spec = engine_spec()
    half = locked(spec)
    half = half.model_copy(update={"weights": half.weights[:1]})
    assert plan_host(spec, half).release is None
    with pytest.raises(
        BarewindError,
        match=rf"^barewind.lock.yaml: does not hold weights {MEDIUM}-EAGLE@main \(mistral layout\); run: barewind lock",
    ):
        require_locked(plan_site(Site({"gpu-h1": spec}, {}, "barewind.lock.yaml"), half), "barewind.lock.yaml")


def test_everything_missing_from_the_lock_is_named_once() -> None:
    site = Site({"a": engine_spec(host="a"), "b": engine_spec(host="b", speculative=False)}, {}, "x.yaml")
    with pytest.raises(BarewindError) as caught:
        require_locked(plan_site(site, Lock()), "x.yaml")
    assert str(caught.value) == (
        f"x.yaml: does not hold weights {MEDIUM}@c4be198050fb5789774a55b92ed697becfbf20ae (mistral layout), "
        f"weights {MEDIUM}-EAGLE@main (mistral layout), "
        "image docker.io/vllm/vllm-openai:nightly; run: barewind lock INVENTORY"
    )
    require_locked(plan_site(site, locked(*site.engines.values())), "x.yaml")


@pytest.mark.parametrize(
    ("engine", "missing"), [("sglang", "config.json or model-*.safetensors"), ("vllm", "params.json or ")]
)
def test_a_lock_entry_that_holds_the_other_layouts_files(engine: str, missing: str) -> None:
    spec = engine_spec(engine=engine, speculative=False)
    (manifest,) = locked(spec).weights
    other = {"hf": "mistral", "mistral": "hf"}[manifest.layout]
    swapped = manifest.model_copy(
        update={"files": dict.fromkeys(FILES[other], manifest.files[FILES[manifest.layout][0]])}
    )
    (problem,) = checks.problems(plan_host(spec, locked(spec).model_copy(update={"weights": [swapped]})))
    assert f"({manifest.layout} layout): the entry holds no file called {missing}" in problem
    assert problem.endswith(f"which {engine} loads; run: barewind lock INVENTORY --update")


def test_a_lock_that_holds_the_weights_in_the_other_layout_only() -> None:
    spec = engine_spec(engine="sglang", speculative=False)
    site = Site({"gpu-h1": spec}, {}, "barewind.lock.yaml")
    half = locked(spec).model_copy(update={"weights": locked(engine_spec()).weights})
    with pytest.raises(
        BarewindError, match=rf"does not hold weights {MEDIUM}@\w+ \(hf layout\); run: barewind lock INVENTORY$"
    ):
        require_locked(plan_site(site, half), "barewind.lock.yaml")


def test_another_revision_than_the_locked_one_is_not_locked() -> None:
    old, new = engine_spec(model_revision="main"), engine_spec(model_revision="v2")
    assert plan_host(old, locked(old)).release is not None
    assert plan_host(new, locked(old)).release is None
    # the commit itself is as good as the branch it was locked from
    assert plan_host(engine_spec(model_revision=REVISION), locked(old)).release == plan_host(old, locked(old)).release


def test_shape_of_the_json() -> None:
    spec = lab_spec()
    made = as_json(plan(spec))

    assert set(made) == {
        *(
            "host",
            "groups",
            "problems",
            "accelerator",
            "accelerator_count",
            "engine",
            "image",
            "model",
            "draft",
            "port",
        ),
        *("parallelism", "profile", "context_length", "utilization", "sequences", "batched_tokens"),
        *("argv", "env", "container_args", "reasons", "fit", "release", "secrets"),
        *("estimate", "no_estimate"),
    }
    assert json.loads(json.dumps(made)) == made
    assert made["host"] == "engine1"
    assert made["groups"] == ["engines", "lab"]
    assert made["image"] == {"reference": LAB_IMAGE, "digest": DIGEST}
    assert made["model"] == {"id": LAB_MODEL, "revision": REVISION, "layout": "mistral"}
    assert made["draft"] == {"id": f"{LAB_MODEL}-EAGLE", "revision": DRAFT_REVISION, "layout": "mistral"}
    assert made["port"] == 8000
    flags = {argument for argument in made["argv"] if argument.startswith("--")}
    assert set(made["reasons"]) == flags
    assert all(made["reasons"].values())
    assert made["fit"] is None  # no accelerator, no memory to share out


def test_the_fit_in_the_json() -> None:
    made = as_json(plan(engine_spec()))
    assert json.loads(json.dumps(made))["fit"] == {
        "fits": True,
        "weights_mib": 15289,
        "kv_bytes_per_token": 360448,
        "kv_token_capacity": 2388544,
        "context_length": 262144,
        "max_context_length": 262144,
        "concurrent_sequences": 9,
        "advice": [],
        "data_parallel": 1,
    }


def test_an_image_given_by_digest_needs_no_lock_entry() -> None:
    spec = engine_spec(image=f"registry.example/vllm@{DIGEST}")
    lock = locked(spec).model_copy(update={"images": {"other": LockedImage(digest=DIGEST, size=1)}})
    assert plan_host(spec, lock).pinned_image == f"registry.example/vllm@{DIGEST}"
