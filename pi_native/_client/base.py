"""The state of a client: its gateway, key, headers, time limits and connections."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import attrs

from .._config import (
    API_KEY_VARIABLE,
    INSTALL_ID_VARIABLE,
    Setting,
    find_api_key,
    find_base_url,
)
from .._http.timeouts import ARGUMENT, DEFAULT, resolve_timeouts, timeout_origins
from .._http.transport import Transport
from .._protocol.request import Secret, with_bearer
from .._types.gateway import Rows
from .._types.option_checks import check_names, option_names, seconds
from .._types.options import OnIncomplete, StreamOptions
from ..errors import ConfigurationError

if TYPE_CHECKING:
    import requests
    from typing_extensions import Self

    from .._protocol.request import Request

_CONNECT_SECONDS = 10.0
_EVENT_TIMEOUT_MS = 250_000
"""First-event and idle timeout; the gateway cuts a silent connection after 255 s."""
_WIRE_MARGIN_MS = 5_000

# The times of a client and of a turn, in seconds, and the options that they set.
_TIMEOUTS = {
    "connect_timeout": "connect_timeout_ms",
    "first_event_timeout": "stream_first_event_timeout_ms",
    "idle_timeout": "stream_idle_timeout_ms",
    "total_timeout": "total_timeout_ms",
}

_SENT_TIMEOUTS = {"stream_first_event_timeout_ms", "stream_idle_timeout_ms"}


class BaseClient:
    """The settings and the connections of a client; `Client` describes the arguments."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        api_key_file: str | os.PathLike[str] | None = None,
        headers: Mapping[str, str] | None = None,
        connect_timeout: float | None = _CONNECT_SECONDS,
        first_event_timeout: float | None = None,
        idle_timeout: float | None = None,
        total_timeout: float | None = None,
        max_retries: int = 2,
        on_incomplete: OnIncomplete = "error",
        session: requests.Session | None = None,
        app: str = "pi-native-python",
        install_id: str | None = None,
        hostname: str | None = None,
        pickle_key: bool = False,
    ) -> None:
        found, origin = find_base_url(base_url, os.environ)
        self.base_url: str = found
        self._origins = {"base_url": origin}
        self._api_key_file = api_key_file
        self._find_api_key(api_key)
        self._headers = dict(headers or {})
        install_id = install_id or os.environ.get(INSTALL_ID_VARIABLE)
        self._attribution = _attribution(app, install_id, hostname)
        self._pickle_key = pickle_key
        self._session = session
        self._transport = Transport(session)
        self._limits: dict[str, float | None] = {
            "connect_timeout": connect_timeout,
            "first_event_timeout": first_event_timeout,
            "idle_timeout": idle_timeout,
            "total_timeout": total_timeout,
        }
        self._defaults: dict[str, Any] = {
            "max_retries": max_retries,
            "on_incomplete": on_incomplete,
            "event_timeout_ms": _EVENT_TIMEOUT_MS,
            "wire_timeout_margin_ms": _WIRE_MARGIN_MS,
        }

    @property
    def settings(self) -> list[Setting]:
        """The gateway, "set" for a key, and the timeouts in seconds, each with its origin.

        Raises `ConfigurationError` for a timeout that is no number.
        """
        options = self._options({})
        limits = resolve_timeouts(options, os.environ)
        key = "set" if self._api_key else None
        origins = self._origins | timeout_origins(options, os.environ)
        connect = DEFAULT if limits["connect"] == _CONNECT_SECONDS else ARGUMENT
        total = DEFAULT if limits["total"] is None else ARGUMENT
        return Rows(
            [
                Setting("base_url", self.base_url, origins["base_url"]),
                Setting("api_key", key, origins["api_key"]),
                Setting("connect_timeout", limits["connect"], connect),
                Setting("first_event_timeout", limits["first_event"], origins["first_event"]),
                Setting("idle_timeout", limits["idle"], origins["idle"]),
                Setting("total_timeout", limits["total"], total),
            ]
        )

    def close(self) -> None:
        """Close the idle connections. Running turns continue."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.base_url!r})"

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_transport"]
        if not self._pickle_key:
            state["_api_key"] = None
            state["_headers"] = {
                name: value
                for name, value in self._headers.items()
                if name.lower() != "authorization"
            }
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._transport = Transport(self._session)
        if self._api_key is None:
            self._find_own_key()

    def __copy__(self) -> Self:
        # Unlike a pickle, a copy stays in the process, so it has the key.
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__, _transport=Transport(self._session))
        return twin

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self.__copy__()  # nothing in it is ever changed

    def _options(self, options: Mapping[str, Any]) -> StreamOptions:
        """Return the options of a turn, with the client's own. Raises `TypeError`."""
        check_names(options, option_names() | _TIMEOUTS.keys())
        given = {name: options[name] for name in _TIMEOUTS if options.get(name) is not None}
        limits = _milliseconds({**self._limits, **given})
        others = {name: value for name, value in options.items() if name not in _TIMEOUTS}
        if _SENT_TIMEOUTS & others.keys():
            others["wire_timeout_margin_ms"] = 0  # an option of the wire is sent as it is
        return StreamOptions(**{"api_key": self._api_key, **self._defaults, **limits, **others})

    def _transport_for(self, options: StreamOptions) -> Transport:
        own = self._transport
        return own if options.session is None else Transport(options.session, observe=own.observe)

    def _find_api_key(self, given: str | None) -> None:
        key, origin = find_api_key(given, self.base_url, os.environ, self._api_key_file)
        self._origins["api_key"] = origin
        self._key_may_change = origin not in (ARGUMENT, API_KEY_VARIABLE)
        self._api_key = None if key is None else Secret(key)

    def _find_own_key(self) -> None:
        """Find the key in this process, which may not have the other one's key file."""
        try:
            self._find_api_key(None)
        except ConfigurationError:
            self._api_key_file = None
            self._find_api_key(None)

    def _renewed(self, request: Request) -> Request | None:
        """Return a refused request with the key that is now in the file, or None."""
        current = None if self._api_key is None else f"Bearer {self._api_key}"
        sent = request.headers.get("Authorization")
        if sent == current and not self._has_new_key():
            return None
        headers = {name: value for name, value in request.headers.items() if value is not sent}
        return attrs.evolve(request, headers=with_bearer(headers, self._api_key))

    def _has_new_key(self) -> bool:
        """Read a key that came from a file again; return True when it has changed."""
        if not self._key_may_change:
            return False
        before = self._api_key
        try:
            self._find_api_key(None)
        except ConfigurationError:
            return False
        return self._api_key is not None and self._api_key != before


def _attribution(app: str, install_id: str | None, hostname: str | None) -> dict[str, str]:
    """Return the headers that say whose tokens are spent, with characters that HTTP can carry."""
    named = {"x-omp-app": app, "x-omp-install-id": install_id, "x-omp-hostname": hostname}
    return {name: re.sub(r"[^\x20-\x7e]", "?", value) for name, value in named.items() if value}


def _milliseconds(limits: Mapping[str, float | None]) -> dict[str, float]:
    """Return times in seconds as options. Raises `ConfigurationError`."""
    given = {name: seconds(name, limit) for name, limit in limits.items() if limit is not None}
    return {_TIMEOUTS[name]: limit * 1000 for name, limit in given.items()}
