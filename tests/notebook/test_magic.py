"""The cell magic `%%pi` in a real kernel, and in IPython in a terminal."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("ipykernel", reason="needs a Jupyter kernel: the extra [test] has one")
pytest.importorskip("nbclient", reason="needs nbclient, which is in the extra [test]")

from pi_native.testing import FakeGateway, HangUp, Stall

from .kernel import Kernel, errors_of, html_of, printed_by

pytestmark = pytest.mark.slow  # starts a kernel

AFTER_TWO_WORDS = Stall(after=4)  # events: start, text_start, and two words


@pytest.fixture(autouse=True)
def loaded(kernel: Kernel, gateway: FakeGateway) -> None:
    """Load the extension in the kernel, with an empty namespace, at the gateway."""
    kernel.run(
        "%reset -f\n"
        "%load_ext pi_native\n"
        "import os, threading\n"
        f"os.environ['PI_NATIVE_BASE_URL'] = {gateway.url!r}\n"
        f"os.environ['PI_NATIVE_API_KEY'] = {gateway.api_key!r}"
    )


def test_a_cell_is_a_prompt(kernel: Kernel, gateway: FakeGateway) -> None:
    """The cell's text goes to the model, and the answer is shown as Markdown."""
    gateway.reply("It is **blue**.")
    cell = kernel.run("%%pi -m acme/small\nWhy is the sky blue?\nBe brief.\n")
    assert "It is <strong>blue</strong>." in html_of(cell)[-1]
    assert gateway.last_request.model == "acme/small"
    assert gateway.last_request.last_user_text == "Why is the sky blue?\nBe brief."


def test_names_are_filled_in(kernel: Kernel, gateway: FakeGateway) -> None:
    """`{{name}}` is replaced by the variable, in the cell and in the instructions, once."""
    kernel.run("colour, nested, n = 'blue', '{{n}}', 7")
    kernel.run("%%pi -m a/b --system 'In {{n}} words.'\nWhy {{colour}}{{ nested }}? {{1 + 1}} {n}")
    assert gateway.last_request.last_user_text == "Why blue{{n}}? {{1 + 1}} {n}"
    assert gateway.last_request.system_prompt == ["In 7 words."]


def test_an_image_is_filled_in(kernel: Kernel, gateway: FakeGateway) -> None:
    """A variable that is an image becomes an image of the message."""
    kernel.run(
        "from pi_native import ImageContent\npicture = ImageContent.from_bytes(b'GIF89a...')\n"
    )
    kernel.run("%%pi -m a/b\nWhat is {{picture}}?")
    content = gateway.last_request.messages[0]["content"]
    assert [block["type"] for block in content] == ["text", "image", "text"]


def test_the_answer_goes_into_a_name(kernel: Kernel, gateway: FakeGateway) -> None:
    """`--into` binds the message, whose text the next cell can use."""
    gateway.reply("Because of the air.", usage={"output": 4})
    kernel.run("%%pi -m a/b --into answer\nWhy?")
    shown = kernel.run("print(answer.text, answer.usage.output)")
    assert printed_by(shown) == "Because of the air. 4\n"
    kernel.run("%%pi -m a/b\nShorter: {{answer}}")
    assert gateway.last_request.last_user_text == "Shorter: Because of the air."


def test_a_conversation(kernel: Kernel, gateway: FakeGateway) -> None:
    """`--chat` makes a conversation and continues it, with its model and instructions."""
    kernel.run("%%pi -m a/b --chat talk --system 'Be brief.'\nWhy?")
    kernel.run("%%pi --chat talk\nAnd at dusk?")
    roles = [message["role"] for message in gateway.last_request.messages]
    assert roles == ["user", "assistant", "user"]
    assert gateway.last_request.model == "a/b"
    assert gateway.last_request.system_prompt == ["Be brief."]


def test_options(kernel: Kernel, gateway: FakeGateway) -> None:
    """Options of the first line are options of the turn, and the environment names a model."""
    kernel.run("os.environ['PI_NATIVE_MODEL'] = 'acme/other'")
    kernel.run(
        "%%pi --reasoning high --max-tokens 9 --temperature 0.5 -o top-p=0.1 -o service_tier=flex\n"
        "Why?"
    )
    kernel.run("del os.environ['PI_NATIVE_MODEL']")
    assert gateway.last_request.model == "acme/other"
    wanted = {"reasoning": "high", "maxTokens": 9, "temperature": 0.5, "topP": 0.1}
    assert gateway.last_request.options.items() >= {**wanted, "serviceTier": "flex"}.items()


