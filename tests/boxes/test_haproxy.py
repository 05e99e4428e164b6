"""HAProxy in front of the gateway.

Without `option abortonclose` HAProxy does not pass a cancel on before the gateway sends again, even
when the client resets the connection (tried with 2.6).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pi_native import GatewayServerError
from pi_native.testing import FakeGateway, Stall

from .checks import check_all, client_of
from .programs import find, free_port, running

pytestmark = pytest.mark.boxes

CONFIG = """
global
    maxconn 100
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server {server}
    retries 0
    option abortonclose
frontend clients
    bind 127.0.0.1:{port} {bind}
    default_backend gateway
backend gateway
    server gateway 127.0.0.1:{gateway}
"""


@contextmanager
def haproxy(place: Path, gateway: int, *, bind: str = "", server: str = "30s") -> Iterator[int]:
    """Run HAProxy in front of a gateway's port; yield its own port."""
    program, port = find("haproxy"), free_port()
    config = place / "haproxy.cfg"
    config.write_text(CONFIG.format_map(dict(locals())))
    with running([program, "-db", "-f", str(config)], port, place):
        yield port


def test_plain(place: Path, gateway: FakeGateway) -> None:
    """Everything works through HAProxy."""
    with haproxy(place, gateway.port) as port:
        check_all(f"http://127.0.0.1:{port}", port, gateway)


@pytest.mark.usefixtures("trusted")
def test_with_tls(place: Path, gateway: FakeGateway, certificate: Path) -> None:
    """Everything works through HAProxy with TLS."""
    with haproxy(place, gateway.port, bind=f"ssl crt {certificate}") as port:
        check_all(f"https://localhost:{port}", port, gateway)


def test_a_gateway_that_is_down(place: Path) -> None:
    """HAProxy's 503 page is one line in the error."""
    with (
        haproxy(place, free_port()) as port,
        client_of(f"http://127.0.0.1:{port}") as client,
        pytest.raises(GatewayServerError, match="503: an HTML page") as caught,
    ):
        client.complete("x/y", "hi")
    assert "\n" not in str(caught.value)


def test_a_gateway_that_is_slow(place: Path, gateway: FakeGateway) -> None:
    """HAProxy's 504 page is one line in the error."""
    gateway.reply("late", fault=Stall(after=None))
    with (
        haproxy(place, gateway.port, server="500ms") as port,
        client_of(f"http://127.0.0.1:{port}") as client,
    ):
        with pytest.raises(GatewayServerError, match="504: an HTML page"):
            client.complete("x/y", "hi")
        gateway.release()
