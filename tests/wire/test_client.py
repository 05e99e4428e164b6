"""The client: one gateway, one key, the turns made with them, and the gateway's other pages."""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pi_native import (
    AbortSignal,
    AssistantMessage,
    AuthenticationError,
    AuthGatewayError,
    Client,
    ConfigurationError,
    Context,
    CredentialsCheck,
    CredentialStatus,
    DecodeError,
    DeveloperMessage,
    GatewayConnectionError,
    GatewayServerError,
    Health,
    ImageContent,
    IncompleteStreamError,
    InvalidRequestError,
    Model,
    ModelInfo,
    PiNativeError,
    ProviderError,
    StreamProtocolError,
    StreamTimeoutError,
    TextContent,
    Tool,
    ToolCall,
    ToolResultMessage,
    UnknownMessage,
    UsageSnapshot,
    UserMessage,
)
from pi_native.testing import FakeGateway, HTTPError, Raw, Stall, Verbatim

from ..conftest import threads, wait_until
from .calls import KEY
from .frames import DELTA, FINISHED, frame
from .peer import CHUNKED, OK, Connection, FullBacklog, Peer, answers, chunk

LIMIT = 0.25  # seconds
LATE = 2.0  # so much later than its limit a deadline may be noticed on a busy machine
_never = threading.Event()


def json_page(body: bytes) -> Verbatim:
    """A 200 with this body, as the answer to a question."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return Verbatim(head % len(body) + body, keep_alive=True)


def sent(gateway: FakeGateway) -> list[Any]:
    """The messages of the newest turn that came in, without their times."""
    messages = gateway.requests[-1].context["messages"]
    return [{k: v for k, v in message.items() if k != "timestamp"} for message in messages]


# The gateway's other pages.

PAGES: dict[str, tuple[Callable[[Client], object], str]] = {
    "models": (Client.models, "/v1/models"),
    "health": (Client.health, "/healthz"),
    "usage": (Client.usage, "/v1/usage"),
    "check_credentials": (Client.check_credentials, "/v1/credentials/check"),
}
each_page = pytest.mark.parametrize(("ask", "path"), PAGES.values(), ids=PAGES.keys())


def test_models_are_listed() -> None:
    """Each row is a `ModelInfo`, with what the gateway says of it and None for what it does not."""
    rows = [{"id": "a/b", "supports_tools": True, "newer": {"x": 1}}, "c/d/e"]
    with FakeGateway(KEY, models=rows) as gateway, Client(gateway.url, KEY) as client:
        first, second = client.models()
    assert isinstance(first, ModelInfo)
    assert (first.id, first.owned_by, first.display_name) == ("a/b", "a", "b")
    assert (first.supports_tools, first.context_length) == (True, 200_000)
    assert (first.input_modalities, first.extra) == (["text", "image"], {"newer": {"x": 1}})
    assert (second.id, second.supports_tools) == ("c/d/e", None)


def test_no_models_are_an_empty_list() -> None:
    """A gateway without models has none."""
    with FakeGateway(KEY, models=[]) as gateway, Client(gateway.url, KEY) as client:
        assert client.models() == []


def test_health_is_told_without_a_key(gateway: FakeGateway) -> None:
    """Whether it is up, and its version, needs no key."""
    with Client(gateway.url) as client:
        health = client.health()
    assert isinstance(health, Health)
    assert (health.ok, health.version) == (True, "18.2.3")


def test_usage_is_told(gateway: FakeGateway, client: Client) -> None:
    """The reports come as the gateway gives them, with the time they are of."""
    before = time.time() * 1000
    usage = client.usage()
    assert isinstance(usage, UsageSnapshot)
    assert usage.reports == gateway.usage_reports
    assert before - 1 <= usage.generated_at <= time.time() * 1000


def test_credentials_are_checked(gateway: FakeGateway, client: Client) -> None:
    """Each is a `CredentialStatus`; one that cannot be told has None."""
    gateway.credentials.append({"id": 2, "provider": "p", "type": "api_key", "ok": None})
    gateway.credentials.append(
        {"id": "x", "provider": "p", "type": "t", "ok": False, "reason": "r"}
    )
    check = client.check_credentials()
    assert isinstance(check, CredentialsCheck)
    assert all(isinstance(each, CredentialStatus) for each in check.credentials)
    assert [(each.id, each.ok, each.reason) for each in check.credentials] == [
        (1, True, None),
        (2, None, None),
        ("x", False, "r"),
    ]


@each_page
def test_a_page_is_asked_for_with_a_get(
    gateway: FakeGateway, ask: Callable[[Client], object], path: str
) -> None:
    """The request is a GET without a body, with the key, attribution and the client's headers."""
    with Client(gateway.url + "//", KEY, headers={"X-Mine": "1"}, install_id="i-1") as client:
        ask(client)
    (request,) = gateway.requests
    assert (request.method, request.target, request.body) == ("GET", path, b"")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["accept"] == "application/json"
    assert request.headers["x-omp-app"] == "pi-native-python"
    assert (request.headers["x-omp-install-id"], request.headers["x-mine"]) == ("i-1", "1")


