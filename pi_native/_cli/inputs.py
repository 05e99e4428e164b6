"""Turn arguments into a client, a model, a prompt and the options of a turn."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import json
import os
import select
import sys
from pathlib import Path
from typing import Any

from pi_native import Client, ConfigurationError, ImageContent, TextContent, UserMessage

from .console import Console, whole_characters

MODEL_VARIABLE = "PI_NATIVE_MODEL"

_CONNECT_SECONDS = 10.0
_QUERY_SECONDS = 30.0
_REPLACEMENT = "\ufffd"
_SECONDS_UNTIL_NOTE = 2.0


def client_for_turns(args: argparse.Namespace, key: str | None = None) -> Client:
    """Return a client whose turns take at most `--timeout` seconds."""
    return Client(args.base_url, key or read_key(args.api_key_file), total_timeout=args.timeout)


def client_for_queries(args: argparse.Namespace, key: str | None = None) -> Client:
    """Return a client for models, health and usage, which have no total timeout: each step has."""
    limit = args.timeout or _QUERY_SECONDS
    return Client(
        args.base_url,
        key or read_key(args.api_key_file),
        connect_timeout=min(limit, _CONNECT_SECONDS),
        first_event_timeout=limit,
    )


def read_key(file: str | None) -> str | None:
    """Return the key in a file; None without a file. Raises `ConfigurationError`."""
    if file is None:
        return None
    try:
        key = Path(file).expanduser().read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"the key file {file} is not a text file in UTF-8") from None
    except (OSError, RuntimeError) as exc:
        raise ConfigurationError(f"cannot read the key file {file}: {_reason(exc)}") from None
    if not key:
        raise ConfigurationError(f"the key file {file} is empty")
    return key


def _reason(exc: Exception) -> str:
    return exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)


def chosen_model(args: argparse.Namespace, last: str | None = None) -> str:
    """Return the model of `-m`, else `last`, else that of the environment.

    Raises `ConfigurationError` when there is none.
    """
    model: str | None = args.model or last or os.environ.get(MODEL_VARIABLE)
    if not model:
        raise ConfigurationError(
            f"no model given: name one with -m PROVIDER/ID or in {MODEL_VARIABLE}; "
            "`pi-native models` lists them"
        )
    return model


def turn_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a turn that the arguments set, by their names in `StreamOptions`."""
    options = dict(args.options)
    named = {
        "reasoning": args.reasoning,
        "max_tokens": args.max_tokens,
        "temperature": args.temperature,
    }
    return options | {name: value for name, value in named.items() if value is not None}


def parse_option(text: str) -> tuple[str, Any]:
    """Return name and value of `NAME=VALUE`; the value is JSON, else a text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, not {text!r}")
    try:
        return name.replace("-", "_"), json.loads(value)
    except ValueError:
        return name.replace("-", "_"), value


def read_prompt(args: argparse.Namespace, console: Console) -> UserMessage:
    """Return the prompt: the words, then the text on stdin, then the images.

    Raises `ConfigurationError` when there is no text.
    """
    images = [_read_image(file) for file in args.image]
    words = [word for word in args.prompt if word != "-"]
    parts = [clean_text(" ".join(words), console)]
    if not words or "-" in args.prompt or not _at_terminal():
        parts.append(_from_stdin(console))
    text = "\n\n".join(part for part in parts if part.strip())
    if not text:
        raise ConfigurationError("the prompt is empty")
    return UserMessage([TextContent(text), *images] if images else text)


def clean_text(text: str, console: Console) -> str:
    """Return a text from a terminal or an argument as it can be sent.

    Bytes that are not in the expected encoding arrive as lone surrogates: each becomes U+FFFD.
    """
    whole = whole_characters(text.removeprefix("\ufeff"))
    if whole != text.removeprefix("\ufeff"):
        _warn(console, sys.getfilesystemencoding())
    return whole


def _at_terminal() -> bool:
    return sys.stdin is None or sys.stdin.closed or sys.stdin.isatty()


def _from_stdin(console: Console) -> str:
    if sys.stdin is None:  # the process was started without it
        return ""
    if console.is_watched and sys.stdin.isatty():
        console.note("Type your prompt; Ctrl-D on an empty line ends it.")
    if not hasattr(sys.stdin, "buffer"):
        return sys.stdin.read().rstrip("\n")
    if not sys.stdin.isatty():
        _note_silence(console)
    text = _decode(sys.stdin.buffer.read(), sys.stdin.encoding, console)
    return text.replace("\r\n", "\n").rstrip("\n")


def _note_silence(console: Console) -> None:
    """Say what the program waits for when stdin is a pipe that stays open without any data."""
    with contextlib.suppress(OSError, ValueError):  # Windows cannot wait for a pipe
        readable, _, _ = select.select([sys.stdin.buffer], [], [], _SECONDS_UNTIL_NOTE)
        if not readable:
            console.problem("waiting for text on stdin until its end; `< /dev/null` leaves it out")


def _decode(data: bytes, encoding: str, console: Console) -> str:
    """Decode bytes without failing. A byte order mark decides, and is not part of the text."""
    if data.startswith(codecs.BOM_UTF8):
        data, encoding = data.removeprefix(codecs.BOM_UTF8), "utf-8"
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"  # Windows PowerShell
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        _warn(console, encoding)
        return data.decode(encoding, "replace")


def _warn(console: Console, encoding: str) -> None:
    console.problem(
        f"the prompt is not all valid {encoding}: invalid bytes are sent as {_REPLACEMENT}"
    )


def _read_image(file: str) -> ImageContent:
    """Return the image in a file. Raises `ConfigurationError`."""
    try:
        return ImageContent.from_file(file)
    except OSError as exc:
        raise ConfigurationError(f"cannot read the image {file}: {exc.strerror}") from None
