"""Where a client's gateway and key come from when they are not given.

The environment comes before the local gateway's own token file, and that file is read for a
loopback gateway alone: its token must not be sent to another machine. Each value comes with its
origin, so that whoever wonders why can be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import define

from ._http.timeouts import ARGUMENT, DEFAULT
from ._http.transport import is_loopback
from ._types.base import Record

DEFAULT_BASE_URL = "http://127.0.0.1:4000"
BASE_URL_VARIABLE = "PI_NATIVE_BASE_URL"
API_KEY_VARIABLE = "PI_NATIVE_API_KEY"
TOKEN_FILE = "~/.omp/auth-gateway.token"


@define(eq=False, repr=False)
class Setting(Record):
    """One of a client's settings, and where its value came from.

    `origin` is "argument", "default", the name of an environment variable or of a file. None is a
    setting that there is none of; of a key it is only said that there is one.
    """

    name: str
    value: str | float | None
    origin: str


def find_base_url(given: str | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """The gateway's address, and its origin: as given, from the environment, or the default."""
    if given:
        found = given, ARGUMENT
    elif named := environ.get(BASE_URL_VARIABLE):
        found = named, BASE_URL_VARIABLE
    else:
        found = DEFAULT_BASE_URL, DEFAULT
    return found[0].rstrip("/"), found[1]


def find_api_key(
    given: str | None, base_url: str, environ: Mapping[str, str]
) -> tuple[str | None, str]:
    """The gateway's bearer token, None when there is none to be found, and its origin."""
    if given is not None:
        return given, ARGUMENT
    if named := environ.get(API_KEY_VARIABLE):
        return named, API_KEY_VARIABLE
    token = _token() if is_loopback(base_url) else None
    return token, TOKEN_FILE if token else DEFAULT


def _token() -> str | None:
    try:
        return Path(TOKEN_FILE).expanduser().read_text(encoding="utf-8").strip() or None
    except (OSError, RuntimeError, ValueError):
        return None
