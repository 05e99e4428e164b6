"""Responses, refusals and records of the fake gateway."""

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import requests

from pi_native import (
    AssistantMessage,
    DoneEvent,
    StartEvent,
    TextContent,
    TextDeltaEvent,
    ToolCall,
    Usage,
)
from pi_native.testing import Events, FakeGateway, HTTPError, Raw, Reply

DATA = Path(__file__).parent.parent.parent / "data"
BODY = {
    "modelId": "acme/models/large",
    "context": {"messages": [{"role": "user", "content": "hi", "timestamp": 1}]},
    "options": {"temperature": 0.5},
    "stream": True,
}


def call(gateway: FakeGateway, method: str, path: str, **more: Any) -> requests.Response:
    """Send one request with the right key on a new connection."""
    headers = {"Authorization": f"Bearer {gateway.api_key}", **more.pop("headers", {})}
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, gateway.url + path, headers=headers, timeout=5, **more)


def turn(gateway: FakeGateway, **changes: Any) -> requests.Response:
    """Request one turn."""
    return call(gateway, "POST", "/v1/pi/stream", json={**BODY, **changes})


def events(response: requests.Response) -> list[dict[str, Any]]:
    """Return the events of a response, and check that its frames are those of the real gateway."""
    *frames, done, nothing = response.content.decode().split("\n\n")
    assert (done, nothing) == ("data: [DONE]", "")
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


