"""The classes under requests, and the private names that they rely on."""

from __future__ import annotations

import http.client
import socket

import pytest
import requests
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from pi_native._http import adapter
from pi_native._http.adapter import CancellableAdapter, direct_read
from pi_native._http.response import ChunkedResponse
from pi_native.testing import FakeGateway


@pytest.mark.parametrize(
    ("owner", "name", "words"),
    [
        (HTTPConnection, "_new_conn", "urllib3 "),
        (HTTPConnectionPool, "_put_conn", "urllib3 "),
        (requests.adapters.HTTPAdapter, "init_poolmanager", "requests "),
        (HTTPConnection, "is_connected", "urllib3 "),
    ],
)
def test_a_missing_private_name_is_an_import_error(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, words: str
) -> None:
    """A library without a name that is relied on is refused, with its version and the name."""
    adapter.check_private_names()
    monkeypatch.delattr(owner, name)
    with pytest.raises(
        ImportError, match=f"does not work with {words}[0-9.]+, which has no {name}"
    ):
        adapter.check_private_names()


def test_pools_and_connections_are_ours() -> None:
    """The pools of a manager, and the connections of a pool, are of the package's classes."""
    made = CancellableAdapter()
    for scheme in ("http", "https"):
        pool = made.poolmanager.connection_from_url(f"{scheme}://gateway.invalid:4000")
        assert type(pool).__module__ == "pi_native._http.adapter"
        assert type(pool._new_conn()).__module__ == "pi_native._http.adapter"
    made.close()


def test_a_chunked_body_is_read_directly() -> None:
    """The response of urllib3 names the response that it reads, so urllib3 can be left out."""
    with FakeGateway() as gateway, requests.Session() as session:
        session.mount("http://", CancellableAdapter())
        response = session.post(
            f"{gateway.url}/v1/pi/stream",
            headers={"Authorization": f"Bearer {gateway.api_key}"},
            json={"modelId": "fake/model", "context": {"messages": []}},
            stream=True,
        )
        assert response.ok
        assert direct_read(response.raw) is not None
        response.close()


def test_the_head_of_an_interim_response_is_skipped() -> None:
    """`begin` reads until the final head, and accepts the argument that Python 3.15 gives it."""
    near, far = socket.socketpair()
    with near, far:
        response = ChunkedResponse(near, method="POST")
        far.sendall(
            b"HTTP/1.1 103 Soon\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        response.begin()
        assert response.status == 200
        assert response.chunked
        response.close()


def test_begin_passes_the_limits_of_newer_pythons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.15 calls `begin(_max_headers=...)`, which reaches http.client's own."""
    seen: list[object] = []
    original = http.client.HTTPResponse.begin

    def begin(self: http.client.HTTPResponse, *, _max_headers: int | None = None) -> None:
        seen.append(_max_headers)
        original(self)

    monkeypatch.setattr(http.client.HTTPResponse, "begin", begin)
    near, far = socket.socketpair()
    with near, far:
        response = ChunkedResponse(near, method="POST")
        far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        response.begin(_max_headers=7)
        response.close()
    assert seen == [7]
