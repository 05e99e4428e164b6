"""Where a client's gateway and key come from when they are not given.

The environment comes before the local gateway's own token file, and that file is read for a
loopback gateway alone: its token must not be sent to another machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ._http import is_loopback

DEFAULT_BASE_URL = "http://127.0.0.1:4000"
BASE_URL_VARIABLE = "PI_NATIVE_BASE_URL"
API_KEY_VARIABLE = "PI_NATIVE_API_KEY"
TOKEN_FILE = "~/.omp/auth-gateway.token"


def resolve_base_url(given: str | None, environ: Mapping[str, str]) -> str:
    """The gateway's address: as given, else from the environment, else the default one."""
    return (given or environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL).rstrip("/")


def resolve_api_key(given: str | None, base_url: str, environ: Mapping[str, str]) -> str | None:
    """The gateway's bearer token; None when there is none to be found."""
    if given is not None:
        return given
    return environ.get(API_KEY_VARIABLE) or (_token() if is_loopback(base_url) else None)


def _token() -> str | None:
    try:
        return Path(TOKEN_FILE).expanduser().read_text(encoding="utf-8").strip() or None
    except (OSError, RuntimeError, ValueError):
        return None
