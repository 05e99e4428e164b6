"""Showing a stream outside of a notebook, and what is imported for it."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from pi_native import (
    AssistantMessage,
    AssistantMessageEventStream,
    Client,
    Conversation,
    ProviderError,
    TextContent,
)
from pi_native._notebook.short_traceback import mark_as_shown, short_traceback
from pi_native._notebook.terminal import TerminalView
from pi_native.errors import PiNativeError
from pi_native.testing import FakeGateway

from ...programs import run


def message(text: str, **more: Any) -> AssistantMessage:
    """Return a message with this text."""
    return AssistantMessage([TextContent(text)], **{"stop_reason": "stop", **more})


def test_without_ipython_the_text_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plain REPL needs no extra."""
    monkeypatch.setitem(sys.modules, "IPython", None)
    stream = AssistantMessageEventStream()
    stream.end(message("Because."))
    assert stream.display().text == "Because."
    assert capsys.readouterr().out == "Because.\n"


def test_a_failed_turn_is_printed_and_raised(capsys: pytest.CaptureFixture[str]) -> None:
    """The text comes first, then the reason, then the exception."""
    stream = AssistantMessageEventStream()
    stream.end(message("So far", stop_reason="error", error_message="Overloaded"))
    with pytest.raises(ProviderError, match="Overloaded"):
        stream.display()
    assert capsys.readouterr().out == "So far\nFailed: Overloaded\n"


def test_a_turn_that_the_provider_aborts_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """Only a cancel by the caller is no failure."""
    stream = AssistantMessageEventStream()
    stream.end(message("So far", stop_reason="aborted"))
    with pytest.raises(ProviderError):
        stream.display()
    assert capsys.readouterr().out == "So far\nCancelled. This is what had arrived.\n"


def test_each_part_of_the_text_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Only what is new is printed; a snapshot that takes words back starts a new line."""
    view = TerminalView()
    for text in ("", "One", "One", "One two \ud83d", "One two \ud83d\ude00", "Three"):
        view.show_partial(message(text))
    view.end(message("Three four"), None)
    assert capsys.readouterr().out == "One two \U0001f600\nThree four\n"


@pytest.mark.slow
def test_the_package_does_not_import_ipython() -> None:
    """Importing the package, and the HTML of a message, need no IPython."""
    script = (
        "import sys, pi_native\n"
        "before = set(sys.modules)\n"
        "late = {'IPython', 'markdown_it', 'pi_native._notebook.views'}\n"
        "assert not late & before\n"
        "pi_native.AssistantMessage([pi_native.TextContent('Hi')])._repr_html_()\n"
        "assert 'IPython' not in sys.modules"
    )
    done = run(script)
    assert done.returncode == 0, done.stderr


def raised(exc: PiNativeError) -> PiNativeError:
    """Return the exception after it was raised here."""
    try:
        raise exc
    except PiNativeError:
        return exc


def test_a_short_traceback_has_the_caller_and_what_had_arrived() -> None:
    """The lines are the caller's frames, the error, and the end of the text."""
    exc = raised(PiNativeError("broken"))
    exc.partial = message("x" * 5000 + "the end")
    place, source, error, _, arrived, text = short_traceback(exc)
    assert place.endswith(", in raised")
    assert source == "    raise exc"
    assert (error, arrived) == ("PiNativeError: broken", "This had arrived:")
    assert text.startswith("…x")
    assert text.endswith("xthe end")
    assert len(text) < 2100


@pytest.mark.parametrize("exc", [PiNativeError("broken"), KeyboardInterrupt(), ValueError("no")])
def test_an_exception_that_was_shown_has_one_line(exc: Any) -> None:
    """IPython prints its name and text under the output."""
    mark_as_shown(exc)
    assert exc._render_traceback_() == [": ".join(filter(None, (type(exc).__name__, str(exc))))]


def test_rounds_are_printed_outside_of_a_notebook(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each text and each result is a line; the last message is returned."""
    pytest.importorskip("docstring_parser")
    monkeypatch.setitem(sys.modules, "IPython", None)

    def clock(zone: str) -> str:
        """Tell the time."""
        return f"{zone}:\n\ud83d " + "half past nine " * 20

    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key) as client:
        call = {"name": "clock", "arguments": {"zone": "UTC"}}
        gateway.reply("Let me see.", tool_calls=[call]).reply("Late.")
        rounds = Conversation(client, "a/b", tools=[clock]).rounds("What time is it?")
        assert rounds.display().text == "Late."
        assert rounds.display().text == "Late."
    first, result, last = capsys.readouterr().out.splitlines()
    assert (first, last) == ("Let me see.", "Late.")
    assert result.startswith("[clock: UTC: \ufffd half past nine half")
    assert result.endswith("…]")


def test_rounds_that_were_closed_have_no_message() -> None:
    """The error says why there is nothing to return."""
    rounds = Conversation(Client("http://127.0.0.1:1", "key"), "a/b").rounds("Hi")
    rounds.close()
    with pytest.raises(PiNativeError, match="closed before their last message"):
        rounds.display()
