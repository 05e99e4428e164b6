"""Scripts of the fake gateway: repeated answers, strict scripts, failed turns, wrong types."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_args

import pytest

from pi_native import Client, InvalidRequestError, ProviderError, StartEvent
from pi_native.testing import FailedTurn, FakeGateway, HangUp, Reply, Slow, Stall
from pi_native.testing._replies import ErrorShape

from ..calls import KEY

MODEL = "acme/large"
Write = Callable[[FakeGateway], object]


class TestTimes:
    """Repeated answers."""

    def test_an_answer_is_given_so_many_times(self, gateway: FakeGateway) -> None:
        """A client that retries meets the same error each time, and then the next entry."""
        gateway.error(503, headers={"Retry-After": "0"}, times=3).reply("at last")
        with Client(gateway.url, KEY, max_retries=3) as client:
            assert client.complete(MODEL, "Hi").text == "at last"
        assert len(gateway.requests) == 4
        gateway.assert_done()

    @pytest.mark.parametrize(
        "write",
        [
            lambda gateway: gateway.reply("a", times=2),
            lambda gateway: gateway.events([{"type": "start"}], times=2),
            lambda gateway: gateway.raw(b"a", times=2),
            lambda gateway: gateway.verbatim(b"a", times=2),
            lambda gateway: gateway.error(500, times=2),
            lambda gateway: gateway.failed_turn(times=2),
            lambda gateway: gateway.add(Reply("a"), times=2),
            lambda gateway: gateway.add(lambda _: Reply("a"), times=2),
        ],
    )
    def test_every_kind_of_answer_can_be_repeated(self, write: Write) -> None:
        """Each repetition is one pending entry."""
        gateway = FakeGateway()
        write(gateway)
        assert gateway.pending == 2

    @pytest.mark.parametrize("times", [0, -1, 1.5, True, "2", None])
    def test_times_is_a_positive_number(self, times: Any) -> None:
        """Any other value is a ValueError at once."""
        with pytest.raises(ValueError, match="times must be a positive number"):
            FakeGateway().reply("a", times=times)


class TestStrict:
    """Strict scripts."""

    def test_a_complete_script_passes(self) -> None:
        """Turns that are all scripted, pages and refused requests do not fail."""
        with FakeGateway(strict=True).reply("one") as gateway, Client(gateway.url, KEY) as client:
            gateway.api_key = KEY
            assert client.complete(MODEL, "Hi").text == "one"
            assert client.health().ok

    def test_an_unscripted_turn_is_refused_and_fails_the_block(self) -> None:
        """The client gets an error that it does not retry, and the end names the turn."""
        with (
            pytest.raises(AssertionError, match=rf"not scripted:\n.*'{MODEL}', 'Hi'"),
            FakeGateway(KEY, strict=True) as gateway,
            Client(gateway.url, KEY, max_retries=2) as client,
            pytest.raises(InvalidRequestError, match="this turn is not scripted"),
        ):
            client.complete(MODEL, "Hi")
        assert len(gateway.requests) == 1

    def test_an_answer_that_is_left_fails_the_block(self) -> None:
        """The end names the answer."""
        with (
            pytest.raises(AssertionError, match=r"1 answers were not asked for:\n.*'two'"),
            FakeGateway(KEY, strict=True).reply("one").reply("two") as gateway,
            Client(gateway.url, KEY) as client,
        ):
            client.complete(MODEL, "Hi")

    def test_a_failed_test_keeps_its_own_exception(self) -> None:
        """The check of the script does not replace it."""
        with (
            pytest.raises(ZeroDivisionError),
            FakeGateway(strict=True).reply("never asked"),
        ):
            raise ZeroDivisionError


class TestFailedTurn:
    """Turns that end in an `error` event."""

    @pytest.mark.parametrize("text", ["", "So far"])
    @pytest.mark.parametrize("shape", get_args(ErrorShape))
    def test_an_error_event_of_any_shape_is_a_failed_turn(
        self, gateway: FakeGateway, client: Client, shape: Any, text: str
    ) -> None:
        """`complete()` raises, with what the event says."""
        gateway.failed_turn(529, "Overloaded", shape=shape, text=text)
        with pytest.raises(ProviderError) as failed:
            client.complete(MODEL, "Hi")
        if shape != "bare":
            assert "Overloaded" in str(failed.value)
        if shape in ("message", "no stop reason", "stop"):
            assert failed.value.message.text == text

    def test_the_events_of_the_text_come_first(self, gateway: FakeGateway) -> None:
        """The wire has the usual events, the `error` event and the end."""
        gateway.failed_turn(shape="object", type="api_error", text="So far")
        with Client(gateway.url, KEY) as client:
            events = [event.type for event in client.stream(MODEL, "Hi")]
        assert events == ["start", "text_start", *["text_delta"] * 2, "text_end", "error"]

    def test_a_hint_when_to_retry_is_part_of_the_message(
        self, gateway: FakeGateway, client: Client
    ) -> None:
        """The provider's Retry-After reaches the client in the text."""
        gateway.failed_turn(429, "slow down", retry_after_ms=1500)
        with pytest.raises(ProviderError) as failed:
            client.complete(MODEL, "Hi")
        assert failed.value.retry_after == 1.5

    def test_faults_apply_to_it(self, gateway: FakeGateway) -> None:
        """A failed turn can be cut like any other."""
        gateway.add(FailedTurn(500, text="So far", fault=HangUp(after=1)))
        with Client(gateway.url, KEY, max_retries=0) as client, pytest.raises(ConnectionError):
            client.complete(MODEL, "Hi")


