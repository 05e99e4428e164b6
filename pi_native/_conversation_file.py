"""A conversation as a file: JSON Lines, one message per line, as on the wire.

A conversation with a system prompt or tools begins with a line for them, an object without `role`;
one whose first message has no role begins with an empty object. The file is ASCII: an escape
carries any character of JSON, half a surrogate pair included. The file is replaced as a whole, so
that a reader, or a loss of power, finds the old content or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from typing import Any

from attrs import evolve

from ._protocol.convert import from_wire, to_wire
from ._protocol.strict_json import parse_json
from ._types.messages import Message
from ._types.request import Context
from .errors import DecodeError

FilePath = str | os.PathLike[str]

_ANY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def read_context(path: FilePath) -> tuple[Context, str]:
    """Return what `write_context` wrote, and the fingerprint of the file.

    Raises `OSError`, and `DecodeError` that names the line.
    """
    with open(path, "rb") as file:
        data = file.read()
    lines = list(_objects(data, path))
    has_head = bool(lines) and "role" not in lines[0][1]
    number, head = lines.pop(0) if has_head else (0, {})
    context: Context = _read({**head, "messages": []}, Context, path, number)
    context.messages = [_read(line, Message, path, number) for number, line in lines]
    return context, _fingerprint(data)


def write_context(path: FilePath, context: Context, expected: str | None = None) -> str:
    """Write the file, or leave it unchanged; return its fingerprint.

    `expected` is the fingerprint of the file when it was read or written last. Raises `OSError`,
    also for a file that has changed since, and `TypeError` or `ValueError` for a message that JSON
    cannot hold.
    """
    lines = (json.dumps(part, allow_nan=False, separators=(",", ":")) for part in _parts(context))
    data = "".join(f"{line}\n" for line in lines).encode("ascii")
    if expected is not None:
        _check_unchanged(path, expected)
    _write(os.path.realpath(path), data)
    return _fingerprint(data)


def _check_unchanged(path: FilePath, expected: str) -> None:
    try:
        with open(path, "rb") as file:
            found = _fingerprint(file.read())
    except FileNotFoundError:
        return
    if found != expected:
        words = "the file has changed since this conversation read it; save to another file"
        raise OSError(errno.EBUSY, words, os.fspath(path))


def _fingerprint(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _parts(context: Context) -> Iterator[dict[str, Any]]:
    head = to_wire(evolve(context, messages=[]))
    del head["messages"]
    messages = [to_wire(message) for message in context.messages]
    if head or (messages and "role" not in messages[0]):
        yield head
    yield from messages


def _objects(data: bytes, path: FilePath) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects in the file, each with the number of its line."""
    # Lines of bytes: the lines of a text also end at characters that a JSON string may hold.
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            value = parse_json(line.decode("utf-8-sig"))
        except (ValueError, RecursionError) as exc:
            raise _broken(path, number, f"not JSON: {exc}") from None
        if not isinstance(value, dict):
            raise _broken(path, number, "not an object")
        yield number, value


def _read(data: dict[str, Any], cls: Any, path: FilePath, number: int) -> Any:
    try:
        return from_wire(data, cls)
    except DecodeError as exc:
        raise _broken(path, number, str(exc), exc.problems) from None


def _broken(path: FilePath, number: int, words: str, problems: tuple[str, ...] = ()) -> DecodeError:
    where = f"{os.fspath(path)}, line {number}"
    return DecodeError(f"{where}: {words}", problems=problems or (words,))


def _write(path: str, data: bytes) -> None:
    """Replace the file as a whole where that is possible; else write it in place."""
    try:
        before = os.stat(path)
    except FileNotFoundError:
        before = None
    if before is not None and not before.st_mode & _ANY_WRITE:
        raise PermissionError(errno.EACCES, "the file is read-only", path)
    replaceable = before is None or stat.S_ISREG(before.st_mode)
    if not (replaceable and _replace(path, data, before)):
        _write_in_place(path, data)


def _replace(path: str, data: bytes, before: os.stat_result | None) -> bool:
    """Replace the file, with its owner and mode; return False where that is impossible.

    A bind-mounted file cannot be replaced, nor one in a read-only directory.
    """
    try:
        # A short name: one made of the file's own name may be too long.
        descriptor, temporary = tempfile.mkstemp(prefix=".pi-native.", dir=os.path.dirname(path))
    except OSError:
        if before is None:
            raise
        return False
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if before is not None and not _keep_owner_and_mode(temporary, before):
            return False
        try:
            os.replace(temporary, path)
        except OSError:
            if before is None:
                raise
            return False
        return True
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _keep_owner_and_mode(path: str, before: os.stat_result) -> bool:
    """Give a new file the owner and mode of the old one; return False where that is impossible."""
    now = os.stat(path)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        try:
            os.chown(path, before.st_uid, before.st_gid)
        except OSError:
            return False
    os.chmod(path, stat.S_IMODE(before.st_mode))
    return True


def _write_in_place(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        with contextlib.suppress(OSError):  # a pipe or a device cannot be synchronised
            os.fsync(file.fileno())
