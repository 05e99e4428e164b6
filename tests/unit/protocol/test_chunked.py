"""Taking HTTP's chunked framing off."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, strategies as st

from pi_native._protocol.chunked import Body


def content(body: Body, data: bytes) -> bytes:
    """Feed the data, and return its part of the body."""
    body.feed(data)
    return body.content()


def framed(pieces: list[bytes], trailer: bytes = b"") -> bytes:
    """Return the pieces as chunks, and the end."""
    chunks = [b"%x;ext=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece]
    return b"".join(chunks) + b"0\r\n" + trailer + b"\r\n"


def split_at(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return the data in pieces."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(
    st.lists(st.binary(max_size=300), max_size=8),
    st.lists(st.integers(min_value=0), max_size=30),
    st.sampled_from([b"", b"X-Trailer: a\r\n", b"a: b\r\nc: d\r\n"]),
)
def test_the_body_comes_out_whole_however_it_is_split(
    pieces: list[bytes], cuts: list[int], trailer: bytes
) -> None:
    """Chunks, extensions and trailers, cut anywhere, give the body and then the end."""
    chunks = Body(chunked=True)
    body = b"".join(content(chunks, part) for part in split_at(framed(pieces, trailer), cuts))
    assert body == b"".join(pieces)
    assert chunks.finished
    assert chunks.fault is None


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5), st.data())
def test_a_body_cut_anywhere_is_not_finished(pieces: list[bytes], data: st.DataObject) -> None:
    """Without its last byte or more, framing gives the beginning of the body, and no end."""
    framing = framed(pieces)
    cut = data.draw(st.integers(0, len(framing) - 1))
    chunks = Body(chunked=True)
    body = content(chunks, framing[:cut])
    assert not chunks.finished
    assert b"".join(pieces).startswith(body)


@given(st.binary(max_size=400))
def test_any_bytes_at_all_are_taken_in_or_refused(junk: bytes) -> None:
    """Whatever arrives, there is a body, an end, or a fault, and never an exception."""
    at_once, bytewise = Body(chunked=True), Body(chunked=True)
    body = content(at_once, junk)
    assert b"".join(content(bytewise, junk[i : i + 1]) for i in range(len(junk))) == body
    assert (at_once.finished, at_once.fault) == (bytewise.finished, bytewise.fault)


@pytest.mark.parametrize(
    ("framing", "fault"),
    [
        (b"zz\r\n", "not a chunk's size"),
        (b"-5\r\nhello", "not a chunk's size"),
        (b"+5\r\nhello", "not a chunk's size"),
        (b"0x5\r\nhello", "not a chunk's size"),
        (b"1_0\r\n", "not a chunk's size"),
        (b"\r\n", "not a chunk's size"),
        (b"f" * 16 + b"\r\n", "not a chunk's size"),
        (b"2\r\nhello\r\n", "longer than it says"),
        (b"5" * 70_000, "too long"),
        (b"0\r\n" + b"X: y\r\n" * 101, "too many trailers"),
    ],
)
def test_what_is_no_framing_is_a_fault(framing: bytes, fault: str) -> None:
    """Sizes that int() would take, wrong sizes and endless lines are named for what they are."""
    chunks = Body(chunked=True)
    good = content(chunks, b"3\r\nabc\r\n" + framing)
    assert good.startswith(b"abc")
    assert chunks.fault is not None
    assert fault in chunks.fault
    assert content(chunks, b"more") == b""


def test_as_many_trailers_as_headers_are_read_over() -> None:
    """A hundred trailers are none of the body, and no fault."""
    chunks = Body(chunked=True)
    assert content(chunks, b"3\r\nabc\r\n0\r\n" + b"X: y\r\n" * 100 + b"\r\n") == b"abc"
    assert chunks.finished
    assert chunks.fault is None


def test_what_follows_the_end_is_left_alone() -> None:
    """Nothing behind the last chunk becomes part of the body."""
    chunks = Body(chunked=True)
    assert content(chunks, framed([b"abc"]) + b"HTTP/1.1 200 OK") == b"abc"
    assert chunks.finished


def test_large_chunks_are_left_where_they_stand() -> None:
    """Large chunks are spans, small ones are joined; both are the body."""
    small, large = framed([b"a", b"b"]), framed([b"a" * 9_000, b"b" * 9_000])
    together, apart = Body(chunked=True), Body(chunked=True)
    together.feed(small)
    assert (together.data, together.spans) == (b"ab", [(0, 2)])
    apart.feed(large)
    assert apart.data is large
    assert [large[start:end] for start, end in apart.spans] == [b"a" * 9_000, b"b" * 9_000]
    assert (apart.size, apart.content()) == (18_000, b"a" * 9_000 + b"b" * 9_000)


def test_a_body_without_framing_is_one_span() -> None:
    """Each read is the newest part, as it is."""
    body = Body()
    for data in (b"3\r\nabc", b"0\r\n\r\n"):
        body.feed(data)
        assert body.data is data
        assert (body.spans, body.size, body.content()) == ([(0, len(data))], len(data), data)
    assert not body.finished
