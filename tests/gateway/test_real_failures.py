"""Turns that fail, are cancelled, or take too long, at the real gateway."""

from __future__ import annotations

import gc
import json
import threading
from typing import Any

import pytest
from launch import Gateway, running_gateway
from record import message

from pi_native import (
    AbortController,
    AbortError,
    AuthenticationError,
    Client,
    Context,
    ErrorEvent,
    GatewayConnectionError,
    InvalidRequestError,
    ProviderError,
    StreamTimeoutError,
    UserMessage,
    stream_pi_native,
)

pytestmark = pytest.mark.gateway

START = {"type": "start", "partial": message([])}
ADMITTED = {"type": "inference_admission", "position": 1}
SAID = {"type": "text_start", "contentIndex": 0, "partial": message([{"type": "text", "text": ""}])}


def script(*events: dict[str, Any]) -> str:
    """Return a prompt for openai/events: these events, then silence unless one is terminal."""
    return json.dumps(events)


def only_deltas(events: list[Any]) -> str:
    """Return the text of the deltas."""
    return "".join(event.delta for event in events if event.type == "text_delta")


class TestProviderFailures:
    def test_an_error_is_an_event_and_a_message(self, client):
        """A provider's failure ends the iteration with an `ErrorEvent`, and raises nothing."""
        with client.stream("mock/error", "hi") as stream:
            *_, last = stream
            result = stream.result()
        assert isinstance(last, ErrorEvent)
        assert last.reason == result.stop_reason == "error"
        assert result == last.error
        assert result.error_message == "the mock provider failed"
        assert result.text == "So far "

    def test_complete_raises_it(self, client):
        """`complete` raises a `ProviderError` with the failed message and its text so far."""
        with pytest.raises(ProviderError, match="the mock provider failed") as caught:
            client.complete("mock/error", "hi")
        assert caught.value.message.text == "So far "

    @pytest.mark.parametrize("name", ["fake/die", "fake/cut"])
    def test_a_provider_that_dies_is_a_failed_turn(self, client, name):
        """A provider that disconnects mid-stream gives a failed message with its text so far."""
        with client.stream(name, "hi") as stream:
            events = list(stream)
            result = stream.result()
        assert isinstance(events[-1], ErrorEvent)
        assert result.text == only_deltas(events)
        assert result.text in ("three ", "three tokens ", "three tokens only")
        assert result.stop_reason == "error"
        assert "closed" in result.error_message
        assert not stream.truncated

    @pytest.mark.parametrize("name", ["fake/die", "fake/cut"])
    def test_it_is_not_tried_again(self, gateway, upstream, name):
        """After content has arrived, the turn is not retried, also by a client with retries."""
        with (
            Client(gateway.url, gateway.token, max_retries=3) as client,
            pytest.raises(ProviderError, match="closed"),
        ):
            client.complete(name, "hi")
        assert len(upstream.requests) == 1

    @pytest.mark.parametrize("status", [429, 500])
    def test_a_refusal_has_the_providers_status(self, client, upstream, status):
        """The failed message has the status of the provider's error response."""
        with client.stream(f"fake/{status}", "hi") as stream:
            events = list(stream)
        assert [event.type for event in events] == ["start", "error"]
        assert stream.result().error_status == status
        assert f"the fake upstream says {status}" in stream.result().error_message
        assert len(upstream.requests) == 1
        assert len(upstream.calls) == 2, "the gateway itself tries once more"

    def test_complete_raises_the_refusal(self, client):
        """`complete` raises a `ProviderError` with status 429 for a 429 of the provider."""
        with pytest.raises(ProviderError) as caught:
            client.complete("fake/429", "hi")
        assert caught.value.message.error_status == 429

    def test_a_wait_of_an_hour_is_not_retried(self, gateway, upstream):
        """A failure that asks for a wait of an hour is final, and the caller sees one turn."""
        with (
            Client(gateway.url, gateway.token, max_retries=1) as client,
            client.stream("fake/429", "hi") as stream,
        ):
            assert [event.type for event in stream] == ["start", "error"]
        with pytest.raises(ProviderError) as caught:
            stream.get_final_message()
        assert caught.value.retry_after == 3600
        assert len(upstream.requests) == 1

    def test_the_gateway_may_break(self, client):
        """An error event without a message gets one that names the failure."""
        with client.stream("mock/broken", "hi") as stream:
            (event,) = stream
            result = stream.result()
        assert isinstance(event, ErrorEvent)
        assert result == event.error
        assert result.error_message == "the mock broke inside the gateway"
        assert (result.stop_reason, result.provider, result.model) == ("error", "mock", "broken")

    def test_the_gateway_may_break_late(self, client):
        """After a late failure the events before it are delivered."""
        with client.stream("openai/events", script(START, SAID, {"fail": "broken late"})) as stream:
            assert [event.type for event in stream] == ["start", "text_start", "error"]
        assert stream.result().error_message == "broken late"

    def test_a_provider_may_abort(self, client):
        """A turn that the provider aborts gives a message with stop reason `aborted`."""
        gone = message([], stopReason="aborted", errorMessage="Request was aborted")
        event = {"type": "error", "reason": "aborted", "error": gone}
        with client.stream("openai/events", script(START, event)) as stream:
            assert stream.result().stop_reason == "aborted"
        with pytest.raises(ProviderError, match="Request was aborted"):
            stream.result().raise_for_error()


