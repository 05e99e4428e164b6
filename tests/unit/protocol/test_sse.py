"""Server-sent events: what comes out is what the specification says, however the bytes arrive."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import example, given, settings, strategies as st

from pi_native import SseEvent, StreamProtocolError
from pi_native._protocol import sse as _sse
from pi_native._protocol.sse import BlockCutter, parse_block

PLENTY = 1 << 30
BOM = b"\xef\xbb\xbf"


def cut(cutter: BlockCutter, data: bytes) -> Iterator[bytes]:
    """Return the blocks that `data` completes."""
    cutter.feed(data)
    return iter(cutter.next, None)


def read(chunks: Iterable[bytes], max_event_bytes: int = PLENTY) -> Iterator[tuple[SseEvent, bool]]:
    """Return the events with data, each with whether the stream ended before its blank line."""
    cutter = BlockCutter(max_event_bytes)
    for chunk in chunks:
        for block in cut(cutter, chunk):
            event = parse_block(block)
            if event is not None:
                yield event, False
    rest = cutter.finish()
    event = None if rest is None else parse_block(rest)
    if event is not None:
        yield event, True


def data_of(*chunks: bytes) -> list[str]:
    """Return the data of the events that are not cut off."""
    return [event.data for event, trailing in read(chunks) if not trailing]


def split(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Return the stream in pieces."""
    marks = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(marks)]


# The specification, read again and apart from the code: a whole text in, events out.


def reference(stream: bytes) -> list[tuple[SseEvent, bool]]:
    """Return the events by section 9.2.6 of the HTML standard; the last may be cut off.

    Different from there, `id` and `retry` are those that stand in the event itself.
    """
    text = stream.decode("utf-8", "replace")
    lines = re.split("\r\n|\n|\r", text.removeprefix("\ufeff"))
    events: list[tuple[SseEvent, bool]] = []
    fields: dict[str, str] = {}
    for number, line in enumerate([*lines, ""]):
        if line == "":
            if "data" in fields:
                event = SseEvent(
                    event=fields.get("event") or "message",
                    data=fields["data"].removesuffix("\n"),
                    id=fields.get("id"),
                    retry=fields.get("retry"),
                )
                # The text behind the last line end is a line that has no end itself.
                events.append((event, number >= len(lines) - 1))
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                fields["data"] = fields.get("data", "") + value + "\n"
            elif name in ("event", "id", "retry"):
                fields[name] = value
    return events


LINES = [
    b"data",
    b"data:",
    b"data: x",
    b"data:x",
    b"data:  x ",
    b'data: {"a": "b: c"}',
    b"data: [DONE]",
    b"data : x",
    b" data: x",
    b"Data: x",
    b"event: ping",
    b"event",
    b"id: 7",
    b"id",
    b"retry: 100",
    b"unknown: x",
    b":",
    b": comment",
    b":data: x",
    b" ",
    b"   \t",
]
ODD = [
    "é".encode(),
    "\u2028\u2029\x85".encode(),
    b"\x0b\x0c\x1c\x1d\x1e",
    b"\x00",
    b"\xff",
    b"\xe2\x82",
    b"\xed\xa0\xbd",
    "\U0001f600".encode(),
    BOM,
    b":",
    b"data",
    b" ",
]
PARTS = st.sampled_from(LINES) | st.sampled_from(ODD) | st.binary(max_size=3)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
STREAMS = st.tuples(
    st.sampled_from([b"", BOM, BOM[:2], BOM + BOM]), st.lists(PARTS | ENDS, max_size=30)
).map(lambda parts: parts[0] + b"".join(parts[1]))
WELL_FORMED = st.lists(st.tuples(st.sampled_from(LINES + [b""] * 8), ENDS), max_size=30).map(
    lambda lines: b"".join(itertools.chain(*lines))
)


