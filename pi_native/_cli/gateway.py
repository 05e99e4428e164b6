"""The gateway that the arguments name, and the key to it."""

from __future__ import annotations

import argparse
from pathlib import Path

from pi_native import Client, ConfigurationError

_CONNECT_SECONDS = 10.0
_PAGE_SECONDS = 30.0


def client_for_turns(args: argparse.Namespace, key: str | None = None) -> Client:
    """A client whose turns take no longer than `--timeout`."""
    return Client(args.base_url, key or read_key(args.api_key_file), total_timeout=args.timeout)


def client_for_pages(args: argparse.Namespace, key: str | None = None) -> Client:
    """A client for short questions, which have no total timeout: each step has to obey."""
    limit = args.timeout or _PAGE_SECONDS
    return Client(
        args.base_url,
        key or read_key(args.api_key_file),
        connect_timeout=min(limit, _CONNECT_SECONDS),
        first_event_timeout=limit,
    )


def read_key(file: str | None) -> str | None:
    """The key that a file holds; None without a file. Raises `ConfigurationError`."""
    if file is None:
        return None
    try:
        key = Path(file).expanduser().read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"the key file {file} holds no text") from None
    except (OSError, RuntimeError) as exc:
        raise ConfigurationError(f"cannot read the key file {file}: {_reason(exc)}") from None
    if not key:
        raise ConfigurationError(f"the key file {file} is empty")
    return key


def _reason(exc: Exception) -> str:
    return exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
