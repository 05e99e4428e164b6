"""The fake gateway's good behaviour: what it answers, what it turns down, what it records."""

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
    """Send one request with the right key, on a connection of its own."""
    headers = {"Authorization": f"Bearer {gateway.api_key}", **more.pop("headers", {})}
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, gateway.url + path, headers=headers, timeout=5, **more)


def turn(gateway: FakeGateway, **changes: Any) -> requests.Response:
    """Ask for one turn."""
    return call(gateway, "POST", "/v1/pi/stream", json={**BODY, **changes})


def events(response: requests.Response) -> list[dict[str, Any]]:
    """Read the events of an answer, whose frames must be as the real gateway's, to the last."""
    *frames, done, nothing = response.content.decode().split("\n\n")
    assert (done, nothing) == ("data: [DONE]", "")
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


def shape(events: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    """Say which members, in which order, each kind of event has, down to the blocks and usage."""
    shapes: set[tuple[Any, ...]] = set()
    for event in events:
        shapes.add((event["type"], *event))
        message = event.get("partial") or event["message"]
        shapes.add(("message", *(name for name in message if name not in ("duration", "ttft"))))
        shapes.add(("usage", *message["usage"], *message["usage"]["cost"]))
        shapes.update((block["type"], *block) for block in message["content"])
    return shapes


class TestReply:
    """A turn made up from a text."""

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
        """The same members in the same order, in every kind of event, block and message."""
        real = (DATA / recorded).read_bytes().decode().split("\n\n")[:-2]
        if recorded == "text.sse":
            gateway.reply("Hello world")
        else:
            gateway.reply(tool_calls=[{"name": "write", "arguments": {"path": "Zürich"}}])

        made = shape(events(turn(gateway)))

        assert made == shape([json.loads(frame.removeprefix("data: ")) for frame in real])

    def test_takes_tool_calls_and_usage_of_pi_native(self, gateway: FakeGateway):
        """Objects serve as well as wire JSON."""
        gateway.reply(tool_calls=[ToolCall("c", "read", {"a": 1})], usage=Usage(input=7))

        message = events(turn(gateway))[-1]["message"]

        assert message["content"][0]["arguments"] == {"a": 1}
        assert message["usage"]["input"] == 7

    def test_streams_thinking_then_text_then_tool_calls(self, gateway: FakeGateway):
        """Each kind of block has its start, its deltas and its end, under its own index."""
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
        """Deltas that are added up give the block as the snapshot beside them has it."""
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
        """A list gives the deltas, even where one is cut inside a surrogate pair."""
        gateway.reply(["Hel", "lo ", "\ud83d", "\ude00"])

        response = turn(gateway)

        deltas = [event["delta"] for event in events(response) if "delta" in event]
        assert deltas == ["Hel", "lo ", "\ud83d", "\ude00"]
        assert rb'"delta":"\ud83d"' in response.content

    def test_makes_up_usage_that_adds_up(self, gateway: FakeGateway):
        """Tokens and costs are above zero, and the totals are sums."""
        gateway.reply("Hello world")

        usage = events(turn(gateway))[-1]["message"]["usage"]

        assert usage["totalTokens"] == usage["input"] + usage["output"] > usage["output"] == 2
        assert usage["cost"]["total"] == usage["cost"]["input"] + usage["cost"]["output"] > 0

    def test_ends_in_an_error_event_when_given_an_error_message(self, gateway: FakeGateway):
        """The provider's failure is a message inside a 200, after what had been said."""
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
        """`stop_reason` decides on the last event, too."""
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
        """Both names of the header hold the id that the record knows."""
        headers = turn(gateway).headers

        request = gateway.wait_for_request()
        assert headers["x-request-id"] == headers["request-id"] == request.request_id
        assert headers["Content-Type"] == "text/event-stream; charset=utf-8"

    def test_speaks_of_another_api_when_told_to(self):
        """A real gateway's messages name the provider's api."""
        with FakeGateway(api="anthropic-messages") as gateway:
            assert events(turn(gateway))[0]["partial"]["api"] == "anthropic-messages"


class TestScript:
    """The order of answers."""

    def test_takes_one_entry_a_turn_and_then_the_default(self, gateway: FakeGateway):
        """Scripting chains; past the end a friendly text says who is speaking."""
        gateway.reply("one").reply("two")
        assert gateway.pending == 2

        texts = [events(turn(gateway))[-1]["message"]["content"][0]["text"] for _ in range(3)]

        assert texts[:2] == ["one", "two"]
        assert "fake gateway" in texts[2]
        assert gateway.pending == 0

    def test_takes_a_function_of_the_request(self, gateway: FakeGateway):
        """An entry, or the default, may be made when the request is known."""
        gateway.default = lambda request: Reply(f"You asked {request.model}.")

        assert events(turn(gateway))[-2]["content"] == "You asked acme/models/large."

    def test_scripts_other_paths_too(self, gateway: FakeGateway):
        """A page can be made to fail once, and is itself again after that."""
        gateway.add(HTTPError(503, "not now"), path="/v1/models")

        assert call(gateway, "GET", "/v1/models").status_code == 503
        assert call(gateway, "GET", "/v1/models").status_code == 200

    def test_raises_on_leaving_what_cannot_be_written_as_json(self):
        """A script that makes no sense fails the test, not a thread."""
        gateway = FakeGateway().reply("Hello", usage={"input": float("nan")})
        with pytest.raises(ValueError, match="JSON"), gateway:
            response = turn(gateway)
        assert response.status_code == 500

    def test_raises_on_leaving_what_a_function_of_the_script_raised(self):
        """The client sees the real gateway's 500, the test sees the cause."""

        def broken(_request: object) -> Reply:
            raise ZeroDivisionError("a bug in the script")

        gateway = FakeGateway().add(broken)
        with pytest.raises(ZeroDivisionError, match="a bug"), gateway:
            response = turn(gateway)
        assert response.status_code == 500
        assert response.json() == {"error": "internal error"}


class TestOtherAnswers:
    """Events, bytes and errors, as given."""

    def test_sends_given_events(self, gateway: FakeGateway):
        """Wire JSON goes out as it is, an unknown member included, and `[DONE]` after it."""
        given = [{"type": "start", "partial": None, "new": 1}, {"type": "inference_admission"}]
        gateway.events(given)

        assert events(turn(gateway)) == given

    def test_sends_event_objects_as_wire_json(self, gateway: FakeGateway):
        """The events of `pi_native` serve as well."""
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

    def test_leaves_out_the_last_frame_when_told_to(self, gateway: FakeGateway):
        """`done=False` ends the body after the last event."""
        gateway.add(Events([{"type": "start"}], done=False))

        assert turn(gateway).content == b'data: {"type":"start"}\n\n'

    @pytest.mark.parametrize(
        ("framing", "header"),
        [("chunked", "Transfer-Encoding"), ("length", "Content-Length"), ("close", None)],
    )
    def test_frames_raw_bytes_in_each_way(self, gateway: FakeGateway, framing: Any, header: Any):
        """Chunked, with a length, or ended by the close of the connection."""
        gateway.raw([b"data: 1\n", b"", b"\n: more"], framing=framing, headers={"X-A": "b"})

        response = turn(gateway)

        assert response.content == b"data: 1\n\n: more"
        assert response.headers["X-A"] == "b"
        framed = {"Transfer-Encoding", "Content-Length"} & set(response.headers)
        assert framed == ({header} if header else set())
        assert response.headers["Connection"] == ("keep-alive" if header else "close")

    def test_lets_headers_replace_its_own(self, gateway: FakeGateway):
        """A name is replaced whatever its case."""
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
        """The type follows from the status."""
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
        """What a proxy in between would say can be said."""
        gateway.error(502, body=body)

        assert turn(gateway).content.decode(errors="replace") == text

    def test_names_the_status_when_an_error_has_no_message(self, gateway: FakeGateway):
        """A type may be given, too."""
        gateway.error(503, type="overloaded")

        expected = {"type": "overloaded", "message": "Service Unavailable"}
        assert turn(gateway).json() == {"error": expected}


class TestRoutes:
    """What the real gateway checks and shows."""

    def test_tells_its_health_to_anyone(self):
        """No key is needed there, and the version is the one that it was given."""
        with FakeGateway(version="1.2.3") as gateway:
            response = call(gateway, "GET", "/healthz", headers={"Authorization": "Bearer x"})
            assert response.json() == {"ok": True, "version": "1.2.3"}

    @pytest.mark.parametrize("key", ["Bearer wrong", "Basic dGVzdC1rZXk=", "", "Bearer"])
    def test_wants_its_bearer_everywhere_else(self, gateway: FakeGateway, key: str):
        """A wrong key gets the real gateway's 401, before the route is looked at."""
        response = call(gateway, "GET", "/nowhere", headers={"Authorization": key})

        assert response.status_code == 401
        assert response.content == b'{"error":"unauthorized"}'

    def test_reads_the_bearer_as_generously_as_the_real_one(self, gateway: FakeGateway):
        """The scheme's case and more white space do not matter."""
        headers = {"Authorization": f"bearer   {gateway.api_key}"}
        assert call(gateway, "GET", "/v1/models", headers=headers).ok

    def test_wants_no_key_when_it_has_none(self):
        """That is the real one's `--no-auth`."""
        with FakeGateway(api_key=None) as gateway:
            assert turn(gateway).ok

    def test_knows_no_other_route(self, gateway: FakeGateway):
        """The method counts, the query does not."""
        for method, path in [("GET", "/x"), ("PUT", "/v1/pi/stream"), ("GET", "/v1/pi/stream")]:
            response = call(gateway, method, path + "?q=1")
            assert response.status_code == 404
            assert response.json() == {"error": f"No route: {method} {path}"}

    def test_knows_any_model_unless_told_which(self):
        """With a list, another one is a 404, and takes no entry of the script."""
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
    def test_turns_down_a_body_in_the_real_ones_words(
        self, gateway: FakeGateway, body: bytes, message: str
    ):
        """What is no turn takes no entry of the script."""
        gateway.reply("unheard")

        response = call(gateway, "POST", "/v1/pi/stream", data=body)

        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"
        assert response.json()["error"]["message"].startswith(message)
        assert gateway.pending == 1

    def test_lists_the_models_that_it_was_given(self):
        """An id is enough; a row keeps what it says."""
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
        """Usage and credentials are lists that a test may replace."""
        assert call(gateway, "GET", path).json()[rows][0]["provider"] == "fake"

        gateway.usage_reports = gateway.credentials = [{"provider": "acme"}]

        page = call(gateway, "GET", path).json()
        assert page[rows] == [{"provider": "acme"}]
        assert page["generatedAt"] > 1_700_000_000_000


class TestRecord:
    """What a test can learn of the requests."""

    def test_keeps_each_request(self, gateway: FakeGateway):
        """Method, path, headers without case, body, and the parts of a turn."""
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
        """A body that is sent as it is made is read to its end."""
        pieces = iter([b'{"modelId":"a/b",', b'"context":{"messages":[]}}'])

        assert call(gateway, "POST", "/v1/pi/stream", data=pieces).ok
        assert gateway.requests[0].context == {"messages": []}

    def test_tells_connections_apart(self, gateway: FakeGateway):
        """Turns on one kept connection bear its number, a new one the next."""
        with requests.Session() as session:
            session.trust_env = False
            for _ in range(2):
                session.get(gateway.url + "/healthz", timeout=5)
        turn(gateway)

        assert [request.connection for request in gateway.requests] == [1, 1, 2]
        assert gateway.connections == 2

    def test_hands_out_requests_in_order_waiting_for_them(self, gateway: FakeGateway):
        """Each request is handed out once, one that is still to come as well."""
        late = threading.Thread(target=lambda: (turn(gateway), turn(gateway, modelId="a/b")))
        late.start()

        first, second = gateway.wait_for_request(), gateway.wait_for_request()

        late.join()
        assert [first, second] == gateway.requests
        assert second.model == "a/b"
        with pytest.raises(TimeoutError, match="no request but 2"):
            gateway.wait_for_request(timeout=0.01)

    def test_knows_when_an_answer_is_out_and_when_the_client_left(self, gateway: FakeGateway):
        """Both can be waited for; leaving after the answer is leaving, too."""
        turn(gateway)

        request = gateway.wait_for_request()
        assert request.answered.wait(5)
        assert request.client_gone.wait(5)
