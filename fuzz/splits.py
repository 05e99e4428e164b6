"""Split bytes into pieces, and report a property that fails."""

from __future__ import annotations

import itertools
import random
import re
import zlib
from collections.abc import Iterator

_BYTE_BY_BYTE = 2048  # larger inputs have too many pieces
_LINE_ENDS = re.compile(rb"\r|\n")


class BrokenError(Exception):
    """A property does not hold."""


def check(holds: object, what: str) -> None:
    """Raise `BrokenError` unless the property holds; python -O removes an `assert`."""
    if not holds:
        raise BrokenError(what)


def chance(data: bytes) -> random.Random:
    """Return a random generator seeded with the data, so that an input reproduces its run."""
    return random.Random(zlib.crc32(data))


def splits(data: bytes) -> Iterator[list[bytes]]:
    """Yield the data in pieces: byte by byte, at line ends, at random places."""
    if len(data) <= _BYTE_BY_BYTE:
        yield [data[at : at + 1] for at in range(len(data))]
    source = chance(data)
    places = [match.end() for match in _LINE_ENDS.finditer(data)]
    if places:
        yield cut(data, source.choices(places, k=4))
    yield cut(data, [source.randint(0, len(data)) for _ in range(source.randint(1, 8))])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return the data, cut at these places; a piece may be empty."""
    edges = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]
