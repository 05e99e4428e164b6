"""Messages and streams in a real kernel, and its stop button."""

from __future__ import annotations

import pytest

pytest.importorskip("ipykernel", reason="needs a Jupyter kernel: the extra [test] has one")
pytest.importorskip("nbclient", reason="needs nbclient, which is in the extra [test]")

from pi_native.testing import FakeGateway, HangUp, Reply, Stall

from .kernel import Kernel, console_of, errors_of, html_of, printed_by

pytestmark = pytest.mark.slow  # starts a kernel

WORDS = "The sky is **blue**, today."
BLUE = "The sky is <strong>blue</strong>,"
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
# A thread that prints as soon as the main thread waits for the turn.
REPORT_WAITING = """
import sys, time, traceback

def report():
    main = threading.main_thread().ident
    while not any(
        frame.f_code.co_filename.endswith("channel.py")
        for frame, _ in traceback.walk_stack(sys._current_frames()[main])
    ):
        time.sleep(0.01)
    print("waiting", flush=True)
"""
every_way = pytest.mark.parametrize("source", SHOWS.values(), ids=SHOWS)


@pytest.fixture(autouse=True)
def connected(kernel: Kernel, gateway: FakeGateway) -> None:
    """Give the kernel a client of the gateway."""
    kernel.run(
        "import threading\n"
        "from IPython.display import display\n"
        "from pi_native import Client\n"
        f"client = Client({gateway.url!r}, {gateway.api_key!r}, max_retries=0)"
    )


def assert_nothing_runs(kernel: Kernel) -> None:
    """Check that the kernel runs the next cell, and that no worker thread is left."""
    cell = kernel.run(
        "print([t.name for t in threading.enumerate() if t.name.startswith('pi-native')])"
    )
    assert printed_by(cell) == "[]\n"


def test_a_message_shows_itself(kernel: Kernel, gateway: FakeGateway) -> None:
    """A message as the last expression of a cell is HTML in a notebook, and its repr elsewhere."""
    gateway.reply(WORDS, thinking="Hm.", tool_calls=[{"name": "clock"}])
    cell = kernel.run("client.complete('a/b', 'Why?')")
    [output] = cell.outputs
    assert output.output_type == "execute_result"
    html = output.data["text/html"]
    parts = ["<summary>Thinking</summary>", BLUE, "<code>clock</code>", "tokens in"]
    places = [html.index(part) for part in parts]
    assert places == sorted(places)
    assert output.data["text/plain"].startswith("AssistantMessage(")


def test_other_objects_show_themselves(kernel: Kernel, gateway: FakeGateway) -> None:
    """Images, conversations, models and settings have views."""
    gateway.reply(WORDS)
    setup = "import pi_native\nchat = pi_native.Conversation(client, 'a/b')\nchat.ask('Why?')"
    kernel.run(setup)
    views = {
        "chat": "<strong>assistant</strong>",
        "client.models()": "<td>fake/parrot</td>",
        "client.settings": "<td>base_url</td>",
        "pi_native.ImageContent('aGk=', 'image/png')": '<img alt="image"',
    }
    for source, view in views.items():
        [html] = html_of(kernel.run(source))
        assert view in html


@every_way
def test_a_stream_shows_itself_live(kernel: Kernel, gateway: FakeGateway, source: str) -> None:
    """The page shows what has arrived before the gateway sends the rest."""
    gateway.reply(WORDS, fault=Stall(after=AS_FAR_AS_BLUE))
    cell = kernel.run(source, once_shown="blue", do=gateway.release)
    html, *others = html_of(cell)
    assert BLUE in html
    assert "today" in html
    assert "tokens in" in html
    assert len(others) == len(gateway.requests) - 1 + source.endswith("ask('Why?')")
    assert_nothing_runs(kernel)


@every_way
def test_front_ends_without_updates_show_the_answer(
    kernel: Kernel, gateway: FakeGateway, source: str
) -> None:
    """`jupyter console` and `ipywidgets.Output` ignore updates, but show the final text."""
    gateway.default = Reply(WORDS)
    kernel.run(source)
    assert console_of(kernel).count(WORDS) >= len(gateway.requests)


def test_a_front_end_without_updates_shows_a_failure(kernel: Kernel, gateway: FakeGateway) -> None:
    """It shows what had arrived, and why the turn ended."""
    gateway.reply(WORDS, fault=HangUp(after=AS_FAR_AS_BLUE))
    kernel.run("client.stream('a/b', 'Why?')", fails_with="GatewayConnectionError")
    assert "The sky is **blue**,\nFailed: GatewayConnectionError" in console_of(kernel)


