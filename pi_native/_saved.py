"""A conversation as a file: JSON Lines, a message a line, as it is on the wire.

A conversation that has a system prompt or tools begins with a line for them, an object that has no
`role`; one whose first message has no role begins with an empty one. The file is ASCII: an escape
carries whatever JSON can hold, half a surrogate pair included. It is replaced as a whole, so that
whoever reads it, or loses power, has the old one or the new one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
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


def read_context(path: FilePath) -> Context:
    """What `write_context` wrote. Raises `OSError`, and `DecodeError` that names the line."""
    lines = list(_objects(path))
    has_head = bool(lines) and "role" not in lines[0][1]
    number, head = lines.pop(0) if has_head else (0, {})
    context: Context = _read({**head, "messages": []}, Context, path, number)
    context.messages = [_read(data, Message, path, number) for number, data in lines]
    return context


def write_context(path: FilePath, context: Context) -> None:
    """Write the file, or leave it as it was.

    Raises `OSError`, and `TypeError` or `ValueError` for what JSON cannot hold.
    """
    lines = (json.dumps(part, allow_nan=False, separators=(",", ":")) for part in _parts(context))
    _replace(os.path.realpath(path), "".join(f"{line}\n" for line in lines).encode("ascii"))


def _parts(context: Context) -> Iterator[dict[str, Any]]:
    head = to_wire(evolve(context, messages=[]))
    del head["messages"]
    messages = [to_wire(message) for message in context.messages]
    if head or (messages and "role" not in messages[0]):
        yield head
    yield from messages


def _objects(path: FilePath) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects in the file, each with the number of its line."""
    with open(path, "rb") as file:
        # Lines of bytes: a text's own lines also end at characters that may stand in a string.
        for number, line in enumerate(file, 1):
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


def _replace(path: str, data: bytes) -> None:
    if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        # A device or a pipe is written to; it must not be replaced by a file.
        with open(path, "wb") as file:
            file.write(data)
        return
    directory, name = os.path.split(path)
    # Only its owner may read it, as befits a conversation, unless the file it replaces says else.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
