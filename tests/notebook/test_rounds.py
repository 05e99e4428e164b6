"""The rounds of tools in a real kernel, and its stop button."""

from __future__ import annotations

import pytest

pytest.importorskip("ipykernel", reason="needs a Jupyter kernel: the extra [test] has one")
pytest.importorskip("nbclient", reason="needs nbclient, which is in the extra [test]")
pytest.importorskip("docstring_parser", reason="needs the extra [tools]")

from pi_native.testing import FakeGateway, Stall

from .kernel import Kernel, console_of, errors_of, html_of, printed_by

pytestmark = pytest.mark.slow  # starts a kernel

CALL = {"name": "clock", "arguments": {"zone": "UTC"}}
WORDS = "It is **half past** nine."
AS_FAR_AS_PAST = 6  # events: start, text_start, and four words
SHOWS = {
    "the last expression": "chat.rounds('What time is it?')",
    "rounds.display()": "message = chat.rounds('What time is it?').display()",
}
every_way = pytest.mark.parametrize("source", SHOWS.values(), ids=SHOWS)


@pytest.fixture(autouse=True)
def connected(kernel: Kernel, gateway: FakeGateway) -> None:
    """Give the kernel a conversation with a tool."""
    kernel.run(
        "import threading\n"
        "from pi_native import Client, Conversation\n"
        "def clock(zone: str) -> str:\n"
        "    'Tell the time.'\n"
        "    if waits:\n"
        "        print('the tool waits', flush=True)\n"
        "        threading.Event().wait(60)\n"
        "    return 'half *past* nine'\n"
        "waits = False\n"
        f"client = Client({gateway.url!r}, {gateway.api_key!r}, max_retries=0)\n"
        "chat = Conversation(client, 'a/b', tools=[clock])"
    )


@every_way
def test_rounds_show_themselves_live(kernel: Kernel, gateway: FakeGateway, source: str) -> None:
    """The call and its result are folded, and the last answer grows below them."""
    gateway.reply("Let me **see**.", tool_calls=[CALL])
    gateway.reply(WORDS, fault=Stall(after=AS_FAR_AS_PAST))
    cell = kernel.run(source, once_shown="half past</strong>", do=gateway.release)
    first, result, last = html_of(cell)
    assert "Let me <strong>see</strong>." in first
    assert "<details><summary>Tool call <code>clock</code></summary>" in first
    assert "<details><summary>Result of <code>clock</code></summary>" in result
    assert "half *past* nine" in result
    assert "<strong>half past</strong> nine." in last
    assert printed_by(kernel.run("print(len(chat.messages))")) == "4\n"


@every_way
def test_front_ends_without_updates_show_the_rounds(
    kernel: Kernel, gateway: FakeGateway, source: str
) -> None:
    """Texts and results are readable as plain text."""
    gateway.reply("Let me see.", tool_calls=[CALL]).reply(WORDS)
    kernel.run(source)
    shown = console_of(kernel)
    places = [shown.index(text) for text in ("Let me", "[clock: half *past* nine]", WORDS)]
    assert places == sorted(places)


@every_way
def test_the_stop_button_ends_the_rounds_while_a_tool_runs(
    kernel: Kernel, gateway: FakeGateway, source: str
) -> None:
    """The cell ends at once, and the conversation continues."""
    gateway.reply(tool_calls=[CALL])
    kernel.run("waits = True")
    cell = kernel.run(
        source, once_shown="the tool waits", do=kernel.press_stop, fails_with="KeyboardInterrupt"
    )
    assert [error.ename for error in errors_of(cell)] == ["KeyboardInterrupt"]
    gateway.reply("Continued.")
    cell = kernel.run("print(chat.messages[-1], chat.run().text)")
    assert printed_by(cell) == "cancelled Continued.\n"


@every_way
def test_an_exception_of_a_tool_fails_the_cell(
    kernel: Kernel, gateway: FakeGateway, source: str
) -> None:
    """The page shows the call and the failure, and the exception as it is."""
    gateway.reply(tool_calls=[CALL])
    kernel.run("del waits")
    cell = kernel.run(source, fails_with="NameError")
    assert "<summary>Failure of <code>clock</code></summary>" in html_of(cell)[1]
    [error] = errors_of(cell)
    assert "waits" in error.evalue
