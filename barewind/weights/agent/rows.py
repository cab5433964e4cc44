"""What a host tells of itself to everybody: one row, small enough that each host keeps those of all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LARGEST = 2**16  # parts or files of a set that a row may speak of


@dataclass(frozen=True, slots=True)
class Row:
    """Of two rows of a host the one with the larger `order` counts.

    Bits stand for parts by number, or for files in the order of their names.
    """

    run: int  # when its program began, in milliseconds of its own clock
    seq: int  # counts the rows since then
    able: bool  # to ask the endpoint
    complete: bool
    received: int  # bytes, of parts not yet whole too
    have: Mapping[str, int]  # key of a set -> parts that are there
    verified: Mapping[str, int]  # key of a set -> files that are right as a whole
    rounds: tuple[tuple[str, int, int], ...]  # key, number of the file, round; of files that are past round 0
    fetching: tuple[tuple[str, int], ...]  # parts that it fetches from the endpoint right now

    @property
    def order(self) -> tuple[int, int]:
        """Grows from row to row of a host."""
        return (self.run, self.seq)

    def plain(self) -> list[Any]:
        """As it travels."""
        have, verified = ({key: f"{bits:x}" for key, bits in bits_of.items()} for bits_of in (self.have, self.verified))
        flags = [self.able, self.complete]
        return [self.run, self.seq, *flags, self.received, have, verified, list(self.rounds), list(self.fetching)]


def read_row(plain: Any) -> Row:
    """A row from what `plain` returned.

    Raises:
        ValueError: it is none.
    """
    try:
        run, seq, able, complete, received, have, verified, rounds, fetching = plain
        return Row(
            int(run),
            int(seq),
            bool(able),
            bool(complete),
            int(received),
            _bits(have),
            _bits(verified),
            tuple((str(key), int(file), int(round_)) for key, file, round_ in rounds),
            tuple((str(key), int(number)) for key, number in fetching),
        )
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"no row: {error}") from error


def _bits(plain: Mapping[str, str]) -> dict[str, int]:
    if any(len(bits) > _LARGEST // 4 for bits in plain.values()):
        raise ValueError("more parts than any set has")
    return {str(key): int(bits, 16) for key, bits in plain.items()}


def bit_numbers(bits: int) -> list[int]:
    """Numbers of the bits that are set."""
    numbers = []
    while bits:
        lowest = bits & -bits
        numbers.append(lowest.bit_length() - 1)
        bits ^= lowest
    return numbers