@pytest.mark.slow
@settings(max_examples=500)
@given(STREAMS | WELL_FORMED, st.lists(st.integers(0, 200), max_size=8))
@example(b"data: x\r\n\r\ndata: y\r\n\r\n", [])
@example(b"data: x\n\r\ndata: y\r\r", [8])
@example(b"\xef\xbb", [])
@example(b"\n", [])
def test_any_stream_in_any_pieces_is_read_as_specified(stream: bytes, cuts: list[int]) -> None:
    """Any bytes at all, in any pieces, give the events of the specification and no others."""
    assert list(read(split(stream, cuts))) == reference(stream)


@pytest.mark.slow
@settings(max_examples=300)
@given(STREAMS | WELL_FORMED)
def test_any_stream_byte_by_byte_is_read_as_specified(stream: bytes) -> None:
    """A stream that arrives one byte at a time gives the same events."""
    assert list(read(split(stream, range(len(stream))))) == reference(stream)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("bom", [b"", BOM], ids=["bare", "BOM"])
def test_every_split_in_three_gives_the_same_events(end: bytes, bom: bytes) -> None:
    """Wherever a stream is cut, twice, the events do not change."""
    lines = [
        b": hi",
        b"",
        b"event: ping",
        b"data: a",
        b"data:b",
        b"",
        b'data: {"c": "d"}',
        b"",
        b"",
    ]
    stream = bom + end.join(lines) + b"data: e"
    expected = [
        (SseEvent("ping", "a\nb"), False),
        (SseEvent("message", '{"c": "d"}'), False),
        (SseEvent("message", "e"), True),
    ]
    assert reference(stream) == expected
    for cuts in itertools.combinations(range(len(stream)), 2):
        assert list(read(split(stream, cuts))) == expected


# The rules, one by one.


@pytest.mark.parametrize(
    ("block", "data"),
    [
        (b"data: x\n\n", "x"),
        (b"data:x\n\n", "x"),
        (b"data:  x\n\n", " x"),
        (b"data: x \n\n", "x "),
        (b"data:\tx\n\n", "\tx"),
        (b"data: a\ndata: b\ndata:\ndata: c\n\n", "a\nb\n\nc"),
        (b"data\n\n", ""),
        (b"data:\n\n", ""),
        (b"data: a:b: c\n\n", "a:b: c"),
        (b": comment\ndata: x\n:another\n\n", "x"),
        (b"unknown: 1\ndata: x\nDATA: 2\ndat: 3\n\n", "x"),
        (b"\n\n\ndata: x\n\n", "x"),
        (
            "data: a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\n\n".encode(),
            "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg",
        ),
        (b"data: a\x00b\n\n", "a\x00b"),
        (b"data: \xff|\xe2\x82|\xc3\n\n", "\ufffd|\ufffd|\ufffd"),
        (b"data: \xed\xa0\xbd\n\n", "\ufffd\ufffd\ufffd"),
        (BOM + b"data: x\n\n", "x"),
        (b"data: x\n\n" + BOM + b"data: y\n\n", "x"),
    ],
)
def test_data(block: bytes, data: str) -> None:
    """The data is the values of the data lines, joined, without the one leading space of each."""
    assert data_of(block) == [data]


@pytest.mark.parametrize(
    "block", [b"\n", b"\n\n\n", b": hi\n\n", b"event: x\n\n", b"id: 1\nfoo\n\n"]
)
def test_events_without_data_are_skipped(block: bytes) -> None:
    """Blank lines, comments and fields without data make no event."""
    assert list(read([block, b"data: x\n\n"])) == [(SseEvent("message", "x"), False)]


def test_the_other_fields_are_passed() -> None:
    """event, id and retry are given as they came, and belong to their own event alone."""
    first, second = (
        event for event, _ in read([b"id: 7\nretry: 1\nevent: e\ndata: x\n\ndata: y\n\n"])
    )
    assert first == SseEvent("e", "x", "7", "1")
    assert second == SseEvent("message", "y")


def test_an_empty_event_name_is_the_default() -> None:
    """An event field without a value is as good as none."""
    assert list(read([b"event:\ndata: x\n\n"])) == [(SseEvent("message", "x"), False)]


