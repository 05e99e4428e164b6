"""Events as Python objects: how they are made, and when their snapshots are."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from pi_native import to_wire
from pi_native._protocol.decoder import bare_delta
from pi_native._types import events as ev
from pi_native._types.content import ImageContent, ToolCall
from pi_native._types.messages import AssistantMessage
from pi_native.errors import DecodeError

MESSAGE = AssistantMessage(timestamp=1)
CALL = ToolCall("1", "add", {})
IMAGE = ImageContent("eA==", "image/png")

WITH_PARTIAL: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = [
    ("start", ev.StartEvent, ()),
    ("text_start", ev.TextStartEvent, (0,)),
    ("text_delta", ev.TextDeltaEvent, (0, "x")),
    ("text_end", ev.TextEndEvent, (0, "x")),
    ("thinking_start", ev.ThinkingStartEvent, (0,)),
    ("thinking_delta", ev.ThinkingDeltaEvent, (0, "x")),
    ("thinking_end", ev.ThinkingEndEvent, (0, "x")),
    ("toolcall_start", ev.ToolCallStartEvent, (0,)),
    ("toolcall_delta", ev.ToolCallDeltaEvent, (0, "x")),
    ("toolcall_end", ev.ToolCallEndEvent, (0, CALL)),
    ("image_end", ev.ImageEndEvent, (0, IMAGE)),
]
TERMINAL: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = [
    ("done", ev.DoneEvent, ("stop", MESSAGE)),
    ("error", ev.ErrorEvent, ("aborted", MESSAGE)),
]


class Counting:
    """A snapshot that counts how often it is made."""

    def __init__(self, message: AssistantMessage | None) -> None:
        self.message = message
        self.made = 0

    def __call__(self) -> AssistantMessage | None:
        """Return the snapshot, and count it."""
        self.made += 1
        return self.message


def make_message() -> AssistantMessage:
    """Return a snapshot that can be pickled."""
    return AssistantMessage(timestamp=1)


def fail() -> AssistantMessage:
    """Return a snapshot of what is no message."""
    raise DecodeError("no message")


@pytest.mark.parametrize(("kind", "cls", "members"), WITH_PARTIAL + TERMINAL)
def test_events_are_made_in_the_order_of_the_wire(
    kind: str, cls: Callable[..., Any], members: tuple[Any, ...]
) -> None:
    """The members go by position, and `type` is what the wire calls it."""
    event = cls(*members)
    own = [a for a in attrs.fields(type(event)) if a.init and a.alias not in ("extra", "partial")]
    assert event.type == kind
    assert tuple(getattr(event, a.name) for a in own) == members


@pytest.mark.parametrize(("kind", "cls", "members"), WITH_PARTIAL)
def test_a_snapshot_is_made_once_and_when_asked_for(
    kind: str, cls: Callable[..., Any], members: tuple[Any, ...]
) -> None:
    """A function given as `partial` is called when the partial is first looked at."""
    snapshot = Counting(MESSAGE)
    event = cls(*members, snapshot)
    assert (event.type, repr(event), snapshot.made) == (kind, repr(cls(*members)), 0)
    assert event.partial is event.partial is MESSAGE
    assert snapshot.made == 1


@pytest.mark.parametrize(("kind", "cls", "members"), WITH_PARTIAL)
def test_a_snapshot_may_be_missing(
    kind: str, cls: Callable[..., Any], members: tuple[Any, ...]
) -> None:
    """Without a snapshot `partial` is None, and a message given as it is stays that."""
    assert cls(*members).partial is None
    assert cls(*members, Counting(None)).partial is None
    assert cls(*members, partial=MESSAGE).partial is MESSAGE
    assert cls(*members).type == kind


def test_a_snapshot_that_fails_fails_each_time() -> None:
    """A failure is not taken for an answer."""
    event = ev.TextDeltaEvent(0, "x", fail)
    for _ in range(2):
        with pytest.raises(DecodeError, match="no message"):
            _ = event.partial


def test_events_are_equal_when_their_snapshots_are() -> None:
    """It makes no difference whether a snapshot was made yet."""
    lazy = ev.TextDeltaEvent(0, "x", make_message)
    assert lazy == ev.TextDeltaEvent(0, "x", MESSAGE)
    assert lazy != ev.TextDeltaEvent(0, "x", AssistantMessage(timestamp=2))
    assert lazy != ev.TextDeltaEvent(0, "x")
    assert lazy != ev.ThinkingDeltaEvent(0, "x", make_message)  # type: ignore[comparison-overlap]


def test_events_can_be_pickled_unread() -> None:
    """Pickling makes no snapshot, if the function that makes it can be pickled."""
    event = pickle.loads(pickle.dumps(ev.TextDeltaEvent(0, "x", fail)))
    assert event.delta == "x"
    with pytest.raises(DecodeError):
        _ = event.partial


def test_a_repr_shows_no_snapshot() -> None:
    """A snapshot is the same long message again and again."""
    assert repr(ev.TextDeltaEvent(0, "x", MESSAGE)) == "TextDeltaEvent(content_index=0, delta='x')"
    assert repr(ev.StartEvent(MESSAGE)) == "StartEvent()"
    assert repr(ev.UnknownEvent({"type": "a"}, MESSAGE)) == "UnknownEvent(data={'type': 'a'})"


def test_terminal_events_settle_a_stream() -> None:
    """`result_of` is the message of a terminal event, and so is its `partial`."""
    done, error = ev.DoneEvent("stop", MESSAGE), ev.ErrorEvent("error", MESSAGE)
    assert ev.result_of(done) is ev.result_of(error) is MESSAGE
    assert done.partial is error.partial is MESSAGE


def test_other_events_settle_nothing() -> None:
    """`result_of` is None for an event that others follow."""
    assert ev.result_of(ev.StartEvent(MESSAGE)) is None
    assert ev.result_of(ev.UnknownEvent({"type": "done"}, MESSAGE)) is None


def test_an_unknown_event_has_a_partial_if_it_holds_a_message() -> None:
    """A member `partial` of an unknown event need not be a message."""
    assert ev.UnknownEvent({"type": "a"}, make_message).partial == MESSAGE
    assert ev.UnknownEvent({"type": "a"}, fail).partial is None
    assert ev.UnknownEvent({"type": "a"}).partial is None
    assert str(ev.UnknownEvent({"type": "a"}).type) == "a"


def test_events_are_matched_by_class() -> None:
    """A match statement takes an event apart by position, without its snapshot."""
    match ev.ToolCallEndEvent(1, CALL, fail):
        case ev.ToolCallEndEvent(index, call):
            assert (index, call) == (1, CALL)
    assert ev.TextDeltaEvent.__match_args__ == ("content_index", "delta")
    assert ev.StartEvent.__match_args__ == ()
    assert ev.UnknownEvent.__match_args__ == ("data",)
    assert ev.DoneEvent.__match_args__ == ("reason", "message")


def test_a_bare_delta_is_smaller_and_equal() -> None:
    """Made without its `extra`, a delta compares, shows, copies and pickles as any other."""
    usual = ev.TextDeltaEvent(0, "x", MESSAGE)
    for use in (repr, pickle.dumps, copy.deepcopy, attrs.evolve, attrs.asdict, to_wire):
        assert use(bare_delta(ev.TextDeltaEvent, 0, "x", MESSAGE)) == use(usual)
    bare = bare_delta(ev.TextDeltaEvent, 0, "x", MESSAGE)
    assert {} not in gc.get_referents(bare)
    bare.extra["more"] = 1
    assert bare.extra == {"more": 1}
    with pytest.raises(AttributeError, match="'TextDeltaEvent' has no attribute 'missing'"):
        bare.missing  # type: ignore[union-attr]  # noqa: B018


@pytest.mark.parametrize("cls", [ev.TextDeltaEvent, ev.ThinkingDeltaEvent, ev.ToolCallDeltaEvent])
def test_a_bare_delta_has_the_type_of_its_class(cls: type[ev.DeltaEvent]) -> None:
    """Each class of delta tells its kind."""
    assert bare_delta(cls, 3, "x", MESSAGE) == cls(3, "x", MESSAGE)
