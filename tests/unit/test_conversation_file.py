"""Saving a conversation where the file cannot simply be replaced."""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path
from typing import Any

import pytest

from pi_native import Client, Conversation, UserMessage

root_only = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root")


def chat(*texts: str) -> Conversation:
    """Return a conversation with these prompts."""
    return Conversation(messages=[UserMessage(text, timestamp=1) for text in texts])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a saved conversation."""
    path = tmp_path / "chat.jsonl"
    chat("first").save(path)
    return path


def texts(path: Path) -> list[str]:
    """Return the prompts in a file."""
    return [str(message) for message in Conversation.load(path).messages]


@pytest.mark.parametrize("length", [1, 200, 246, 250, 255])
def test_a_long_name(tmp_path: Path, length: int) -> None:
    """Any name that the file system allows can be saved, twice, and leaves no other file."""
    path = tmp_path / ("x" * length)
    chat("one").save(path)
    chat("one", "two").save(path)
    assert texts(path) == ["one", "two"]
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["replace", "mkstemp"])
def test_a_file_that_cannot_be_replaced(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A bind mount (EBUSY) or a read-only directory is written in place."""
    inode = file.stat().st_ino

    def busy(*_: Any, **__: Any) -> None:
        raise OSError(16, "Device or resource busy")

    module = "os" if name == "replace" else "tempfile"
    monkeypatch.setattr(f"pi_native._conversation_file.{module}.{name}", busy)
    chat("first", "second").save(file)
    assert texts(file) == ["first", "second"]
    assert file.stat().st_ino == inode
    assert os.listdir(file.parent) == [file.name]


@root_only
def test_the_owner_stays(file: Path) -> None:
    """A file that root writes still belongs to its user, with its mode."""
    os.chown(file, 1234, 2345)
    file.chmod(0o640)
    chat("first", "second").save(file)
    found = file.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 2345, 0o640)


def test_an_owner_that_cannot_be_kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose owner cannot be given to a new file is written in place."""
    inode = file.stat().st_ino
    monkeypatch.setattr("pi_native._conversation_file._keep_owner_and_mode", lambda *_: False)
    chat("second").save(file)
    assert (texts(file), file.stat().st_ino) == (["second"], inode)


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_read_only_file(file: Path) -> None:
    """A read-only file is refused and left unchanged, also for root."""
    file.chmod(0o444)
    with pytest.raises(PermissionError) as caught:
        chat("second").save(file)
    assert str(file) in str(caught.value)
    assert texts(file) == ["first"]


def test_a_file_that_changed(file: Path, tmp_path: Path) -> None:
    """Of two conversations that read the same file, the second to save is refused."""
    one, two = Conversation.load(file), Conversation.load(file)
    one.add(UserMessage("from one", timestamp=2))
    two.add(UserMessage("from two", timestamp=2))
    one.save(file)
    one.save(file)
    with pytest.raises(OSError, match="has changed since"):
        two.save(file)
    assert texts(file) == ["first", "from one"]
    two.save(tmp_path / "other.jsonl")
    assert texts(tmp_path / "other.jsonl") == ["first", "from two"]


def test_a_copy_that_saves_to_the_same_file(file: Path) -> None:
    """A copy knows the file that its original read."""
    one = Conversation.load(file)
    two = one.copy()
    one.add(UserMessage("from one", timestamp=2))
    one.save(file)
    with pytest.raises(OSError, match="has changed since"):
        two.save(file)


def test_a_file_that_is_gone(file: Path) -> None:
    """A file that was deleted since is written again."""
    one = Conversation.load(file)
    file.unlink()
    one.save(file)
    assert texts(file) == ["first"]


def test_a_byte_order_mark(file: Path) -> None:
    """A file that an editor saved with a byte order mark can be read."""
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert texts(file) == ["first"]


def test_the_session_id(file: Path) -> None:
    """A conversation has its own session id: new in a copy, and not in the file."""
    one = Conversation.load(file)
    assert str(uuid.UUID(one.session_id)) == one.session_id
    two = one.copy()
    assert len({one.session_id, two.session_id, Conversation.load(file).session_id}) == 3
    one.save(file)
    assert one.session_id not in file.read_text()


@pytest.mark.parametrize("options", [{}, {"session_id": "mine"}])
def test_the_session_id_is_sent(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn of a conversation has its session id, unless the options have one."""
    seen: list[dict[str, Any]] = []

    def start(_: Client, _model: Any, _context: Any, options: Any, _keep: Any) -> Any:
        seen.append(options)
        raise KeyError

    monkeypatch.setattr(Client, "_start_turn", start)
    conversation = Conversation(Client("http://x"), "a/b", **options)
    with pytest.raises(KeyError):
        conversation.stream("hi")
    assert seen[0]["session_id"] == options.get("session_id", conversation.session_id)