class TestRefusals:
    def test_an_unknown_model(self, client):
        """An unknown model raises an `InvalidRequestError` with status 404."""
        with pytest.raises(InvalidRequestError, match="Unknown model: no/such") as caught:
            client.complete("no/such", "hi")
        assert (caught.value.status, caught.value.code) == (404, "invalid_request_error")
        assert not caught.value.retryable

    def test_a_wrong_token(self, gateway):
        """A wrong token raises an `AuthenticationError`, status 401, that does not contain it."""
        with (
            Client(gateway.url, "a-wrong-token") as client,
            pytest.raises(AuthenticationError) as caught,
        ):
            client.complete("mock/text", "hi")
        assert caught.value.status == 401
        assert "unauthorized" in str(caught.value)
        assert "a-wrong-token" not in repr(vars(caught.value)) + str(caught.value)

    def test_no_token(self, model, options):
        """Without a token the low-level call's stream fails with the gateway's 401."""
        context = Context([UserMessage("hi")])
        with stream_pi_native(model("mock/text"), context, options(api_key=None)) as stream:
            with pytest.raises(AuthenticationError):
                next(stream)
            with pytest.raises(AuthenticationError):
                stream.result()

    def test_no_credential(self, client):
        """A provider without a credential at the gateway gives a 401 with the reason."""
        with pytest.raises(AuthenticationError, match="No credential available") as caught:
            client.complete("unknown/keyless", "hi")
        assert caught.value.code == "authentication_error"

    def test_a_malformed_context(self, client):
        """A malformed context gives a 400 with the reason."""
        context = Context([UserMessage("hi")], extra={"tools": {"not": "a list"}})
        with pytest.raises(InvalidRequestError, match="must be an array") as caught:
            client.complete("mock/text", context)
        assert caught.value.status == 400

    def test_a_refusal_is_not_retried(self, gateway, upstream):
        """A request that fails with a permanent error is sent once."""
        with (
            Client(gateway.url, gateway.token, max_retries=3) as client,
            pytest.raises(InvalidRequestError),
        ):
            client.complete("no/such", "hi")
        assert len(upstream.requests) == 1

    def test_the_connection_serves_on(self, client, upstream):
        """After an error response the connection is reused."""
        for _ in range(3):
            with pytest.raises(InvalidRequestError):
                client.complete("no/such", "hi")
        assert len({request["port"] for request in upstream.requests}) == 1


