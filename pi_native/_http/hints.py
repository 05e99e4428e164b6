"""Advice for connections that fail, by their cause; the errors carry it to every front end."""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl

from .._hints import ANOTHER_GATEWAY
from ..errors import ConnectionPhase
from .route import Route

_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")
_EXPIRED, _WRONG_NAME, _WRONG_ADDRESS = 10, 62, 64  # OpenSSL's X509_V_ERR_…
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")
_TLS_RECORD = re.compile(r"\\x1[4-7]\\x03|[\x14-\x17]\x03")  # as `BadStatusLine` shows its start


def connection_hint(cause: BaseException, route: Route, phase: ConnectionPhase) -> str | None:
    """Return what to do about a connection that failed for this cause."""
    if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
        return "raise the limit of open files (ulimit -n), or run fewer turns at the same time"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _certificate_hint(cause)
    if isinstance(cause, ssl.SSLError):
        return _tls_hint(cause, route)
    if isinstance(cause, http.client.BadStatusLine) and _TLS_RECORD.search(str(cause)):
        return "the peer answers in TLS: begin its URL with https://"
    if route.proxy is not None and phase == "connect":
        return _proxy_hint(cause, route)
    if isinstance(cause, socket.gaierror):
        return f"no host of that name is known here; {ANOTHER_GATEWAY}"
    if phase == "connect":
        return f"is a gateway running there? {ANOTHER_GATEWAY}"
    if isinstance(cause, http.client.BadStatusLine) and str(cause).strip():
        return f"the peer does not speak HTTP; {ANOTHER_GATEWAY}"
    return None


def may_heal(cause: BaseException) -> bool:
    """Return True if the same request may succeed later without a change of the settings."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return False
    if isinstance(cause, ssl.SSLError) and _reason(cause) in _NO_TLS:
        return False
    status = tunnel_status(cause)
    return status is None or status in (408, 429) or status >= 500


def tunnel_status(cause: BaseException) -> int | None:
    """Return the status of a proxy that refused CONNECT; None for other causes."""
    found = _TUNNEL.match(str(cause))
    return int(found.group(1)) if found else None


def _certificate_hint(cause: ssl.SSLCertVerificationError) -> str:
    if cause.verify_code == _EXPIRED:
        return "the certificate has expired: its owner has to renew it"
    if cause.verify_code in (_WRONG_NAME, _WRONG_ADDRESS):
        return "the certificate is for another host: use a name in the URL that it contains"
    return (
        "the authority that signed the certificate is not trusted: name a PEM file with the "
        "authority's certificate in REQUESTS_CA_BUNDLE or SSL_CERT_FILE"
    )


def _tls_hint(cause: ssl.SSLError, route: Route) -> str | None:
    if _reason(cause) not in _NO_TLS:
        return None
    if route.proxy is not None:
        return (
            f"the peer does not speak TLS: begin the gateway's URL, or the proxy's in "
            f"{route.variable or 'the settings'}, with http://"
        )
    return "the peer does not speak TLS: begin its URL with http://"


def _reason(cause: ssl.SSLError) -> str:
    return getattr(cause, "reason", None) or ""  # an error that Python itself made has none


def _proxy_hint(cause: BaseException, route: Route) -> str:
    source = route.variable or "the settings"
    status = tunnel_status(cause)
    if status == 407 or "authentication" in str(cause).lower():
        return (
            f"the proxy requires a user name and password: write them into {source} as "
            f"http://user:password@{route.proxy}"
        )
    if status is not None and status < 500:
        return "the proxy refuses this host: NO_PROXY names hosts that are reached without it"
    if status is not None:
        return "the proxy cannot reach the gateway; NO_PROXY names hosts reached without the proxy"
    return f"check the proxy in {source}; NO_PROXY names hosts that are reached without it"
