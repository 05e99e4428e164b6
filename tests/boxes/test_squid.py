"""Squid as the proxy of the environment: plain requests, CONNECT, passwords and error pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pi_native import Client, GatewayConnectionError, GatewayServerError, InvalidRequestError
from pi_native.testing import FakeGateway

from ..loopback.calls import KEY
from .checks import check_all, client_of
from .conftest import NAME
from .programs import find, free_port, running

pytestmark = pytest.mark.boxes

CONFIG = """
http_port 127.0.0.1:{port}
pid_filename {place}/squid.pid
cache_log {place}/cache.log
access_log none
cache deny all
coredump_dir {place}
netdb_filename none
hosts_file {place}/hosts
visible_hostname proxy.test
shutdown_lifetime 0 seconds
{access}
"""
OPEN = "http_access allow all"
CLOSED = "http_access deny all"
PASSWORDS = """
while read -r line; do
    if [ "$line" = "user hush" ]; then echo OK; else echo ERR; fi
done
"""


@contextmanager
def squid(place: Path, access: str = OPEN) -> Iterator[int]:
    """Run Squid; yield its port. It knows the gateway's name."""
    program, port = find("squid"), free_port()
    (place / "hosts").write_text(f"127.0.0.1 {NAME}\n")
    config = place / "squid.conf"
    config.write_text(CONFIG.format_map(dict(locals())))
    with running([program, "-N", "-f", str(config)], port, place):
        yield port


def with_passwords(place: Path) -> str:
    """Return a configuration that requires user "user" with password "hush"."""
    script = place / "passwords.sh"
    script.write_text(PASSWORDS)
    return (
        f"auth_param basic program /bin/sh {script}\n"
        "acl users proxy_auth REQUIRED\nhttp_access allow users\nhttp_access deny all"
    )


def test_plain(place: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything works through a proxy that forwards plain requests."""
    with squid(place) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        check_all(f"http://{NAME}:{gateway.port}", port, gateway)


@pytest.mark.usefixtures("trusted")
def test_connect(place: Path, tls_gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything works through a CONNECT tunnel to an https gateway."""
    with squid(place) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        check_all(f"https://{NAME}:{tls_gateway.port}", port, tls_gateway)


@pytest.mark.usefixtures("trusted")
def test_connect_with_a_password(
    place: Path, tls_gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user and password of the proxy's URL open the tunnel."""
    with squid(place, with_passwords(place)) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hush@127.0.0.1:{port}")
        with client_of(f"https://{NAME}:{tls_gateway.port}") as client:
            assert client.complete("x/y", "hi").text


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("user", ["", "user:wrong@"])
def test_connect_without_the_password(
    place: Path, tls_gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    """A 407 fails at once, and says which proxy it is and where its password belongs."""
    with squid(place, with_passwords(place)) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{user}127.0.0.1:{port}")
        with Client(f"https://{NAME}:{tls_gateway.port}", KEY) as client:
            stream = client.stream("x/y", "hi")
            with pytest.raises(GatewayConnectionError) as caught:
                stream.result(20)
    text = str(caught.value)
    assert f"through the proxy 127.0.0.1:{port} (HTTPS_PROXY)" in text
    assert "407" in text
    assert "http://user:password@" in text
    assert "wrong" not in text
    assert stream.stats.attempts == 1


def test_a_plain_request_without_the_password(
    place: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without TLS the proxy's 407 is an error with one line, and its page is in the body."""
    with squid(place, with_passwords(place)) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        with (
            client_of(f"http://{NAME}:{gateway.port}") as client,
            pytest.raises(InvalidRequestError, match="407") as caught,
        ):
            client.complete("x/y", "hi")
    assert "\n" not in str(caught.value)
    assert "http://user:password@host:port" in str(caught.value)
    assert len(caught.value.body) > 1000


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("access", "status", "retryable"), [(CLOSED, 403, False), (OPEN, 503, True)]
)
def test_a_tunnel_that_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, access: str, status: int, retryable: bool
) -> None:
    """The error names the proxy and its status, and says what to do."""
    with squid(place, access) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with (
            client_of(f"https://{NAME}:{free_port()}") as client,
            pytest.raises(GatewayConnectionError, match=f"{status}") as caught,
        ):
            client.complete("x/y", "hi")
    assert "NO_PROXY" in str(caught.value)
    assert caught.value.retryable is retryable


def test_an_error_page(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Squid's page for a gateway that is down is one line in the error."""
    with squid(place) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        with (
            client_of(f"http://{NAME}:{free_port()}") as client,
            pytest.raises(GatewayServerError, match="503: an HTML page titled") as caught,
        ):
            client.complete("x/y", "hi")
    assert "a proxy or a web server answered" in str(caught.value)
