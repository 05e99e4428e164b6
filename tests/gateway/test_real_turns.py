"""Successful turns through the real gateway: the events, their order, and the result."""

from __future__ import annotations

import json
from itertools import groupby, pairwise
from typing import Any

import pytest
from record import UNICODE, every_block, message

from pi_native import (
    Context,
    DoneEvent,
    ImageEndEvent,
    StartEvent,
    TextDeltaEvent,
    ToolCallDeltaEvent,
    ToolCallEndEvent,
    UnknownEvent,
    UserMessage,
    stream_pi_native,
    to_wire,
)

pytestmark = pytest.mark.gateway

SENTENCE = "The quick brown fox jumps over the lazy dog."


def kinds(events: list[Any]) -> list[str]:
    """Return the types of the events in order, without repetitions."""
    return [kind for kind, _ in groupby(event.type for event in events)]


def deltas(events: list[Any], kind: str = "text_delta") -> list[str]:
    """Return the deltas of one type."""
    return [event.delta for event in events if event.type == kind]


class TestText:
    def test_events_come_in_order(self, client):
        """A text turn has a start, the start, deltas and end of one block, and a done."""
        with client.stream("fake/tokens", SENTENCE) as stream:
            events = list(stream)
        assert kinds(events) == ["start", "text_start", "text_delta", "text_end", "done"]
        assert deltas(events) == [word + " " for word in SENTENCE.split()[:-1]] + ["dog."]

    def test_deltas_join_to_the_final_text(self, client):
        """The deltas join to the text of the block's end and of the message."""
        with client.stream("fake/tokens", SENTENCE) as stream:
            events = list(stream)
        assert "".join(deltas(events)) == events[-2].content == events[-1].message.text == SENTENCE

    def test_the_result_is_the_done_message(self, client):
        """`result()` returns the message of the `done` event, with its usage and cost."""
        with client.stream("fake/tokens", SENTENCE) as stream:
            *_, done = stream
            result = stream.result()
        assert isinstance(done, DoneEvent)
        assert done.reason == result.stop_reason == "stop"
        assert result == done.message
        assert (result.usage.input, result.usage.output, result.usage.total_tokens) == (11, 7, 18)
        assert result.usage.cost.total == pytest.approx(11 * 3e-6 + 7 * 15e-6)
        assert (result.api, result.provider, result.model) == (
            "openai-completions",
            "fake",
            "tokens",
        )

    def test_the_snapshots_grow_with_the_deltas(self, client):
        """The snapshot of each event has at least the text that was streamed so far."""
        said = ""
        with client.stream("fake/tokens", SENTENCE) as stream:
            for event in stream:
                if isinstance(event, TextDeltaEvent):
                    said += event.delta
                    assert event.partial.text.startswith(said)
                    assert SENTENCE.startswith(event.partial.text)
        assert stream.partial.text == SENTENCE

    def test_text_stream_is_the_text(self, client):
        """`text_stream` yields the text of the answer, and nothing else."""
        with client.stream("fake/thinking", "?") as stream:
            pieces = list(stream.text_stream)
        assert pieces == ["This ", "is ", "the ", "answer."]

    def test_the_result_needs_no_iteration(self, model, options):
        """`result()` of the low-level call returns the message without an iteration."""
        context = Context([UserMessage(SENTENCE)])
        with stream_pi_native(model("fake/tokens"), context, options()) as stream:
            assert stream.result().text == SENTENCE
            assert stream.done
            assert not stream.truncated

    def test_the_response_is_known(self, model, options):
        """The stream has the status, the headers and the request id of the response."""
        infos: list[Any] = []
        given = options(on_response=infos.append)
        with stream_pi_native(model("mock/text"), Context([UserMessage("hi")]), given) as stream:
            stream.result()
            assert infos == [stream.response]
        assert stream.response.status == 200
        assert stream.response.request_id == stream.response.headers["X-Request-Id"]

    def test_a_start_may_be_ahead(self, client):
        """A turn is correct if its `start` already has the whole text."""
        with client.stream("mock/text", "hi") as stream:
            events = list(stream)
        assert isinstance(events[0], StartEvent)
        assert events[0].partial.text == stream.result().text == "Hello from the mock."

    def test_a_length_stop_is_no_failure(self, client):
        """A turn that reaches the token limit gives a message with stop reason `length`."""
        result = client.complete("mock/length", "hi")
        assert (result.stop_reason, result.text) == ("length", "cut sho")

    def test_a_turn_may_be_empty(self, client):
        """A turn of one `done` event is read; the gateway may send it without chunks."""
        script = [{"type": "done", "reason": "stop", "message": message([])}]
        with client.stream("openai/events", json.dumps(script)) as stream:
            assert [event.type for event in stream] == ["done"]
        assert stream.result().content == []

    def test_characters_survive_in_halves(self, client):
        """A text that is streamed in UTF-16 units, with emoji cut in two, is joined."""
        with client.stream("fake/units", UNICODE) as stream:
            events = list(stream)
        assert "\ud83d" in deltas(events)
        assert "".join(deltas(events)).encode("utf-16", "surrogatepass").decode("utf-16") == UNICODE
        assert stream.result().text == UNICODE

    def test_text_stream_gives_whole_characters(self, client):
        """`text_stream` never yields half an emoji."""
        with client.stream("fake/units", UNICODE) as stream:
            pieces = list(stream.text_stream)
        assert "".join(pieces) == UNICODE
        assert "😀" in pieces

    def test_a_long_turn_arrives_whole(self, client):
        """A turn of 1,500 words, 20 MB of events, arrives complete."""
        text = " ".join(f"word-{n}" for n in range(1500))
        with client.stream("fake/tokens", text) as stream:
            assert "".join(stream.text_stream) == stream.result().text == text


