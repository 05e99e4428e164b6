"""nginx in front of the gateway: buffering, gzip, TLS, redirects, error pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pi_native import AuthGatewayError, GatewayServerError, InvalidRequestError
from pi_native.testing import FakeGateway, Stall

from ..conftest import wait_until
from ..loopback.calls import workers
from .checks import check_all, check_cancel, check_results_and_errors, client_of
from .programs import connections, find, free_port, running

pytestmark = pytest.mark.boxes

CONFIG = """
daemon off; master_process off; pid {place}/nginx.pid; error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {place}/a; proxy_temp_path {place}/b; fastcgi_temp_path {place}/c;
    uwsgi_temp_path {place}/d; scgi_temp_path {place}/e;
    client_max_body_size 10m;
    upstream gateway {{ server 127.0.0.1:{gateway}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port} {listen};
        {server}
        location / {{
            proxy_pass http://gateway; proxy_http_version 1.1; proxy_set_header Connection "";
            {location}
        }}
    }}
}}
"""
UNBUFFERED = "proxy_buffering off;"


@contextmanager
def nginx(
    place: Path, gateway: int, *, listen: str = "", server: str = "", location: str = UNBUFFERED
) -> Iterator[int]:
    """Run nginx in front of a gateway's port; yield its own port."""
    program, port = find("nginx"), free_port()
    config = place / "nginx.conf"
    config.write_text(CONFIG.format_map(dict(locals())))
    command = [program, "-p", str(place), "-c", str(config), "-e", "stderr"]
    with running(command, port, place):
        yield port


def test_without_buffering(place: Path, gateway: FakeGateway) -> None:
    """Everything works through nginx with `proxy_buffering off`."""
    with nginx(place, gateway.port) as port:
        check_all(f"http://127.0.0.1:{port}", port, gateway)


def test_with_gzip(place: Path, gateway: FakeGateway) -> None:
    """An nginx that compresses does not compress a stream, and delays no event."""
    server = "gzip on; gzip_types text/event-stream; gzip_proxied any; gzip_min_length 0;"
    with nginx(place, gateway.port, server=server) as port:
        check_all(f"http://127.0.0.1:{port}", port, gateway)


def test_with_buffering(place: Path, gateway: FakeGateway) -> None:
    """With nginx's default buffering results, errors and cancels are right, if events are late."""
    with nginx(place, gateway.port, location="") as port:
        url = f"http://127.0.0.1:{port}"
        check_results_and_errors(url, gateway)
        check_cancel(url, gateway)


@pytest.mark.usefixtures("trusted")
def test_with_tls(place: Path, gateway: FakeGateway, certificate: Path) -> None:
    """Everything works through TLS, with the authority in SSL_CERT_FILE."""
    server = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};"
    with nginx(place, gateway.port, listen="ssl", server=server) as port:
        check_all(f"https://localhost:{port}", port, gateway)


@pytest.mark.usefixtures("trusted")
def test_a_plain_request_to_a_tls_port(
    place: Path, gateway: FakeGateway, certificate: Path
) -> None:
    """The error of the TLS port says that the URL has to begin with https."""
    server = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};"
    with (
        nginx(place, gateway.port, listen="ssl", server=server) as port,
        client_of(f"http://127.0.0.1:{port}") as client,
        pytest.raises(InvalidRequestError, match="begin the base URL with https://"),
    ):
        client.complete("x/y", "hi")


def test_a_redirect(place: Path, gateway: FakeGateway) -> None:
    """A redirect is an error that says where it leads."""
    location = "return 308 https://gateway.test$request_uri;"
    with (
        nginx(place, gateway.port, location=location) as port,
        client_of(f"http://127.0.0.1:{port}") as client,
        pytest.raises(AuthGatewayError, match=r"redirects to https://gateway\.test/v1") as caught,
    ):
        client.complete("x/y", "hi")
    assert "use https://gateway.test as base URL" in str(caught.value)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.usefixtures("trusted")
def test_a_request_that_is_too_large(
    place: Path, gateway: FakeGateway, certificate: Path, secure: bool
) -> None:
    """A 413 that arrives during the upload is read, with TLS too, and nothing is sent again."""
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};" if secure else ""
    server = f"client_max_body_size 1k; {tls}"
    scheme = "https" if secure else "http"
    with (
        nginx(place, gateway.port, listen="ssl" if secure else "", server=server) as port,
        client_of(f"{scheme}://localhost:{port}") as client,
    ):
        for _ in range(3):
            with pytest.raises(InvalidRequestError, match="413") as caught:
                client.complete("x/y", "x" * 5_000_000)
            assert caught.value.status == 413
            assert "\n" not in str(caught.value)
            assert "<html>" in caught.value.body
    assert gateway.requests == []


def test_a_gateway_that_is_down(place: Path) -> None:
    """Nginx's 502 page is one line in the error."""
    with (
        nginx(place, free_port()) as port,
        client_of(f"http://127.0.0.1:{port}") as client,
        pytest.raises(GatewayServerError, match='502: an HTML page titled "502 Bad Gateway"'),
    ):
        client.complete("x/y", "hi")


def test_a_gateway_that_is_slow(place: Path, gateway: FakeGateway) -> None:
    """Nginx's 504 page is one line in the error."""
    gateway.reply("late", fault=Stall(after=None))
    location = "proxy_read_timeout 500ms;"
    with (
        nginx(place, gateway.port, location=location) as port,
        client_of(f"http://127.0.0.1:{port}") as client,
    ):
        with pytest.raises(GatewayServerError, match="504: an HTML page titled"):
            client.complete("x/y", "hi")
        gateway.release()


def test_kept_connections_that_are_closed(place: Path, gateway: FakeGateway) -> None:
    """A connection that nginx has closed is replaced, and no turn fails."""
    with (
        nginx(place, gateway.port, server="keepalive_timeout 1s;") as port,
        client_of(f"http://127.0.0.1:{port}") as client,
    ):
        for _ in range(2):
            assert client.complete("x/y", "hi").text
            assert wait_until(lambda: not workers(), 10)
            assert wait_until(lambda: not connections(port), 20)
