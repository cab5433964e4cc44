"""Files in the safetensors format, of random weights that are the same on every machine."""

import json
import random
import struct
from collections.abc import Iterable, Iterator
from math import prod

Shapes = dict[str, tuple[int, ...]]  # by parameter name


def safetensors(shapes: Shapes, values: Iterable[bytes]) -> Iterator[bytes]:
    """A file: length of the header (8 bytes, little endian), JSON header, BF16 tensors in its order."""
    header: dict[str, object] = {}
    at = 0
    for name, shape in shapes.items():
        size = 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants the data aligned to 8 bytes
    yield struct.pack("<Q", len(text)) + text
    yield from values


def random_values(shapes: Shapes, seed: int) -> Iterator[bytes]:
    """The tensors' values, BF16: ones for norms, noise for all others."""
    generator = random.Random(seed)  # noqa: S311 - weights, not secrets
    for name, shape in shapes.items():
        yield _ones(prod(shape)) if "norm" in name else _noise(generator, prod(shape))


def _noise(generator: random.Random, count: int) -> bytes:
    """`count` BF16 numbers with absolute values from 2^-7 to 2^-5.

    A BF16 is sign (1), exponent (8), fraction (7). The low byte may be anything; the high byte is 0x3C or 0xBC, which
    leaves a bit of the exponent free. Made from two runs of random bytes, as a call per number would take minutes.
    """
    signs = bytes(0xBC if byte & 1 else 0x3C for byte in range(256))
    out = bytearray(2 * count)
    out[0::2] = generator.randbytes(count)
    out[1::2] = generator.randbytes(count).translate(signs)
    return bytes(out)


def _ones(count: int) -> bytes:
    return b"\x80\x3f" * count
