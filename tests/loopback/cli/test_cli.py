"""The command line as its users meet it: a process of its own, in front of a fake gateway.

What does not take a process is tried in this one too, by calling `main`.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pi_native import (
    AssistantMessageEvent,
    Client,
    DoneEvent,
    TextDeltaEvent,
    __version__,
    from_wire,
    to_wire,
)
from pi_native.__main__ import main
from pi_native.testing import FakeGateway, HangUp, HTTPError, Stall, Verbatim

SECONDS = 60  # a process may take long to start where many tests run at once
PROMPTLY = 30  # far less than the timeouts that would end the waiting otherwise
MODEL = "acme/models/large"

needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows has other signals and pipes")

Start = Callable[..., "subprocess.Popen[str]"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def gateway(named: Callable[..., FakeGateway]) -> Iterator[FakeGateway]:
    """A started gateway, which the environment names."""
    with FakeGateway(models=[MODEL]) as gateway:
        yield named(gateway, MODEL)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the command line, its streams in pipes; whatever still runs in the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **more: Any) -> subprocess.Popen[str]:
        pipes = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.PIPE)
        command = [sys.executable, "-m", "pi_native", *arguments]
        process = subprocess.Popen(command, text=True, encoding="utf-8", **{**pipes, **more})
        processes.append(process)
        return process

    # A process that was started in the background may ignore Ctrl-C, and pass that on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield start
    signal.signal(signal.SIGINT, before)
    for process in processes:
        process.kill()
        with process:
            pass


@pytest.fixture(params=[pytest.param("process", marks=pytest.mark.slow), "call"])
def run(
    request: pytest.FixtureRequest,
    start: Start,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Run the command line to its end; returns its exit code, stdout and stderr."""

    def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        process = start(*arguments)
        out, err = process.communicate(stdin, timeout=SECONDS)
        return process.returncode, out, err

    def call(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = main(arguments)
        return code, *capsys.readouterr()

    return run if request.param == "process" else call


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Press Ctrl-C and wait for the end, which must be prompt."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PROMPTLY)
    return process.returncode, out, err


class TestAsk:
    """`ask`, the answer being good."""

    def test_writes_the_text_and_a_last_newline(self, gateway: FakeGateway, run: Run) -> None:
        """stdout is the answer and nothing else; the question is what the gateway got."""
        gateway.reply("Hello, world")

        assert run("ask", "Hi there", "--system", "Be brief.") == (0, "Hello, world\n", "")

        (request,) = gateway.requests
        assert request.model == MODEL
        assert request.context["messages"][0]["content"] == "Hi there"
        assert request.context["systemPrompt"] == ["Be brief."]

    def test_adds_no_second_newline(self, gateway: FakeGateway, run: Run) -> None:
        """A text that ends its line stays as it is."""
        gateway.reply("Hello\n")
        assert run("ask", "Hi") == (0, "Hello\n", "")

    @pytest.mark.parametrize("arguments", [["ask"], ["ask", "-"]])
    def test_reads_the_prompt_from_stdin(
        self, gateway: FakeGateway, run: Run, arguments: list[str]
    ) -> None:
        """Without a PROMPT, or with a dash for one, stdin is the prompt, to its last newline."""
        assert run(*arguments, stdin="two\nlines\n")[0] == 0
        assert gateway.requests[0].context["messages"][0]["content"] == "two\nlines"

    def test_prints_events_that_can_be_read_again(self, gateway: FakeGateway, run: Run) -> None:
        """With --json each line is an event, half a surrogate pair included."""
        gateway.reply(["one \ud83d", "\ude00 \udc00"], thinking="hm")

        code, out, err = run("ask", "Hi", "--json")

        lines = [json.loads(line) for line in out.splitlines()]
        events = [from_wire(line, AssistantMessageEvent) for line in lines]
        assert (code, err) == (0, "")
        assert [e.delta for e in events if isinstance(e, TextDeltaEvent)] == [
            "one \ud83d",
            "\ude00 \udc00",
        ]
        assert isinstance(events[-1], DoneEvent)
        assert [to_wire(event) for event in events] == lines

    def test_writes_what_stdout_can_say(
        self, gateway: FakeGateway, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Characters that its encoding lacks, or no encoding has, become question marks."""
        monkeypatch.setenv("PYTHONIOENCODING", "ascii")
        gateway.reply(["\ud83d", "\ude00 caf\xe9 \udc00"])
        assert start("ask", "Hi").communicate(timeout=SECONDS) == ("? caf? ?\n", "")

    def test_shows_thinking_on_stderr(self, gateway: FakeGateway, run: Run) -> None:
        """With --thinking, and only then; stdout stays the same."""
        gateway.reply("42", thinking="Let me see.").reply("42", thinking="Let me see.")
        assert run("ask", "Hi", "--thinking") == (0, "42\n", "Let me see.\n")
        assert run("ask", "Hi") == (0, "42\n", "")

    def test_sends_images(self, gateway: FakeGateway, run: Run, tmp_path: Path) -> None:
        """Each --image goes along, with the type that its bytes tell."""
        image = tmp_path / "picture.txt"
        image.write_bytes(b"GIF89a...")

        assert run("ask", "What is it?", "--image", str(image))[0] == 0

        assert gateway.requests[0].context["messages"][0]["content"] == [
            {"type": "text", "text": "What is it?"},
            {
                "type": "image",
                "data": base64.b64encode(b"GIF89a...").decode(),
                "mimeType": "image/gif",
            },
        ]

    def test_takes_the_key_from_a_file(
        self, gateway: FakeGateway, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """White space around the key is not the key; options may stand before the command."""
        monkeypatch.setenv("PI_NATIVE_API_KEY", "wrong")
        monkeypatch.setenv("PI_NATIVE_BASE_URL", "http://127.0.0.1:1")
        file = tmp_path / "key"
        file.write_text(f"\n {gateway.api_key}\n")
        assert run("--base-url", gateway.url, "ask", "Hi", "--api-key-file", str(file))[0] == 0
        assert run("--api-key-file", str(file), "ask", "Hi", "--base-url", gateway.url)[0] == 0

    def test_says_when_the_answer_was_cut_short(self, gateway: FakeGateway, run: Run) -> None:
        """Reaching the limit of output tokens is no failure, but worth a remark."""
        gateway.reply("Once upon a", stop_reason="length")
        code, out, err = run("ask", "Hi")
        assert (code, out) == (0, "Once upon a\n")
        assert "not complete" in err

    def test_sums_up_at_a_terminal(
        self,
        gateway: FakeGateway,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Somebody who watches is told what the turn took, in the last line."""
        screen = io.StringIO()
        monkeypatch.setattr(screen, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stderr", screen)
        monkeypatch.setenv("NO_COLOR", "1")
        gateway.reply("Hello", usage={"input": 7, "output": 1, "cost": {"total": 0.25}})
        assert main(["ask", "Hi"]) == 0
        assert capsys.readouterr().out == "Hello\n"
        assert screen.getvalue() == "7 tokens in, 1 out, $0.25\n"


class TestFailures:
    """Exit code 1: one line on stderr, with what to do next."""

    @pytest.mark.usefixtures("gateway")
    def test_a_wrong_key(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """Says where the right one can be given, and does not say the wrong one."""
        monkeypatch.setenv("PI_NATIVE_API_KEY", "sesame")
        code, out, err = run("ask", "Hi")
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("pi-native: auth-gateway 401")
        assert "--api-key-file" in err
        assert "sesame" not in err

    @pytest.mark.usefixtures("gateway")
    def test_no_gateway(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """Says which address was tried."""
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))  # keeps the port, and does not listen
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            monkeypatch.setenv("PI_NATIVE_BASE_URL", url)
            code, out, err = run("ask", "Hi")
        *retries, last = err.splitlines()
        assert (code, out) == (1, "")
        assert [line.partition(" failed: ")[0] for line in retries] == [
            "pi-native: attempt 1",
            "pi-native: attempt 2",
        ]
        assert url in last
        assert "--base-url" in err

    @pytest.mark.usefixtures("gateway")
    def test_an_unknown_model(self, run: Run) -> None:
        """Says how to find the known ones."""
        code, out, err = run("ask", "Hi", "-m", "acme/small")
        assert (code, out) == (1, "")
        assert err.startswith("pi-native: Unknown model: acme/small (HTTP 404); `pi-native models`")

    def test_a_failed_turn_keeps_its_text(self, gateway: FakeGateway, run: Run) -> None:
        """What came before the provider's error stays, and ends with a newline."""
        gateway.reply("So far", error_message="overloaded", error_status=529)
        assert run("ask", "Hi") == (
            1,
            "So far\n",
            "pi-native: the turn failed: overloaded (HTTP 529)\n",
        )

    def test_a_failed_turn_as_json(self, gateway: FakeGateway, run: Run) -> None:
        """The error event is printed like any other."""
        gateway.reply("So far", error_message="overloaded")
        code, out, err = run("ask", "Hi", "--json")
        assert (code, err) == (1, "pi-native: the turn failed: overloaded\n")
        assert json.loads(out.splitlines()[-1])["type"] == "error"

    def test_a_broken_connection_keeps_the_text(self, gateway: FakeGateway, run: Run) -> None:
        """A gateway that dies in the middle of the answer is told about once."""
        gateway.reply("one two three", fault=HangUp(after=4))
        code, out, err = run("ask", "Hi")
        assert (code, out, err.count("\n")) == (1, "one two\n", 1)
        assert err.startswith("pi-native: ")

    @pytest.mark.parametrize("command", ["ask", "models"])
    def test_a_timeout(self, gateway: FakeGateway, run: Run, command: str) -> None:
        """--timeout ends the waiting for a gateway that says nothing."""
        gateway.add(HTTPError(500, fault=Stall(after=None)), path="/v1/models")
        gateway.reply("Hello", fault=Stall(after=None))
        code, out, err = run(command, "--timeout", "0.3", stdin="Hi")
        assert (code, out) == (1, "")
        assert "(0.3 s)" in err


@pytest.mark.slow
@needs_signals
class TestInterrupts:
    """Ctrl-C, and readers that go away: no traceback, no waiting, no open connection."""

    def test_ctrl_c_keeps_the_text(self, gateway: FakeGateway, start: Start) -> None:
        """In the middle of an answer: the text so far, a newline, and the gateway notices."""
        gateway.reply("Hello there, world", fault=Stall(after=4))
        process = start("ask", "Hi")
        assert process.stdout is not None
        text = process.stdout.read(len("Hello there,"))

        code, rest, err = interrupt(process)

        assert (code, text + rest, err) == (130, "Hello there,\n", "")
        assert gateway.requests[0].client_gone.wait(SECONDS)

    def test_ctrl_c_before_the_answer(self, gateway: FakeGateway, start: Start) -> None:
        """While the gateway still thinks there is nothing to write, and nothing is."""
        gateway.reply("Hello", fault=Stall(after=None))
        process = start("ask", "Hi")
        request = gateway.wait_for_request(SECONDS)
        assert request.stalled.wait(SECONDS)

        assert interrupt(process) == (130, "", "")
        assert request.client_gone.wait(SECONDS)

    def test_ctrl_c_with_a_reader_that_does_not_read(
        self, gateway: FakeGateway, start: Start
    ) -> None:
        """Nothing waits for room in a pipe that is full."""
        gateway.reply("word " * 2000)
        process = start("ask", "Hi", "--json")
        assert process.stdout is not None
        assert process.stdout.readline()

        process.send_signal(signal.SIGINT)

        assert process.wait(timeout=PROMPTLY) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""

    def test_a_reader_that_leaves(self, gateway: FakeGateway, start: Start) -> None:
        """As in `pi-native ask | head -1`: a quiet end, and the turn is not paid for any more."""
        gateway.reply(["one\n", "two\n", "three\n"], fault=Stall(after=3))
        process = start("ask", "Hi")
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        process.stdout.close()

        gateway.release()

        assert process.wait(timeout=SECONDS) == 141
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert gateway.requests[0].client_gone.wait(SECONDS)

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full device")
    def test_a_disk_that_is_full(self, gateway: FakeGateway, start: Start) -> None:
        """Says so, once."""
        gateway.reply("Hello")
        with open("/dev/full", "w") as full:
            process = start("ask", "Hi", stdout=full)
            _, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 1
        assert err == "pi-native: cannot write to stdout: No space left on device\n"

    def test_asks_for_a_prompt_at_a_terminal(self, gateway: FakeGateway, start: Start) -> None:
        """Somebody who gives none is told how to type it, and may still think better of it."""
        ours, theirs = os.openpty()
        with open(ours, "rb", buffering=0) as terminal:
            process = start("ask", stdin=theirs, stderr=theirs)
            os.close(theirs)
            assert b"Ctrl-D" in terminal.read(200)
            # A signal between the words and the reading is one that the reading does not see.
            for _ in range(10):
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=PROMPTLY / 10)
                    break
            assert process.returncode == 130
        assert gateway.requests == []


class TestPages:
    """What the gateway says about itself."""

    @pytest.mark.usefixtures("gateway")
    def test_models(self, run: Run) -> None:
        """A table, aligned."""
        assert run("models") == (
            0,
            "ID                 NAME          CONTEXT  OUTPUT  MODALITIES\n"
            "acme/models/large  models/large  200,000  32,768  text, image\n",
            "",
        )

    def test_models_as_json(self, gateway: FakeGateway, run: Run) -> None:
        """The rows as the gateway sent them, one a line."""
        code, out, _ = run("models", "--json")
        assert code == 0
        assert [json.loads(line) for line in out.splitlines()] == gateway.models

    @pytest.mark.usefixtures("gateway")
    def test_health_needs_no_key(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whether it is up, and its version."""
        monkeypatch.setenv("PI_NATIVE_API_KEY", "wrong")
        assert run("health") == (0, "ok, version 18.2.3\n", "")

    @pytest.mark.usefixtures("gateway")
    def test_usage(self, run: Run) -> None:
        """A row for each limit."""
        code, out, err = run("usage")
        assert (code, err) == (0, "")
        assert " ".join(out.splitlines()[1].split()) == "fake parrot@example.com 5 Hour 25% - ok"

    def test_usage_as_json(self, gateway: FakeGateway, run: Run) -> None:
        """The reports as the gateway sent them, one a line."""
        gateway.usage_reports.append({"provider": "acme"})
        code, out, _ = run("usage", "--json")
        assert code == 0
        assert [json.loads(line) for line in out.splitlines()] == gateway.usage_reports

    def test_nothing_to_show(self, gateway: FakeGateway, run: Run) -> None:
        """A gateway may have no models and no reports: stdout stays empty, and stderr says so."""
        gateway.models, gateway.usage_reports = [], []
        assert run("models") == (0, "", "The gateway offers no models.\n")
        assert run("usage") == (0, "", "The gateway has nothing to report.\n")
        assert run("models", "--json") == run("usage", "--json") == (0, "", "")

    def test_a_gateway_that_is_not_well(self, gateway: FakeGateway, run: Run) -> None:
        """Whatever it says of itself: that is exit code 1."""
        sick = Verbatim(b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"ok": false}')
        gateway.add(sick, sick, path="/healthz")
        assert run("health") == (1, "not ok, version unknown\n", "")
        assert run("health", "--json") == (1, '{"ok":false}\n', "")

    def test_another_server(self, gateway: FakeGateway, run: Run) -> None:
        """An address that is no gateway's is doubted."""
        code, _, err = run("models", "--base-url", gateway.url + "/elsewhere")
        assert code == 1
        assert "is this the URL of a pi-native gateway?" in err


class TestFakes:
    """What needs no gateway."""

    @pytest.mark.slow
    def test_demo(self, run: Run) -> None:
        """Says that it is one, and streams."""
        code, out, err = run("demo")
        assert code == 0
        assert out.startswith("These words come one by one")
        assert err.startswith("A fake gateway listens on http://127.0.0.1:")
        assert "tokens in" in err

    @pytest.mark.slow
    @needs_signals
    def test_fake_gateway_serves_until_ctrl_c(self, start: Start) -> None:
        """Its URL and key are what it says; it ends like anything else that is interrupted."""
        process = start("fake-gateway")
        assert process.stdout is not None
        lines = list(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
        words = dict(
            word.split("=") for line in lines for word in line.split() if word.startswith("PI_")
        )

        with Client(words["PI_NATIVE_BASE_URL"], words["PI_NATIVE_API_KEY"]) as client:
            assert "fake gateway" in client.complete("fake/parrot", "Hi").text

        assert interrupt(process) == (130, "", "")

    def test_fake_gateway_leaves_nothing_behind(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not a thread and not a socket, which is checked for all tests."""

        def interrupted(_seconds: float) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("pi_native._cli.fake.time", SimpleNamespace(sleep=interrupted))
        assert main(["fake-gateway"]) == 130
        assert "Ctrl-C ends it." in capsys.readouterr().out

    def test_fake_gateway_on_a_port_that_is_taken(self, gateway: FakeGateway, run: Run) -> None:
        """Says so."""
        code, out, err = run("fake-gateway", "--port", str(gateway.port))
        assert (code, out) == (1, "")
        assert err.startswith(f"pi-native: cannot listen on port {gateway.port}: ")


class TestUsage:
    """Exit code 2, and what argparse does."""

    @pytest.mark.parametrize(
        "arguments", [[], ["nonsense"], ["ask", "Hi"], ["--base-url", "nonsense", "models"]]
    )
    def test_mistakes(self, run: Run, arguments: list[str]) -> None:
        """Each is told on stderr."""
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert "pi-native" in err

    def test_the_script_is_the_module(self) -> None:
        """`pi-native` runs what `python -m pi_native` runs."""
        script = Path(sys.executable).with_name("pi-native")
        if not script.exists():
            pytest.skip("the package's script is not installed beside this Python")
        found = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
        assert found.stdout == f"pi-native {__version__}\n"