@every_way
def test_the_stop_button_ends_a_stream(kernel: Kernel, gateway: FakeGateway, source: str) -> None:
    """A real interrupt ends the turn and the cell, and the page shows what had arrived and why."""
    gateway.reply(WORDS, fault=Stall(after=AS_FAR_AS_BLUE))
    cell = kernel.run(
        source, once_shown="blue", do=kernel.press_stop, fails_with="KeyboardInterrupt"
    )
    [html] = html_of(cell)
    assert BLUE in html
    assert "Interrupted" in html
    [error] = errors_of(cell)
    assert (error.ename, error.traceback) == ("KeyboardInterrupt", ["KeyboardInterrupt"])
    [request] = gateway.requests
    assert request.client_gone.wait(5)
    assert_nothing_runs(kernel)
    cell = kernel.run("print(stream.partial.text, stream.result().stop_reason)")
    assert printed_by(cell) == "The sky is **blue**, aborted\n"


@pytest.mark.parametrize(
    "source",
    [
        "for text in client.stream('a/b', 'Why?').text_stream:\n    print(text)",
        "s = client.stream('a/b', 'Why?')\nfor text in s.text_stream:\n    print(text)",
        "for event in client.stream('a/b', 'Why?'):\n    print(event.type)",
        "s = client.stream('a/b', 'Why?')\nfor event in s:\n    print(event.type)",
        "with client.stream('a/b', 'Why?') as s:\n    for event in s:\n        print(event.type)",
        "s = client.stream('a/b', 'Why?')\nwhile True:\n    print(next(s).type)",
        "print(list(client.stream('a/b', 'Why?')))",
        "print(''.join(client.stream('a/b', 'Why?').text_stream))",
        "client.stream('a/b', 'Why?').result()",
        "client.stream('a/b', 'Why?').get_final_message()",
        "s = client.stream('a/b', 'Why?')\ns.result()",
        "s = client.stream('a/b', 'Why?')\ns.result(30)",
        "client.complete('a/b', 'Why?')",
        "chat = Conversation(client, 'a/b')\nchat.ask('Why?')",
        "for event in Conversation(client, 'a/b').stream('Why?'):\n    print(event.type)",
        "def ask():\n    s = client.stream('a/b', 'Why?')\n    return [e for e in s]\nask()",
    ],
)
def test_the_stop_button_ends_a_turn_in_every_shape(
    kernel: Kernel, gateway: FakeGateway, source: str
) -> None:
    """However a cell waits for a turn, the interrupt ends the turn, and the gateway sees it."""
    gateway.reply(WORDS, fault=Stall())
    kernel.run(REPORT_WAITING)

    def stop() -> None:
        assert gateway.wait_for_request().stalled.wait(5)
        kernel.press_stop()

    source = (
        f"from pi_native import Conversation\nthreading.Thread(target=report).start()\n{source}"
    )
    cell = kernel.run(source, once_shown="waiting", do=stop, fails_with="KeyboardInterrupt")
    [error] = errors_of(cell)
    assert "During handling" not in "\n".join(error.traceback)
    assert gateway.requests[0].client_gone.wait(5), "\n".join(error.traceback)
    assert_nothing_runs(kernel)


@pytest.mark.parametrize(
    "source",
    [
        "s = client.stream('a/b', 'Why?')\nfor text in s.text_stream:\n    {body}",
        "s = client.stream('a/b', 'Why?')\nfor event in s:\n    {body}",
        "texts = client.stream('a/b', 'Why?').text_stream\nfor text in texts:\n    {body}",
        "frames = client.stream('a/b', 'Why?').sse()\nfor frame in frames:\n    {body}",
        "s = client.stream('a/b', 'Why?')\nnext(s)\n{body}",
        "chat = Conversation(client, 'a/b')\ns = chat.stream('Why?')\nnext(s)\n{body}",
        "s = client.stream('a/b', 'Why?')\ns.wait(0)\nprint('body')\ns.wait()",
    ],
)
def test_the_stop_button_ends_a_turn_in_the_users_own_code(
    kernel: Kernel, gateway: FakeGateway, source: str
) -> None:
    """An interrupt in the body of a loop ends the turn, also if a variable holds its stream."""
    gateway.reply(WORDS, fault=Stall(after=AS_FAR_AS_BLUE))
    kernel.run("import time\nfrom pi_native import Conversation")
    kernel.run(
        source.format(body="print('body'); time.sleep(60)"),
        once_shown="body",
        do=kernel.press_stop,
        fails_with="KeyboardInterrupt",
    )
    assert gateway.requests[0].client_gone.wait(5)
    assert_nothing_runs(kernel)


def test_the_stop_button_ends_a_turn_of_an_earlier_cell(
    kernel: Kernel, gateway: FakeGateway
) -> None:
    """The cell that iterates a stream ends its turn, also if another cell has started it."""
    gateway.reply(WORDS, fault=Stall(after=AS_FAR_AS_BLUE))
    kernel.run("import time\ns = client.stream('a/b', 'Why?')")
    kernel.run(
        "for event in s:\n    print('body')\n    time.sleep(60)",
        once_shown="body",
        do=kernel.press_stop,
        fails_with="KeyboardInterrupt",
    )
    assert gateway.requests[0].client_gone.wait(5)
    assert_nothing_runs(kernel)


