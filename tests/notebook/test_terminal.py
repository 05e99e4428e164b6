"""Terminals, where the text is printed while it arrives."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("IPython", reason="needs IPython, which is in the extra [test]")

from pi_native.testing import FakeGateway, Stall

pytestmark = pytest.mark.slow

ASK = "from pi_native import Client; client = Client(); stream = client.stream('a/b', 'Why?'); "


def run(shell: list[str], source: str, environment: dict[str, str], gateway: FakeGateway) -> str:
    """Return what the program prints."""
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
def test_a_terminal_gets_the_text(
    shell: list[str], jupyter: dict[str, str], gateway: FakeGateway
) -> None:
    """`display()` prints the text once, and returns the message."""
    gateway.reply("Because of the air.")
    printed = run(shell, "message = stream.display(); print(message.stop_reason)", jupyter, gateway)
    assert printed == "Because of the air.\nstop\n"


def test_ipython_in_a_terminal_shows_a_stream_as_text(
    jupyter: dict[str, str], gateway: FakeGateway
) -> None:
    """A stream as the last expression prints its text, not its repr."""
    shell = ["-m", "IPython", "--no-banner", "--colors=NoColor"]
    gateway.reply("Because of the air.")
    printed = run(shell, "_ = get_ipython().run_cell('stream')", jupyter, gateway)
    assert "Because of the air.\n" in printed
    assert "<AssistantMessageEventStream" not in printed


@pytest.mark.parametrize("shell", [["-u"], ["-m", "IPython"]], ids=["python", "ipython"])
def test_a_terminal_gets_the_text_while_it_arrives(
    shell: list[str], jupyter: dict[str, str], gateway: FakeGateway
) -> None:
    """The first words are printed while the gateway holds the rest back."""
    gateway.reply("One two three", fault=Stall(after=4))  # start, text_start, two words
    access = {"PI_NATIVE_BASE_URL": gateway.url, "PI_NATIVE_API_KEY": str(gateway.api_key)}
    source = "from pi_native import Client; m = Client().stream('a/b', 'Why?').display()"
    with subprocess.Popen(
        [sys.executable, *shell, "-c", source],
        env={**jupyter, **access},
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(len("One two")) == b"One two"
        gateway.release()
        assert process.stdout.read() == b" three\n"
    assert process.returncode == 0
