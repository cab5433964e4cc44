"""The tiny models are the same bytes on every machine."""

import hashlib
import json
import struct

import pytest

from lab.services import hf_layout, models, tokenizer
from lab.services.safetensors import random_values, safetensors

pytestmark = pytest.mark.slow

SHAPES = {"a.weight": (2, 3), "norm.weight": (4,)}


@pytest.mark.parametrize("tiny", models.ALL, ids=lambda tiny: tiny.name)
def test_bytes_never_change(tiny: models.Tiny) -> None:
    digests = {}
    for name, chunks in models.files(tiny).items():
        sha = hashlib.sha256()
        for chunk in chunks:
            sha.update(chunk)
        digests[name] = sha.hexdigest()
    assert digests == models.DIGESTS[tiny.name]


def test_safetensors_header_describes_the_data() -> None:
    data = b"".join(safetensors(SHAPES, random_values(SHAPES, seed=1)))
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    assert header["a.weight"] == {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}
    assert header["norm.weight"] == {"dtype": "BF16", "shape": [4], "data_offsets": [12, 20]}
    assert len(data) == 8 + length + 20
    assert data[-8:] == b"\x80\x3f" * 4


def test_weights_are_small_numbers() -> None:
    data = b"".join(random_values({"a.weight": (1000,)}, seed=1))
    values = [struct.unpack("<f", b"\0\0" + data[at : at + 2])[0] for at in range(0, 2000, 2)]
    assert all(2**-7 <= abs(value) < 2**-5 for value in values)
    assert min(values) < 0 < max(values)


def test_target_has_both_layouts_and_the_draft_one() -> None:
    assert {"consolidated.safetensors", "model-00001-of-00001.safetensors"} <= set(models.files(models.TARGET))
    assert "model-00001-of-00001.safetensors" not in models.files(models.DRAFT)
    assert "eagle_linear.weight" in models.shapes(models.DRAFT)


def test_both_layouts_hold_the_same_weights() -> None:
    """Heads of Hugging Face's layout have first the first of each pair of rows: 0, 2, 4, ..., 1, 3, 5, ... of Mistral's."""
    files = {name: b"".join(chunks) for name, chunks in models.files(models.TARGET).items()}
    ours, theirs = _tensors(files["consolidated.safetensors"]), _tensors(files[hf_layout.SHARD])
    for name in models.shapes(models.TARGET):
        if "wq" not in name and "wk" not in name:
            assert theirs[hf_layout.name(name)] == ours[name], name
    row, half = 2 * models.DIM, models.HEAD_DIM // 2
    queries, converted = (
        ours["layers.1.attention.wq.weight"],
        theirs["model.language_model.layers.1.self_attn.q_proj.weight"],
    )
    second_head = models.HEAD_DIM
    assert _row(converted, second_head + 1, row) == _row(queries, second_head + 2, row)
    assert _row(converted, second_head + half, row) == _row(queries, second_head + 1, row)
    assert json.loads(files["model.safetensors.index.json"])["weight_map"].keys() == theirs.keys()


def test_the_tokenizer_takes_an_effort_to_reason() -> None:
    made = json.loads(tokenizer.made_of(b'{"config": {"version": "v3"}, "vocab": []}'))
    assert made["config"]["version"] == "v15"
    assert made["special_tokens"][1] == {"rank": 1, "token_str": "<s>", "is_control": True}
    assert made["model_settings_builder"]["reasoning_effort"]["values"] == ["none", "high"]


def _tensors(file: bytes) -> dict[str, bytes]:
    length = struct.unpack("<Q", file[:8])[0]
    header = json.loads(file[8 : 8 + length])
    data = file[8 + length :]
    return {name: data[slice(*entry["data_offsets"])] for name, entry in header.items()}


def _row(data: bytes, number: int, size: int) -> bytes:
    return data[number * size : (number + 1) * size]