def shape(events: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    """Return the members of each kind of event, block, message and usage, in order."""
    shapes: set[tuple[Any, ...]] = set()
    for event in events:
        shapes.add((event["type"], *event))
        message = event.get("partial") or event["message"]
        shapes.add(("message", *(name for name in message if name not in ("duration", "ttft"))))
        shapes.add(("usage", *message["usage"], *message["usage"]["cost"]))
        shapes.update((block["type"], *block) for block in message["content"])
    return shapes


class TestReply:
    """Turns that are made from a text."""

    def test_streams_a_text_byte_for_byte_as_the_real_gateway_does(self, gateway: FakeGateway):
        """Members, their order and the frames are those of a recorded turn."""
        gateway.reply("Hello world", usage={"input": 3, "output": 2, "totalTokens": 5})

        body = turn(gateway).content.decode()
        body = body.replace(gateway.requests[0].request_id, "ID")

        zero = '{"input":0,"output":0,"cacheRead":0,"cacheWrite":0,"total":0}'
        around = (
            '"api":"pi-native","provider":"acme","model":"models/large","usage":{"input":0,'
            f'"output":0,"cacheRead":0,"cacheWrite":0,"totalTokens":0,"cost":{zero}}},'
            '"stopReason":"stop","timestamp":T,"responseId":"fake-ID"}'
        )

        def partial(content: str) -> str:
            return f'"partial":{{"role":"assistant","content":[{content}],{around}'

        def text(so_far: str) -> str:
            return partial(f'{{"type":"text","text":"{so_far}"}}')

        whole = "Hello world"
        *frames, done, end, _ = re.sub(r'"timestamp":\d+', '"timestamp":T', body).split("\n\n")
        assert frames == [
            f'data: {{"type":"start",{partial("")}}}',
            f'data: {{"type":"text_start","contentIndex":0,{text("")}}}',
            f'data: {{"type":"text_delta","contentIndex":0,"delta":"Hello",{text("Hello")}}}',
            f'data: {{"type":"text_delta","contentIndex":0,"delta":" world",{text(whole)}}}',
            f'data: {{"type":"text_end","contentIndex":0,"content":"{whole}",{text(whole)}}}',
        ]
        assert done.startswith('data: {"type":"done","reason":"stop","message":{"role":"assistant"')
        assert '"usage":{"input":3,"output":2,"cacheRead":0,"cacheWrite":0,"totalTokens":5' in done
        assert end == "data: [DONE]"

    @pytest.mark.parametrize("recorded", ["text.sse", "tools.sse"])
    def test_has_the_shape_of_what_a_real_gateway_sent(self, gateway: FakeGateway, recorded: str):
        """Every kind of event, block and message has the same members in the same order."""
        real = (DATA / recorded).read_bytes().decode().split("\n\n")[:-2]
        if recorded == "text.sse":
            gateway.reply("Hello world")
        else:
            gateway.reply(tool_calls=[{"name": "write", "arguments": {"path": "Zürich"}}])

        made = shape(events(turn(gateway)))

        assert made == shape([json.loads(frame.removeprefix("data: ")) for frame in real])

    def test_takes_tool_calls_and_usage_of_pi_native(self, gateway: FakeGateway):
        """Objects work like wire JSON."""
        gateway.reply(tool_calls=[ToolCall("c", "read", {"a": 1})], usage=Usage(input=7))

        message = events(turn(gateway))[-1]["message"]

        assert message["content"][0]["arguments"] == {"a": 1}
        assert message["usage"]["input"] == 7

    def test_streams_thinking_then_text_then_tool_calls(self, gateway: FakeGateway):
        """Each kind of block has its start, deltas and end, with its own index."""
        call = {"id": "call_7", "name": "read", "arguments": {"path": 'a "quoted" name'}}
        gateway.reply("See:", thinking="Let me think", tool_calls=[call])

        seen = events(turn(gateway))

        assert [(event["type"], event.get("contentIndex")) for event in seen] == [
            ("start", None),
            ("thinking_start", 0),
            *[("thinking_delta", 0)] * 3,
            ("thinking_end", 0),
            ("text_start", 1),
            ("text_delta", 1),
            ("text_end", 1),
            ("toolcall_start", 2),
            *[("toolcall_delta", 2)] * 3,
            ("toolcall_end", 2),
            ("done", None),
        ]
        ended, done = seen[-2:]
        assert ended["toolCall"].items() >= {"type": "toolCall", **call}.items()
        assert done["reason"] == done["message"]["stopReason"] == "toolUse"
        assert done["message"]["content"] == ended["partial"]["content"]

    def test_every_snapshot_is_the_last_member_and_holds_what_the_deltas_said(
        self, gateway: FakeGateway
    ):
        """The joined deltas are equal to the block in the snapshot beside them."""
        gateway.reply(
            'Ünï\n"codé" 🎉', thinking="a b", tool_calls=[{"name": "f", "arguments": {"x": [1.5]}}]
        )
        said = ""
        for event in events(turn(gateway))[1:-1]:
            block = event["partial"]["content"][event["contentIndex"]]
            said = "" if event["type"].endswith("_start") else said + event.get("delta", "")
            assert list(event)[-1] == "partial"
            grown = {"text": "text", "thinking": "thinking", "toolCall": "partialArgs"}
            assert block[grown[block["type"]]] == said

    def test_sends_a_list_of_pieces_as_it_is_cut(self, gateway: FakeGateway):
        """Each item of a list is a delta, also when a surrogate pair is split."""
        gateway.reply(["Hel", "lo ", "\ud83d", "\ude00"])

        response = turn(gateway)

        deltas = [event["delta"] for event in events(response) if "delta" in event]
        assert deltas == ["Hel", "lo ", "\ud83d", "\ude00"]
        assert rb'"delta":"\ud83d"' in response.content

    def test_invents_usage_that_adds_up(self, gateway: FakeGateway):
        """Tokens and costs are above zero, and the totals are sums."""
        gateway.reply("Hello world")

        usage = events(turn(gateway))[-1]["message"]["usage"]

        assert usage["totalTokens"] == usage["input"] + usage["output"] > usage["output"] == 2
        assert usage["cost"]["total"] == usage["cost"]["input"] + usage["cost"]["output"] > 0

    def test_ends_in_an_error_event_when_given_an_error_message(self, gateway: FakeGateway):
        """The failure of the provider is a message inside a 200, after the text."""
        gateway.reply("Hel", error_message="Overloaded", error_status=529)

        response = turn(gateway)
        last = events(response)[-1]

        assert response.status_code == 200
        assert (last["type"], last["reason"]) == ("error", "error")
        assert last["error"]["errorMessage"] == "Overloaded"
        assert last["error"]["errorStatus"] == 529
        assert last["error"]["stopReason"] == "error"

    @pytest.mark.parametrize("reason", ["stop", "length", "toolUse", "error", "aborted"])
    def test_ends_for_the_reason_that_it_is_given(self, gateway: FakeGateway, reason: str):
        """`stop_reason` also selects the last event."""
        gateway.reply("Hello", stop_reason=reason)

        last = events(turn(gateway))[-1]

        failed = reason in ("error", "aborted")
        assert last["type"] == ("error" if failed else "done")
        assert last["reason"] == last["error" if failed else "message"]["stopReason"] == reason

    def test_answers_with_one_message_when_no_stream_is_asked_for(self, gateway: FakeGateway):
        """`"stream": false` gets JSON, as from the real gateway."""
        gateway.reply("Hello world")

        answer = turn(gateway, stream=False).json()

        assert answer["message"]["content"] == [{"type": "text", "text": "Hello world"}]

    def test_carries_the_request_id_in_its_headers(self, gateway: FakeGateway):
        """Both headers have the id of the recorded request."""
        headers = turn(gateway).headers

        request = gateway.wait_for_request()
        assert headers["x-request-id"] == headers["request-id"] == request.request_id
        assert headers["Content-Type"] == "text/event-stream; charset=utf-8"

    def test_has_another_api_on_request(self):
        """The `api` argument is the api of each message."""
        with FakeGateway(api="anthropic-messages") as gateway:
            assert events(turn(gateway))[0]["partial"]["api"] == "anthropic-messages"


class TestScript:
    """The order of answers."""

    def test_takes_one_entry_a_turn_and_then_the_default(self, gateway: FakeGateway):
        """Scripts can be chained, and after the last entry the default answers."""
        gateway.reply("one").reply("two")
        assert gateway.pending == 2

        texts = [events(turn(gateway))[-1]["message"]["content"][0]["text"] for _ in range(3)]

        assert texts[:2] == ["one", "two"]
        assert "fake gateway" in texts[2]
        assert gateway.pending == 0

    def test_takes_a_function_of_the_request(self, gateway: FakeGateway):
        """An entry, or the default, can be a function of the request."""
        gateway.default = lambda request: Reply(f"You asked {request.model}.")

        assert events(turn(gateway))[-2]["content"] == "You asked acme/models/large."

    def test_scripts_other_paths_too(self, gateway: FakeGateway):
        """A page can fail once, and works again after that."""
        gateway.add(HTTPError(503, "not now"), path="/v1/models")

        assert call(gateway, "GET", "/v1/models").status_code == 503
        assert call(gateway, "GET", "/v1/models").status_code == 200

    def test_raises_on_leaving_what_cannot_be_written_as_json(self):
        """A script that is not JSON fails the test, not a thread."""
        gateway = FakeGateway().reply("Hello", usage={"input": float("nan")})
        with pytest.raises(ValueError, match="JSON"), gateway:
            response = turn(gateway)
        assert response.status_code == 500

    def test_raises_on_leaving_what_a_function_of_the_script_raised(self):
        """The client gets the real gateway's 500, and the test gets the exception."""

        def broken(_request: object) -> Reply:
            raise ZeroDivisionError("a bug in the script")

        gateway = FakeGateway().add(broken)
        with pytest.raises(ZeroDivisionError, match="a bug"), gateway:
            response = turn(gateway)
        assert response.status_code == 500
        assert response.json() == {"error": "internal error"}


class TestOtherAnswers:
    """Given events, bytes and errors."""

    def test_sends_given_events(self, gateway: FakeGateway):
        """Wire JSON is sent unchanged, unknown members included, and `[DONE]` follows."""
        given = [{"type": "start", "partial": None, "new": 1}, {"type": "inference_admission"}]
        gateway.events(given)

        assert events(turn(gateway)) == given

    def test_sends_event_objects_as_wire_json(self, gateway: FakeGateway):
        """Events of `pi_native` work as well."""
        said = AssistantMessage(content=[TextContent("Hi")], api="a", provider="p", model="m")
        given = [
            StartEvent(partial=said),
            TextDeltaEvent(content_index=0, delta="Hi", partial=said),
            DoneEvent(reason="stop", message=said),
        ]
        gateway.events(given)

        _, delta, done = events(turn(gateway))

        assert list(delta) == ["type", "contentIndex", "delta", "partial"]
        assert done["message"]["content"] == [{"type": "text", "text": "Hi"}]

    def test_can_leave_out_the_last_frame(self, gateway: FakeGateway):
        """With `done=False` the body ends after the last event."""
        gateway.add(Events([{"type": "start"}], done=False))

        assert turn(gateway).content == b'data: {"type":"start"}\n\n'

    @pytest.mark.parametrize(
        ("framing", "header"),
        [("chunked", "Transfer-Encoding"), ("length", "Content-Length"), ("close", None)],
    )
    def test_frames_raw_bytes_in_each_way(self, gateway: FakeGateway, framing: Any, header: Any):
        """A body is chunked, has a length, or ends with the connection."""
        gateway.raw([b"data: 1\n", b"", b"\n: more"], framing=framing, headers={"X-A": "b"})

        response = turn(gateway)

        assert response.content == b"data: 1\n\n: more"
        assert response.headers["X-A"] == "b"
        framed = {"Transfer-Encoding", "Content-Length"} & set(response.headers)
        assert framed == ({header} if header else set())
        assert response.headers["Connection"] == ("keep-alive" if header else "close")

    def test_lets_headers_replace_its_own(self, gateway: FakeGateway):
        """A header replaces the default of the same name in any case."""
        gateway.add(Raw(b"{}", headers={"content-type": "application/json"}))

        assert turn(gateway).raw.headers.getlist("Content-Type") == ["application/json"]

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (403, "authentication_error"),
            (404, "invalid_request_error"),
            (429, "rate_limit_error"),
            (499, "request_aborted"),
            (502, "upstream_error"),
        ],
    )
    def test_says_an_error_as_the_protocol_does(self, gateway: FakeGateway, status: int, kind: str):
        """The status selects the type of the error."""
        gateway.error(status, "no", headers={"Retry-After": "7"})

        response = turn(gateway)

        assert response.status_code == status
        assert response.json() == {"error": {"type": kind, "message": "no"}}
        assert response.headers["Retry-After"] == "7"

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ({"error": "internal error"}, '{"error":"internal error"}'),
            ("<h1>Bad Gateway</h1>", "<h1>Bad Gateway</h1>"),
            (b"\xff", "\ufffd"),
            ("", ""),
        ],
    )
    def test_takes_any_body_for_an_error(self, gateway: FakeGateway, body: Any, text: str):
        """An error can have any body, such as that of a proxy."""
        gateway.error(502, body=body)

        assert turn(gateway).content.decode(errors="replace") == text

    def test_names_the_status_when_an_error_has_no_message(self, gateway: FakeGateway):
        """The reason phrase is the default message, and the type can be given."""
        gateway.error(503, type="overloaded")

        expected = {"type": "overloaded", "message": "Service Unavailable"}
        assert turn(gateway).json() == {"error": expected}