@pytest.mark.parametrize("page", ["models", "usage", "check_credentials"])
def test_a_page_with_the_wrong_key(gateway: FakeGateway, page: str) -> None:
    """A 401 is told as for a turn."""
    with Client(gateway.url, "wrong") as client, pytest.raises(AuthenticationError) as caught:
        PAGES[page][0](client)
    assert caught.value.status == 401
    assert str(caught.value) == 'auth-gateway 401: {"error":"unauthorized"}'


@each_page
@pytest.mark.parametrize(
    ("status", "kind"), [(404, InvalidRequestError), (503, GatewayServerError)]
)
def test_a_page_that_is_refused(
    gateway: FakeGateway,
    client: Client,
    ask: Callable[[Client], object],
    path: str,
    status: int,
    kind: type[AuthGatewayError],
) -> None:
    """Any other status is told with its message, code and request id."""
    headers = {"x-request-id": "r-1", "Retry-After": "3"}
    gateway.add(HTTPError(status, "because", type="t", headers=headers), path=path)
    with pytest.raises(kind, match="because") as caught:
        ask(client)
    assert (caught.value.code, caught.value.request_id) == ("t", "r-1")
    assert caught.value.retry_after == 3


NO_OBJECTS = [b"", b"<html>", b"{", b"null", b"7", b'"x"', b"[]", b'{"a":NaN}', b"[" * 100_000]


@each_page
@pytest.mark.parametrize("body", NO_OBJECTS, ids=lambda body: repr(body[:10]))
def test_a_page_that_is_no_object(
    gateway: FakeGateway,
    client: Client,
    ask: Callable[[Client], object],
    path: str,
    body: bytes,
) -> None:
    """A 200 whose body is no JSON object is not the protocol, and the error quotes it."""
    gateway.add(json_page(body), path=path)
    with pytest.raises(StreamProtocolError) as caught:
        ask(client)
    assert body[:5].decode() in str(caught.value)
    assert len(str(caught.value)) < 1000


MISFITS = {
    "models": [{"data": [7]}, {"data": [{"id": 7}]}, {"data": {"a": 1}}, {"data": "x"}],
    "health": [{"ok": 1}, {"version": 7}],
    "usage": [{"generatedAt": "now"}, {"reports": {}}, {"reports": [7]}],
    "check_credentials": [{"credentials": [{"ok": "yes"}]}, {"credentials": "none"}],
}


@pytest.mark.parametrize(
    ("page", "body"), [(page, body) for page, bodies in MISFITS.items() for body in bodies]
)
def test_a_page_that_does_not_fit(
    gateway: FakeGateway, client: Client, page: str, body: dict[str, Any]
) -> None:
    """An object of the wrong shape is a DecodeError that names the fault."""
    ask, path = PAGES[page]
    gateway.add(json_page(json.dumps(body).encode()), path=path)
    with pytest.raises(DecodeError) as caught:
        ask(client)
    assert caught.value.problems


def test_a_list_of_models_that_is_a_number(gateway: FakeGateway, client: Client) -> None:
    """`data` that cannot even be looped over is a DecodeError too."""
    gateway.add(json_page(b'{"data": 7}'), path="/v1/models")
    with pytest.raises(DecodeError):
        client.models()


@each_page
def test_a_page_that_lacks_everything(
    gateway: FakeGateway, client: Client, ask: Callable[[Client], object], path: str
) -> None:
    """Missing members are no fault: they are None, or no rows."""
    gateway.add(json_page(b"{}"), path=path)
    assert ask(client) is not None