class TestThinking:
    def test_thinking_comes_before_text(self, client):
        """Reasoning is a separate block, streamed before the text."""
        with client.stream("fake/thinking", "?") as stream:
            events = list(stream)
        assert kinds(events) == [
            *("start", "thinking_start", "thinking_delta", "thinking_end"),
            *("text_start", "text_delta", "text_end", "done"),
        ]
        result = stream.result()
        assert "".join(deltas(events, "thinking_delta")) == result.thinking
        assert result.thinking == "The question is short. So is the answer."
        assert result.text == "This is the answer."

    def test_a_signature_is_kept(self, client):
        """A thinking block's signature is on the final block."""
        thinking, text = client.complete("mock/thinking", "?").content
        assert (thinking.thinking, thinking.thinking_signature) == ("Let me see.", "sig-1")
        assert text.text == "Seen."


class TestToolCalls:
    def test_the_pieces_make_the_arguments(self, client):
        """The deltas of a tool call are the JSON text of its final arguments."""
        with client.stream("fake/tools", "write") as stream:
            events = list(stream)
        assert kinds(events) == [
            "start",
            "toolcall_start",
            "toolcall_delta",
            "toolcall_end",
            "done",
        ]
        end = next(event for event in events if isinstance(event, ToolCallEndEvent))
        (call,) = stream.result().tool_calls
        assert call == end.tool_call
        assert (call.id, call.name) == ("call_1", "write")
        assert json.loads("".join(deltas(events, "toolcall_delta"))) == call.arguments
        assert call.arguments["lines"] == [1, 2.5, None]
        assert stream.result().stop_reason == "toolUse"

    def test_the_arguments_grow(self, client):
        """Snapshots have the arguments as far as the gateway has parsed them."""
        sizes, raw = [], []
        with client.stream("fake/tools", "write") as stream:
            for event in stream:
                if isinstance(event, ToolCallDeltaEvent):
                    block = to_wire(event.partial)["content"][0]
                    sizes.append(len(json.dumps(block["arguments"])))
                    raw.append(block["partialArgs"])
        assert sizes == sorted(sizes)
        assert len(set(sizes)) > 2
        assert all(later.startswith(sooner) for sooner, later in pairwise(raw))

    def test_blocks_of_every_sort_in_one_turn(self, client):
        """Thinking, text and two tool calls keep their order and their indexes."""
        with client.stream("fake/mixed", "Oslo and Rome") as stream:
            events = list(stream)
        result = stream.result()
        assert [block.type for block in result.content] == [
            "thinking",
            "text",
            "toolCall",
            "toolCall",
        ]
        assert [call.arguments for call in result.tool_calls] == [
            {"city": "Oslo"},
            {"city": "Rome"},
        ]
        for index, block in enumerate(result.content):
            own = {event.type for event in events if getattr(event, "content_index", None) == index}
            kind = block.type.lower()
            assert own == {f"{kind}_start", f"{kind}_delta", f"{kind}_end"}