class TestRoutes:
    """The checks and pages of the real gateway."""

    def test_health_needs_no_key(self):
        """`/healthz` needs no key, and has the given version."""
        with FakeGateway(version="1.2.3") as gateway:
            response = call(gateway, "GET", "/healthz", headers={"Authorization": "Bearer x"})
            assert response.json() == {"ok": True, "version": "1.2.3"}

    @pytest.mark.parametrize("key", ["Bearer wrong", "Basic dGVzdC1rZXk=", "", "Bearer"])
    def test_other_routes_need_the_key(self, gateway: FakeGateway, key: str):
        """A wrong key gets the real gateway's 401 before the route is checked."""
        response = call(gateway, "GET", "/nowhere", headers={"Authorization": key})

        assert response.status_code == 401
        assert response.content == b'{"error":"unauthorized"}'

    def test_reads_the_bearer_as_generously_as_the_real_one(self, gateway: FakeGateway):
        """The case of the scheme and additional white space do not matter."""
        headers = {"Authorization": f"bearer   {gateway.api_key}"}
        assert call(gateway, "GET", "/v1/models", headers=headers).ok

    def test_needs_no_key_without_one(self):
        """Without a key every request is accepted, as with `--no-auth`."""
        with FakeGateway(api_key=None) as gateway:
            assert turn(gateway).ok

    def test_knows_no_other_route(self, gateway: FakeGateway):
        """The method is part of the route, the query is not."""
        for method, path in [("GET", "/x"), ("PUT", "/v1/pi/stream"), ("GET", "/v1/pi/stream")]:
            response = call(gateway, method, path + "?q=1")
            assert response.status_code == 404
            assert response.json() == {"error": f"No route: {method} {path}"}

    def test_knows_any_model_without_a_list(self):
        """With a list of models, another one is a 404 and takes no entry of the script."""
        with FakeGateway(models=["acme/small"]).reply("hi") as gateway:
            response = turn(gateway)
            assert response.status_code == 404
            assert response.json() == {
                "error": {
                    "type": "invalid_request_error",
                    "message": "Unknown model: acme/models/large",
                }
            }
            assert gateway.pending == 1
            assert turn(gateway, modelId="acme/small").ok

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"{nope", "Invalid JSON body: SyntaxError: "),
            (b"", "Invalid JSON body: SyntaxError: "),
            (b"\xff", "Invalid JSON body: SyntaxError: "),
            (b"[]", "Request body must be a JSON object"),
            (b"{}", "Missing `modelId` (or `model.id`) field"),
            (b'{"modelId":"m"}', "Missing `context` object"),
            (b'{"model":{"id":"m"},"context":{}}', "`context.messages` must be an array"),
            (
                b'{"modelId":"m","context":{"messages":[],"systemPrompt":"x"}}',
                "`context.systemPrompt` must be an array of strings when present",
            ),
            (
                b'{"modelId":"m","context":{"messages":[],"tools":{}}}',
                "`context.tools` must be an array when present",
            ),
        ],
    )
    def test_refuses_a_body_in_the_real_words(
        self, gateway: FakeGateway, body: bytes, message: str
    ):
        """A body that is not a turn is refused in the real words and takes no entry."""
        gateway.reply("unheard")

        response = call(gateway, "POST", "/v1/pi/stream", data=body)

        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"
        assert response.json()["error"]["message"].startswith(message)
        assert gateway.pending == 1

    def test_lists_the_models_that_it_was_given(self):
        """An id is enough, and a row keeps its members."""
        rows: list[Any] = ["acme/models/large", {"id": "acme/small", "context_length": 5}]
        with FakeGateway(models=rows) as gateway:
            listed = call(gateway, "GET", "/v1/models").json()

        assert listed["object"] == "list"
        large, small = listed["data"]
        assert large["owned_by"] == "acme"
        assert large["display_name"] == "models/large"
        assert small["context_length"] == 5

    @pytest.mark.parametrize(
        ("path", "rows"), [("/v1/usage", "reports"), ("/v1/credentials/check", "credentials")]
    )
    def test_shows_plausible_data_and_what_it_is_given(
        self, gateway: FakeGateway, path: str, rows: str
    ):
        """Usage and credentials are lists that a test can replace."""
        assert call(gateway, "GET", path).json()[rows][0]["provider"] == "fake"

        gateway.usage_reports = gateway.credentials = [{"provider": "acme"}]

        page = call(gateway, "GET", path).json()
        assert page[rows] == [{"provider": "acme"}]
        assert page["generatedAt"] > 1_700_000_000_000