def dribble(connection: Connection) -> None:
    """Answer with a body that never ends, a little at a time."""
    connection.read_request()
    connection.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    until = time.monotonic() + LIMIT + LATE + 1
    while time.monotonic() < until:
        connection.send(chunk(b" "))
        _never.wait(LIMIT / 5)


@pytest.mark.parametrize(
    ("script", "phase"),
    [(answers(), "headers"), (dribble, "first_event")],
    ids=["silent", "dribble"],
)
@each_page
def test_a_page_that_stalls(
    ask: Callable[[Client], object],
    path: str,  # noqa: ARG001 - names the page
    script: Callable[[Connection], object],
    phase: str,
) -> None:
    """Headers and body are bounded by the first-event timeout, and the connection is closed."""
    with Peer(script) as peer, Client(peer.url, KEY, first_event_timeout=LIMIT) as client:
        began = time.monotonic()
        with pytest.raises(StreamTimeoutError) as caught:
            ask(client)
        assert LIMIT * 0.95 < time.monotonic() - began < LIMIT + LATE
        assert (caught.value.phase, caught.value.limit) == (phase, LIMIT)
        assert peer.closed.wait(2)


def test_a_page_that_stalls_is_late_though_the_clock_is_later() -> None:
    """A stall in the body is a timeout, and not a lost connection, if the watchdog is held up."""
    hold = AbortSignal.timeout(LIMIT / 2)
    hold.add_listener(lambda: _never.wait(LIMIT))  # it runs in the watchdog's thread
    half = answers(OK, b'Content-Length: 100\r\n\r\n{"ok"')
    with Peer(half) as peer, Client(peer.url, KEY, first_event_timeout=LIMIT) as client:
        with pytest.raises(StreamTimeoutError) as caught:
            client.health()
        assert (caught.value.phase, caught.value.limit) == ("first_event", LIMIT)


def test_a_page_is_bounded_as_a_whole() -> None:
    """The total timeout ends a question too, whatever it is waiting for."""
    with Peer(dribble) as peer, Client(peer.url, KEY, total_timeout=LIMIT) as client:
        with pytest.raises(StreamTimeoutError) as caught:
            client.health()
        assert (caught.value.phase, caught.value.limit) == ("total", LIMIT)
        assert peer.closed.wait(2)


def test_a_page_that_cannot_be_reached_in_time() -> None:
    """Connecting is bounded by the connect timeout."""
    with FullBacklog() as backlog, Client(backlog.url, KEY, connect_timeout=LIMIT) as client:
        with pytest.raises(StreamTimeoutError) as caught:
            client.health()
        assert (caught.value.phase, caught.value.limit) == ("connect", LIMIT)


def test_a_page_of_a_gateway_that_is_down() -> None:
    """Nobody listening is a connection error that names the address."""
    with Peer(lambda _: None) as gone:
        pass
    with Client(gone.url, KEY) as client, pytest.raises(GatewayConnectionError, match=gone.url):
        client.health()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"SSH-2.0\r\n\r\n",
        OK + b"Content-Length: 100\r\n\r\n{}",
        CHUNKED + b"ff\r\n{}",
    ],
)
def test_a_page_that_is_cut_short(answer: bytes) -> None:
    """An answer that breaks off is a connection error, and never a short answer."""
    with (
        Peer(answers(answer, then=Connection.close)) as peer,
        Client(peer.url, KEY) as client,
        pytest.raises(GatewayConnectionError),
    ):
        client.health()


@pytest.mark.parametrize("status", [b"200 OK", b"500 Oops", b"302 Found"])
def test_a_page_without_end(status: bytes) -> None:
    """A body that never ends is given up after so many bytes, and the connection is closed."""
    poured = 0

    def pour(connection: Connection) -> None:
        nonlocal poured
        connection.read_request()
        connection.send(b"HTTP/1.1 %s\r\nLocation: /x\r\n\r\n" % status)
        for _ in range(400):
            connection.send(b" " * 1_000_000)
            poured += 1_000_000

    with Peer(pour) as peer, Client(peer.url, KEY) as client:
        with pytest.raises(PiNativeError) as caught:
            client.health()
        assert peer.closed.wait(5)
    assert isinstance(
        caught.value, StreamProtocolError if status == b"200 OK" else AuthGatewayError
    )
    assert len(str(caught.value)) < 10_000
    assert poured < (200_000_000 if status == b"200 OK" else 50_000_000)