class TestEverythingElse:
    def test_every_kind_of_event_and_block_survives(self, client):
        """The events have all that a provider sent: known or unknown, with nulls."""
        script = every_block()
        with client.stream("openai/events", json.dumps(script)) as stream:
            assert [to_wire(event) for event in stream] == script
            assert to_wire(stream.result()) == script[-1]["message"]

    def test_an_image_comes_as_an_event(self, client):
        """An image from the model is in its `image_end` event and in the message."""
        with client.stream("openai/events", json.dumps(every_block())) as stream:
            (end,) = [event for event in stream if isinstance(event, ImageEndEvent)]
        assert (end.content.mime_type, end.content.data) == ("image/png", "aGVsbG8=")
        assert end.content in stream.result().content

    def test_an_unknown_event_is_delivered(self, client):
        """An event of an unknown type reaches the caller unchanged."""
        with client.stream("openai/events", json.dumps(every_block())) as stream:
            (unknown,) = [event for event in stream if isinstance(event, UnknownEvent)]
        assert unknown.data == every_block()[1]


class TestManyAtOnce:
    def test_forty_streams_do_not_mix(self, client):
        """Each of forty concurrent turns gets its own text."""
        texts = [" ".join(f"{n}-{word}" for word in range(20)) for n in range(40)]
        streams = [client.stream("fake/tokens", text) for text in texts]
        assert [stream.result().text for stream in streams] == texts

    def test_forty_streams_run_side_by_side(self, client, upstream):
        """Forty endless turns run at the same time, and each ends when it is closed."""
        streams = [client.stream("fake/forever", str(n)) for n in range(40)]
        for stream in streams:
            assert next(stream.text_stream) == "token 0 "
        upstream.wait_for_calls(40, "open")
        for stream in streams:
            stream.close()
        assert {stream.result().stop_reason for stream in streams} == {"aborted"}
        upstream.wait_for_calls(40, "hung up")

    def test_turns_share_one_connection(self, client, upstream):
        """Twenty turns in a row use one TCP connection."""

        def turn(text):
            assert client.complete("fake/tokens", text).text == text

        assert fewest_connections(turn, upstream) == 1

    def test_low_level_turns_share_one_connection(self, model, options, upstream):
        """Low-level calls without a session share the connections of the process."""

        def turn(text):
            context = Context([UserMessage(text)])
            with stream_pi_native(model("fake/tokens"), context, options()) as stream:
                assert stream.result().text == text

        assert fewest_connections(turn, upstream) == 1


def fewest_connections(turn, upstream) -> int:
    """Return the smallest number of TCP connections that twenty turns used.

    A turn is published after 50 ms at the latest, even if the end of the response has not arrived,
    and the next turn then uses another connection. A busy machine makes that possible in one round,
    but hardly in each of three.
    """
    counts = []
    for _ in range(3):
        before = len(upstream.requests)
        for n in range(20):
            turn(f"turn {n}")
        requests = upstream.requests[before:]
        assert len(requests) == 20
        counts.append(len({request["port"] for request in requests}))
    return min(counts)
