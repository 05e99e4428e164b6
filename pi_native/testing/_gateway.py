"""The fake gateway itself: the listener, the script, the record of what came in."""

import os
import ssl
import threading
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from pi_native import ToolCall, Usage

from ._answers import Events, HTTPError, Raw, Reply, Scripted, Verbatim
from ._faults import Fault
from ._replay import recorded
from ._request import STREAM_PATH, RecordedRequest
from ._response import Framing, Response
from ._routes import credential, is_authorized, model_row, now_ms, refusal, usage_report
from ._script import Script
from ._server import Server

__all__ = ["FakeGateway"]

_DEFAULT = Reply(
    "Hello! This is the fake gateway of pi_native.testing: no model was asked, and no token billed."
)


class FakeGateway:
    """A gateway on loopback, in this process, that says what it is told to say.

    Use it as a context manager, or call `start()` and `close()`:

        >>> with FakeGateway().reply("Hello!").reply("Hello again", fault=HangUp()) as gateway:
        ...     client = Client(gateway.url, gateway.api_key, max_retries=0)
        ...     print(client.complete("fake/parrot", "Hi").text, gateway.last_request.model)
        ...     client.complete("fake/parrot", "Hi")
        Traceback (most recent call last):
        pi_native.errors.GatewayConnectionError: the response was cut short

    Each turn takes the next entry of the script; past its end, `default` answers. A request that a
    real gateway would turn down (bearer, route, body, model) is turned down and takes no entry.
    The methods that write the script return the gateway, so they can be chained. A script's
    function that raises gets its client a 500, and the error is raised again on leaving the block.

    Args:
        api_key: the bearer token it wants; None: it wants none.
        models: the models that it knows, as ids ("provider/id") or rows of `/v1/models`. None: any.
        version: what `/healthz` says.
        api: the `api` of the messages that it makes.
        port: a fixed port; 0: any free one.
        tls: a server-side context, to serve https.
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
    ) -> None:
        self.api_key = api_key
        self.version = version
        self.api = api
        #: The rows of `/v1/models`, and the only models known; None: any model is.
        self.models: list[dict[str, Any]] | None = (
            None if models is None else [model_row(model) for model in models]
        )
        #: The reports of `/v1/usage`.
        self.usage_reports: list[dict[str, Any]] = [usage_report()]
        #: The rows of `/v1/credentials/check`.
        self.credentials: list[dict[str, Any]] = [credential()]
        #: What answers a turn when the script is empty: an answer, or a function of the request.
        self.default: Scripted = _DEFAULT
        self._port = port
        self._tls = tls
        self._server: Server | None = None
        self._script = Script()
        self._requests: list[RecordedRequest] = []
        self._handed_out = 0
        self._failures: list[Exception] = []
        self._changed = threading.Condition()

    def __repr__(self) -> str:
        where = self.url if self._server else "not started"
        return f"<FakeGateway {where}, {len(self.requests)} requests, {self.pending} pending>"

    @classmethod
    def replay(
        cls, path: str | os.PathLike[str], *, speed: float | None = None, **settings: Any
    ) -> "FakeGateway":
        """Return a gateway, still to be started, that answers as the one that was recorded.

            >>> with FakeGateway.replay("turn.jsonl") as gateway:
            ...     client = Client(gateway.url, gateway.api_key)
            ...     print(client.complete("anthropic/claude-sonnet-4-5", "Hello!").text)
            Because of the air.

        Each answer goes to the first request for its path and its model, in the order in which
        they were asked for; a turn for which none is left is a 404 that says so. `speed` is None
        for as fast as possible, 1 for the recorded times, 2 for twice as fast. An answer that broke
        off breaks off again; where the client had left, the gateway stalls: see `Stall`.

        `settings` are those of `FakeGateway`. Raises OSError if the file cannot be read, ValueError
        if it is no recording.
        """
        gateway = cls(**settings)
        for answer in recorded(path, speed):
            target = urlsplit(answer.exchange.path).path
            gateway.add(answer, path=target, model=answer.model)
        gateway.default = _nothing_recorded
        return gateway

    # Its life

    def start(self) -> "FakeGateway":
        """Start to listen."""
        if self._server is not None:
            raise RuntimeError("the fake gateway was started already")
        self._server = Server(self._port, self._tls, self._handle)
        return self

    def close(self) -> None:
        """Cut every connection and end every thread, stalled ones too. Closing twice is fine."""
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
        # Its client only saw a 500; here is the cause.
        if exc is None and self._failures:
            raise self._failures[0]

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._started().server_port

    @property
    def url(self) -> str:
        """The base URL for a client, without a trailing slash."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def _started(self) -> Server:
        if self._server is None:
            raise RuntimeError("the fake gateway is not started: use it in a with statement")
        return self._server

    # The script

    def reply(
        self,
        text: str | Sequence[str] = "",
        *,
        thinking: str | Sequence[str] = "",
        tool_calls: Sequence[ToolCall | Mapping[str, Any]] = (),
        usage: Usage | Mapping[str, Any] | None = None,
        stop_reason: str | None = None,
        error_message: str | None = None,
        error_status: int | None = None,
        fault: Fault | Sequence[Fault] = (),
    ) -> "FakeGateway":
        """Script a turn of a model; see `Reply`."""
        return self.add(
            Reply(
                text,
                thinking=thinking,
                tool_calls=tool_calls,
                usage=usage,
                stop_reason=stop_reason,
                error_message=error_message,
                error_status=error_status,
                fault=fault,
            )
        )

    def events(
        self, events: Sequence[Any], *, done: bool = True, fault: Fault | Sequence[Fault] = ()
    ) -> "FakeGateway":
        """Script a turn of given events, objects or wire JSON; see `Events`."""
        return self.add(Events(events, done=done, fault=fault))

    def raw(
        self,
        body: bytes | Sequence[bytes],
        *,
        framing: Framing = "chunked",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        fault: Fault | Sequence[Fault] = (),
    ) -> "FakeGateway":
        """Script a turn whose body is given, in pieces if need be; see `Raw`."""
        return self.add(
            Raw(body, framing=framing, status=status, headers=headers or {}, fault=fault)
        )

    def verbatim(
        self,
        response: bytes | Sequence[bytes],
        *,
        keep_alive: bool = False,
        fault: Fault | Sequence[Fault] = (),
    ) -> "FakeGateway":
        """Script a whole HTTP response, status line and all; see `Verbatim`."""
        return self.add(Verbatim(response, keep_alive=keep_alive, fault=fault))

    def error(
        self,
        status: int,
        message: str | None = None,
        *,
        type: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        fault: Fault | Sequence[Fault] = (),
    ) -> "FakeGateway":
        """Script an HTTP error; see `HTTPError`."""
        return self.add(
            HTTPError(status, message, type=type, headers=headers or {}, body=body, fault=fault)
        )

    def add(
        self, *answers: Scripted, path: str = STREAM_PATH, model: str | None = None
    ) -> "FakeGateway":
        """Append to the script: answers for turns, or for another path, such as `/v1/models`.

        An entry is an answer or a function that is called with the request and returns one. With a
        `model` it waits for a turn of that model: where threads race, each can have its own.
        """
        self._script.add(answers, path, model)
        return self

    @property
    def pending(self) -> int:
        """How many script entries have not been asked for yet."""
        return len(self._script)

    def assert_done(self) -> None:
        """Raise AssertionError, naming them, if script entries have not been asked for."""
        left = self._script.outline()
        if left:
            came = [f"  {request!r}" for request in self.requests] or ["  nothing"]
            parts = [f"{len(left)} answers were not asked for:", *(f"  {line}" for line in left)]
            raise AssertionError("\n".join([*parts, "what came in:", *came]))

    # What came in

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request so far, the oldest first."""
        with self._changed:
            return list(self._requests)

    @property
    def last_request(self) -> RecordedRequest:
        """The newest request. Raises AssertionError if none has come."""
        requests = self.requests
        if not requests:
            raise AssertionError("no request has come in")
        return requests[-1]

    @property
    def connections(self) -> int:
        """How many TCP connections were made so far."""
        return self._started().accepted

    @property
    def open_connections(self) -> int:
        """How many of them are still open."""
        return self._started().open

    def wait_for_request(self, timeout: float = 5.0) -> RecordedRequest:
        """Return the oldest request that no call before has returned; wait for it if need be.

        Raises TimeoutError after `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(self._has_news, timeout):
                raise TimeoutError(f"no request but {self._handed_out} came within {timeout:g} s")
            self._handed_out += 1
            return self._requests[self._handed_out - 1]

    def _has_news(self) -> bool:
        return len(self._requests) > self._handed_out

    def release(self) -> None:
        """End the stalls of every request so far."""
        for request in self.requests:
            request.release()

    # Answering, in the threads of the connections

    def _handle(self, request: RecordedRequest) -> Response:
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
        try:
            return self._respond(request)
        except Exception as exc:  # noqa: BLE001  (whatever a script's function raises)
            self._failures.append(exc)
            return Response.json(500, {"error": "internal error"})

    def _respond(self, request: RecordedRequest) -> Response:
        route = f"{request.method} {request.path}"
        if route != "GET /healthz" and not is_authorized(request, self.api_key):
            return Response.json(401, {"error": "unauthorized"})
        is_turn = route == f"POST {STREAM_PATH}"
        if is_turn and (refused := refusal(request, self._known_models())) is not None:
            return refused
        entry = self._script.take(request)
        if entry is None:
            if not is_turn:
                return self._page(route)
            entry = self.default
        answer = entry(request) if callable(entry) else entry
        return answer.respond(request, self.api)

    def _known_models(self) -> set[str] | None:
        return None if self.models is None else {row["id"] for row in self.models}

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
