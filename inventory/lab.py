"""The lab on this machine: real hosts with systemd, sshd and Docker. `barewind lab up` starts it.

The groups `hopper`, `blackwell` and `mi300x` have simulated accelerators, drivers out of stand-in repositories, and an
engine that stands in for vLLM; what the groups of a real fleet set (group_data/hopper.py, ...) holds for them too.
The group `sglang` runs the real SGLang, `engines` the real vLLM, both without accelerators. The group `light` runs stand-ins of
vLLM and of Docker, so that many hosts fit into one machine.
The lab's settings are here and not in group_data/, because they are made where the lab is made: addresses, keys, images.
"""

from lab import paths as _paths
from lab import topology as _lab

_settings = {
    "ssh_user": _lab.USER,
    "ssh_key": str(_paths.state() / "id_ed25519"),
    "ssh_known_hosts_file": str(_paths.state() / "known_hosts"),
    "lock_file": str(_paths.home() / "barewind.lock.yaml"),
    "model": _lab.MODEL,
    "model_revision": _lab.MODEL_REVISION,
    "draft_revision": _lab.DRAFT_REVISION,
    "insecure_registries": [_lab.REGISTRY],
    "hub_endpoint": _lab.HUB,
    "hub_token_file": str(_paths.state() / "hub_token"),
    "endpoint_open": True,  # the lab's endpoint is for whoever reaches it
    "context_length": 2048,
    "max_num_seqs": 8,
    "max_num_batched_tokens": 2048,
    "startup_timeout": 600,
    "shutdown_timeout": 30,
}

# Without accelerators: the CPU build of the real vLLM, and the real SGLang on its support of processors.
_cpu = {"accelerator": "cpu", "accelerator_count": 1}
_vllm = _cpu | {
    "image": _lab.VLLM_IMAGE,
    "engine_args": {"enforce-eager": True},
    "engine_env": {"VLLM_CPU_KVCACHE_SPACE": "1"},
}
_sglang = _cpu | {
    "engine": "sglang",
    "image": _lab.SGLANG_IMAGE,
    "modality": "image",
    "accept_risks": ["local-image-files"],
    "speculative": False,  # SGLang's own kernels for processors, which drafting needs, are in no package index
    "engine_args": {
        "device": "cpu",
        "attention-backend": "torch_native",
        "disable-overlap-schedule": True,
        "max-total-tokens": 16384,
        "image-processor-backend": "pil",
        "sleep-on-idle": True,  # else an idle scheduler takes three quarters of a core
    },
}

_key = str(_paths.state() / "repositories.asc")
_simulated = {
    "image": _lab.STANDIN_IMAGE,
    "tensor_parallel_size": 2,  # the tiny model has two KV heads
    "nvidia_driver": "580.126.09",
    "nvidia_container_toolkit": "1.20.0",
    "amdgpu_release": "30.30.3",
    "rocm_release": "7.2.3",
    "nvidia_repository": f"{_lab.REPOSITORIES}/nvidia",
    "nvidia_toolkit_repository": f"{_lab.REPOSITORIES}/nvidia-toolkit",
    "amdgpu_repository": f"{_lab.REPOSITORIES}/amdgpu",
    "rocm_repository": f"{_lab.REPOSITORIES}/rocm",
    "amd_toolkit_repository": f"{_lab.REPOSITORIES}/amd-toolkit",
    "docker_repository": f"{_lab.REPOSITORIES}/docker",
    "repository_keys": dict.fromkeys(("nvidia", "nvidia-toolkit", "amdgpu", "rocm", "amd-toolkit", "docker"), _key),
    "reboot_timeout": 120,
}

# All of them read the machine's models, and a tenth of a processor each is enough for streams of the stand-in engine.
_light = _cpu | {
    "image": _lab.STANDIN_IMAGE,
    "engine_args": {"enforce-eager": True},
    "engine_env": {"VLLM_CPU_KVCACHE_SPACE": "1", "STANDIN_ACCELERATORS": "none"},
    "weights_source": "path",
    "weights_path": _lab.LIGHT_MODELS,
}

_mirrors = [host for host in _lab.current() if host.role == "mirror"]
_from_mirror = {"mirror": f"{_mirrors[0].address}:{_lab.MIRROR_PORT}", "mirror_tls": False} if _mirrors else {}


def _hosts(of: str, own: dict[str, object]) -> list[tuple[str, dict[str, object]]]:
    return [
        (host.name, {"ssh_hostname": host.address, **_settings, **own, **_from_mirror})
        for host in _lab.current()
        if host.role == "engine" and (host.kind or host.engine or "light" * host.light) == of
    ]


engines = _hosts("vllm", _vllm)
sglang = _hosts("sglang", _sglang)
light = _hosts("light", _light)
hopper = _hosts("hopper", _simulated | {"accelerator": "h100", "accelerator_count": 8})
blackwell = _hosts("blackwell", _simulated | {"accelerator": "b200", "accelerator_count": 8})
mi300x = _hosts("mi300x", _simulated | {"accelerator": "mi300x", "accelerator_count": 8})
# This machine asks for everybody who tries the lab, from the network's gateway.
_balancer = {"trusted_clients": [_lab.GATEWAY]}
balancers = [
    (host.name, {"ssh_hostname": host.address, **_settings, **_balancer})
    for host in _lab.current()
    if host.role == "balancer"
]
mirrors = [
    (
        host.name,
        # This machine looks at what is in it, from the network's gateway.
        {"ssh_hostname": host.address, **_settings, "mirror_tls": False, "mirror_clients": [_lab.GATEWAY]},
    )
    for host in _mirrors
]