class TestCancelling:
    def test_abort_stops_the_provider(self, client, upstream):
        """`abort()` gives an `aborted` message, and the gateway disconnects the provider."""
        controller = AbortController()
        with client.stream("fake/forever", "hi", signal=controller.signal) as stream:
            text = next(stream.text_stream)
            controller.abort("enough")
            *_, last = stream
            result = stream.result()
            assert stream.partial.text.startswith(text)
        assert isinstance(last, ErrorEvent)
        assert last.reason == result.stop_reason == "aborted"
        assert result.error_message == "stream closed without terminal event"
        upstream.wait_for_calls(1, "hung up")

    def test_a_plain_event_does_too(self, client, upstream):
        """A `threading.Event` cancels the turn as a signal does."""
        cancel = threading.Event()
        with client.stream("fake/forever", "hi", signal=cancel) as stream:
            next(stream.text_stream)
            cancel.set()
            assert stream.result().stop_reason == "aborted"
        upstream.wait_for_calls(1, "hung up")

    def test_closing_stops_the_provider(self, client, upstream):
        """`close()` disconnects, and the gateway disconnects the provider."""
        stream = client.stream("fake/forever", "hi")
        next(stream.text_stream)
        stream.close()
        assert stream.result().stop_reason == "aborted"
        upstream.wait_for_calls(1, "hung up")

    def test_leaving_the_block_stops_the_provider(self, client, upstream):
        """Leaving the `with` block does the same as `close()`."""
        with client.stream("fake/forever", "hi") as stream:
            next(stream.text_stream)
        upstream.wait_for_calls(1, "hung up")

    def test_dropping_the_stream_stops_the_provider(self, client, upstream):
        """A stream without a reference is closed, with a warning."""

        def read_one_event_and_forget():
            next(client.stream("fake/forever", "hi"))
            gc.collect()

        with pytest.warns(ResourceWarning, match="dropped"):
            read_one_event_and_forget()
        upstream.wait_for_calls(1, "hung up")

    def test_complete_can_be_aborted(self, client, upstream):
        """An abort ends the wait of a thread in `complete`."""
        controller, running = AbortController(), threading.Event()
        other = threading.Thread(target=lambda: running.wait() and controller.abort())
        other.start()
        with pytest.raises(ProviderError) as caught:
            client.complete(
                "fake/forever",
                "hi",
                signal=controller.signal,
                on_sse_event=lambda _: running.set(),
            )
        other.join()
        assert caught.value.message.stop_reason == "aborted"
        upstream.wait_for_calls(1, "hung up")

    @pytest.mark.parametrize("name", ["fake/silent", "mock/slow"])
    def test_abort_while_nothing_comes(self, client, upstream, name):
        """The headers end with the first event; before that, an abort raises an `AbortError`."""
        controller = AbortController()
        with client.stream(name, "hi", signal=controller.signal) as stream:
            upstream.wait_until(lambda seen: seen["gateway"])
            if name == "fake/silent":
                upstream.wait_for_calls(1, "open")
            controller.abort("changed my mind")
            with pytest.raises(AbortError) as caught:
                stream.result()
        assert caught.value.reason == "changed my mind"
        if name == "fake/silent":
            upstream.wait_for_calls(1, "hung up")

    def test_abort_before_the_call(self, client, upstream):
        """With a signal that is already aborted, no request is sent."""
        controller = AbortController()
        controller.abort("too late")
        with pytest.raises(AbortError):
            client.complete("fake/tokens", "hi", signal=controller.signal)
        assert upstream.requests == []

    def test_an_abort_costs_one_connection(self, client, upstream):
        """After an abort the next turn of the client succeeds."""
        with client.stream("fake/forever", "hi") as stream:
            next(stream.text_stream)
        assert client.complete("fake/tokens", "and now?").text == "and now?"
        assert len({request["port"] for request in upstream.requests}) == 2


