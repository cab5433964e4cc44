"""Two tiny models in Mistral's own format, random but byte for byte the same on every machine.

They stand for Mistral-Medium-3.5-128B and its EAGLE draft: the same file names, the same parameter names, the same
tokenizer format, so the real engine loads them with the production flags. They differ in that they know nothing:
the text they write is noise. Weights are BF16, not FP8, and small enough (about 70 MB) to be made in a second.
"""

import hashlib
import json
import random
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import topology

DIM = 128
HEAD_DIM = 64  # the smallest that vLLM's CPU attention accepts
HEADS = 4
KV_HEADS = 2
HIDDEN_DIM = 256
LAYERS = 2
VOCABULARY = 131072  # what the tokenizer brings
CONTEXT = 32768

TOKENIZER = "tekken.json"

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Tiny:
    """One repository to make: its name, the seed of its weights, and whether it is a draft."""

    name: str
    seed: int
    draft: bool


TARGET = Tiny(topology.MODEL, seed=350, draft=False)
DRAFT = Tiny(topology.DRAFT_MODEL, seed=351, draft=True)
ALL = (TARGET, DRAFT)

# SHA-256 of every generated file, tokenizer apart (it comes out of the mistral_common package, whose own hash is
# locked in engine-requirements.lock). A change here is a new model: give it a new revision in topology.py.
DIGESTS: dict[str, dict[str, str]] = {
    topology.MODEL: {
        "README.md": "ab9a4381f8e1602b64e124519ffaf9e2c913b9eff6fccbf6a795f4c328f450cf",
        "config.json": "c6de9b3e4eb8aa1ac47b8d8799df819a608c0d379aa547d1e138a7d2eadac8ae",
        "consolidated.safetensors": "baedfe578c4c5b26a9416a7cd0a210dd16c72b3329c145b2a1e8c7a4208cea23",
        "model-00001-of-00001.safetensors": "28c7ac3017c1b2a9154a9741ca3383b94287b3272817633384e7e261b6759d8d",
        "model.safetensors.index.json": "ca72ad0a090b33a69a798d2b74055afc75e08797adf08ce44c8c707f994fd19e",
        "params.json": "4cb453473cf7363b284186866994c73731e5759d89c1a5f5153571191edcf75e",
    },
    topology.DRAFT_MODEL: {
        "README.md": "f26091a6aa1120d8c617d8e26f1d70328428de9eed2965dc085313e9e90c0bc8",
        "consolidated.safetensors": "083eb56c6113756841a869e30b4dce6e25c0313fdabdd4e9801a0b70d823d2b2",
        "params.json": "4cb453473cf7363b284186866994c73731e5759d89c1a5f5153571191edcf75e",
    },
}


def write(tiny: Tiny, tokenizer: Path, directory: Path) -> None:
    """Write the repository's files into `directory`, which must not exist: a half-written model is never seen."""
    work = directory.with_name(directory.name + ".partial")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name, chunks in files(tiny).items():
        with (work / name).open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
    shutil.copyfile(tokenizer, work / TOKENIZER)
    shutil.rmtree(directory, ignore_errors=True)
    work.rename(directory)


def files(tiny: Tiny) -> dict[str, Iterator[bytes]]:
    """Name -> content of every file but the tokenizer."""
    made: dict[str, Iterator[bytes]] = {
        "README.md": iter([_readme(tiny).encode()]),
        "params.json": iter([_json(_params())]),
        "consolidated.safetensors": safetensors(shapes(tiny), tiny.seed),
    }
    if not tiny.draft:
        # Decoys: the published repository holds the weights a second time in the other layout. A downloader that
        # takes both fills the disk twice over; here the test sees it by these names.
        shard = "model-00001-of-00001.safetensors"
        made["config.json"] = iter([_json({"architectures": ["MistralForCausalLM"], "model_type": "mistral"})])
        made[shard] = safetensors({"model.embed_tokens.weight": (1024, DIM)}, tiny.seed + 1000)
        index = {"metadata": {"total_size": 2 * 1024 * DIM}, "weight_map": {"model.embed_tokens.weight": shard}}
        made["model.safetensors.index.json"] = iter([_json(index)])
    return made


def shapes(tiny: Tiny) -> Shapes:
    """Parameter name -> shape, in Mistral's naming."""
    tensors: Shapes = {}
    for layer in range(LAYERS):
        at = f"layers.{layer}"
        tensors |= {
            f"{at}.attention.wq.weight": (HEADS * HEAD_DIM, DIM),
            f"{at}.attention.wk.weight": (KV_HEADS * HEAD_DIM, DIM),
            f"{at}.attention.wv.weight": (KV_HEADS * HEAD_DIM, DIM),
            f"{at}.attention.wo.weight": (DIM, HEADS * HEAD_DIM),
            f"{at}.attention_norm.weight": (DIM,),
            f"{at}.feed_forward.w1.weight": (HIDDEN_DIM, DIM),
            f"{at}.feed_forward.w2.weight": (DIM, HIDDEN_DIM),
            f"{at}.feed_forward.w3.weight": (HIDDEN_DIM, DIM),
            f"{at}.ffn_norm.weight": (DIM,),
        }
    tensors["norm.weight"] = (DIM,)
    if tiny.draft:
        tensors["eagle_linear.weight"] = (DIM, 2 * DIM)  # joins an embedding with the target's hidden state
    else:
        tensors["tok_embeddings.weight"] = (VOCABULARY, DIM)
        tensors["output.weight"] = (VOCABULARY, DIM)
    return tensors


def safetensors(tensors: Shapes, seed: int) -> Iterator[bytes]:
    """The safetensors format: header length (8 bytes, little endian), JSON header, then the tensors one by one."""
    header: dict[str, object] = {}
    at = 0
    for name, shape in tensors.items():
        size = 2 * _count(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants the data aligned to 8 bytes
    yield struct.pack("<Q", len(text)) + text
    generator = random.Random(seed)  # noqa: S311 - weights, not secrets
    for name, shape in tensors.items():
        yield _ones(_count(shape)) if "norm" in name else _noise(generator, _count(shape))


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _noise(generator: random.Random, count: int) -> bytes:
    """`count` BF16 numbers with absolute values from 2^-7 to 2^-5.

    A BF16 is sign (1), exponent (8), fraction (7). The low byte may be anything; the high byte is 0x3C or 0xBC, which
    leaves one bit of the exponent free. Made from two runs of random bytes, because a call per number takes minutes.
    """
    signs = bytes(0xBC if byte & 1 else 0x3C for byte in range(256))
    out = bytearray(2 * count)
    out[0::2] = generator.randbytes(count)
    out[1::2] = generator.randbytes(count).translate(signs)
    return bytes(out)


def _ones(count: int) -> bytes:
    return b"\x80\x3f" * count


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total


def _params() -> dict[str, object]:
    return {
        "dim": DIM,
        "n_layers": LAYERS,
        "head_dim": HEAD_DIM,
        "hidden_dim": HIDDEN_DIM,
        "n_heads": HEADS,
        "n_kv_heads": KV_HEADS,
        "rope_theta": 1000000.0,
        "norm_eps": 1e-05,
        "vocab_size": VOCABULARY,
        "tied_embeddings": False,
        "max_position_embeddings": CONTEXT,
        "max_seq_len": CONTEXT,
    }


def _readme(tiny: Tiny) -> str:
    return f"# {tiny.name}\n\nRandom weights for tests: the right files, no knowledge.\n"


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"
