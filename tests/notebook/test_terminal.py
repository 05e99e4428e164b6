"""Where outputs cannot be written anew, a message is printed once, when it is complete."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("IPython", reason="needs IPython, which is in the extra [test]")

from pi_native.testing import FakeGateway

ASK = (
    "from pi_native import Client; "
    "client = Client(); stream = client.stream('a/b', 'Why?'); stream.result(); "
)


def run(shell: list[str], source: str, environment: dict[str, str], gateway: FakeGateway) -> str:
    """What the program prints."""
    access = {"PI_NATIVE_BASE_URL": gateway.url, "PI_NATIVE_API_KEY": str(gateway.api_key)}
    done = subprocess.run(
        [sys.executable, *shell, "-c", ASK + source],
        env={**environment, **access},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(
    "shell", [[], ["-m", "IPython", "--no-banner", "--colors=NoColor"]], ids=["python", "ipython"]
)
def test_a_terminal_gets_the_message_once(
    shell: list[str], jupyter: dict[str, str], gateway: FakeGateway
) -> None:
    """`display()` prints the message, and returns it."""
    gateway.reply("Because.")
    printed = run(shell, "print(stream.display().text)", jupyter, gateway)
    assert printed.count("TextContent(text='Because.')") == 1
    assert printed.endswith("\nBecause.\n")


def test_a_terminals_shell_shows_a_stream_as_any_object(
    jupyter: dict[str, str], gateway: FakeGateway
) -> None:
    """In IPython without a notebook a stream as the last expression is shown by its repr."""
    shell = ["-m", "IPython", "--no-banner", "--colors=NoColor"]
    printed = run(shell, "get_ipython().run_cell('stream')", jupyter, gateway)
    assert "Out[0]: <AssistantMessageEventStream ended: stop>" in printed
