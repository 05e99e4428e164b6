"""The prompt: from the command line or from stdin, with its images."""

from __future__ import annotations

import argparse
import io
import os
import sys

from pi_native import ConfigurationError, TextContent, UserMessage

from .console import Console
from .images import read_image

MODEL_VARIABLE = "PI_NATIVE_MODEL"
_UNREADABLE = "\ufffd"


def chosen_model(args: argparse.Namespace) -> str:
    """The model that the arguments or the environment name. Raises `ConfigurationError`."""
    model: str | None = args.model or os.environ.get(MODEL_VARIABLE)
    if not model:
        raise ConfigurationError(
            f"no model given: name one with -m PROVIDER/ID or in {MODEL_VARIABLE}; "
            "`pi-native models` lists them"
        )
    return model


def read_prompt(args: argparse.Namespace, console: Console) -> UserMessage:
    """What the user says, images last. Raises `ConfigurationError` when it is nothing."""
    images = [read_image(file) for file in args.image]
    text = args.prompt
    if text is None or text == "-":
        text = _from_stdin(console)
    if not text.strip():
        raise ConfigurationError("the prompt is empty")
    return UserMessage([TextContent(text), *images] if images else text)


def _from_stdin(console: Console) -> str:
    if sys.stdin is None:  # closed by whoever started us
        return ""
    if console.is_watched and sys.stdin.isatty():
        console.note("Type your prompt; Ctrl-D on an empty line ends it.")
    if isinstance(sys.stdin, io.TextIOWrapper):
        # Better a log with a strange byte in it than no answer.
        sys.stdin.reconfigure(errors="replace")
    text = sys.stdin.read().rstrip("\n")
    if _UNREADABLE in text:
        console.note(f"pi-native: the prompt is not all valid {sys.stdin.encoding}; sent as read")
    return text