class TestWrongTypes:
    """Mistakes in a script."""

    @pytest.mark.parametrize(
        "write",
        [
            lambda gateway: gateway.reply(42),
            lambda gateway: gateway.reply({"text": "Hello"}),
            lambda gateway: gateway.reply(None),
            lambda gateway: gateway.reply(b"Hello"),
            lambda gateway: gateway.reply(["a", 1]),
            lambda gateway: gateway.reply(Reply("a")),
            lambda gateway: gateway.reply(thinking=42),
            lambda gateway: gateway.reply(tool_calls={"name": "clock"}),
            lambda gateway: gateway.reply(tool_calls=["clock"]),
            lambda gateway: gateway.reply(error_status="529"),
            lambda gateway: gateway.reply("a", fault=HangUp),
            lambda gateway: gateway.reply("a", fault="hang up"),
            lambda gateway: gateway.events({"type": "start"}),
            lambda gateway: gateway.events("start"),
            lambda gateway: gateway.events(["start"]),
            lambda gateway: gateway.events(StartEvent(partial=None)),  # type: ignore[arg-type]
            lambda gateway: gateway.raw("text"),
            lambda gateway: gateway.raw(42),
            lambda gateway: gateway.raw(["text"]),
            lambda gateway: gateway.raw(b"", status="200"),
            lambda gateway: gateway.verbatim("HTTP/1.1 200 OK"),
            lambda gateway: gateway.error("503"),
            lambda gateway: gateway.error("Overloaded"),
            lambda gateway: gateway.error(5),
            lambda gateway: gateway.failed_turn("Overloaded"),
            lambda gateway: gateway.failed_turn(text=42),
            lambda gateway: gateway.failed_turn(529, 42),
            lambda gateway: gateway.error(503, 42),
            lambda gateway: gateway.reply("a", usage=42),
            lambda gateway: gateway.reply("a", stop_reason=42),
            lambda gateway: gateway.reply("a", error_message=42),
            lambda gateway: gateway.reply("a", fault=Stall("start")),  # type: ignore[arg-type]
            lambda gateway: gateway.reply("a", fault=Stall(0, "1 s")),  # type: ignore[arg-type]
            lambda gateway: gateway.reply("a", fault=HangUp(1.5)),  # type: ignore[arg-type]
            lambda gateway: gateway.reply("a", fault=Slow("1 s")),  # type: ignore[arg-type]
            lambda gateway: gateway.add("Hello"),
            lambda gateway: gateway.add(42),
            lambda gateway: gateway.add({"type": "start"}),
        ],
    )
    def test_a_wrong_type_raises_at_once(self, write: Write) -> None:
        """The line that is wrong raises TypeError, and the script stays as it was."""
        gateway = FakeGateway()
        with pytest.raises(TypeError):
            write(gateway)
        assert gateway.pending == 0

    def test_an_unknown_shape_is_named(self) -> None:
        """The error lists the shapes."""
        with pytest.raises(ValueError, match="no stop reason"):
            FakeGateway().failed_turn(shape="odd")  # type: ignore[arg-type]

    @pytest.mark.parametrize("returned", ["Hello", None, 42, {"text": "Hello"}])
    def test_a_function_that_returns_no_answer_is_a_type_error(self, returned: Any) -> None:
        """The end of the block says what the function returned and what was expected."""
        with (
            pytest.raises(TypeError, match=rf"{type(returned).__name__}.*Reply"),
            FakeGateway(KEY).add(lambda _: returned) as gateway,
            Client(gateway.url, KEY, max_retries=0) as client,
            pytest.raises(Exception, match="internal error"),
        ):
            client.complete(MODEL, "Hi")

    def test_the_error_says_what_to_do(self) -> None:
        """It names the argument, its value, and the method for wire events."""
        with pytest.raises(TypeError, match=r"text must be a string .* not dict: .*events\("):
            FakeGateway().reply({"text": "Hello"})  # type: ignore[arg-type]


class TestModels:
    """Rows of `/v1/models`."""

    def test_rows_have_a_kind_and_turns_need_chat(self) -> None:
        """A row keeps its kind, and a turn with a model of another kind is a 400."""
        models = ["acme/large", {"id": "acme/embed", "kind": "embedding"}]
        with FakeGateway(KEY, models=models) as gateway, Client(gateway.url, KEY) as client:
            rows = json.loads(json.dumps(gateway.models))
            assert [row.get("kind") for row in rows] == [None, "embedding"]
            with pytest.raises(InvalidRequestError, match="embedding"):
                client.complete("acme/embed", "Hi")
            assert client.complete("acme/large", "Hi").model == "large"
