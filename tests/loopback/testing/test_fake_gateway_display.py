"""Requests and scripts as failed assertions show them."""

from __future__ import annotations

import threading

import pytest

from pi_native import Client, Context, DeveloperMessage, ImageContent, TextContent, UserMessage
from pi_native.testing import FakeGateway, Reply

MODEL = "acme/models/large"


class TestRequests:
    """Views of a request."""

    def test_a_turn_says_what_was_asked_of_whom(self, gateway: FakeGateway, client: Client) -> None:
        """A request has model, conversation and options by their wire names."""
        client.complete(MODEL, "Hi", system="Be brief.", temperature=0.5, max_tokens=9)
        request = gateway.last_request
        assert request.model == MODEL
        assert request.system_prompt == ["Be brief."]
        assert [message["content"] for message in request.messages] == ["Hi"]
        assert request.context["messages"] == request.messages
        assert request.options["temperature"] == 0.5
        assert request.options["maxTokens"] == 9
        assert request.headers["X-OMP-App"] == "pi-native-python"
        assert repr(request) == f"<POST /v1/pi/stream '{MODEL}', 'Hi'>"

    def test_the_last_user_text_is_the_users(self, gateway: FakeGateway, client: Client) -> None:
        """It is the text of the last user message, in any form, also when others follow."""
        blocks = [TextContent("Look: "), ImageContent("aGk=", "image/png"), TextContent("nice?")]
        history = [UserMessage("First."), UserMessage(blocks), DeveloperMessage("Ask why.")]
        client.complete(MODEL, Context(history))
        assert gateway.last_request.last_user_text == "Look: nice?"

        client.complete(MODEL, [DeveloperMessage("Go on.")])
        assert gateway.last_request.last_user_text is None
        assert gateway.last_request.system_prompt == []

    def test_a_page_is_a_request_without_a_model(
        self, gateway: FakeGateway, client: Client
    ) -> None:
        """The parts of a turn are empty for a page."""
        client.health()
        request = gateway.last_request
        assert (request.model, request.last_user_text) == ("", None)
        assert repr(request) == "<GET /healthz>"

    def test_the_last_request_is_the_newest(self, gateway: FakeGateway, client: Client) -> None:
        """Without a request it is a failed assertion."""
        with pytest.raises(AssertionError, match="no request has come in"):
            _ = gateway.last_request
        client.complete(MODEL, "one")
        client.complete(MODEL, "two")
        assert gateway.last_request is gateway.requests[1]


class TestScript:
    """Checks of a script."""

    def test_a_script_that_was_used_up_is_done(self, gateway: FakeGateway, client: Client) -> None:
        """An empty script passes, also after more turns than entries."""
        gateway.assert_done()
        gateway.reply("one")
        client.complete(MODEL, "Hi")
        client.complete(MODEL, "Hi")
        gateway.assert_done()

    def test_what_is_left_of_a_script_is_named(self, gateway: FakeGateway, client: Client) -> None:
        """The error lists the entries that are left and the requests that came."""
        gateway.reply("one").reply("two").error(503)
        with pytest.raises(AssertionError, match=r"3 answers .*\n(.*\n)+what came in:\n  nothing"):
            gateway.assert_done()
        client.complete(MODEL, "Hi")
        with pytest.raises(AssertionError) as failed:
            gateway.assert_done()
        lines = str(failed.value).splitlines()
        assert lines[0] == "2 answers were not asked for:"
        assert lines[1].startswith("  /v1/pi/stream: Reply(text='two'")
        assert lines[2].startswith("  /v1/pi/stream: HTTPError(status=503")
        assert lines[3:] == ["what came in:", f"  <POST /v1/pi/stream '{MODEL}', 'Hi'>"]

    def test_an_answer_for_one_model_waits_for_it(
        self, gateway: FakeGateway, client: Client
    ) -> None:
        """Each of several threads gets the answer for its model."""
        for name in "abcd":
            gateway.add(Reply(f"for {name}"), model=f"x/{name}")
        said: dict[str, str] = {}

        def ask(name: str) -> None:
            said[name] = client.complete(f"x/{name}", "Hi").text

        threads = [threading.Thread(target=ask, args=(name,)) for name in "dcba"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert said == {name: f"for {name}" for name in "abcd"}

        gateway.add(Reply("for b"), model="x/b").reply("for any")
        assert client.complete("x/a", "Hi").text == "for any"
        assert gateway.pending == 1
