"""Two tiny models with random weights that are the same on every machine.

They stand for Mistral-Medium-3.5-128B and its EAGLE draft: file names, parameter names and tokenizer format are the
same, so that the real engines load them with the production flags. As the published repository does, that of the target holds
its weights twice, in Mistral's layout and in that of Hugging Face (lab/services/hf_layout.py). They differ in that their text is
noise, and that Mistral's layout has no vision tower. Weights are BF16, not FP8, and small enough (about 70 MB) to be
made in a second.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import topology
from lab.services import hf_layout, tokenizer
from lab.services.safetensors import Shapes, random_values, safetensors

DIM = 128
HEAD_DIM = 64  # the smallest that vLLM's CPU attention accepts
HEADS = 4
KV_HEADS = 2
HIDDEN_DIM = 256
LAYERS = 2
VOCABULARY = 131072  # what the tokenizer brings
CONTEXT = 32768
ORIGINAL_CONTEXT = 4096  # tokens; YaRN stretches it to CONTEXT, as it does in the published model
ROPE_THETA = 1000000.0

TOKENIZER = "tekken.json"


@dataclass(frozen=True)
class Tiny:
    """A repository that is to be made. `seed`: of its weights."""

    name: str
    seed: int
    draft: bool


TARGET = Tiny(topology.MODEL, seed=350, draft=False)
DRAFT = Tiny(topology.DRAFT_MODEL, seed=351, draft=True)
ALL = (TARGET, DRAFT)

# SHA-256 of every generated file, tokenizer apart (it is made of the one in the mistral_common package, whose own hash is
# locked in vllm-requirements.lock). A change here is a new model: give it a new revision in topology.py.
DIGESTS: dict[str, dict[str, str]] = {
    topology.MODEL: {
        "README.md": "ab9a4381f8e1602b64e124519ffaf9e2c913b9eff6fccbf6a795f4c328f450cf",
        "config.json": "d5d36f575d7f69e422150f9e8785f6f027bc48dae5bb8a49a6a0d87f5893b9e7",
        "consolidated.safetensors": "baedfe578c4c5b26a9416a7cd0a210dd16c72b3329c145b2a1e8c7a4208cea23",
        "model-00001-of-00001.safetensors": "980de7e03139cf296a6bb0305ccba252398b073ffee4d3fd8143f6d8cc1a660e",
        "model.safetensors.index.json": "cafb7e20b84f7730c49ff7059ff1aa3dd81001389669ce09e315d8b006a9dbcf",
        "params.json": "b9b5ee1ae8fa2a9b187097242d5c26d5522b0d114ab68fcc28695ec6b02ff24b",
        "processor_config.json": "4ab640726074175905b57eea7b6472e5184ca8b222881f3c8d813a93476b8304",
    },
    topology.DRAFT_MODEL: {
        "README.md": "f26091a6aa1120d8c617d8e26f1d70328428de9eed2965dc085313e9e90c0bc8",
        "consolidated.safetensors": "083eb56c6113756841a869e30b4dce6e25c0313fdabdd4e9801a0b70d823d2b2",
        "params.json": "4cb453473cf7363b284186866994c73731e5759d89c1a5f5153571191edcf75e",
    },
}


def write(tiny: Tiny, vocabulary: Path, directory: Path) -> None:
    """Write the repository's files into a directory, which appears when it is complete.

    `vocabulary`: the tokenizer out of the package mistral_common.
    """
    work = directory.with_name(directory.name + ".partial")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name, chunks in files(tiny).items():
        with (work / name).open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
    (work / TOKENIZER).write_bytes(tokenizer.made_of(vocabulary.read_bytes()))
    shutil.rmtree(directory, ignore_errors=True)
    work.rename(directory)


def files(tiny: Tiny) -> dict[str, Iterator[bytes]]:
    """Files without the tokenizer: name -> content in chunks."""
    wanted = shapes(tiny)
    contents: dict[str, Iterator[bytes]] = {
        "README.md": iter([_readme(tiny).encode()]),
        "params.json": iter([_json(_params(tiny))]),
        "consolidated.safetensors": safetensors(wanted, random_values(wanted, tiny.seed)),
    }
    if not tiny.draft:
        contents |= hf_layout.files(_shape(), wanted, random_values(wanted, tiny.seed))
    return contents


def shapes(tiny: Tiny) -> Shapes:
    """Shapes by parameter name, as Mistral names them."""
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


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shape() -> hf_layout.Shape:
    return hf_layout.Shape(
        dim=DIM,
        head_dim=HEAD_DIM,
        heads=HEADS,
        kv_heads=KV_HEADS,
        hidden_dim=HIDDEN_DIM,
        layers=LAYERS,
        vocabulary=VOCABULARY,
        context=CONTEXT,
        original_context=ORIGINAL_CONTEXT,
        rope_theta=ROPE_THETA,
    )


def _params(tiny: Tiny) -> dict[str, object]:
    stretched = {
        "yarn": {
            "factor": CONTEXT / ORIGINAL_CONTEXT,
            "original_max_position_embeddings": ORIGINAL_CONTEXT,
            "beta": 4.0,
            "alpha": 1.0,
            "apply_scale": True,
        },
    }
    return {
        "dim": DIM,
        "n_layers": LAYERS,
        "head_dim": HEAD_DIM,
        "hidden_dim": HIDDEN_DIM,
        "n_heads": HEADS,
        "n_kv_heads": KV_HEADS,
        "rope_theta": ROPE_THETA,
        "norm_eps": 1e-05,
        "vocab_size": VOCABULARY,
        "tied_embeddings": False,
        "max_position_embeddings": CONTEXT,
        "max_seq_len": CONTEXT,
        **({} if tiny.draft else stretched),
    }


def _readme(tiny: Tiny) -> str:
    return f"# {tiny.name}\n\nRandom weights for tests: the right files, no knowledge.\n"


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"