def test_the_stop_button_leaves_other_turns_alone(kernel: Kernel, gateway: FakeGateway) -> None:
    """A turn of another cell continues when the interrupted cell does not use it."""
    gateway.reply(WORDS, fault=Stall(after=AS_FAR_AS_BLUE))
    kernel.run("import time\nother = client.stream('a/b', 'Why?')")
    assert gateway.wait_for_request().stalled.wait(5)
    kernel.run(
        "print('body')\ntime.sleep(60)",
        once_shown="body",
        do=kernel.press_stop,
        fails_with="KeyboardInterrupt",
    )
    gateway.release()
    assert printed_by(kernel.run("print(other.get_final_message().stop_reason)")) == "stop\n"


def test_the_stop_button_ends_the_wait_for_a_response(kernel: Kernel, gateway: FakeGateway) -> None:
    """The button works before anything has arrived."""
    gateway.reply(WORDS, fault=Stall(after=None))

    def stop() -> None:
        gateway.wait_for_request()
        kernel.press_stop()

    source = "client.stream('a/b', 'Why?')"
    cell = kernel.run(source, once_shown="…", do=stop, fails_with="KeyboardInterrupt")
    [html] = html_of(cell)
    assert "Interrupted" in html
    assert gateway.requests[0].client_gone.wait(5)
    assert_nothing_runs(kernel)


@every_way
def test_a_failure_keeps_what_had_arrived(
    kernel: Kernel, gateway: FakeGateway, source: str
) -> None:
    """A stream whose connection breaks fails its cell, below the text that had arrived."""
    gateway.reply(WORDS, fault=HangUp(after=AS_FAR_AS_BLUE))
    cell = kernel.run(source, fails_with="GatewayConnectionError")
    html, *_ = html_of(cell)
    assert BLUE in html
    assert "Failed" in html
    assert [error.ename for error in errors_of(cell)] == ["GatewayConnectionError"]
    assert "<AssistantMessageEventStream" not in str(cell.outputs)
    assert_nothing_runs(kernel)


@every_way
def test_a_failed_provider_fails_the_cell(
    kernel: Kernel, gateway: FakeGateway, source: str
) -> None:
    """The page shows the text and the provider's reason, and "run all" stops."""
    gateway.reply(WORDS, error_message="Overloaded", error_status=529)
    cell = kernel.run(source, fails_with="ProviderError")
    html, *_ = html_of(cell)
    assert BLUE in html
    assert "Failed: Overloaded" in html
    [error] = errors_of(cell)
    assert "Overloaded" in error.evalue
    assert len(error.traceback) == 1
    assert_nothing_runs(kernel)


def test_a_failed_call_has_a_short_traceback(kernel: Kernel, gateway: FakeGateway) -> None:
    """The traceback is the line of the cell, the error, and the text that had arrived."""
    gateway.reply(WORDS, fault=HangUp(after=AS_FAR_AS_BLUE))
    cell = kernel.run("client.complete('a/b', 'Why?')", fails_with="GatewayConnectionError")
    [error] = errors_of(cell)
    place, source, line, *arrived = error.traceback
    assert place.startswith("Cell In[")
    assert place.endswith("line 1")
    assert source == "    client.complete('a/b', 'Why?')"
    assert line.startswith("GatewayConnectionError: ")
    assert arrived == ["", "This had arrived:", "The sky is **blue**,"]


def test_a_turn_cancelled_elsewhere_keeps_what_had_arrived(
    kernel: Kernel, gateway: FakeGateway
) -> None:
    """A cancel by another thread is no failure, and the page shows the text and the cancel."""
    gateway.reply(WORDS, fault=Stall(after=AS_FAR_AS_BLUE))
    cell = kernel.run(
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
    [html] = html_of(cell)
    assert BLUE in html
    assert "Cancelled" in html
    assert_nothing_runs(kernel)


def test_showing_takes_no_events(kernel: Kernel, gateway: FakeGateway) -> None:
    """A stream that was shown can be iterated from its start, and shown again."""
    gateway.reply(WORDS)
    kernel.run("stream = client.stream('a/b', 'Why?')\nstream")
    cell = kernel.run("print(''.join(stream.text_stream))\nstream")
    assert printed_by(cell) == WORDS + "\n"
    assert BLUE in html_of(cell)[0]


def test_a_long_turn_sends_little(kernel: Kernel, gateway: FakeGateway) -> None:
    """The page is written at intervals, not for each of many events."""
    gateway.reply(["word "] * 5000)
    cell = kernel.run("client.stream('a/b', 'Why?')")
    assert html_of(cell)[0].count("word") == 5000
    assert 1 < kernel.writings < 50
