"""`ask` and the other commands in front of a fake gateway, as a process and as a call."""

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
import time
from pathlib import Path

import pytest

from pi_native import AssistantMessage, Client, __version__, from_wire
from pi_native.testing import FakeGateway, HangUp, HTTPError, Stall, Verbatim

from .commands import SECONDS, main
from .conftest import MODEL, Run, Start

PROMPTLY = 30
"""Seconds that a reaction to a signal may take; the timeouts of a turn are much longer."""

needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows has other signals and pipes")


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Send Ctrl-C and return exit code and output; fail when the end is late."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PROMPTLY)
    return process.returncode, out, err


class TestAsk:
    """`ask` with a good answer."""

    def test_writes_the_text_and_a_last_newline(self, gateway: FakeGateway, run: Run) -> None:
        """The answer alone is on stdout; the gateway gets the prompt and the system prompt."""
        gateway.reply("Hello, world")

        assert run("ask", "Hi", "there", "-s", "Be brief.") == (0, "Hello, world\n", "")

        (request,) = gateway.requests
        assert request.model == MODEL
        assert request.context["messages"][0]["content"] == "Hi there"
        assert request.context["systemPrompt"] == ["Be brief."]

    def test_adds_no_second_newline(self, gateway: FakeGateway, run: Run) -> None:
        """A text that ends its line stays unchanged."""
        gateway.reply("Hello\n")
        assert run("ask", "Hi") == (0, "Hello\n", "")

    @pytest.mark.parametrize(
        ("words", "content"),
        [([], "two\nlines"), (["-"], "two\nlines"), (["Review"], "Review\n\ntwo\nlines")],
    )
    def test_stdin_is_the_prompt_or_follows_it(
        self, gateway: FakeGateway, run: Run, words: list[str], content: str
    ) -> None:
        """Text in a pipe is never dropped."""
        assert run("ask", *words, stdin="two\nlines\n")[0] == 0
        assert gateway.requests[0].context["messages"][0]["content"] == content

    def test_sends_the_options_of_the_turn(self, gateway: FakeGateway, run: Run) -> None:
        """Options have the names of the protocol in the request."""
        options = ["--reasoning", "high", "--max-tokens", "100", "--temperature", "0.5"]
        assert run("ask", "Hi", *options, "-o", "top_p=0.9")[0] == 0
        sent = gateway.requests[0].json["options"]
        assert (sent["reasoning"], sent["maxTokens"]) == ("high", 100)
        assert (sent["temperature"], sent["topP"]) == (0.5, 0.9)

    def test_json_is_the_finished_message(self, gateway: FakeGateway, run: Run) -> None:
        """One object, which can be read as a message."""
        gateway.reply(["one \ud83d", "\ude00 \udc00"], thinking="hm")
        code, out, err = run("ask", "Hi", "--json")
        assert (code, err, out.count("\n")) == (0, "", 1)
        message = from_wire(json.loads(out), AssistantMessage)
        assert (message.text, message.thinking) == ("one 😀 \udc00", "hm")

    def test_events_have_no_snapshots(self, gateway: FakeGateway, run: Run) -> None:
        """Each line is one event; only the terminal event has the message."""
        gateway.reply("word " * 500)
        code, out, err = run("ask", "Hi", "--events")
        events = [json.loads(line) for line in out.splitlines()]
        assert (code, err) == (0, "")
        assert "".join(e["delta"] for e in events if e["type"] == "text_delta") == "word " * 500
        assert all("partial" not in event for event in events)
        assert events[-1]["message"]["content"][0]["text"] == "word " * 500
        assert len(out) < 100 * len(events) + 10_000

    @pytest.mark.slow
    def test_a_lossy_encoding_gets_question_marks_and_a_warning(
        self, gateway: FakeGateway, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The warning is written once."""
        monkeypatch.setenv("PYTHONIOENCODING", "ascii")
        gateway.reply(["\ud83d", "\ude00 caf\xe9 \udc00"])
        out, err = start("ask", "Hi").communicate(timeout=SECONDS)
        assert out == "? caf? ?\n"
        assert err.startswith("pi-native: stdout is encoded as ascii")
        assert err.count("\n") == 1

    def test_shows_thinking_on_stderr(self, gateway: FakeGateway, run: Run) -> None:
        """Thinking is shown with --thinking only; stdout stays the same."""
        gateway.reply("42", thinking="Let me see.").reply("42", thinking="Let me see.")
        assert run("ask", "Hi", "--thinking") == (0, "42\n", "Let me see.\n")
        assert run("ask", "Hi") == (0, "42\n", "")

    def test_sends_images(self, gateway: FakeGateway, run: Run, tmp_path: Path) -> None:
        """Each --image is sent with the type that its first bytes tell."""
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
        """White space and a byte order mark are not part of it; options may come first."""
        monkeypatch.setenv("PI_NATIVE_API_KEY", "wrong")
        monkeypatch.setenv("PI_NATIVE_BASE_URL", "http://127.0.0.1:1")
        file = tmp_path / "key"
        file.write_text(f"\ufeff\n {gateway.api_key}\n", encoding="utf-8")
        assert run("--base-url", gateway.url, "ask", "Hi", "--api-key-file", str(file))[0] == 0
        assert run("--api-key-file", str(file), "ask", "Hi", "--base-url", gateway.url)[0] == 0

    def test_an_answer_that_was_cut_short_is_reported(self, gateway: FakeGateway, run: Run) -> None:
        """The limit of output tokens is a warning, not a failure."""
        gateway.reply("Once upon a", stop_reason="length")
        code, out, err = run("ask", "Hi")
        assert (code, out) == (0, "Once upon a\n")
        assert "not complete" in err

    def test_a_summary_follows_at_a_terminal(
        self,
        gateway: FakeGateway,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A person at a terminal gets tokens and cost in the last line."""
        screen = io.StringIO()
        monkeypatch.setattr(screen, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stderr", screen)
        monkeypatch.setenv("NO_COLOR", "1")
        gateway.reply("Hello", usage={"input": 7, "output": 1, "cost": {"total": 0.25}})
        assert main(["ask", "Hi"]) == 0
        assert capsys.readouterr().out == "Hello\n"
        assert screen.getvalue() == "7 tokens in, 1 out, $0.25\n"


class TestFailures:
    """Exit code 1, and one line on stderr with what to do next."""

    @pytest.mark.usefixtures("gateway")
    def test_a_wrong_key(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """The error names the places for the right key, and does not show the wrong one."""
        monkeypatch.setenv("PI_NATIVE_API_KEY", "not-this-one")
        code, out, err = run("ask", "Hi")
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "401" in err
        assert "PI_NATIVE_API_KEY" in err
        assert "not-this-one" not in err

    @pytest.mark.usefixtures("gateway")
    def test_no_gateway(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """The error names the address, and each retry is one line."""
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))  # keeps the port, and does not listen
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            monkeypatch.setenv("PI_NATIVE_BASE_URL", url)
            code, out, err = run("ask", "Hi")
        *retries, last = err.splitlines()
        assert (code, out) == (1, "")
        assert [line.partition(" failed: ")[0] for line in retries] == [
            "pi-native: attempt 1",
            "pi-native: attempt 2",
        ]
        assert url in last
        assert "PI_NATIVE_BASE_URL" in err

    @pytest.mark.usefixtures("gateway")
    def test_an_unknown_model(self, run: Run) -> None:
        """The error has the status of HTTP, and says how to list the models."""
        code, out, err = run("ask", "Hi", "-m", "acme/medium")
        assert (code, out) == (1, "")
        assert err.startswith("pi-native: Unknown model: acme/medium (HTTP 404); ")
        assert "lists the models" in err

    @pytest.mark.parametrize("option", [[], ["--json"], ["--events"]])
    def test_a_failed_turn(self, gateway: FakeGateway, run: Run, option: list[str]) -> None:
        """The words of the provider are on stderr, what had arrived is on stdout."""
        gateway.reply("So far", error_message="the account is closed", error_status=400)
        code, out, err = run("ask", "Hi", *option)
        assert code == 1
        assert err.startswith("pi-native: the turn failed: the account is closed")
        assert err.count("\n") == 1
        if option:
            failed = json.loads(out.splitlines()[-1])
            message = failed if option == ["--json"] else failed["error"]
            assert message["stopReason"] == "error"
            assert message["content"][0]["text"] == "So far"
        else:
            assert out == "So far\n"

    def test_a_broken_connection_keeps_the_text(self, gateway: FakeGateway, run: Run) -> None:
        """A gateway that hangs up during the answer is reported once."""
        gateway.reply("one two three", fault=HangUp(after=4))
        code, out, err = run("ask", "Hi")
        assert (code, out, err.count("\n")) == (1, "one two\n", 1)
        assert err.startswith("pi-native: ")

    @pytest.mark.parametrize("command", ["ask", "models"])
    def test_a_timeout(self, gateway: FakeGateway, run: Run, command: str) -> None:
        """--timeout ends the wait for a silent gateway; the error has its length."""
        gateway.add(HTTPError(500, fault=Stall(after=None)), path="/v1/models")
        gateway.reply("Hello", fault=Stall(after=None))
        code, out, err = run(command, "--timeout", "0.3", stdin="Hi")
        assert (code, out) == (1, "")
        assert "0.3 s" in err


@pytest.mark.slow
@pytest.mark.slow
@needs_signals
class TestSignals:
    """Signals and closed pipes: no traceback, no wait, no open connection."""

    def test_ctrl_c_keeps_the_text(self, gateway: FakeGateway, start: Start) -> None:
        """The text so far is followed by a newline, and the gateway sees the cancel."""
        gateway.reply("Hello there, world", fault=Stall(after=4))
        process = start("ask", "Hi")
        assert process.stdout is not None
        text = process.stdout.read(len("Hello there,"))

        code, rest, err = interrupt(process)

        assert (code, text + rest, err) == (130, "Hello there,\n", "")
        assert gateway.requests[0].client_gone.wait(SECONDS)

    def test_ctrl_c_before_the_answer(self, gateway: FakeGateway, start: Start) -> None:
        """Before the first event nothing is written."""
        gateway.reply("Hello", fault=Stall(after=None))
        process = start("ask", "Hi")
        request = gateway.wait_for_request(SECONDS)
        assert request.stalled.wait(SECONDS)

        assert interrupt(process) == (130, "", "")
        assert request.client_gone.wait(SECONDS)

    def test_sigterm_ends_the_turn(self, gateway: FakeGateway, start: Start) -> None:
        """`timeout 60 pi-native ask` ends by the signal, after the line was ended."""
        gateway.reply("Hello there, world", fault=Stall(after=4))
        process = start("ask", "Hi")
        assert process.stdout is not None
        text = process.stdout.read(len("Hello there,"))
        process.terminate()
        rest, err = process.communicate(timeout=PROMPTLY)
        assert (text + rest, err) == ("Hello there,\n", "")
        assert process.returncode == -signal.SIGTERM
        assert gateway.requests[0].client_gone.wait(SECONDS)

    def test_ctrl_c_with_a_full_pipe(self, gateway: FakeGateway, start: Start) -> None:
        """A reader that does not read does not delay the end."""
        gateway.reply("word " * 20_000)
        process = start("ask", "Hi", "--events")
        assert process.stdout is not None
        assert process.stdout.readline()

        process.send_signal(signal.SIGINT)

        assert process.wait(timeout=PROMPTLY) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""

    def test_a_closed_pipe(self, gateway: FakeGateway, start: Start) -> None:
        """`pi-native ask | head -1` ends silently, and the turn is cancelled."""
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
    def test_a_full_disk(self, gateway: FakeGateway, start: Start) -> None:
        """The failure of stdout is reported once."""
        gateway.reply("Hello")
        with open("/dev/full", "w") as full:
            process = start("ask", "Hi", stdout=full)
            _, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 1
        assert err == "pi-native: cannot write to stdout: No space left on device\n"

    def test_a_prompt_at_a_terminal_can_be_interrupted(
        self, gateway: FakeGateway, start: Start
    ) -> None:
        """Ctrl-C instead of a prompt sends nothing."""
        ours, theirs = os.openpty()
        with open(ours, "rb", buffering=0) as terminal:
            process = start("ask", stdin=theirs, stderr=theirs)
            os.close(theirs)
            assert b"Ctrl-D" in terminal.read(200)
            # A signal between the note and the read is not seen by the read.
            for _ in range(10):
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=PROMPTLY / 10)
                    break
            assert process.returncode == 130
        assert gateway.requests == []


class TestQueries:
    """`models`, `health` and `usage`."""

    @pytest.mark.usefixtures("gateway")
    def test_models(self, run: Run) -> None:
        """A pipe gets a line for each model, with tabs between the cells."""
        code, out, err = run("models", "large")
        assert (code, err) == (0, "")
        assert out == (
            "ID\tNAME\tCONTEXT\tOUTPUT\tMODALITIES\tKIND\n"
            "acme/models/large\tmodels/large\t200,000\t32,768\ttext, image\tchat\n"
        )

    def test_models_of_other_kinds(self, gateway: FakeGateway, run: Run) -> None:
        """Chat models are the default; --kind and --all show others, --ids only names."""
        gateway.models.append({"id": "acme/embed", "object": "model", "kind": "embedding"})
        assert run("models", "--ids")[1] == "acme/models/large\nacme/small\nother/tiny\n"
        assert run("models", "--ids", "--kind", "embedding") == (0, "acme/embed\n", "")
        assert len(run("models", "--all")[1].splitlines()) == 5

    def test_models_as_json(self, gateway: FakeGateway, run: Run) -> None:
        """Each line is the object of the gateway."""
        code, out, _ = run("models", "--json")
        assert code == 0
        assert [json.loads(line) for line in out.splitlines()] == gateway.models

    @pytest.mark.usefixtures("gateway")
    def test_health_needs_no_key(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """The version is shown without a valid key."""
        monkeypatch.setenv("PI_NATIVE_API_KEY", "wrong")
        assert run("health") == (0, "ok, version 18.2.3\n", "")

    @pytest.mark.usefixtures("gateway")
    def test_usage(self, run: Run) -> None:
        """Each limit is a row."""
        code, out, err = run("usage")
        assert (code, err) == (0, "")
        assert " ".join(out.splitlines()[1].split()) == "fake parrot@example.com 5 Hour 25% - ok"

    def test_usage_as_json(self, gateway: FakeGateway, run: Run) -> None:
        """Each line is a report of the gateway."""
        gateway.usage_reports.append({"provider": "acme"})
        code, out, _ = run("usage", "--json")
        assert code == 0
        assert [json.loads(line) for line in out.splitlines()] == gateway.usage_reports

    def test_nothing_to_show(self, gateway: FakeGateway, run: Run) -> None:
        """Without models and reports stdout is empty, and stderr says so."""
        gateway.models, gateway.usage_reports = [], []
        assert run("models") == (0, "", "The gateway offers no models.\n")
        assert run("usage") == (0, "", "The gateway has nothing to report.\n")
        assert run("models", "--json") == run("usage", "--json") == (0, "", "")

    def test_a_gateway_that_is_not_ok(self, gateway: FakeGateway, run: Run) -> None:
        """A gateway that reports a problem is exit code 1."""
        sick = Verbatim(b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"ok": false}')
        gateway.add(sick, sick, path="/healthz")
        assert run("health") == (1, "not ok, version unknown\n", "")
        assert run("health", "--json") == (1, '{"ok":false}\n', "")

    def test_another_server(self, gateway: FakeGateway, run: Run) -> None:
        """An address that is not a gateway's is doubted."""
        code, _, err = run("models", "--base-url", gateway.url + "/elsewhere")
        assert code == 1
        assert "404" in err
        assert "not lead to a pi-native gateway" in err


class TestFakes:
    """Commands that need no gateway."""

    @pytest.mark.slow
    def test_demo(self, run: Run) -> None:
        """The demo names the fake gateway, and streams."""
        code, out, err = run("demo")
        assert code == 0
        assert out.startswith("These words arrive one by one")
        assert err.startswith("A fake gateway listens on http://127.0.0.1:")
        assert "tokens in" in err

    @pytest.mark.slow
    @pytest.mark.slow
    @needs_signals
    def test_fake_gateway_serves_until_ctrl_c(self, start: Start) -> None:
        """A client with the printed URL and key gets an answer."""
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
        """No thread and no socket is left, which is checked for every test."""
        pause = time.sleep

        def interrupted(seconds: float) -> None:
            if seconds > SECONDS:
                raise KeyboardInterrupt
            pause(seconds)

        monkeypatch.setattr(time, "sleep", interrupted)
        assert main(["fake-gateway"]) == 130
        assert "Ctrl-C ends it." in capsys.readouterr().out

    def test_fake_gateway_on_a_used_port(self, gateway: FakeGateway, run: Run) -> None:
        """The error names the port."""
        code, out, err = run("fake-gateway", "--port", str(gateway.port))
        assert (code, out) == (1, "")
        assert err.startswith(f"pi-native: cannot listen on port {gateway.port}: ")


class TestUsage:
    """Exit code 2, and the installed script."""

    @pytest.mark.parametrize(
        "arguments", [[], ["nonsense"], ["ask", "Hi"], ["--base-url", "nonsense", "models"]]
    )
    def test_wrong_usage(self, run: Run, arguments: list[str]) -> None:
        """Each mistake is reported on stderr."""
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert "pi-native" in err

    @pytest.mark.slow
    def test_the_script_is_the_module(self) -> None:
        """`pi-native` and `python -m pi_native` are the same program."""
        script = Path(sys.executable).with_name("pi-native")
        if not script.exists():
            pytest.skip("the script of the package is not installed beside this Python")
        found = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
        assert found.stdout == f"pi-native {__version__}\n"
