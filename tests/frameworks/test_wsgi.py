"""The Flask and the Django example, served by gunicorn."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from pi_native.testing import FakeGateway, Reply, Stall

from .servers import PATIENCE_SECONDS, gunicorn, need

pytestmark = pytest.mark.slow

TEXT = "one two three four"
HEARTBEAT = ": heartbeat"


@pytest.fixture(params=["flask_app:app", "django_app"])
def port(request: pytest.FixtureRequest, gateway: FakeGateway) -> Iterator[int]:
    """Serve one of the examples, and return its port."""
    need("gunicorn", request.param.partition("_")[0])
    with gunicorn(request.param, gateway) as port:
        yield port


class Browser:
    """A connection of its own to the application, like a page with an open stream."""

    def __init__(self, port: int, path: str, prompt: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", path, json.dumps({"prompt": prompt}), headers)
        self.response = self._connection.getresponse()

    def frame(self) -> str:
        """Return the next server-sent event or comment."""
        lines = []
        while (line := self.response.readline()) not in (b"\n", b""):
            lines.append(line.decode())
        return "".join(lines).rstrip("\n")

    def frames(self) -> list[str]:
        """Return the frames up to the end of the response."""
        return [block for block in self.response.read().decode().split("\n\n") if block]

    def leave(self) -> None:
        """Close the connection, as a browser does that leaves the page."""
        self.response.close()
        self._connection.close()


@pytest.fixture
def browse(port: int) -> Iterator[Any]:
    """Return a function that opens a page of the application."""
    opened: list[Browser] = []

    def browse(path: str, prompt: str = "hi") -> Browser:
        opened.append(Browser(port, path, prompt))
        return opened[-1]

    yield browse
    for browser in opened:
        browser.leave()


def events(frames: list[str]) -> list[dict[str, Any]]:
    """Return the events among the frames, without heartbeats and `[DONE]`."""
    data = [frame.removeprefix("data: ") for frame in frames if frame.startswith("data: {")]
    return [json.loads(text) for text in data]


def text_of(frames: list[str]) -> str:
    """Return the text of the deltas."""
    return "".join(event["delta"] for event in events(frames) if event["type"] == "text_delta")


def test_one_reader_leaves_and_the_other_reads_to_the_end(
    gateway: FakeGateway, browse: Any
) -> None:
    """The turn of the reader who left is hung up while its model is silent; the other one ends."""
    gateway.default = Reply(TEXT, fault=Stall(after=3))
    leaver, reader = browse("/stream", "leave"), browse("/stream", "read")
    assert leaver.response.getheader("Content-Type").startswith("text/event-stream")
    assert leaver.response.getheader("X-Accel-Buffering") == "no"
    turns = {request.last_user_text: request for request in gateway.requests}
    received = [reader.frame()]
    while leaver.frame() != HEARTBEAT:
        pass

    leaver.leave()
    while not turns["leave"].client_gone.is_set():
        received.append(reader.frame())
    # The system accepts the first one after the close, so the server cannot notice it earlier than
    # at the second one. The rest is for slow machines.
    assert received.count(HEARTBEAT) <= 6
    assert not turns["read"].client_gone.is_set()

    turns["read"].release()
    received += reader.frames()
    assert events(received)[-1]["message"]["content"][0]["text"] == text_of(received) == TEXT
    assert received[-1] == "data: [DONE]"


def test_an_answer_is_json(gateway: FakeGateway, browse: Any) -> None:
    """`/ask` returns the text, and the message in its wire form."""
    gateway.reply(TEXT)
    answer = json.load(browse("/ask").response)
    assert answer["text"] == TEXT
    assert answer["message"]["stopReason"] == "stop"


def test_a_failure_is_a_502(gateway: FakeGateway, browse: Any) -> None:
    """A turn that fails in `/ask` is status 502 with the class of the exception."""
    gateway.default = Reply("Hello", error_message="the provider failed")
    response = browse("/ask").response
    assert response.status == 502
    assert json.load(response) == {"error": "ProviderError"}


def test_a_failure_in_a_stream_is_an_event(gateway: FakeGateway, browse: Any) -> None:
    """A turn that fails in `/stream` ends with one `error` event, and then `[DONE]`."""
    gateway.default = Reply("Hello", error_message="the provider failed")
    frames = browse("/stream").frames()
    kinds = [event["type"] for event in events(frames)]
    assert (kinds[-1], kinds.count("error")) == ("error", 1)
    assert frames[-1] == "data: [DONE]"
    assert text_of(frames) == "Hello"