class TestRecord:
    """Requests as a test sees them."""

    def test_keeps_each_request(self, gateway: FakeGateway):
        """A request has its method, path, headers, body and the parts of its turn."""
        call(gateway, "POST", "/v1/pi/stream?q=1", json=BODY, headers={"X-Omp-App": "me"})

        (request,) = gateway.requests
        assert (request.method, request.target) == ("POST", "/v1/pi/stream?q=1")
        assert request.path == "/v1/pi/stream"
        assert request.headers["x-omp-app"] == "me"
        assert request.headers["x-absent"] is None
        assert json.loads(request.body) == request.json == BODY
        assert request.model == "acme/models/large"
        assert request.context == BODY["context"]
        assert request.options == {"temperature": 0.5}

    def test_reads_a_chunked_request(self, gateway: FakeGateway):
        """A chunked request body is read to its end."""
        pieces = iter([b'{"modelId":"a/b",', b'"context":{"messages":[]}}'])

        assert call(gateway, "POST", "/v1/pi/stream", data=pieces).ok
        assert gateway.requests[0].context == {"messages": []}

    def test_numbers_connections(self, gateway: FakeGateway):
        """Turns on a kept connection have its number, and a new connection has the next one."""
        with requests.Session() as session:
            session.trust_env = False
            for _ in range(2):
                session.get(gateway.url + "/healthz", timeout=5)
        turn(gateway)

        assert [request.connection for request in gateway.requests] == [1, 1, 2]
        assert gateway.connections == 2

    def test_hands_out_requests_in_order_waiting_for_them(self, gateway: FakeGateway):
        """`wait_for_request` returns each request once, and waits for the next."""
        late = threading.Thread(target=lambda: (turn(gateway), turn(gateway, modelId="a/b")))
        late.start()

        first, second = gateway.wait_for_request(), gateway.wait_for_request()

        late.join()
        assert [first, second] == gateway.requests
        assert second.model == "a/b"
        with pytest.raises(TimeoutError, match="no request but 2"):
            gateway.wait_for_request(timeout=0.01)

    def test_knows_when_an_answer_is_out_and_when_the_client_left(self, gateway: FakeGateway):
        """A test can wait for the end of a response and for the client's close."""
        turn(gateway)

        request = gateway.wait_for_request()
        assert request.answered.wait(5)
        assert request.client_gone.wait(5)