@pytest.mark.parametrize(
    "rest",
    [b"data: y", b"data: y\n", b"data: y\r\n", b"data: y\r", b"\ndata: y", b"data: y\n: comment"],
)
def test_an_event_without_its_blank_line_is_trailing(rest: bytes) -> None:
    """An event that the end of the stream cuts off is returned, and marked."""
    assert list(read([b"data: x\n\n", rest])) == [
        (SseEvent("message", "x"), False),
        (SseEvent("message", "y"), True),
    ]


@pytest.mark.parametrize("rest", [b"", b"\n", b"\r\n", b"\r", b": comment", b"event: x", b"dat"])
def test_an_end_between_events_leaves_nothing(rest: bytes) -> None:
    """A stream that ends where no data waits has no trailing event."""
    assert list(read([b"data: x\n\n", rest])) == [(SseEvent("message", "x"), False)]


@pytest.mark.parametrize("pieces", [[], [b""], [b"", b""], [BOM], [BOM[:1], BOM[1:]], [BOM[:2]]])
def test_a_stream_of_nothing_has_no_events(pieces: list[bytes]) -> None:
    """An empty stream, with or without a byte order mark or a part of one, has no events."""
    assert list(read(pieces)) == []


def test_empty_chunks_change_nothing() -> None:
    """Chunks without bytes may come at any place."""
    stream = BOM + b"data: x\r\n\r\ndata: y\n\n"
    pieces = [piece for byte in split(stream, range(len(stream))) for piece in (b"", byte, b"")]
    assert [event.data for event, _ in read(pieces)] == ["x", "y"]


# At once.


@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r", b"\n\r", b"\r\n\n"])
def test_an_event_is_delivered_with_its_last_byte(end: bytes) -> None:
    """An event comes out as soon as it is whole, after a CR as well: nothing more is waited for."""
    cutter = BlockCutter(PLENTY)
    blocks: list[bytes] = []
    for number in b"data: x" + end:
        assert blocks == []
        blocks += cut(cutter, bytes([number]))
    assert [parse_block(block) for block in blocks] == [SseEvent("message", "x")]


def test_the_second_half_of_a_line_end_makes_no_event() -> None:
    """The LF behind a CR that ended an event is a part of that line end, even in the next chunk."""
    assert data_of(b"data: x\r\n\r", b"\ndata: y\r\n\r", b"\n", b"data: z\r\n\r\n") == [
        "x",
        "y",
        "z",
    ]
    assert data_of(b"data: x\r\r", b"\n\ndata: y\r\r") == ["x", "y"]


def test_blocks_are_plain() -> None:
    """Whatever the line ends were, a block comes with LF, and with its blank line."""
    cutter = BlockCutter(PLENTY)
    blocks = [*cut(cutter, b"a\r\nb\r\r"), *cut(cutter, b"c\n\r\nd\r"), cutter.finish()]
    assert blocks == [b"a\nb\n\n", b"c\n\n", b"d\n\n"]


# Bounds.


@given(st.lists(st.integers(0, 60), max_size=5), st.sampled_from([b"", BOM]))
def test_the_bound_of_an_event_is_exact(cuts: list[int], bom: bytes) -> None:
    """An event of the allowed size is read and a larger one is not, in any pieces."""
    events = [b"data: short\n\n", b"data: " + b"x" * 22 + b"\n\n", b"data: again\n\n"]
    stream = bom + b"".join(events)
    assert [len(event.data) for event, _ in read(split(stream, cuts), 30)] == [5, 22, 5]
    events_read = read(split(stream, cuts), 29)
    assert next(events_read)[0].data == "short"
    with pytest.raises(StreamProtocolError, match=r"larger than max_event_bytes \(29 bytes\)"):
        next(events_read)


