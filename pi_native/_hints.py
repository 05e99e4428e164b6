"""Advice for the reader of an error, written in one place so that all front ends say the same.

An error carries its hint in `hint` and at the end of its text. A hint never holds a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import FailureKind, TimeoutPhase

BASE_URL_EXAMPLE = 'such as "http://127.0.0.1:4000"'
ANOTHER_GATEWAY = "PI_NATIVE_BASE_URL or Client(base_url=...) names another gateway"
GIVE_KEY = (
    "set the gateway's key in PI_NATIVE_API_KEY or its file in PI_NATIVE_API_KEY_FILE; on its host "
    "the gateway keeps the key in ~/.omp/auth-gateway.token"
)
NO_GATEWAY_ANSWERED = "a proxy or a web server answered, not the gateway"
PROXY_PASSWORD = (
    "the proxy requires a user name and password: write them into HTTP_PROXY or HTTPS_PROXY as "
    "http://user:password@host:port"
)

_PROVIDER: dict[FailureKind, str] = {
    "usage_limit": "the account's usage limit is reached; see Client.usage()",
    "auth": "the gateway's credential for this provider fails; see Client.check_credentials()",
    "context_overflow": "the conversation is too long for this model; send fewer messages",
}

_TIMEOUTS: dict[TimeoutPhase, str] = {
    "connect": "connect_timeout",
    "headers": "first_event_timeout",
    "first_event": "first_event_timeout",
    "idle": "idle_timeout",
    "total": "total_timeout",
}


def provider_hint(kind: FailureKind) -> str | None:
    """Return the advice for a turn that the provider failed."""
    return _PROVIDER.get(kind)


def timeout_hint(phase: TimeoutPhase, limit: float | None = None) -> str:
    """Return the advice for a time limit, in seconds, that was exceeded: the argument to raise."""
    waited = "" if limit is None else f"waited {limit:g} s; "
    return f"{waited}raise {_TIMEOUTS[phase]} (in seconds) if the wait was too short"


def redirect_hint(base_url: str) -> str:
    """Return the advice for a redirect, which is not followed."""
    if "://" not in base_url:
        return "redirects are not followed: check the base URL"
    return f"redirects are not followed: use {base_url} as base URL"
