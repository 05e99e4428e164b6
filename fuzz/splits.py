"""Bytes in pieces, and what a property says when it does not hold."""

from __future__ import annotations

import itertools
import random
import re
import zlib
from collections.abc import Iterator

_BYTE_BY_BYTE = 2048  # beyond that the pieces are too many to try again and again
_LINE_ENDS = re.compile(rb"\r|\n")


class BrokenError(Exception):
    """A property does not hold."""


def check(holds: object, what: str) -> None:
    """Raise `BrokenError` unless it holds; an `assert` would be gone under -O."""
    if not holds:
        raise BrokenError(what)


def chance(data: bytes) -> random.Random:
    """A source of chance that follows from the data, so that an input is all there is to keep."""
    return random.Random(zlib.crc32(data))


def splits(data: bytes) -> Iterator[list[bytes]]:
    """The data in pieces, in some ways: byte by byte, at line ends, anywhere."""
    if len(data) <= _BYTE_BY_BYTE:
        yield [data[at : at + 1] for at in range(len(data))]
    source = chance(data)
    places = [match.end() for match in _LINE_ENDS.finditer(data)]
    if places:
        yield cut(data, source.choices(places, k=4))
    yield cut(data, [source.randint(0, len(data)) for _ in range(source.randint(1, 8))])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data, cut at these places; an empty piece may be among the pieces."""
    edges = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]
