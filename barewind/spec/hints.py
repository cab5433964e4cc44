"""What somebody may have meant by a name that is not known: a table first, then spelling, never a word of another meaning."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# Names of other tools, of guides and of plain speech, and the key that says the same.
RENAMED = {
    "tp": "tensor_parallel_size",
    "tensor_parallel": "tensor_parallel_size",
    "max_context": "context_length",
    "max_context_length": "context_length",
    "context": "context_length",
    "context_window": "context_length",
    "model_id": "model",
    "model_name": "served_model_name",
    "draft_model": "draft",
    "num_speculative_tokens": "speculative",
    "speculation": "speculative",
    "eagle": "speculative",
    "gpu": "accelerator",
    "gpu_type": "accelerator",
    "gpus": "accelerator_count",
    "gpu_count": "accelerator_count",
    "num_gpus": "accelerator_count",
    "gpu_ids": "accelerators",
    "device_ids": "accelerators",
    "num_replicas": "replicas",
    "replica_count": "replicas",
    "instances": "replicas",
    "memory_utilization": "gpu_memory_utilization",
    "gpu_utilization": "gpu_memory_utilization",
    "max_batch_size": "max_num_seqs",
    "batch_size": "max_num_seqs",
    "max_sequences": "max_num_seqs",
    "max_num_sequences": "max_num_seqs",
    "vision": "modality",
    "multimodal": "modality",
    "extra_args": "engine_args",
    "args": "engine_args",
    "env": "engine_env",
    "environment": "engine_env",
    "secrets": "engine_secrets",
    "hf_token": "hub_token_file",
    "hub_token": "hub_token_file",
    "hf_endpoint": "hub_endpoint",
    "image_tag": "image",
    "tag": "image",
    "version": "image",
    "driver_version": "nvidia_driver",
    "driver": "nvidia_driver",
    "cuda_driver": "nvidia_driver",
    "ip": "address",
    "ip_address": "address",
    "listen_address": "address",
}

_ON, _OFF = ("enable", "with", "use"), ("no", "disable", "skip", "without")  # first words: the same thing, its opposite
_WORD = 0.66  # how alike two words are at least: a letter more, less or exchanged in a word of three
_WHOLE = 0.92  # the same for a whole name, where blanks between its words are missing


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name that a misspelled one is, closest first; None where no name says the same."""
    alike = [(_likeness(name, other), other) for other in known if _same_meaning(name, other)]
    return max(alike, key=lambda pair: pair[0])[1] if alike else None


def _same_meaning(name: str, other: str) -> bool:
    (off, words), (opposite, others) = _words(name), _words(other)
    if off != opposite or re.findall(r"\d+", name) != re.findall(r"\d+", other):
        return False
    if len(words) == len(others):
        return all(_likeness(word, meant) >= _WORD for word, meant in zip(words, others, strict=True))
    return _likeness("".join(words), "".join(others)) >= _WHOLE


def _words(name: str) -> tuple[bool, list[str]]:
    """The words of a name without a first one that turns it on or off, and whether that turns it off."""
    words = [word for word in re.split(r"[-_.\s]+", name.lower()) if word]
    first = words[0] if len(words) > 1 else ""
    return first in _OFF, words[1:] if first in (*_ON, *_OFF) else words


def _likeness(word: str, other: str) -> float:
    return difflib.SequenceMatcher(None, word, other).ratio()