def test_a_page_starts_no_thread(gateway: FakeGateway, client: Client) -> None:
    """The question is asked in the caller's own thread."""
    seen: list[set[str]] = []
    gateway.add(
        lambda _: seen.append({t.name for t in threads()}) or json_page(b"{}"), path="/v1/models"
    )
    client.models()
    assert not [name for name in seen[0] if name.startswith("pi-native-")]


# Who the client is.


def test_attribution_is_sent(gateway: FakeGateway) -> None:
    """The three headers are sent when they are given, in what a header can carry."""
    with Client(
        gateway.url, KEY, app="my-app", install_id="0c4a2a52", hostname="büro-😀\n"
    ) as client:
        client.complete("x/y", "hi")
    headers = gateway.requests[0].headers
    assert headers["x-omp-app"] == "my-app"
    assert headers["x-omp-install-id"] == "0c4a2a52"
    assert headers["x-omp-hostname"] == "b?ro-??"


def test_attribution_is_the_app_alone(gateway: FakeGateway, client: Client) -> None:
    """Without being told, a client sends its app's name, and neither host nor installation."""
    client.complete("x/y", "hi")
    headers = gateway.requests[0].headers
    names = [name.lower() for name in headers if name.lower().startswith("x-omp-")]
    assert names == ["x-omp-app"]
    assert headers["x-omp-app"] == "pi-native-python"


def test_stronger_headers_win(gateway: FakeGateway) -> None:
    """Attribution gives way to the client's headers, and those to the model's."""
    headers = {"X-OMP-App": "client", "x-a": "client", "x-b": "client"}
    model = Model("y", "x", headers={"X-B": "model"})
    with Client(gateway.url, KEY, headers=headers) as client:
        client.complete(model, "hi")
        client.complete("x/y", "hi")
    first, second = (request.headers for request in gateway.requests)
    for name, value in (("x-omp-app", "client"), ("x-a", "client"), ("x-b", "model")):
        assert first.get_all(name) == [value]
    assert second.get_all("x-b") == ["client"]
    assert model == Model("y", "x", headers={"X-B": "model"})


def test_a_models_authorization_is_stronger_than_the_clients_key() -> None:
    """A model that brings its own key is called with that one."""
    with FakeGateway("other") as gateway, Client(gateway.url, KEY) as client:
        model = Model("y", "x", headers={"authorization": "Bearer other"})
        assert client.complete(model, "hi").text
        assert gateway.requests[0].headers.get_all("authorization") == ["Bearer other"]


def test_address_and_key_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, gateway: FakeGateway
) -> None:
    """Without arguments the environment's two variables are used."""
    monkeypatch.setenv("PI_NATIVE_BASE_URL", gateway.url + "/")
    monkeypatch.setenv("PI_NATIVE_API_KEY", KEY)
    with Client() as client:
        assert client.base_url == gateway.url
        assert client.complete("x/y", "hi").text


def test_arguments_are_stronger_than_the_environment(
    monkeypatch: pytest.MonkeyPatch, gateway: FakeGateway
) -> None:
    """What is given is used."""
    monkeypatch.setenv("PI_NATIVE_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PI_NATIVE_API_KEY", "wrong")
    with Client(gateway.url, KEY) as client:
        assert client.complete("x/y", "hi").text


def test_the_default_address_is_the_local_gateway() -> None:
    """Without anything it is 127.0.0.1:4000."""
    with Client() as client:
        assert client.base_url == "http://127.0.0.1:4000"


def test_the_token_file_is_for_a_local_gateway(gateway: FakeGateway, tmp_path: Path) -> None:
    """The local gateway's own token is found, without its line end."""
    (tmp_path / ".omp").mkdir()
    (tmp_path / ".omp" / "auth-gateway.token").write_text(f"{KEY}\n")
    with Client(gateway.url) as client:
        assert client.complete("x/y", "hi").text


