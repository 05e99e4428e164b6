"""`ask --file`, `ask -c` and `chat`: a turn that is paid for is kept."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from pi_native.testing import FakeGateway, Stall

from .commands import main
from .conftest import MODEL, Screen, when_stalled

NOT_ROOT = pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write to every file"
)


@pytest.fixture(autouse=True)
def _run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)


def roles(path: Path) -> list[str]:
    """Return the role of each message in a file."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line["role"] for line in lines if "role" in line]


class TestFile:
    """`ask --file`."""

    def test_continues_the_conversation(self, gateway: FakeGateway, screen: Screen) -> None:
        """The system prompt is kept until another one is given."""
        for more in (["--system", "Be brief."], [], ["--system", "Be long."]):
            assert screen.show("ask", "--file", "chat.jsonl", *more, "Hi") == 0
        contexts = [request.context for request in gateway.requests]
        assert [len(context["messages"]) for context in contexts] == [1, 3, 5]
        assert [context["systemPrompt"] for context in contexts] == [
            ["Be brief."],
            ["Be brief."],
            ["Be long."],
        ]

    def test_a_failed_turn_is_not_kept(self, gateway: FakeGateway, screen: Screen) -> None:
        """Without an answer there is nothing to continue from."""
        gateway.reply("So far", error_message="the account is closed")
        assert screen.show("ask", "--file", "chat.jsonl", "Hi") == 1
        assert not Path("chat.jsonl").exists()

    @pytest.mark.parametrize(
        ("file", "code", "words"),
        [
            ("nowhere/chat.jsonl", 2, "there is no folder nowhere"),
            ("folder", 2, "cannot read or write folder"),
            ("a" * 300, 2, "File name too long"),
            ("other.txt", 1, "other.txt, line 1: not JSON"),
            ("locked.jsonl", 2, "the file is read-only"),
            pytest.param("shut/chat.jsonl", 2, "Permission denied", marks=NOT_ROOT),
        ],
    )
    def test_an_impossible_file_is_refused_before_the_turn(
        self, gateway: FakeGateway, screen: Screen, file: str, code: int, words: str
    ) -> None:
        """Nothing is sent, so nothing is paid for."""
        Path("folder").mkdir()
        Path("other.txt").write_text("Hello\n")
        Path("locked.jsonl").touch(mode=0o400)
        Path("shut").mkdir(mode=0o500)
        assert screen.show("ask", "--file", file, "Hi") == code
        assert words in screen.text
        assert gateway.requests == []

    @pytest.mark.usefixtures("gateway")
    @pytest.mark.skipif(os.name == "nt", reason="Windows refuses links to most users")
    def test_a_link_to_a_file_that_does_not_exist_yet(self, screen: Screen) -> None:
        """The turn is saved in the target of the link."""
        Path("chat.jsonl").symlink_to("target.jsonl")
        assert screen.show("ask", "--file", "chat.jsonl", "Hi") == 0
        assert Path("chat.jsonl").is_symlink()
        assert roles(Path("target.jsonl")) == ["user", "assistant"]

    @pytest.mark.usefixtures("gateway")
    def test_the_check_creates_no_file(self, screen: Screen) -> None:
        """A turn that does not happen leaves no empty file."""
        assert screen.show("ask", "--file", "chat.jsonl", "") == 2
        assert not Path("chat.jsonl").exists()

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
    def test_the_file_keeps_its_mode(self, gateway: FakeGateway, screen: Screen) -> None:
        """A file that others may read stays so; a new one is private."""
        assert screen.show("ask", "--file", "chat.jsonl", "Hi") == 0
        assert stat.S_IMODE(Path("chat.jsonl").stat().st_mode) == 0o600
        Path("chat.jsonl").chmod(0o644)
        assert screen.show("ask", "--file", "chat.jsonl", "Hi") == 0
        assert stat.S_IMODE(Path("chat.jsonl").stat().st_mode) == 0o644
        assert len(gateway.requests) == 2

    def test_a_file_that_changes_during_the_turn(
        self, gateway: FakeGateway, screen: Screen
    ) -> None:
        """Two overlapping runs lose no turn: the later one is written to another file."""
        assert screen.show("ask", "--file", "chat.jsonl", "Hi") == 0
        gateway.wait_for_request()
        first = Path("chat.jsonl").read_text()
        gateway.reply("Hello", fault=Stall(after=1))

        def change() -> None:
            Path("chat.jsonl").write_text(first + first)
            gateway.release()

        changer = when_stalled(gateway, change)
        assert screen.show("ask", "--file", "chat.jsonl", "Hi") == 1
        changer.join()
        assert Path("chat.jsonl").read_text() == first + first
        assert roles(Path("chat.unsaved-1.jsonl")) == ["user", "assistant"] * 2
        assert "changed" in screen.text
        assert "the conversation is in" in screen.text
        assert "chat.unsaved-1.jsonl" in "".join(screen.text.split())

    def test_a_folder_that_is_removed_during_the_turn(
        self, gateway: FakeGateway, screen: Screen, tmp_path: Path
    ) -> None:
        """The answer is on the screen, and the conversation in the state folder."""
        Path("folder").mkdir()
        gateway.reply("Hello", fault=Stall(after=1))

        def remove() -> None:
            Path("folder").rmdir()
            gateway.release()

        remover = when_stalled(gateway, remove)
        assert screen.show("ask", "--file", "folder/chat.jsonl", "Hi") == 1
        remover.join()
        assert "Hello" in screen.text
        kept = tmp_path / ".local/state/pi-native/chat.unsaved-1.jsonl"
        assert roles(kept) == ["user", "assistant"]

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full device")
    def test_a_turn_is_kept_when_stdout_fails(
        self, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The message of --json cannot be written, but the answer is in the file."""
        gateway.reply("Hello")
        with open("/dev/full", "w") as full:
            monkeypatch.setattr(sys, "stdout", full)
            assert main(["ask", "--json", "--file", "chat.jsonl", "Hi"]) == 1
        assert roles(Path("chat.jsonl")) == ["user", "assistant"]


class TestContinue:
    """`ask -c`."""

    def test_continues_the_last_conversation_with_its_model(
        self, gateway: FakeGateway, screen: Screen
    ) -> None:
        """The model of the last conversation is stronger than the environment."""
        assert screen.show("ask", "-m", "acme/small", "Hi") == 0
        assert screen.show("ask", "-c", "And you?") == 0
        assert screen.show("ask", "-c", "-m", MODEL, "And?") == 0
        assert [len(request.context["messages"]) for request in gateway.requests] == [1, 3, 5]
        assert [r.model for r in gateway.requests] == ["acme/small", "acme/small", MODEL]

    def test_continues_a_conversation_in_a_file(self, gateway: FakeGateway, screen: Screen) -> None:
        """The last conversation may be one of --file, which then gets the new turn."""
        assert screen.show("ask", "--file", "chat.jsonl", "Hi") == 0
        assert screen.show("ask", "-c", "And you?") == 0
        assert roles(Path("chat.jsonl")) == ["user", "assistant"] * 2
        assert len(gateway.requests) == 2

    def test_ask_without_it_starts_a_new_conversation(
        self, gateway: FakeGateway, screen: Screen
    ) -> None:
        """Without -c the earlier turns are not sent."""
        assert screen.show("ask", "Hi") == screen.show("ask", "Hi") == 0
        assert [len(request.context["messages"]) for request in gateway.requests] == [1, 1]

    def test_without_a_last_conversation(self, gateway: FakeGateway, screen: Screen) -> None:
        """The error says that there is none."""
        assert screen.show("ask", "-c", "Hi") == 2
        assert "there is no last conversation" in screen.text
        assert gateway.requests == []

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
    @pytest.mark.usefixtures("gateway")
    def test_only_the_owner_can_read_it(self, screen: Screen, tmp_path: Path) -> None:
        """Folder and file are private."""
        assert screen.show("ask", "Hi") == 0
        folder = tmp_path / ".local/state/pi-native"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "last.jsonl").stat().st_mode) == 0o600

    def test_a_state_folder_that_cannot_be_written_is_ignored(
        self, gateway: FakeGateway, screen: Screen, tmp_path: Path
    ) -> None:
        """`ask` does not need it."""
        (tmp_path / ".local").touch()
        gateway.reply("Hello")
        assert screen.show("ask", "Hi") == 0
        assert "Hello" in screen.text
        assert "pi-native:" not in screen.text


class TestChat:
    """`chat` with its prompts in a pipe."""

    def test_each_line_is_a_turn_of_one_conversation(
        self, gateway: FakeGateway, screen: Screen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Empty lines are skipped; a backslash continues a prompt; `exit` ends the chat."""
        monkeypatch.setattr(sys, "stdin", io.StringIO("Hi\n\nOne\\\ntwo\nexit\nnot sent\n"))
        gateway.reply("Hello").reply("Three")
        assert screen.show("chat", "--file", "chat.jsonl") == 0
        prompts = [request.context["messages"][-1]["content"] for request in gateway.requests]
        assert prompts == ["Hi", "One\ntwo"]
        assert len(gateway.requests[1].context["messages"]) == 3
        assert screen.text.index("Hello") < screen.text.index("Three")
        assert roles(Path("chat.jsonl")) == ["user", "assistant"] * 2

    def test_a_failed_turn_does_not_end_the_chat(
        self, gateway: FakeGateway, screen: Screen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The failure is reported, and the next prompt is answered without the failed one."""
        monkeypatch.setattr(sys, "stdin", io.StringIO("Hi\nAgain\n"))
        gateway.reply("", error_message="the account is closed").reply("Hello")
        assert screen.show("chat") == 0
        assert "the turn failed: the account is closed" in screen.text
        assert "Hello" in screen.text
        assert len(gateway.requests[-1].context["messages"]) == 1
