"""The way that a request takes: directly or through a proxy, and which certificates are trusted."""

from __future__ import annotations

import ipaddress
import os
from typing import Any
from urllib.parse import urlsplit

import attrs
import requests
from requests.utils import select_proxy

from ..errors import ConfigurationError

_CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # OpenSSL's own; requests ignores them


@attrs.frozen
class Route:
    """The gateway's origin, and the proxy in front of it. Both are safe to show."""

    origin: str
    proxy: str | None = None
    variable: str | None = None

    def __str__(self) -> str:
        """Return the origin, with the proxy and the variable that names it."""
        if self.proxy is None:
            return self.origin
        source = f" ({self.variable})" if self.variable else ""
        return f"{self.origin} through the proxy {self.proxy}{source}"


def check_proxy(url: str, settings: dict[str, Any]) -> None:
    """Raise `ConfigurationError` for a proxy whose URL cannot be used.

    It is not quoted, as it may hold a password.
    """
    proxy = select_proxy(url, settings["proxies"])
    if proxy:
        _proxy_address(proxy, _variable(url, proxy))


def find_route(url: str, settings: dict[str, Any]) -> Route:
    """Return the route of a request with these settings of requests, for the text of its error."""
    proxy = select_proxy(url, settings["proxies"])
    if not proxy:
        return Route(origin(url))
    variable = _variable(url, proxy)
    return Route(origin(url), _proxy_address(proxy, variable), variable)


def request_settings(session: requests.Session, url: str) -> dict[str, Any]:
    """Return the proxies and certificates of a request, as `Session.send` takes them.

    A loopback URL never has a proxy; the system is not even asked for one, which is not allowed in
    a forked child on macOS.
    """
    loopback = is_loopback(url)
    proxies: Any = {"no_proxy": urlsplit(url).hostname} if loopback else {}
    merged: Any = session.merge_environment_settings(url, proxies, True, None, None)
    settings: dict[str, Any] = dict(merged)
    if loopback:
        settings["proxies"] = {}
    if settings["verify"] is True and session.trust_env:
        found = (os.environ.get(name) for name in _CA_VARIABLES)
        settings["verify"] = next((path for path in found if path), True)
    return settings


def is_loopback(url: str) -> bool:
    """Return True if the URL's host is this machine, by name or by address."""
    try:
        host = (urlsplit(url).hostname or "").rstrip(".").lower()
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
        return address.is_loopback or address.is_unspecified  # 0.0.0.0 connects to this machine
    except ValueError:
        return False


def origin(url: str) -> str:
    """Return scheme, host and port of a URL, without user and password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "no URL"  # not shown: it may hold a password
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _proxy_address(proxy: str, variable: str | None) -> str:
    """Return host and port of a proxy."""
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if "@" in parts.path + parts.query + parts.fragment:
        raise ConfigurationError(
            f"the proxy in {variable or 'the settings'} is not a URL: write special characters of "
            f'its user name and password in percent form, for example "#" as "%23"'
        )
    return parts.netloc.rpartition("@")[2]


def _variable(url: str, proxy: str) -> str | None:
    """Return the environment variable that names the proxy."""
    scheme = urlsplit(url).scheme
    for name in (f"{scheme}_proxy", "all_proxy"):
        for spelling in (name, name.upper()):
            if os.environ.get(spelling) == proxy:
                return spelling if spelling in os.environ else None
    return None
