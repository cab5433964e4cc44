"""The lab on this machine: real hosts with systemd, sshd and Docker, without accelerators. `barewind lab up` starts it.

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
    "image": _lab.ENGINE_IMAGE,
    "insecure_registries": [_lab.REGISTRY],
    "hub_endpoint": _lab.HUB,
    "hub_token_file": str(_paths.state() / "hub_token"),
    "accelerator": "cpu",
    "accelerator_count": 1,
    "context_length": 2048,
    "max_num_seqs": 8,
    "max_num_batched_tokens": 2048,
    "engine_args": {"enforce-eager": True},
    "engine_env": {"VLLM_CPU_KVCACHE_SPACE": "1"},
    "startup_timeout": 600,
    "shutdown_timeout": 30,
}


def _hosts(role: str) -> list[tuple[str, dict[str, object]]]:
    return [(host.name, {"ssh_hostname": host.address, **_settings}) for host in _lab.current() if host.role == role]


engines = _hosts("engine")
balancers = _hosts("balancer")
