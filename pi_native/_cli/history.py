"""A conversation that goes on from one `ask` to the next, in a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from pi_native import Client, ConfigurationError, Conversation


def open_conversation(args: argparse.Namespace, client: Client, model: str) -> Conversation:
    """What is in the file that the arguments name; else, or without one, a new conversation.

    Raises `ConfigurationError` for a file that could not be written later, before anything is
    asked, and `DecodeError` for one that holds something else.
    """
    if args.file is None:
        return Conversation(client, model, system=args.system)
    try:
        if not Path(args.file).exists():
            _expect_folder(args.file)
            return Conversation(client, model, system=args.system)
        found = Conversation.load(args.file, client, model)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {args.file}: {exc.strerror or exc}") from None
    if args.system is not None:
        found.context.system_prompt = [args.system]
    return found


def keep_conversation(args: argparse.Namespace, conversation: Conversation) -> None:
    """Write it to the file that the arguments name, if they do. Raises `ConfigurationError`."""
    if args.file is None:
        return
    try:
        conversation.save(args.file)
    except OSError as exc:
        raise ConfigurationError(
            f"the turn could not be kept in {args.file}: {exc.strerror or exc}"
        ) from None


def _expect_folder(file: str) -> None:
    folder = Path(file).parent
    if not folder.is_dir():
        raise ConfigurationError(f"cannot keep a conversation in {file}: there is no {folder}")
