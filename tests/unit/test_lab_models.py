"""The tiny models are the same bytes on every machine."""

import hashlib
import json
import struct

import pytest

from lab import models


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
    data = b"".join(models.safetensors({"a.weight": (2, 3), "norm.weight": (4,)}, seed=1))
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    assert header["a.weight"] == {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}
    assert header["norm.weight"] == {"dtype": "BF16", "shape": [4], "data_offsets": [12, 20]}
    assert len(data) == 8 + length + 20
    assert data[-8:] == b"\x80\x3f" * 4


def test_weights_are_small_numbers() -> None:
    data = b"".join(models.safetensors({"a.weight": (1000,)}, seed=1))[-2000:]
    values = [struct.unpack("<f", b"\0\0" + data[at : at + 2])[0] for at in range(0, 2000, 2)]
    assert all(2**-7 <= abs(value) < 2**-5 for value in values)
    assert min(values) < 0 < max(values)


def test_target_has_both_layouts_and_the_draft_one() -> None:
    assert {"consolidated.safetensors", "model-00001-of-00001.safetensors"} <= set(models.files(models.TARGET))
    assert "model-00001-of-00001.safetensors" not in models.files(models.DRAFT)
    assert "eagle_linear.weight" in models.shapes(models.DRAFT)