@pytest.mark.parametrize("filler", [b"x" * 10, b"x" * 9 + b"\n", b"x" * 9 + b"\r", b":\r\n" * 3])
def test_an_event_without_an_end_is_refused_when_it_is_too_large(filler: bytes) -> None:
    """The bound holds before the event is whole: no more than that is ever kept."""
    cutter = BlockCutter(1000)
    for _ in range(1000 // len(filler)):
        assert list(cut(cutter, filler)) == []
    with pytest.raises(StreamProtocolError):
        list(cut(cutter, filler))


def test_the_bound_is_for_one_event_and_not_for_a_chunk() -> None:
    """A chunk may hold any number of events, each as large as allowed."""
    event = b"data: " + b"x" * 92 + b"\n\n"
    assert len(event) == 100
    assert len(list(read([event * 1000], 100))) == 1000
    assert len(list(read([event.replace(b"\n", b"\r") * 1000], 100))) == 1000


# Cost.


class CountedBytes(bytes):
    """Counts the bytes that are looked through for a line end."""

    searched = 0

    def find(self, what: bytes, start: int, end: int) -> int:  # type: ignore[override]
        """Search and count."""
        found = super().find(what, start, end)
        type(self).searched += (end if found < 0 else found + 1) - start
        return found


class CountedPattern:
    """Counts the bytes that a pattern is looked for in."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern = pattern
        self.searched = 0

    def search(self, text: bytes, start: int) -> re.Match[bytes] | None:
        """Search and count."""
        match = self._pattern.search(text, start)
        self.searched += (len(text) if match is None else match.end()) - start
        return match


def test_a_large_event_in_small_chunks_is_searched_once() -> None:
    """Each byte is looked at once for either line end, in however many pieces it comes."""
    cutter = BlockCutter(PLENTY)
    CountedBytes.searched = 0
    blocks: list[bytes] = []
    for _ in range(20_000):
        blocks += cut(cutter, CountedBytes(b"x" * 50))
    blocks += cut(cutter, CountedBytes(b"\n\n"))
    assert [len(block) for block in blocks] == [1_000_002]
    assert 1_800_000 < CountedBytes.searched < 2_200_000


def test_a_large_event_with_other_line_ends_is_searched_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same holds once a CR was seen."""
    counted = CountedPattern(_sse._BLANK_LINE)
    monkeypatch.setattr(_sse, "_BLANK_LINE", counted)
    cutter = BlockCutter(PLENTY)
    blocks = list(cut(cutter, b": hi\r\n\r\n"))
    for _ in range(20_000):
        blocks += cut(cutter, b"x" * 50)
    blocks += cut(cutter, b"\r\n\r\n")
    assert [len(block) for block in blocks] == [6, 1_000_002]
    assert 900_000 < counted.searched < 1_200_000


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"], ids=["LF", "CRLF", "CR"])
def test_sixty_thousand_events_in_one_chunk(end: bytes) -> None:
    """A chunk with very many events is taken apart in one go, and quickly."""
    chunk = b"".join(b"data: %d" % number + end for number in range(60_000))
    begun = time.monotonic()
    cutter = BlockCutter(PLENTY)
    blocks = list(cut(cutter, chunk))
    assert time.monotonic() - begun < 10  # quadratic work takes minutes
    assert len(blocks) == 60_000
    assert blocks[-1] == b"data: 59999\n\n"


@pytest.mark.slow
def test_an_event_of_a_million_lines() -> None:
    """An event of very many lines is read, and quickly."""
    begun = time.monotonic()
    event = parse_block(b"data: 1\n" * 1_000_000 + b"\n")
    assert time.monotonic() - begun < 30  # quadratic work takes minutes
    assert event is not None
    assert len(event.data) == 1_999_999


@pytest.mark.parametrize(
    "block",
    [
        b"data\n",
        b"data\ndata:\ndata: 1\ndata:  2\n",
        b"event: a\ndata: x\nid: 1\nevent: b\nretry: 5\nid: 2\nnonsense: 7\ndatas: 8\n",
        b"event: alone\n",
        b": a comment alone\n",
        b"data: \xff\xc3\xa4\n",
    ],
    ids=repr,
)
def test_an_event_of_many_lines_means_what_one_of_few_does(block: bytes) -> None:
    """A hundred comments in a block make no difference to what is in it."""
    assert parse_block(block + b": comment\n" * 100 + b"\n") == parse_block(block + b"\n")
