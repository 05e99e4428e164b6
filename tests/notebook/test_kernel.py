"""Messages and streams show themselves in a real kernel, and its stop button stops them."""

from __future__ import annotations

import pytest

pytest.importorskip("ipykernel", reason="needs a Jupyter kernel: the extra [test] has one")
pytest.importorskip("nbclient", reason="needs nbclient, which is in the extra [test]")

from pi_native.testing import FakeGateway, HangUp, Stall

from .kernel import Kernel, errors_of, markdown_of, printed_by

pytestmark = pytest.mark.slow  # starts a kernel

WORDS = "The sky is **blue**, today."
AS_FAR_AS_BLUE = 6  # events: start, text_start, and four words
SHOWS = {
    "the last expression": "stream = client.stream('a/b', 'Why?')\nstream",
    "display(), in a loop": (
        "for _ in range(3):\n    stream = client.stream('a/b', 'Why?')\n    display(stream)"
    ),
    "stream.display(), in a function": (
        "def ask(question):\n"
        "    global stream\n"
        "    stream = client.stream('a/b', question)\n"
        "    return stream.display()\n"
        "ask('Why?')"
    ),
}
every_way = pytest.mark.parametrize("source", SHOWS.values(), ids=SHOWS)


@pytest.fixture(autouse=True)
def connected(kernel: Kernel, gateway: FakeGateway) -> None:
    """The kernel has a client of this test's gateway."""
    kernel.run(
        "import threading\n"
        "from IPython.display import display\n"
        "from pi_native import Client\n"
        f"client = Client({gateway.url!r}, {gateway.api_key!r}, max_retries=0)"
    )


def assert_nothing_runs(kernel: Kernel) -> None:
    """No thread of a turn is left in the kernel, which runs the next cell."""
    cell = kernel.run(
        "print([t.name for t in threading.enumerate() if t.name.startswith('pi-native')])"
    )
    assert printed_by(cell) == "[]\n"


def test_a_message_shows_itself(kernel: Kernel, gateway: FakeGateway) -> None:
    """A message as the last expression of a cell is Markdown, and its repr for a terminal."""
    gateway.reply(WORDS, thinking="Hm.", tool_calls=[{"name": "clock"}])
    cell = kernel.run("client.complete('a/b', 'Why?')")
    [output] = cell.outputs
    assert output.output_type == "execute_result"
    thinking, text, call, footer = output.data["text/markdown"].split("\n\n")
    assert thinking.startswith("<details><summary>Thinking</summary>")
    assert text == WORDS
    assert "<code>clock</code>" in call
    assert "tokens in" in footer
    assert output.data["text/plain"].startswith("AssistantMessage(")


@every_way
def test_a_stream_shows_itself_live(kernel: Kernel, gateway: FakeGateway, source: str) -> None:
    """What has arrived is on the page before the gateway sends the rest; it is one output."""
    gateway.reply(WORDS, fault=Stall(after=AS_FAR_AS_BLUE))
    cell = kernel.run(source, once_shown="blue", do=gateway.release)
    markdown, *others = markdown_of(cell)
    assert markdown.startswith(WORDS)
    assert "tokens in" in markdown
    assert len(others) == len(gateway.requests) - 1 + source.endswith("ask('Why?')")
    assert_nothing_runs(kernel)


@every_way
def test_the_stop_button_ends_it(kernel: Kernel, gateway: FakeGateway, source: str) -> None:
    """A real interrupt ends the turn and the cell; what had arrived stays, and says why it ends."""
    gateway.reply(WORDS, fault=Stall(after=AS_FAR_AS_BLUE))
    cell = kernel.run(
        source, once_shown="blue", do=kernel.press_stop, fails_with="KeyboardInterrupt"
    )
    [markdown] = markdown_of(cell)
    assert markdown.startswith("The sky is **blue**,\n\n")
    assert "Interrupted" in markdown
    [error] = errors_of(cell)
    assert (error.ename, error.traceback) == ("KeyboardInterrupt", ["KeyboardInterrupt"])
    [request] = gateway.requests
    assert request.client_gone.wait(5)
    assert_nothing_runs(kernel)
    cell = kernel.run("print(stream.partial.text, stream.result().stop_reason)")
    assert printed_by(cell) == "The sky is **blue**, aborted\n"


def test_the_stop_button_ends_the_wait_for_an_answer(kernel: Kernel, gateway: FakeGateway) -> None:
    """Before anything has arrived the button works as well."""
    gateway.reply(WORDS, fault=Stall(after=None))

    def stop() -> None:
        gateway.wait_for_request()
        kernel.press_stop()

    source = "client.stream('a/b', 'Why?')"
    cell = kernel.run(source, once_shown="…", do=stop, fails_with="KeyboardInterrupt")
    [markdown] = markdown_of(cell)
    assert "Interrupted" in markdown
    assert gateway.requests[0].client_gone.wait(5)
    assert_nothing_runs(kernel)


@every_way
def test_a_failure_keeps_what_had_arrived(
    kernel: Kernel, gateway: FakeGateway, source: str
) -> None:
    """A stream that breaks fails its cell, under the text that had come."""
    gateway.reply(WORDS, fault=HangUp(after=AS_FAR_AS_BLUE))
    cell = kernel.run(source, fails_with="GatewayConnectionError")
    markdown, *_ = markdown_of(cell)
    assert markdown.startswith("The sky is **blue**,\n\n")
    assert "Failed" in markdown
    assert [error.ename for error in errors_of(cell)] == ["GatewayConnectionError"]
    assert "<AssistantMessageEventStream" not in str(cell.outputs)
    assert_nothing_runs(kernel)


def test_a_turn_cancelled_elsewhere_keeps_what_had_arrived(
    kernel: Kernel, gateway: FakeGateway
) -> None:
    """A cancel by another thread is no failure; the page says so, and keeps the text."""
    gateway.reply(WORDS, fault=Stall(after=AS_FAR_AS_BLUE))
    cell = kernel.run(
        "from pi_native import TextDeltaEvent\n"
        "def watch(stream):\n"
        "    for event in stream:\n"
        "        if 'blue' in getattr(event, 'delta', ''):\n"
        "            stream.abort()\n"
        "stream = client.stream('a/b', 'Why?')\n"
        "watcher = threading.Thread(target=watch, args=[stream])\n"
        "watcher.start()\n"
        "print(stream.display().stop_reason)\n"
        "watcher.join()"
    )
    assert printed_by(cell) == "aborted\n"
    [markdown] = markdown_of(cell)
    assert markdown.startswith("The sky is **blue**,\n\n")
    assert "Cancelled" in markdown
    assert_nothing_runs(kernel)


def test_showing_takes_no_events(kernel: Kernel, gateway: FakeGateway) -> None:
    """A stream that has shown itself can be iterated from its start, and be shown again."""
    gateway.reply(WORDS)
    kernel.run("stream = client.stream('a/b', 'Why?')\nstream")
    cell = kernel.run("print(''.join(stream.text_stream))\nstream")
    assert printed_by(cell) == WORDS + "\n"
    assert markdown_of(cell)[0].startswith(WORDS)


def test_a_long_turn_sends_little(kernel: Kernel, gateway: FakeGateway) -> None:
    """The page is written anew when it is time, and not for each of many pieces."""
    gateway.reply(["word "] * 5000)
    cell = kernel.run("client.stream('a/b', 'Why?')")
    assert markdown_of(cell)[0].count("word") == 5000
    assert 1 < kernel.writings < 50
