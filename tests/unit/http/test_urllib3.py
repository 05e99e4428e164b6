"""What `_sockets` relies on in urllib3 and http.client, by name, so that a move is noticed."""

from __future__ import annotations

import http.client
import inspect
import socket

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from pi_native._http.connection import CancellableAdapter, direct_read
from pi_native.testing import FakeGateway

MOVED = "a part of {} that cancelling relies on has moved: {}; see pi_native/_sockets.py"


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (HTTPConnection, "_new_conn"),
        (HTTPConnectionPool, "ConnectionCls"),
        (HTTPConnectionPool, "_put_conn"),
        (HTTPSConnectionPool, "ConnectionCls"),
        (HTTPConnection, "response_class"),
        (http.client.HTTPResponse, "_close_conn"),
        (http.client.HTTPResponse, "read1"),
        (HTTPAdapter, "init_poolmanager"),
        (HTTPAdapter, "proxy_manager_for"),
    ],
)
def test_what_is_overridden_is_still_there(owner: type, name: str) -> None:
    """Every method and attribute that a subclass here replaces exists in its base class."""
    assert hasattr(owner, name), MOVED.format(owner.__module__, f"{owner.__name__}.{name}")


@pytest.mark.parametrize("connection_class", [HTTPConnection, HTTPSConnection])
def test_connecting_still_goes_through_new_conn(connection_class: type[HTTPConnection]) -> None:
    """`connect` gets its socket from `_new_conn`, where the lifeline is handed over."""
    source = inspect.getsource(connection_class.connect)
    assert "self._new_conn()" in source, MOVED.format("urllib3", "connect() and _new_conn()")


def test_a_connection_still_knows_its_host() -> None:
    """The name to look up is in `_dns_host`, the options for the socket in `socket_options`."""
    connection = HTTPConnection("gateway.invalid.", 4000)
    assert connection._dns_host == "gateway.invalid.", MOVED.format("urllib3", "_dns_host")
    assert isinstance(connection.socket_options, list), MOVED.format("urllib3", "socket_options")


def test_a_manager_still_makes_the_pools_it_is_told_to() -> None:
    """Pools come from `pool_classes_by_scheme`, and connections from the pool's own class."""
    adapter = CancellableAdapter()
    pool = adapter.poolmanager.connection_from_url("http://gateway.invalid:4000")
    assert type(pool).__module__ == "pi_native._http.connection", MOVED.format(
        "urllib3", "PoolManager.pool_classes_by_scheme"
    )
    assert type(pool._new_conn()).__module__ == "pi_native._http.connection", MOVED.format(
        "urllib3", "HTTPConnectionPool.ConnectionCls"
    )
    assert hasattr(PoolManager(), "pools"), MOVED.format("urllib3", "PoolManager.pools")
    adapter.close()


def test_the_answer_of_urllib3_still_holds_the_response_it_reads() -> None:
    """A chunked body can be read without urllib3 in between: it names the response it came from."""
    with FakeGateway() as gateway, requests.Session() as session:
        session.mount("http://", CancellableAdapter())
        answer = session.post(
            f"{gateway.url}/v1/pi/stream",
            headers={"Authorization": f"Bearer {gateway.api_key}"},
            json={"modelId": "fake/model", "context": {"messages": []}},
            stream=True,
        )
        assert answer.ok
        moved = MOVED.format("urllib3", "HTTPResponse._original_response")
        assert direct_read(answer.raw, list, list) is not None, moved
        answer.close()


def test_a_response_still_reads_through_its_fp() -> None:
    """http.client reads heads from `fp` while `headers` is None, and tells `chunked` bodies."""
    near, far = socket.socketpair()
    with near, far:
        response = http.client.HTTPResponse(near, method="POST")
        far.sendall(
            b"HTTP/1.1 103 Soon\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        response.begin()
        response.headers = None  # type: ignore[assignment]  # as it begins
        response.begin()
        assert response.status == 200, MOVED.format("http.client", "HTTPResponse.headers")
        assert hasattr(response.fp, "detach"), MOVED.format("http.client", "HTTPResponse.fp")
        assert response.chunked, MOVED.format("http.client", "HTTPResponse.chunked")
        response.close()