def test_the_token_file_is_for_no_other_gateway(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A gateway on another machine is never sent the local one's token."""
    (tmp_path / ".omp").mkdir()
    (tmp_path / ".omp" / "auth-gateway.token").write_text(KEY)
    requests: list[bytes] = []

    def answer(connection: Connection) -> None:
        requests.append(connection.read_request())
        connection.send(CHUNKED, chunk(frame(FINISHED)), b"0\r\n\r\n")

    with Peer(answer) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with Client("http://gateway.invalid:4000") as client:
            assert client.complete("x/y", "hi").text == "Hello"
    assert len(requests) == 1
    assert b"authorization" not in requests[0].lower()


# Turns.


@pytest.mark.parametrize("name", ["x/y", "x/models/large", "x/y/"])
def test_a_model_by_name(gateway: FakeGateway, client: Client, name: str) -> None:
    """A name goes out as it is; the id may hold slashes."""
    client.complete(name, "hi")
    assert gateway.requests[0].model == name


@pytest.mark.parametrize("name", ["", "y", "/y", "x/"])
def test_a_name_that_is_none_is_told_by_the_stream(
    gateway: FakeGateway, client: Client, name: str
) -> None:
    """A name without a provider or an id is the configuration's fault, told by the stream."""
    stream = client.stream(name, "hi")
    with pytest.raises(ConfigurationError, match="provider/id"):
        list(stream)
    with pytest.raises(ConfigurationError):
        client.complete(name, "hi")
    assert gateway.requests == []


def test_a_model_of_another_gateway_is_refused(gateway: FakeGateway, client: Client) -> None:
    """The client's key does not go where a model's own address points."""
    with Peer(lambda _: None) as other:
        stream = client.stream(Model("y", "x", base_url=other.url), "hi")
        with pytest.raises(ConfigurationError, match="another gateway"):
            stream.result()
        assert other.accepted == 0
    assert client.complete(Model("y", "x", base_url=gateway.url + "/"), "hi").text


TEXT = {"type": "text", "text": "hi"}
PROMPTS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "a string": ("hi", [{"role": "user", "content": "hi"}]),
    "an empty string": ("", [{"role": "user", "content": ""}]),
    "a message": (UserMessage("hi"), [{"role": "user", "content": "hi"}]),
    "a message of blocks": (
        UserMessage([TextContent("hi"), ImageContent("aGk=", "image/png")]),
        [
            {
                "role": "user",
                "content": [TEXT, {"type": "image", "data": "aGk=", "mimeType": "image/png"}],
            }
        ],
    ),
    "a developer's": (DeveloperMessage("hi"), [{"role": "developer", "content": "hi"}]),
    "an unknown one": (UnknownMessage({"role": "new", "a": None}), [{"role": "new", "a": None}]),
    "a list": (
        [UserMessage("a"), UserMessage("b")],
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    ),
    "a tuple": ((UserMessage("a"),), [{"role": "user", "content": "a"}]),
    "a tool result": (
        [ToolResultMessage("c", "clock", "noon")],
        [
            {
                "role": "toolResult",
                "toolCallId": "c",
                "toolName": "clock",
                "content": [{"type": "text", "text": "noon"}],
                "isError": False,
            }
        ],
    ),
    "a context": (Context([UserMessage("hi")]), [{"role": "user", "content": "hi"}]),
}


@pytest.mark.parametrize(("prompt", "messages"), PROMPTS.values(), ids=PROMPTS.keys())
def test_every_form_of_a_prompt(
    gateway: FakeGateway, client: Client, prompt: Any, messages: list[dict[str, Any]]
) -> None:
    """Strings, messages, sequences and contexts become the messages that they mean."""
    client.complete("x/y", prompt)
    assert sent(gateway) == messages
    assert gateway.requests[0].context.keys() == {"messages"}


@pytest.mark.parametrize(
    "prompt",
    [
        7,
        None,
        {"role": "user"},
        object(),
        b"hi",
        ["hi"],
    ],
    ids=lambda prompt: type(prompt).__name__,
)
def test_a_prompt_of_another_type_is_raised_at_the_call(
    gateway: FakeGateway, client: Client, prompt: Any
) -> None:
    """What is no prompt is a TypeError, and nothing is sent."""
    with pytest.raises(TypeError):
        client.stream("x/y", prompt).close()
    assert gateway.requests == []


@pytest.mark.parametrize(
    "wrong",
    [{"model": 7}, {"model": None}, {"tools": 7}, {"system": 7}, {"temprature": 1}],
    ids=repr,
)
def test_another_wrong_type_is_raised_at_the_call(
    gateway: FakeGateway, client: Client, wrong: dict[str, Any]
) -> None:
    """So is a model that is none, and an option that there is not."""
    arguments = {"model": "x/y", "prompt": "hi", **wrong}
    with pytest.raises(TypeError):
        client.stream(**arguments)
    with pytest.raises(TypeError):
        client.complete(**arguments)
    assert gateway.requests == []