class TestTimeouts:
    """Timeouts of the client, with the mock and scripted models.

    The gateway receives the timeouts, too, and applies them to real providers only. So with these
    models the timeout of the client passes first.
    """

    def test_the_headers_do_not_come(self, client):
        """The wait for the headers is limited: the gateway sends them with the first event."""
        with pytest.raises(StreamTimeoutError) as caught:
            client.complete("mock/slow", "hi", stream_first_event_timeout_ms=300)
        assert (caught.value.phase, caught.value.limit) == ("headers", 0.3)

    def test_the_first_event_does_not_come(self, client):
        """`start` and `inference_admission` do not end the wait for the first event."""
        # Two events, because the gateway keeps a start back until another event follows.
        with client.stream(
            "openai/events", script(START, ADMITTED), stream_first_event_timeout_ms=1000
        ) as stream:
            assert [next(stream).type, next(stream).type] == ["start", "inference_admission"]
            with pytest.raises(StreamTimeoutError, match="waiting for the first event") as caught:
                next(stream)
        assert caught.value.phase == "first_event"

    def test_the_next_event_does_not_come(self, client):
        """After progress, the idle timeout applies."""
        with client.stream(
            "openai/events", script(START, SAID), stream_idle_timeout_ms=1000
        ) as stream:
            assert [next(stream).type, next(stream).type] == ["start", "text_start"]
            with pytest.raises(StreamTimeoutError, match="waiting for the next event") as caught:
                next(stream)
        assert caught.value.phase == "idle"

    def test_a_timeout_stops_the_provider(self, client, upstream):
        """When the first-event timeout of the client passes, the gateway disconnects the provider.

        The gateway has the same timeout, but retries once before it reports it.
        """
        with pytest.raises(StreamTimeoutError):
            client.complete("fake/silent", "hi", stream_first_event_timeout_ms=500)
        upstream.wait_until(
            lambda seen: (
                seen["upstream"] and all(call["state"] == "hung up" for call in seen["upstream"])
            )
        )

    def test_a_timeout_from_the_environment(self, client, upstream, monkeypatch):
        """A timeout from the environment ends the turn, and with it the call of the provider."""
        monkeypatch.setenv("PI_STREAM_IDLE_TIMEOUT_MS", "1000")
        with client.stream("fake/stall", "hi") as stream:
            with pytest.raises(StreamTimeoutError) as caught:
                list(stream)
            assert stream.partial.text == "three tokens only"
        assert caught.value.phase == "idle"
        upstream.wait_for_calls(1, "hung up")

    def test_the_whole_turn(self, client, upstream):
        """An endless turn ends with the total timeout, and so does the call of the provider."""
        with pytest.raises(StreamTimeoutError) as caught:
            client.complete("fake/forever", "hi", total_timeout_ms=500)
        assert caught.value.phase == "total"
        assert caught.value.partial.text.startswith("token 0 ")
        upstream.wait_for_calls(1, "hung up")

    def test_the_timeout_of_the_gateway(self, client):
        """If only the gateway has a timeout, a silent provider gives a failed message."""
        # Passed in `extra`, the timeout does not apply to the client.
        with client.stream("fake/silent", "hi", extra={"streamFirstEventTimeoutMs": 300}) as stream:
            result = stream.result()
        assert result.stop_reason == "error"
        assert "timed out while waiting for the first event" in result.error_message


class TestTheGatewayGoesAway:
    @pytest.fixture
    def mortal(self, gateway: Gateway):  # noqa: ARG002  # skips where there is none
        """Run a gateway that the test may kill."""
        with running_gateway() as mortal, Client(mortal.url, mortal.token, max_retries=0) as client:
            yield mortal, client

    def test_in_the_middle_of_a_turn(self, mortal):
        """A gateway killed mid-stream raises a `GatewayConnectionError` with the text so far."""
        gateway, client = mortal
        with client.stream("fake/forever", "hi") as stream:
            text = next(stream.text_stream)
            gateway.process.kill()
            with pytest.raises(GatewayConnectionError) as caught:
                list(stream)
        assert caught.value.phase == "body"
        assert caught.value.partial.text.startswith(text)

    def test_before_a_turn(self, mortal):
        """After the gateway was killed, a turn fails to connect, also with a kept connection."""
        gateway, client = mortal
        assert client.complete("mock/text", "hi").text == "Hello from the mock."
        gateway.process.kill()
        gateway.process.wait()
        with pytest.raises(GatewayConnectionError, match=r"cannot reach|no response"):
            client.complete("mock/text", "hi")
