"""The hints of failed connections, and which failures time can heal."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import Any

import pytest
import requests
import urllib3

from pi_native import ConfigurationError, GatewayConnectionError
from pi_native._http.errors import Failure, map_exception, timeout_error
from pi_native._http.route import Route, check_proxy, find_route

DIRECT = Route("https://gateway.invalid")
PROXIED = Route("https://gateway.invalid", "127.0.0.1:3128", "HTTPS_PROXY")


def ssl_error(kind: type[ssl.SSLError], **attributes: Any) -> ssl.SSLError:
    """Return an error of TLS as OpenSSL makes it."""
    error = kind(1, attributes.pop("text", "[SSL] failed"))
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def verify_error(code: int) -> ssl.SSLError:
    """Return the error for a certificate that is refused."""
    return ssl_error(ssl.SSLCertVerificationError, verify_code=code, verify_message="no")


CASES: dict[str, tuple[Exception, Route, bool, str, bool]] = {
    "refused": (
        ConnectionRefusedError(111, "refused"),
        DIRECT,
        False,
        "is a gateway running there?",
        True,
    ),
    "no such host": (
        socket.gaierror(-2, "Name or service not known"),
        DIRECT,
        False,
        "no host of that name is known",
        True,
    ),
    "unknown authority": (verify_error(20), DIRECT, False, "REQUESTS_CA_BUNDLE", False),
    "self-signed": (verify_error(18), DIRECT, False, "SSL_CERT_FILE", False),
    "expired": (verify_error(10), DIRECT, False, "has expired", False),
    "other name": (verify_error(62), DIRECT, False, "is for another host", False),
    "plain port": (
        ssl_error(ssl.SSLError, reason="WRONG_VERSION_NUMBER"),
        DIRECT,
        False,
        "begin its URL with http://",
        False,
    ),
    "plain proxy": (
        ssl_error(ssl.SSLError, reason="WRONG_VERSION_NUMBER"),
        PROXIED,
        False,
        "or the proxy's in HTTPS_PROXY",
        False,
    ),
    "tls port": (
        http.client.BadStatusLine("\x15\x03\x01\x00\x02\x02"),
        DIRECT,
        True,
        "begin its URL with https://",
        True,
    ),
    "no http": (
        http.client.BadStatusLine("SSH-2.0-OpenSSH_9.2"),
        DIRECT,
        True,
        "does not speak HTTP",
        True,
    ),
    "proxy refuses": (
        ConnectionRefusedError(111, "refused"),
        PROXIED,
        False,
        "check the proxy in HTTPS_PROXY",
        True,
    ),
    "proxy unknown": (
        socket.gaierror(-2, "Name or service not known"),
        PROXIED,
        False,
        "check the proxy in HTTPS_PROXY",
        True,
    ),
    "407": (
        OSError("Tunnel connection failed: 407 Proxy Authentication Required"),
        PROXIED,
        False,
        "write them into HTTPS_PROXY as http://user:password@127.0.0.1:3128",
        False,
    ),
    "403": (
        OSError("Tunnel connection failed: 403 Forbidden"),
        PROXIED,
        False,
        "the proxy refuses this host",
        False,
    ),
    "503": (
        OSError("Tunnel connection failed: 503 Service Unavailable"),
        PROXIED,
        False,
        "the proxy cannot reach the gateway",
        True,
    ),
}


@pytest.mark.parametrize(
    ("cause", "route", "connected", "hint", "retryable"), CASES.values(), ids=CASES.keys()
)
def test_a_failed_connection_has_a_hint(
    cause: Exception, route: Route, connected: bool, hint: str, retryable: bool
) -> None:
    """Each cause has its own advice, at the end of the text, and only some are worth a retry."""
    wrapped = requests.ConnectionError(cause)
    failure = map_exception(Failure(wrapped, route, "https://u:hush@x", connected, (1, 1), 0.1))
    assert isinstance(failure, GatewayConnectionError)
    assert failure.hint
    assert hint in failure.hint
    assert str(failure).endswith(failure.hint)
    assert failure.retryable is retryable
    assert str(route) in str(failure)
    assert "hush" not in str(failure)


def test_a_timeout_says_where_and_how_long_and_what_to_raise() -> None:
    """The text of a connect timeout holds stage, limit and argument."""
    failure = timeout_error("connect", 2.5, "TCP connection to 10.0.0.1:443")
    for words in ("while connecting", "TCP connection to 10.0.0.1:443", "2.5 s", "connect_timeout"):
        assert words in str(failure)
    assert (failure.phase, failure.limit) == ("connect", 2.5)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    "proxy",
    [
        "http://user:hush@127.0.0.1:3128",
        "http://user:hush@127.0.0.1:3128/",
        "socks5h://user:hush@127.0.0.1:3128",
        "user:hush@127.0.0.1:3128",
    ],
)
def test_a_route_names_the_proxy_and_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, proxy: str
) -> None:
    """The route is shown with the proxy's address and variable, and without user and password."""
    monkeypatch.setenv(variable, proxy)
    kind = "all" if variable.lower().startswith("all") else "https"
    route = find_route("https://gateway.invalid/x", {"proxies": {kind: proxy}})
    expected = f"https://gateway.invalid through the proxy 127.0.0.1:3128 ({variable})"
    assert str(route) == expected


@pytest.mark.parametrize("password", ["hu#sh", "hu/sh", "hu?sh", "1#2"])
def test_a_password_that_breaks_the_proxys_url_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    """A special character in the password is a configuration error that names the variable only."""
    proxy = f"http://user:{password}@127.0.0.1:3128"
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as caught:
        check_proxy("https://gateway.invalid/x", {"proxies": {"https": proxy}})
    assert password not in str(caught.value)
    assert "user:" not in str(caught.value)


def test_missing_socks_support_names_the_extra() -> None:
    """Without PySocks the error says what to install, and does not blame the base URL."""
    error = requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")
    route = Route("https://gateway.invalid", "127.0.0.1:1080", "ALL_PROXY")
    failure = map_exception(Failure(error, route, "https://gateway.invalid", False, (1, 1), 0.1))
    assert type(failure) is ConfigurationError
    assert "SOCKS support is missing: pip install 'requests[socks]'" in str(failure)
    assert "127.0.0.1:1080 (ALL_PROXY)" in str(failure)


def test_a_proxys_url_is_never_quoted() -> None:
    """The text of requests about a bad proxy URL holds the password, so it is left out."""
    error = requests.exceptions.InvalidProxyURL("bad http://user:hush@127.0.0.1:3128")
    failure = map_exception(Failure(error, PROXIED, "https://gateway.invalid", False, (1, 1), 0.1))
    assert "hush" not in str(failure)
    parse = urllib3.exceptions.LocationParseError("http://user:hush@:x")
    failure = map_exception(Failure(parse, PROXIED, "https://gateway.invalid", False, (1, 1), 0.1))
    assert "hush" not in str(failure)