@pytest.mark.parametrize(
    ("system", "lines"), [("be brief", ["be brief"]), (("a", "b"), ["a", "b"])]
)
def test_a_system_prompt(
    gateway: FakeGateway, client: Client, system: Any, lines: list[str]
) -> None:
    """A string is one instruction, a sequence several; it takes the place of the context's."""
    context = Context([UserMessage("hi")], system_prompt=["before"])
    client.complete("x/y", "hi", system=system)
    client.complete("x/y", context, system=system)
    client.complete("x/y", context)
    assert [request.context["systemPrompt"] for request in gateway.requests] == [
        lines,
        lines,
        ["before"],
    ]


def test_tools(gateway: FakeGateway, client: Client) -> None:
    """Tools go along, in place of the context's, and the context stays as it was."""
    clock = Tool("clock", "Tells the time.", {"type": "object"}, strict=True)
    context = Context([UserMessage("hi")], tools=[Tool("other", "", {})])
    client.complete("x/y", context, tools=(clock,))
    client.complete("x/y", context)
    first, second = (request.context["tools"] for request in gateway.requests)
    assert first == [
        {
            "name": "clock",
            "description": "Tells the time.",
            "parameters": {"type": "object"},
            "strict": True,
        }
    ]
    assert [tool["name"] for tool in second] == ["other"]


def test_a_conversation_goes_on(gateway: FakeGateway, client: Client) -> None:
    """What a turn answered goes back as it came, unknown fields and all, with the tool's result."""
    gateway.reply("Let me see.", tool_calls=[ToolCall("c", "clock", {"zone": None})])
    gateway.reply("Noon.")
    context = Context([UserMessage("What time is it?")])
    answer = client.complete("x/y", context)
    (call,) = answer.tool_calls
    context.messages += [answer, ToolResultMessage(call.id, call.name, "noon")]
    assert client.complete("x/y", context).text == "Noon."
    _, history, result = gateway.requests[1].context["messages"]
    assert history["content"][1]["arguments"] == {"zone": None}
    assert history["content"][1]["partialArgs"] == '{"zone":null}'
    assert history["usage"]["cost"]["total"] > 0
    assert (result["role"], result["toolCallId"]) == ("toolResult", "c")


def test_options_are_stronger_than_the_clients(gateway: FakeGateway) -> None:
    """The client's times are sent in milliseconds, and an option of the turn replaces them."""
    with Client(gateway.url, KEY, first_event_timeout=60, idle_timeout=2.5) as client:
        client.complete("x/y", "hi", temperature=0.5)
        client.complete("x/y", "hi", stream_idle_timeout_ms=9_000, extra={"newer": 1})
    assert [request.options for request in gateway.requests] == [
        {
            "temperature": 0.5,
            "streamFirstEventTimeoutMs": 60_000,
            "streamIdleTimeoutMs": 2_500,
        },
        {"streamFirstEventTimeoutMs": 60_000, "streamIdleTimeoutMs": 9_000, "newer": 1},
    ]


def test_a_turn_may_have_its_own_key(client: Client) -> None:
    """An `api_key` of the turn is used instead of the client's."""
    with FakeGateway("other") as gateway, Client(gateway.url, KEY) as client_of_other:
        with pytest.raises(AuthenticationError):
            client_of_other.complete("x/y", "hi")
        assert client_of_other.complete("x/y", "hi", api_key="other").text
    assert client.complete("x/y", "hi").text


@pytest.mark.parametrize(
    ("name", "phase"),
    [("first_event_timeout", "first_event"), ("idle_timeout", "idle"), ("total_timeout", "total")],
)
def test_the_clients_times_are_seconds(gateway: FakeGateway, name: str, phase: str) -> None:
    """Each of its limits ends a turn that stalls, and is told in seconds."""
    gateway.reply("one two", fault=Stall(after=0 if phase == "first_event" else 3))
    limits: dict[str, Any] = {name: LIMIT}
    with Client(gateway.url, KEY, max_retries=0, **limits) as client:
        with pytest.raises(StreamTimeoutError) as caught:
            client.complete("x/y", "hi")
        assert (caught.value.phase, caught.value.limit) == (phase, LIMIT)
        assert gateway.requests[0].client_gone.wait(2)


