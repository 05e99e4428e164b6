"""The save file: what is found again, what is cut off, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from pathlib import Path

import pytest

from pi_native import AssistantMessage, ConfigurationError, TextContent
from pi_native._batch.saving import save_file
from pi_native._batch.saving.save_file import SaveFile

from ...forking import forks

CALL = "0123456789ab"
ANSWER = AssistantMessage([TextContent("Because.")], provider="acme", model="parrot")


def key(number: int, call: str = CALL) -> str:
    """Return a key of a call."""
    return f"{call}.{number:024x}.0"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file that holds two answers."""
    path = tmp_path / "answers.jsonl"
    fill(path, 2)
    return path


def fill(path: Path, count: int, call: str = CALL) -> None:
    """Save so many answers."""
    save = SaveFile(path, call)
    for number in range(count):
        save.add_message(key(number, call), number, ANSWER)
    save.close()


def found(path: Path, *numbers: int) -> list[bool]:
    """Tell which answers a new run finds."""
    save = SaveFile(path, CALL)
    try:
        return [save.find(key(number)) is not None for number in numbers]
    finally:
        save.close()


def test_an_answer_is_found_again(path: Path) -> None:
    """A message comes back as it was, and an unknown key has none."""
    save = SaveFile(path, CALL)
    message = save.find(key(1))
    assert message is not None
    assert message.text == "Because."
    assert save.find(key(7)) is None
    save.close()
    save.close()


def test_a_line_is_a_plain_object(path: Path) -> None:
    """Each line has the key, the index and the message as on the wire."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [list(line) for line in lines] == [["key", "index", "message"]] * 2
    assert lines[1]["message"]["content"] == [{"type": "text", "text": "Because."}]


def test_only_the_owner_can_read_it(path: Path) -> None:
    """A new file has mode 0600."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_writer_is_refused_at_once(path: Path) -> None:
    """The error names the file, and the lock ends with the first writer."""
    first = SaveFile(path, CALL)
    with pytest.raises(ConfigurationError, match=r"another batch is writing to .*answers.jsonl"):
        SaveFile(path, CALL)
    first.close()
    SaveFile(path, CALL).close()


@forks
def test_a_forked_worker_does_not_keep_the_lock(path: Path) -> None:
    """A worker that outlives its parent does not stop the next run."""
    reading, writing = os.pipe()
    born, bearing = os.pipe()
    save = SaveFile(path, CALL)
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.close(bearing)
        os.read(reading, 1)  # until the parent closes its end
        os._exit(0)
    os.close(bearing)
    try:
        os.read(born, 1)  # until the child runs
        save.close()
        SaveFile(path, CALL).close()
    finally:
        os.close(writing)
        os.close(reading)
        os.close(born)
        os.waitpid(child, 0)


@pytest.mark.parametrize("size", [1, 5, 8, 30, 200, -1])
def test_a_torn_last_line_is_skipped(path: Path, size: int) -> None:
    """A line that a kill cut short is removed; the lines before it stay, and more are added."""
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    path.write_bytes(whole + last[:size])
    assert found(path, 0, 1, 2) == [True, True, False]
    assert path.read_bytes() == whole
    fill(path, 3)
    assert found(path, 0, 1, 2) == [True, True, True]


def test_zeros_after_a_power_loss_are_skipped(path: Path) -> None:
    """A file system may leave zeros where a line was not yet on the disk."""
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 100)
    assert found(path, 0, 1) == [True, True]
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "text",
    ["prompts", "hello\n", '{"prompt": "hi"}\n', "[1]\n", "{}\n", '{"key":"a","index":0}\n'],
    ids=repr,
)
def test_a_file_of_another_kind_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    """A prompt file given as the save file is not written to."""
    path = tmp_path / "prompts.jsonl"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=r"prompts.jsonl, line 1: this is not a line of"):
        SaveFile(path, CALL)
    assert path.read_text("utf-8") == text


def test_a_broken_message_is_refused_with_its_line(path: Path) -> None:
    """The error names a line that was edited, before any turn is paid for."""
    path.write_text(path.read_text("utf-8").replace('"Because."', "5"), "utf-8")
    with pytest.raises(ConfigurationError, match=r"answers.jsonl, line 1: "):
        SaveFile(path, CALL)


def test_a_file_of_another_call_is_refused(path: Path) -> None:
    """Answers to other arguments are not added to, and the error says what to do."""
    with pytest.raises(ConfigurationError, match=r"other arguments \(the model was acme/parrot\)"):
        SaveFile(path, "ffffffffffff")


def test_failures_are_saved_and_tried_again(path: Path) -> None:
    """A failure is in the file and is not found; its later answer is."""
    save = SaveFile(path, CALL)
    save.add_error(key(2), 2, ValueError("no"))
    save.close()
    assert json.loads(path.read_text("utf-8").splitlines()[-1])["error"] == {
        "type": "ValueError",
        "text": "no",
    }
    assert found(path, 2) == [False]
    fill(path, 3)
    assert found(path, 2) == [True]


def test_a_full_disk_leaves_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails half-way is taken back, and raises."""
    whole = path.read_bytes()
    save = SaveFile(path, CALL)

    def write_half(descriptor: int, data: memoryview) -> int:
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[: len(data) // 2])

    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(save_file.os, "write", write_half)
        with pytest.raises(OSError, match="No space"):
            save.add_message(key(2), 2, ANSWER)
    assert path.read_bytes() == whole
    save.add_message(key(3), 3, ANSWER)
    save.close()
    assert found(path, 2, 3) == [False, True]


def test_lines_reach_the_disk_within_a_second(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line after a second, and the end, call fsync; not each line does."""
    now, synced = [100.0], []
    monkeypatch.setattr(save_file, "monotonic", lambda: now[0])
    monkeypatch.setattr(save_file.os, "fsync", synced.append)
    save = SaveFile(path, CALL)
    for number in range(10):
        save.add_message(key(number), number, ANSWER)
    save.sync_if_due()
    assert len(synced) == 0
    now[0] += 1.0
    save.sync_if_due()
    save.sync_if_due()
    assert len(synced) == 1
    save.add_message(key(11), 11, ANSWER)
    save.close()
    assert len(synced) == 2


def test_a_file_that_cannot_be_opened_is_an_os_error(tmp_path: Path) -> None:
    """The operating system's error says which file and why."""
    with pytest.raises(FileNotFoundError, match="no-folder"):
        SaveFile(tmp_path / "no-folder" / "answers.jsonl", CALL)
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        SaveFile(tmp_path, CALL)
