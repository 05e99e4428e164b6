"""The gateway's address and key when they are not given: environment, key files, omp's own files.

The environment comes before the local gateway's token file. That file is read for a loopback
gateway only: its token must not be sent to another machine. Each value comes with its origin.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from attrs import define

from ._hints import BASE_URL_EXAMPLE
from ._http.timeouts import ARGUMENT, DEFAULT
from ._http.transport import is_loopback
from ._protocol.request import unsendable_character
from ._types.base import Record
from .errors import ConfigurationError

DEFAULT_BASE_URL = "http://127.0.0.1:4000"
BASE_URL_VARIABLE = "PI_NATIVE_BASE_URL"
API_KEY_VARIABLE = "PI_NATIVE_API_KEY"
API_KEY_FILE_VARIABLE = "PI_NATIVE_API_KEY_FILE"
INSTALL_ID_VARIABLE = "PI_NATIVE_INSTALL_ID"
TOKEN_FILE_NAME = "auth-gateway.token"

# Other SDKs want a base URL that ends in one of these.
_ENDPOINTS = ("/v1/pi/stream", "/v1/chat/completions", "/v1/messages", "/v1")


@define(eq=False, repr=False)
class Setting(Record):
    """One setting of a client, and where its value came from.

    `origin` is "argument", "default", the name of an environment variable or of a file. A `value`
    of None means that the setting is absent. The value of a key is "set", never the key itself.
    """

    name: str
    value: str | float | None
    origin: str


def find_base_url(given: str | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the gateway's address and its origin: argument, environment, or default.

    Raises `TypeError` for an argument that is no string, and `ConfigurationError` for an address
    that is no http or https URL.
    """
    if given is not None and not isinstance(given, str):
        raise TypeError(f"base_url must be a string {BASE_URL_EXAMPLE}, not {given!r:.60}")
    if given:
        found = given, ARGUMENT
    elif named := environ.get(BASE_URL_VARIABLE):
        found = named, BASE_URL_VARIABLE
    else:
        found = DEFAULT_BASE_URL, DEFAULT
    return checked_base_url(*found), found[1]


def checked_base_url(url: str, origin: str) -> str:
    """Return an address without slashes at its end.

    Raises `ConfigurationError` for an address that is no http or https URL.
    """
    name = "base_url" if origin == ARGUMENT else f"the base_url from {origin}"
    try:
        parts = urlsplit(url.strip())
        valid = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
    except ValueError:
        valid = False
    if not valid:
        raise ConfigurationError(
            f'{name} must begin with "http://" or "https://", not {without_password(url)!r:.200}',
            hint="a gateway's URL looks like http://127.0.0.1:4000",
        )
    return url.strip().rstrip("/")


def without_endpoint(url: str) -> str:
    """Return an address without the slashes and the endpoint that other SDKs want at its end."""
    url = url.rstrip("/")
    endpoint = next((end for end in _ENDPOINTS if url.endswith(end)), "")
    return url.removesuffix(endpoint).rstrip("/")


def without_password(url: str) -> str:
    """Return a text that may be a URL without its user name and password."""
    start, at, rest = url.rpartition("@")
    if not at:
        return url
    scheme, slashes, _ = start.partition("//")
    return f"{scheme}{slashes}***@{rest}" if slashes else f"***@{rest}"


def find_api_key(
    given: str | None,
    base_url: str,
    environ: Mapping[str, str],
    file: str | os.PathLike[str] | None = None,
) -> tuple[str | None, str]:
    """Return the gateway's bearer token, or None, and its origin.

    Raises `TypeError` for a key that is no string, and `ConfigurationError` for a key that no HTTP
    header can carry and for a key file that cannot be read.
    """
    if given is not None:
        return _checked_key(given, "the argument api_key"), ARGUMENT
    if file is not None:
        return read_key_file(file), os.fspath(file)
    if named := environ.get(API_KEY_VARIABLE):
        return _checked_key(named, API_KEY_VARIABLE), API_KEY_VARIABLE
    if named := environ.get(API_KEY_FILE_VARIABLE):
        return read_key_file(named), named
    token_file = f"{omp_directory(environ)}/{TOKEN_FILE_NAME}"
    token = _read_token(token_file) if is_loopback(base_url) else None
    return (token, token_file) if token else (None, DEFAULT)


def read_key_file(file: str | os.PathLike[str]) -> str:
    """Return the key that a file holds. Raises `ConfigurationError`."""
    try:
        key = Path(file).expanduser().read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"the key file {os.fspath(file)} is not UTF-8 text") from None
    except (OSError, RuntimeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
        raise ConfigurationError(f"cannot read the key file {os.fspath(file)}: {reason}") from None
    if not key:
        raise ConfigurationError(f"the key file {os.fspath(file)} is empty")
    return _checked_key(key, f"the file {os.fspath(file)}")


def omp_directory(environ: Mapping[str, str]) -> str:
    """Return the directory that omp keeps its files in, with "~" for the home directory.

    omp's variables move it: `PI_CONFIG_DIR` is its name in the home directory, `OMP_PROFILE` (else
    `PI_PROFILE`) a profile below it; the profile "default" is none.
    """
    root = os.path.join("~", environ.get("PI_CONFIG_DIR") or ".omp")
    profile = environ.get("OMP_PROFILE") or environ.get("PI_PROFILE")
    return root if not profile or profile == "default" else f"{root}/profiles/{profile}"


def _checked_key(key: str, source: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{source} must be a string, not {type(key).__name__}")
    key = key.removesuffix("\n").removesuffix("\r")
    wrong = unsendable_character(key)
    if wrong is not None:
        # Only the character: the key is a secret, even a broken one.
        raise ConfigurationError(
            f"the key from {source} holds {wrong!r}, which no HTTP header can carry"
        )
    return key


def _read_token(file: str) -> str | None:
    try:
        return Path(file).expanduser().read_text(encoding="utf-8-sig").strip() or None
    except (OSError, RuntimeError, ValueError):
        return None
