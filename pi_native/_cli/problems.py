"""What went wrong, in one line, and what to do next."""

from __future__ import annotations

import socket
import ssl

from pi_native import (
    AuthenticationError,
    AuthGatewayError,
    GatewayConnectionError,
    InvalidRequestError,
    PiNativeError,
    ProviderError,
    RateLimitError,
    StreamTimeoutError,
)

_LONGEST = 600

NAME_ANOTHER = "--base-url or PI_NATIVE_BASE_URL names another"


def explain(exc: PiNativeError) -> str:
    """What happened, and the advice that there is for it."""
    what, advice = what_happened(exc), _advice(exc)
    return f"{what}; {advice}" if advice else what


def what_happened(exc: PiNativeError) -> str:
    """What happened, without advice."""
    what = _what(exc)
    if len(what) > _LONGEST:  # a proxy's page of HTML
        what = what[:_LONGEST] + "..."
    return what


def _what(exc: PiNativeError) -> str:
    if isinstance(exc, ProviderError):
        status = exc.message.error_status if exc.message else None
        return f"the turn failed: {exc}" + (f" (HTTP {status})" if status else "")
    if isinstance(exc, AuthGatewayError):
        return str(exc) if str(exc.status) in str(exc) else f"{exc} (HTTP {exc.status})"
    if isinstance(exc, StreamTimeoutError) and exc.limit is not None:
        return f"{exc} ({exc.limit:g} s)"
    return str(exc)


def _advice(exc: PiNativeError) -> str | None:
    if isinstance(exc, GatewayConnectionError) and exc.phase == "connect":
        return about_the_road(exc) or f"is a gateway running there? {NAME_ANOTHER}"
    if isinstance(exc, AuthenticationError):
        return _about_keys(exc)
    if isinstance(exc, InvalidRequestError) and exc.status == 404:
        return _about_names(exc)
    if isinstance(exc, RateLimitError) and exc.retry_after is not None:
        return f"try again in {exc.retry_after:g} s"
    return None


def about_the_road(exc: GatewayConnectionError) -> str | None:
    """What to do where a gateway may well be running, and it is the way there that is wrong."""
    cause = exc.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            "whoever signed its certificate is not known here: REQUESTS_CA_BUNDLE names a file "
            "with that authority's"
        )
    if isinstance(cause, ssl.SSLError):
        return "what listens there speaks no TLS: does its URL begin with http://?"
    if isinstance(cause, socket.gaierror):
        return f"no host of that name is known here; {NAME_ANOTHER}"
    return None


def _about_keys(exc: AuthenticationError) -> str:
    if exc.code is None:  # the server around the protocol: it did not let us in
        return (
            "give the gateway's key in PI_NATIVE_API_KEY, or its file with --api-key-file; "
            "`pi-native doctor` tells where the one in use comes from"
        )
    return "your key was accepted; it is the gateway that lacks a key for this provider"


def _about_names(exc: InvalidRequestError) -> str:
    if exc.code is None:
        return "is this the URL of a pi-native gateway? See --base-url and PI_NATIVE_BASE_URL"
    return "`pi-native models` lists the models that there are"
