"""The fake gateway: its server, its script, and the requests that it received."""

import os
import ssl
import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from ._answers import HTTPError, Scripted, answer_of
from ._recording.replay import recorded
from ._replies import Reply
from ._request import STREAM_PATH, RecordedRequest
from ._response import Response
from ._routes import credential, is_authorized, model_row, now_ms, refusal, usage_report
from ._script import ScriptWriter
from ._server import Server

__all__ = ["FakeGateway"]

_UNSCRIPTED = "this turn is not scripted, and the fake gateway is strict"
_DEFAULT = Reply(
    "Hello! This is the fake gateway of pi_native.testing: no model was asked, and no token billed."
)


class FakeGateway(ScriptWriter):
    """A gateway on loopback, in this process, with scripted answers.

    Use it as a context manager, or call `start()` and `close()`:

        >>> with FakeGateway().reply("Hello!").reply("Hello again", fault=HangUp()) as gateway:
        ...     client = Client(gateway.url, gateway.api_key, max_retries=0)
        ...     print(client.complete("fake/parrot", "Hi").text, gateway.last_request.model)
        ...     client.complete("fake/parrot", "Hi")
        Traceback (most recent call last):
        pi_native.errors.GatewayConnectionError: the answer was cut short

    Each turn takes the next entry of the script. After the last one, `default` answers. A request
    that a real gateway refuses (bearer, route, body, model) is refused, and takes no entry. The
    methods that write the script return the gateway, so that they can be chained.

    If a function in the script raises, its client gets a 500, and the end of the block raises the
    exception again.

    Args:
        api_key: the bearer token that clients must send; None accepts any request.
        models: the known models, as ids ("provider/id") or rows of `/v1/models`; None accepts any.
        version: the version in `/healthz`.
        api: the `api` of its messages.
        port: a fixed port; 0 selects a free one.
        tls: a server-side context, for https.
        strict: refuse turns that are not scripted, and fail at the end of the block if there were
            any or if answers are left.

    """

    def __init__(
        self,
        api_key: str | None = "test-key",
        *,
        models: Iterable[str | Mapping[str, Any]] | None = None,
        version: str = "18.2.3",
        api: str = "pi-native",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        strict: bool = False,
    ) -> None:
        self.api_key = api_key
        self.version = version
        self.api = api
        #: Refuse turns that are not scripted, and check the script at the end of the block.
        self.strict = strict
        #: The rows of `/v1/models`, and the only known models; None accepts any model.
        self.models: list[dict[str, Any]] | None = (
            None if models is None else [model_row(model) for model in models]
        )
        #: The reports of `/v1/usage`.
        self.usage_reports: list[dict[str, Any]] = [usage_report()]
        #: The rows of `/v1/credentials/check`.
        self.credentials: list[dict[str, Any]] = [credential()]
        #: Answers a turn when the script is empty: an answer, or a function of the request.
        self.default: Scripted = _DEFAULT
        super().__init__()
        self._port = port
        self._tls = tls
        self._server: Server | None = None
        self._requests: list[RecordedRequest] = []
        self._handed_out = 0
        self._failures: list[Exception] = []
        self._unscripted: list[RecordedRequest] = []
        self._changed = threading.Condition()

    def __repr__(self) -> str:
        where = self.url if self._server else "not started"
        return f"<FakeGateway {where}, {len(self.requests)} requests, {self.pending} pending>"

    @classmethod
    def replay(
        cls, path: str | os.PathLike[str], *, speed: float | None = None, **settings: Any
    ) -> "FakeGateway":
        """Return a gateway, not yet started, that answers like the recorded one.

            >>> with FakeGateway.replay("turn.jsonl") as gateway:
            ...     client = Client(gateway.url, gateway.api_key)
            ...     print(client.complete("anthropic/claude-sonnet-4-5", "Hello!").text)
            Because of the air.

        Each answer goes to the first request for its path and model, in the recorded order. A turn
        without an answer is a 404 that says so. `speed` is None for no delays, 1 for the recorded
        times, 2 for twice as fast. A response that was cut is cut again. Where the client had left,
        the gateway stalls: see `Stall`.

        `settings` are those of `FakeGateway`. Raises OSError if the file cannot be read, ValueError
        if it is not a recording.
        """
        gateway = cls(**settings)
        for answer in recorded(path, speed):
            target = urlsplit(answer.exchange.path).path
            gateway.add(answer, path=target, model=answer.model)
        gateway.default = _nothing_recorded
        return gateway

    # Start and end

    def start(self) -> "FakeGateway":
        """Start the server."""
        if self._server is not None:
            raise RuntimeError("the fake gateway was started already; make another one")
        self._server = Server(self._port, self._tls, self._handle)
        return self

    def close(self) -> None:
        """Cut every connection and end every thread, also stalled ones. Can be called again."""
        if self._server is not None:
            self._server.close()

    def __enter__(self) -> "FakeGateway":
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if exc is not None:
            return
        if self._failures:  # the client saw only a 500
            raise self._failures[0]
        if self.strict:
            self._assert_strict()

    @property
    def port(self) -> int:
        """The port of the server."""
        return self._started().server_port

    @property
    def url(self) -> str:
        """The base URL for a client, without a trailing slash."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def _started(self) -> Server:
        if self._server is None:
            raise RuntimeError("the fake gateway is not started: use it in a with statement")
        return self._server

    # The requests

    @property
    def requests(self) -> list[RecordedRequest]:
        """All requests so far, the oldest first."""
        with self._changed:
            return list(self._requests)

    @property
    def last_request(self) -> RecordedRequest:
        """The newest request. Raises AssertionError if there is none."""
        requests = self.requests
        if not requests:
            raise AssertionError("no request has come in")
        return requests[-1]

    @property
    def connections(self) -> int:
        """The number of TCP connections so far."""
        return self._started().accepted

    @property
    def open_connections(self) -> int:
        """The number of open TCP connections."""
        return self._started().open

    def wait_for_request(self, timeout: float = 5.0) -> RecordedRequest:
        """Return the next request, in order of arrival; wait for it if necessary.

        Each call returns another one. Raises TimeoutError after `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(self._has_news, timeout):
                raise TimeoutError(f"no request but {self._handed_out} came within {timeout:g} s")
            self._handed_out += 1
            return self._requests[self._handed_out - 1]

    def _has_news(self) -> bool:
        return len(self._requests) > self._handed_out

    def release(self) -> None:
        """End the stalls of all requests so far."""
        for request in self.requests:
            request.release()

    # Answering, in the thread of a connection

    def _handle(self, request: RecordedRequest) -> Response:
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
        try:
            return self._respond(request)
        except Exception as exc:  # noqa: BLE001 - a function in the script may raise anything
            self._failures.append(exc)
            return Response.json(500, {"error": "internal error"})

    def _respond(self, request: RecordedRequest) -> Response:
        route = f"{request.method} {request.path}"
        if route != "GET /healthz" and not is_authorized(request, self.api_key):
            return Response.json(401, {"error": "unauthorized"})
        is_turn = route == f"POST {STREAM_PATH}"
        if is_turn and (refused := refusal(request, self.models)) is not None:
            return refused
        entry = self._script.take(request)
        if entry is None:
            if not is_turn:
                return self._page(route)
            if self.strict:
                self._unscripted.append(request)
                return Response.error(404, "invalid_request_error", _UNSCRIPTED)
            entry = self.default
        return answer_of(entry, request).respond(request, self.api)

    def _assert_strict(self) -> None:
        if self._unscripted:
            lines = [f"  {request!r}" for request in self._unscripted]
            raise AssertionError("\n".join(["turns that were not scripted:", *lines]))
        self.assert_done()

    def _page(self, route: str) -> Response:
        body: dict[str, Any]
        if route == "GET /healthz":
            body = {"ok": True, "version": self.version}
        elif route == "GET /v1/models":
            rows = [model_row("fake/parrot")] if self.models is None else self.models
            body = {"object": "list", "data": rows}
        elif route == "GET /v1/usage":
            body = {"generatedAt": now_ms(), "reports": self.usage_reports}
        elif route == "GET /v1/credentials/check":
            body = {"generatedAt": now_ms(), "credentials": self.credentials}
        else:
            return Response.json(404, {"error": f"No route: {route}"})
        return Response.json(200, body)


def _nothing_recorded(request: RecordedRequest) -> HTTPError:
    return HTTPError(404, f"the recording has no answer left for a turn of {request.model}")
