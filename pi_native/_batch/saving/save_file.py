"""The save file of a batch: JSON Lines, one line a finished prompt, so that a rerun resumes.

A line is an object with `key`, `index` and `message`, or with `error` for a prompt that failed and
is sent again by the next run. Lines are written in the order in which turns end. Only their places
are kept in memory; a message is read when it is needed.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from typing import Any

from ..._protocol.convert import from_wire, to_wire
from ..._protocol.strict_json import parse_json
from ..._threads.clock import monotonic
from ..._types.messages import AssistantMessage
from ...errors import ConfigurationError, DecodeError
from .file_lock import LockedFile

_SYNC_SECONDS = 1.0
_START = b'{"key":"'
_READ_BYTES = 1 << 20


class SaveFile:
    """The finished prompts of a batch, on disk. Threads may share it.

    `call` is the part of a key that all prompts of this call share. Raises `ConfigurationError`
    for a file that is in use, is not a save file, or belongs to other arguments, and `OSError`.
    """

    def __init__(self, path: str | os.PathLike[str], call: str) -> None:
        self.path: str = os.fspath(path)
        self._mutex = threading.Lock()
        self._places: dict[bytes, tuple[int, int]] = {}
        self._synced = monotonic()
        self._dirty = False
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._file = LockedFile(os.open(self.path, flags, 0o600))
        try:
            self._open(call)
        except BaseException:
            self._file.close()
            raise

    def find(self, key: str) -> AssistantMessage | None:
        """Return the message that is saved for a key, or None. Raises `DecodeError`."""
        place = self._places.get(_short(key))
        if place is None:
            return None
        start, size = place
        with self._mutex:
            line = _read_at(self._file.descriptor, start, size)
        message: AssistantMessage = from_wire(json.loads(line)["message"], AssistantMessage)
        return message

    def add_message(self, key: str, index: int, message: AssistantMessage) -> None:
        """Save an answer. Raises `OSError`; the file then ends with its last whole line."""
        self._append({"key": key, "index": index, "message": to_wire(message)})

    def add_error(self, key: str, index: int, error: BaseException) -> None:
        """Save a failure, which the next run tries again."""
        what = {"type": type(error).__name__, "text": str(error)}
        self._append({"key": key, "index": index, "error": what})

    def sync_if_due(self) -> None:
        """Flush to the disk what was written, when the last flush is a second ago."""
        with self._mutex:
            if self._dirty and monotonic() - self._synced >= _SYNC_SECONDS:
                self._sync()

    def close(self) -> None:
        """Flush to the disk, release the lock and close the file. Closing twice is fine."""
        with self._mutex:
            if self._file.descriptor < 0:
                return
            try:
                if self._dirty:
                    self._sync()
            finally:
                self._file.close()

    def _append(self, data: dict[str, Any]) -> None:
        line = json.dumps(data, separators=(",", ":")).encode("ascii") + b"\n"
        with self._mutex:
            end = os.lseek(self._file.descriptor, 0, os.SEEK_END)
            try:
                _write_all(self._file.descriptor, line)
            except BaseException:
                os.ftruncate(self._file.descriptor, end)
                raise
            self._dirty = True
            if monotonic() - self._synced >= _SYNC_SECONDS:
                self._sync()

    def _sync(self) -> None:
        os.fsync(self._file.descriptor)
        self._dirty = False
        self._synced = monotonic()

    def _open(self, call: str) -> None:
        if not self._file.lock():
            raise ConfigurationError(
                f"another batch is writing to {self.path}; wait for its end, or use another file"
            )
        others = self._read(call)
        if others is not None:
            raise ConfigurationError(
                f"{self.path} was saved by a batch with other arguments (the model was {others}); "
                "use another file, or the same model, system prompt, tools and options"
            )

    def _read(self, call: str) -> str | None:
        """Find this call's messages; return the model when all lines are of another call."""
        others, ours = None, False
        for number, start, line in self._lines():
            key, message = self._parse(line, number)
            if not key.startswith(f"{call}."):
                others = others or _model_of(message)
                continue
            ours = True
            if message is not None:
                self._places[_short(key)] = (start, len(line))
        return None if ours else others

    def _lines(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield each whole line with its number and place, and cut off a torn last one."""
        start = 0
        with open(self._file.descriptor, "rb", _READ_BYTES, closefd=False) as file:
            file.seek(0)
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    self._cut(line, start, number)
                    return
                if line.strip():
                    yield number, start, line
                start += len(line)

    def _cut(self, line: bytes, start: int, number: int) -> None:
        torn = line.startswith(_START) or _START.startswith(line) or not line.strip(b"\0")
        if not torn:
            raise self._not_ours(number)
        os.ftruncate(self._file.descriptor, start)

    def _parse(self, line: bytes, number: int) -> tuple[str, Any]:
        """Return the key of a line and its message, None for a failure."""
        try:
            data = parse_json(line.decode("utf-8"))
        except (ValueError, RecursionError):
            raise self._not_ours(number) from None
        key = data.get("key") if isinstance(data, dict) else None
        if not isinstance(key, str) or key.count(".") != 2 or not ({"message", "error"} & {*data}):
            raise self._not_ours(number)
        message = data.get("message")
        if message is not None:
            self._check(message, number)
        return key, message

    def _check(self, message: Any, number: int) -> None:
        try:
            from_wire(message, AssistantMessage)
        except DecodeError as exc:
            text = f"{self.path}, line {number}: {exc}"
            raise ConfigurationError(text) from exc

    def _not_ours(self, number: int) -> ConfigurationError:
        return ConfigurationError(
            f"{self.path}, line {number}: this is not a line of a save file; use another file"
        )


def _model_of(message: Any) -> str:
    if not isinstance(message, dict):
        return "unknown"
    return f"{message.get('provider')}/{message.get('model')}"


def _short(key: str) -> bytes:
    """Return a key's prompt and count as few bytes: there may be a million."""
    _, prompt, count = key.split(".")
    try:
        return bytes.fromhex(prompt) + int(count).to_bytes(4, "big")
    except (ValueError, OverflowError):
        return key.encode("utf-8")


def _read_at(descriptor: int, start: int, size: int) -> bytes:
    os.lseek(descriptor, start, os.SEEK_SET)  # O_APPEND writes at the end all the same
    data = b""
    while len(data) < size and (more := os.read(descriptor, size - len(data))):
        data += more
    return data


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