def test_a_client_of_the_notebook(kernel: Kernel, gateway: FakeGateway) -> None:
    """`--client` names the client to use."""
    kernel.run(
        "from pi_native import Client\n"
        f"mine = Client({gateway.url!r}, {gateway.api_key!r}, app='my-notebook')"
    )
    kernel.run("%%pi -m a/b --client mine\nWhy?")
    assert gateway.last_request.headers["x-omp-app"] == "my-notebook"


@pytest.mark.parametrize(
    ("first_line", "text", "words"),
    [
        ("-m a/b", "Why {{colour}} and {{shape}}?", "not defined: colour, shape"),
        ("-m a/b --system '{{colour}}'", "Why?", "not defined: colour"),
        ("", "Why?", "PI_NATIVE_MODEL"),
        ("-m a/b", "", "is empty"),
        ("-m a/b --into 1st", "Why?", "the name of a variable"),
        ("-m a/b --into class", "Why?", "the name of a variable"),
        ("-m a/b --client os", "Why?", "must be a Client; it is module"),
        ("-m a/b --client none", "Why?", "must be a Client; it is not defined"),
        ("-m a/b --chat os", "Why?", "must be a Conversation"),
        ("-m a/b -o fast", "Why?", "NAME=VALUE"),
        ("-m a/b --max-tokens many", "Why?", "--max-tokens"),
        ("-m a/b --modle c/d", "Why?", "--modle"),
        ("-m 'a/b", "Why?", "quotation"),
    ],
)
def test_a_wrong_cell_sends_nothing(
    first_line: str, text: str, words: str, kernel: Kernel, gateway: FakeGateway
) -> None:
    """A wrong first line, and a name that is not defined, fail the cell before a request."""
    cell = kernel.run(f"%%pi {first_line}\n{text}", fails_with="UsageError")
    shown = " ".join(error.evalue for error in errors_of(cell)) + printed_by(cell)
    assert words in shown
    assert gateway.requests == []


def test_stop_cancels_the_turn(kernel: Kernel, gateway: FakeGateway) -> None:
    """The stop button ends the turn at the gateway, keeps the text, and fails the cell."""
    gateway.reply("The sky is blue.", fault=AFTER_TWO_WORDS)
    cell = kernel.run(
        "%%pi -m a/b --into answer\nWhy?",
        once_shown="The sky",
        do=kernel.press_stop,
        fails_with="KeyboardInterrupt",
    )
    assert "The sky" in html_of(cell)[-1]
    assert gateway.last_request.client_gone.wait(20)
    assert printed_by(kernel.run("print('answer' in globals())")) == "False\n"


def test_a_failure_fails_the_cell(kernel: Kernel, gateway: FakeGateway) -> None:
    """A refused request, a failed turn and a cut connection fail the cell; the name stays free."""
    gateway.error(404, "Unknown model: a/b")
    gateway.failed_turn(529, "overloaded", text="The sky")
    gateway.reply("The sky is blue.", fault=HangUp(after=4))
    ask = "%%pi -m a/b --into answer -o max_retries=0\nWhy?"
    kernel.run(ask, fails_with="InvalidRequestError")
    failed = kernel.run(ask, fails_with="ProviderError")
    assert "The sky" in "".join(html_of(failed))
    kernel.run(ask, fails_with="GatewayConnectionError")
    assert printed_by(kernel.run("print('answer' in globals())")) == "False\n"


def test_loading_it_twice(kernel: Kernel, gateway: FakeGateway) -> None:
    """The extension can be loaded again."""
    kernel.run("%load_ext pi_native")
    kernel.run("%reload_ext pi_native")
    kernel.run("%%pi -m a/b\nWhy?")
    assert len(gateway.requests) == 1


def test_a_terminal(jupyter: dict[str, str], gateway: FakeGateway) -> None:
    """IPython in a terminal prints the answer as text."""
    gateway.reply("Because of the air.")
    access = {"PI_NATIVE_BASE_URL": gateway.url, "PI_NATIVE_API_KEY": str(gateway.api_key)}
    source = (
        "get_ipython().run_line_magic('load_ext', 'pi_native')\n"
        "get_ipython().run_cell('%%pi -m a/b --into answer\\nWhy?')\n"
        "print(answer.stop_reason)"
    )
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "-c", source],
        env={**jupyter, **access},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "Because of the air.\nstop\n"
