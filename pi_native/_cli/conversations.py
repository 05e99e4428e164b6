"""Keep a conversation in a file from one turn to the next.

`--file` names the file; without it, the last conversation is kept in the user's state folder, for
`-c`. A turn that is paid for is never lost: the file is checked before the turn, and a conversation
that cannot be written to it afterwards is written to another one.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import itertools
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pi_native import Client, ConfigurationError, Conversation, FunctionTool, PiNativeError

from .console import Console
from .inputs import chosen_model, clean_text

_Version = tuple[int, int, int] | None


class ConversationFile:
    """The file of a conversation. `required` is False when only `-c` would read it."""

    def __init__(self, path: Path | None, *, required: bool, model: str | None = None) -> None:
        self._path = path
        self._required = required
        self._model = model
        self._version: _Version = None

    @classmethod
    def chosen(cls, args: argparse.Namespace) -> ConversationFile:
        """Return the file that the arguments choose. Raises `ConfigurationError`."""
        if args.file is not None:
            return cls(Path(args.file), required=True)
        if args.continue_last:
            file, model = _read_last()
            return cls(file, required=True, model=model)
        folder = state_folder()
        return cls(None if folder is None else folder / "last.jsonl", required=False)

    def open(
        self,
        args: argparse.Namespace,
        client: Client,
        console: Console,
        tools: Sequence[FunctionTool[..., Any]] | None = None,
    ) -> Conversation:
        """Return the conversation in the file, or a new one, with these tools and no others.

        Raises `ConfigurationError` when the file cannot be read, or could not be written after the
        turn, and `DecodeError` when it does not hold a conversation.
        """
        model = chosen_model(args, self._model)
        system = None if args.system is None else clean_text(args.system, console)
        if self._path is None or not self._required:
            return Conversation(client, model, system=system, tools=tools)
        try:
            if not self._path.exists():
                _check_creatable(self._path)
                return Conversation(client, model, system=system, tools=tools)
            self._version = _version_of(self._path)
            conversation = Conversation.load(self._path, client, model, tools=tools)
            _check_writable(self._path)
        except OSError as exc:
            raise _cannot("read or write", self._path, exc) from None
        if system is not None:
            conversation.context.system_prompt = [system]
        if tools is not None:
            conversation.context.tools = [tool.declaration for tool in tools]
        return conversation

    def save(self, conversation: Conversation) -> None:
        """Write the conversation to the file, and remember it for `-c`.

        Raises `PiNativeError` when it had to be written to another file, which the text names.
        """
        if self._path is None:
            return
        if not self._required:
            with contextlib.suppress(OSError, ValueError, PiNativeError):
                _write_last(conversation, self._path)
            return
        try:
            if _version_of(self._path) != self._version:
                raise OSError("the file was changed by another program since it was read")
            conversation.save(self._path)
        except (OSError, ValueError, TypeError, PiNativeError) as exc:
            other = _save_elsewhere(conversation, self._path)
            where = f"the conversation is in {other}" if other else "it is lost"
            reason = (exc.strerror if isinstance(exc, OSError) else None) or exc
            raise PiNativeError(
                f"the turn could not be saved in {self._path}: {reason}; {where}"
            ) from None
        self._version = _version_of(self._path)
        with contextlib.suppress(OSError):
            _remember(self._path, conversation)


def state_folder() -> Path | None:
    """Return the user's folder for the state of programs; None when there is no home folder."""
    named = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_STATE_HOME")
    try:
        base = Path(named) if named else Path.home() / ".local" / "state"
    except RuntimeError:
        return None
    return base / "pi-native"


def private_folder() -> Path | None:
    """Return the state folder, which exists and only its owner can read; None without one."""
    folder = state_folder()
    if folder is None:
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return folder


def _read_last() -> tuple[Path, str | None]:
    """Return the file and the model of the last conversation. Raises `ConfigurationError`."""
    folder = state_folder()
    try:
        if folder is None:
            raise FileNotFoundError
        found = json.loads((folder / "last.json").read_text(encoding="utf-8"))
        return Path(found["file"]), found.get("model")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ConfigurationError(
            "there is no last conversation to continue; `pi-native ask` without -c starts one"
        ) from None


def _write_last(conversation: Conversation, path: Path) -> None:
    if private_folder() is not None:
        conversation.save(path)
        _remember(path, conversation)


def _remember(path: Path, conversation: Conversation) -> None:
    """Note which conversation is the last one."""
    folder = private_folder()
    if folder is not None:
        last = {"file": str(path.absolute()), "model": conversation.model}
        (folder / "last.json").write_text(json.dumps(last), encoding="utf-8")


def _version_of(path: Path) -> _Version:
    """Return what changes when the file does; None without a file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _check_creatable(path: Path) -> None:
    """Create the file and remove it. Raises `OSError` and `ConfigurationError`."""
    if not path.parent.is_dir():
        raise ConfigurationError(
            f"cannot save a conversation in {path}: there is no folder {path.parent}"
        )
    target = Path(os.path.realpath(path))  # of a link to a file that does not exist yet
    with target.open("xb"):
        pass
    target.unlink()


def _check_writable(path: Path) -> None:
    """Open the file for writing, which does not change it. Raises `OSError`.

    `Conversation.save` refuses a read-only file, also for root, who may write any file.
    """
    if not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(errno.EACCES, "the file is read-only")
    os.close(os.open(path, os.O_WRONLY))


def _cannot(do: str, path: Path, exc: OSError) -> ConfigurationError:
    return ConfigurationError(f"cannot {do} {path}: {exc.strerror or exc}")


def _save_elsewhere(conversation: Conversation, path: Path) -> Path | None:
    """Write the conversation to the first file that works, and return it."""
    for candidate in _other_files(path):
        with contextlib.suppress(OSError):
            with candidate.open("xb"):  # never the file of another run
                pass
            conversation.save(candidate)
            return candidate
    return None


def _other_files(path: Path) -> Iterator[Path]:
    folders = [path.absolute().parent, private_folder(), Path(tempfile.gettempdir())]
    stem, suffix = path.stem[:100], path.suffix[:20]
    for folder, number in itertools.product(folders, range(1, 10)):
        if folder is not None:
            yield folder / f"{stem}.unsaved-{number}{suffix}"
