"""The tiny target in the layout of Hugging Face: names, shapes and configuration as SGLang and transformers read them.

The architecture is that of the published model, Mistral3ForConditionalGeneration: a Ministral3 text model with YaRN, a Pixtral
vision tower and a projector between them. The text weights are those of Mistral's layout.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lab.services import tokenizer
from lab.services.safetensors import Shapes, random_values, safetensors

SHARD = "model-00001-of-00001.safetensors"
INDEX = "model.safetensors.index.json"
TEXT = "model.language_model"
TOWER = "model.vision_tower"
PROJECTOR = "model.multi_modal_projector"
TOWER_DIM = 64
TOWER_HEADS = 2  # as many as accelerators that share it
SEED = 352  # of the vision tower, which Mistral's layout does not have here

_LAYER = {  # Mistral's name -> Hugging Face's
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "attention_norm": "input_layernorm",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
    "ffn_norm": "post_attention_layernorm",
}
_OUTSIDE = {"norm": f"{TEXT}.norm", "tok_embeddings": f"{TEXT}.embed_tokens", "output": "lm_head"}


@dataclass(frozen=True)
class Shape:
    """Sizes of the text model. `context`, `original_context` in tokens: with and without YaRN."""

    dim: int
    head_dim: int
    heads: int
    kv_heads: int
    hidden_dim: int
    layers: int
    vocabulary: int
    context: int
    original_context: int
    rope_theta: float


def files(shape: Shape, text: Shapes, values: Iterable[bytes]) -> dict[str, Iterator[bytes]]:
    """Files without the tokenizer: name -> content in chunks. `text`, `values`: the text model, by Mistral's names."""
    tower = _tower(shape)
    shapes = {name(parameter): size for parameter, size in text.items()} | tower
    converted = (_converted(parameter, value, shape) for parameter, value in zip(text, values, strict=True))
    weights = [*converted, *random_values(tower, SEED)]
    index = {
        "metadata": {"total_size": sum(map(len, weights))},
        "weight_map": dict.fromkeys(shapes, SHARD),
    }
    return {
        "config.json": iter([_json(_config(shape))]),
        "processor_config.json": iter([_json(_processor())]),
        SHARD: safetensors(shapes, weights),
        INDEX: iter([_json(index)]),
    }


def name(parameter: str) -> str:
    """Hugging Face's name of a parameter that Mistral's layout names so."""
    stem = parameter.removesuffix(".weight")
    if stem in _OUTSIDE:
        return f"{_OUTSIDE[stem]}.weight"
    _, layer, part = stem.split(".", 2)
    return f"{TEXT}.layers.{layer}.{_LAYER[part]}.weight"


def _converted(parameter: str, value: bytes, shape: Shape) -> bytes:
    """Queries and keys of a head stand in pairs in Mistral's layout, here first the pairs' first halves, then the second."""
    if not parameter.endswith(("wq.weight", "wk.weight")):
        return value
    row, head = 2 * shape.dim, 2 * shape.dim * shape.head_dim  # bytes
    rows = [
        value[start + place * row : start + (place + 1) * row]
        for start in range(0, len(value), head)
        for place in (*range(0, shape.head_dim, 2), *range(1, shape.head_dim, 2))
    ]
    return b"".join(rows)


def _tower(shape: Shape) -> Shapes:
    dim, layer = TOWER_DIM, f"{TOWER}.transformer.layers.0"
    square = ("attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj")
    forward = ("feed_forward.gate_proj", "feed_forward.up_proj", "feed_forward.down_proj")
    patch, merged = tokenizer.IMAGE["image_patch_size"], tokenizer.IMAGE["spatial_merge_size"] ** 2
    return {
        f"{TOWER}.patch_conv.weight": (dim, 3, patch, patch),
        f"{TOWER}.ln_pre.weight": (dim,),
        **{f"{layer}.{part}.weight": (dim, dim) for part in (*square, *forward)},
        f"{layer}.attention_norm.weight": (dim,),
        f"{layer}.ffn_norm.weight": (dim,),
        f"{PROJECTOR}.norm.weight": (dim,),
        f"{PROJECTOR}.patch_merger.merging_layer.weight": (dim, merged * dim),
        f"{PROJECTOR}.linear_1.weight": (shape.dim, dim),
        f"{PROJECTOR}.linear_2.weight": (shape.dim, shape.dim),
    }


def _config(shape: Shape) -> dict[str, object]:
    rope = {
        "rope_type": "yarn",
        "type": "yarn",
        "rope_theta": shape.rope_theta,
        "factor": shape.context / shape.original_context,
        "original_max_position_embeddings": shape.original_context,
        "beta_fast": 4.0,
        "beta_slow": 1.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "llama_4_scaling_beta": 0.0,
    }
    text = {
        "model_type": "ministral3",
        "architectures": ["Ministral3ForCausalLM"],
        "hidden_size": shape.dim,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "intermediate_size": shape.hidden_dim,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": 1e-05,
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "use_cache": True,
        "rope_parameters": rope,
    }
    tower = {
        "model_type": "pixtral",
        "hidden_size": TOWER_DIM,
        "intermediate_size": TOWER_DIM,
        "num_hidden_layers": 1,
        "num_attention_heads": TOWER_HEADS,
        "head_dim": TOWER_DIM // TOWER_HEADS,
        "image_size": tokenizer.IMAGE["max_image_size"],
        "patch_size": tokenizer.IMAGE["image_patch_size"],
        "num_channels": 3,
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    }
    return {
        "architectures": ["Mistral3ForConditionalGeneration"],
        "model_type": "mistral3",
        "dtype": "bfloat16",
        "text_config": text,
        "vision_config": tower,
        "image_token_index": tokenizer.IMAGE_TOKEN,
        "multimodal_projector_bias": False,
        "projector_hidden_act": "gelu",
        "spatial_merge_size": tokenizer.IMAGE["spatial_merge_size"],
        "vision_feature_layer": -1,
        "tie_word_embeddings": False,
    }


def _processor() -> dict[str, object]:
    image = {
        "image_processor_type": "PixtralImageProcessor",
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],  # of CLIP, as Pixtral has them
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "patch_size": tokenizer.IMAGE["image_patch_size"],
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": tokenizer.IMAGE["max_image_size"]},
    }
    return {
        "processor_class": "PixtralProcessor",
        "image_processor": image,
        "patch_size": tokenizer.IMAGE["image_patch_size"],
        "spatial_merge_size": tokenizer.IMAGE["spatial_merge_size"],
        "image_token": "[IMG]",
        "image_break_token": "[IMG_BREAK]",
        "image_end_token": "[IMG_END]",
    }


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"
