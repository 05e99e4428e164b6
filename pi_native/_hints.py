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
NOT_A_GATEWAY = "the base URL does not lead to a pi-native gateway"
PROXY_PASSWORD = (
    "the proxy requires a user name and password: write them into HTTP_PROXY or HTTPS_PROXY as "
    "http://user:password@host:port"
)

_PROVIDER: dict[FailureKind, str] = {
    "usage_limit": "the account's usage limit is reached; see Client.usage()",
    "auth": "the gateway's credential for this provider fails; see Client.check_credentials()",
    "context_overflow": "the conversation is too long for this model; send fewer messages",
}

# The argument in seconds, and the option in milliseconds.
_FIRST_EVENT = ("first_event_timeout", "stream_first_event_timeout_ms")
_TIMEOUTS: dict[TimeoutPhase, tuple[str, str]] = {
    "connect": ("connect_timeout", "connect_timeout_ms"),
    "headers": _FIRST_EVENT,
    "first_event": _FIRST_EVENT,
    "idle": ("idle_timeout", "stream_idle_timeout_ms"),
    "total": ("total_timeout", "total_timeout_ms"),
}


def provider_hint(kind: FailureKind) -> str | None:
    """Return the advice for a turn that the provider failed."""
    return _PROVIDER.get(kind)


def timeout_hint(phase: TimeoutPhase, limit: float | None = None) -> str:
    """Return the advice for a time limit, in seconds, that was exceeded: the argument to raise."""
    waited = "" if limit is None else f"waited {limit:g} s; "
    argument, option = _TIMEOUTS[phase]
    names = f"{argument} (seconds) or {option} (milliseconds)"
    return f"{waited}raise {names} if the wait was too short"


def redirect_hint(base_url: str) -> str:
    """Return the advice for a redirect, which is not followed."""
    if "://" not in base_url:
        return "redirects are not followed: check the base URL"
    return f"redirects are not followed: use {base_url} as base URL"


def refusal_hint(
    status: int, code: str | None, authorization: str | None, retry_after: float | None
) -> str | None:
    """Return the advice for a request that the gateway refused.

    `authorization` is the value of that header as it was sent, or None.
    """
    if status in (401, 403):
        return _key_hint(code, authorization)
    if status == 404:
        return "Client.models() lists the models" if code else NOT_A_GATEWAY
    if status == 429 and retry_after is not None:
        return f"try again in {retry_after:g} s"
    return None


def _key_hint(code: str | None, authorization: str | None) -> str:
    if not authorization:
        return f"no key was sent: {GIVE_KEY}"
    if code:  # from the handlers behind the gateway's own check of the key
        return "the gateway has no working credential for this provider; see Client.models()"
    key = authorization.partition(" ")[2]
    if key.lower().startswith("bearer "):
        return 'the key begins with "Bearer ": give it without that word'
    return f"the key that was sent is not this gateway's: {GIVE_KEY}"