@pytest.mark.parametrize("reason", ["error", "aborted"])
def test_complete_raises_for_a_failed_turn(
    gateway: FakeGateway, client: Client, reason: str
) -> None:
    """The error says what the provider said, and has the message with what had come."""
    gateway.reply("partly", error_message="overloaded", stop_reason=reason, error_status=400)
    with pytest.raises(ProviderError, match="overloaded") as caught:
        client.complete("x/y", "hi")
    message = caught.value.message
    assert isinstance(message, AssistantMessage)
    assert (message.text, message.stop_reason, message.error_status) == ("partly", reason, 400)
    assert caught.value.partial is message


def test_complete_raises_what_the_stream_would(gateway: FakeGateway, client: Client) -> None:
    """A refusal and a bad setup are the same exceptions as from a stream."""
    gateway.error(404, "Unknown model: x/y")
    with pytest.raises(InvalidRequestError, match="Unknown model"):
        client.complete("x/y", "hi")
    with pytest.raises(ConfigurationError):
        client.complete("x/y", "hi", temperature=math.nan)


@pytest.mark.parametrize("done", [True, False])
def test_an_incomplete_answer_is_an_error(gateway: FakeGateway, client: Client, done: bool) -> None:
    """By default an end without a terminal event fails the turn, with what had arrived."""
    gateway.events([DELTA], done=done)
    stream = client.stream("x/y", "hi")
    assert next(stream).type == "text_delta"
    with pytest.raises(IncompleteStreamError) as caught:
        next(stream)
    assert stream.truncated
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hello"


def test_an_incomplete_answer_may_be_none(gateway: FakeGateway) -> None:
    """A client, or one turn, may take it for a "done" without content instead."""
    gateway.events([DELTA]).events([DELTA]).events([DELTA])
    with Client(gateway.url, KEY, on_incomplete="done") as client:
        assert client.complete("x/y", "hi").content == []
        with pytest.raises(IncompleteStreamError):
            client.complete("x/y", "hi", on_incomplete="error")
    with Client(gateway.url, KEY) as client:
        assert client.complete("x/y", "hi", on_incomplete="done").stop_reason == "stop"


def test_leaving_a_with_block_closes_the_connections(gateway: FakeGateway) -> None:
    """A client used with `with` keeps no connection behind it, also when the block raises."""
    with Client(gateway.url, KEY) as client:
        client.complete("x/y", "hi")
        assert gateway.open_connections == 1
    assert wait_until(lambda: gateway.open_connections == 0)
    with contextlib.suppress(KeyError), Client(gateway.url, KEY) as client:
        client.complete("x/y", "hi")
        raise KeyError
    assert wait_until(lambda: gateway.open_connections == 0)


def test_one_client_serves_many_threads(gateway: FakeGateway, client: Client) -> None:
    """64 threads with turns of their own, and questions in between, each get their own answers."""
    gateway.default = lambda request: Raw(
        [
            frame(
                {
                    **FINISHED,
                    "message": {
                        "role": "assistant",
                        "content": [
                            {"type": "text", "text": request.context["messages"][0]["content"]}
                        ],
                    },
                }
            )
        ]
    )
    together = threading.Barrier(64)
    wrong: list[object] = []

    def converse(number: int) -> None:
        together.wait(20)
        for turn in range(3):
            prompt = f"{number}-{turn}"
            try:
                if turn == 1:
                    assert client.health().ok
                said = client.complete("x/y", prompt).text
            except Exception as exc:  # noqa: BLE001 - looked at below
                said = repr(exc)
            if said != prompt:
                wrong.append((prompt, said))

    conversations = [threading.Thread(target=converse, args=(number,)) for number in range(64)]
    for thread in conversations:
        thread.start()
    for thread in conversations:
        thread.join(60)
        assert not thread.is_alive()
    assert wrong == []
    assert len(gateway.requests) == 64 * 4
    assert gateway.connections < 64 * 4, "no connection was ever used twice"


def test_a_page_may_say_goodbye(client: Client, gateway: FakeGateway) -> None:
    """An answer that ends with its connection is whole."""
    page = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b'{"ok":true,"version":"9"}'
    )
    gateway.add(Verbatim(page), path="/healthz")
    assert client.health().version == "9"
    assert client.health().version == "18.2.3"
