"""Requests: the address, the headers by strength, and the body of one turn."""

from __future__ import annotations

import json
import traceback
from typing import Any

import pytest

from pi_native import (
    AssistantMessage,
    ConfigurationError,
    Context,
    DecodeError,
    Model,
    StreamOptions,
    ToolCall,
    UserMessage,
    from_wire,
    to_wire,
)
from pi_native._protocol.request import Request, Secret, merge_headers, turn_request, with_bearer

URL = "http://gateway.invalid:4000"
KEY = "key-of-the-gateway"
CONTEXT = Context([UserMessage("hi", timestamp=1)])
PROTOCOL_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "text/event-stream",
    "Accept-Encoding": "identity",
}


def request(
    model: Model | None = None, context: Context = CONTEXT, **options: Any
) -> tuple[Request, Any]:
    """Return a turn's request, and its body as an object."""
    made = turn_request(
        model or Model("y", "x", base_url=URL),
        context,
        StreamOptions(**{"api_key": KEY, **options}),
    )
    assert made.body is not None
    return made, json.loads(made.body)


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        (URL, f"{URL}/v1/pi/stream"),
        (f"{URL}/", f"{URL}/v1/pi/stream"),
        (f"{URL}///", f"{URL}/v1/pi/stream"),
        (f"{URL}/a/b//", f"{URL}/a/b/v1/pi/stream"),
    ],
)
def test_it_is_a_post_to_the_stream(base_url: str, url: str) -> None:
    """The path is added to the address, without any slash that this one ends with."""
    made, _ = request(Model("y", "x", base_url=base_url))
    assert (made.method, made.url) == ("POST", url)


@pytest.mark.parametrize("base_url", [None, ""])
def test_a_model_without_an_address(base_url: str | None) -> None:
    """The error names the model, what is missing, and where it is set."""
    with pytest.raises(ConfigurationError) as caught:
        request(Model("some-model", "x", base_url=base_url))
    for words in ("'some-model'", "base_url", "models.yml", "pi-native transport"):
        assert words in str(caught.value)


def test_the_body_is_an_object_of_four_members() -> None:
    """The model's name, the conversation, the options and `stream` are sent, compactly."""
    made, body = request(Model("y/z", "x", base_url=URL), temperature=0, max_tokens=5)
    assert body == {
        "modelId": "x/y/z",
        "context": {"messages": [{"role": "user", "content": "hi", "timestamp": 1}]},
        "options": {"temperature": 0, "maxTokens": 5},
        "stream": True,
    }
    assert list(body) == ["modelId", "context", "options", "stream"]
    assert made.body == json.dumps(body, separators=(",", ":")).encode()


def test_the_body_does_not_hold_the_key() -> None:
    """The key goes in the header alone."""
    made, _ = request()
    assert made.body is not None
    assert KEY.encode() not in made.body
    assert made.headers["Authorization"] == f"Bearer {KEY}"


def test_characters_beyond_ascii_are_escaped() -> None:
    """Any character arrives as it is, half of a surrogate pair too."""
    text = "é\u2028\U0001f600\ud83d\x00"
    made, body = request(context=Context([UserMessage(text, timestamp=1)]))
    assert body["context"]["messages"][0]["content"] == text
    assert made.body is not None
    assert made.body.isascii()


def test_an_answer_goes_out_as_it_came_in() -> None:
    """History is the same JSON again: unknown members, nulls, and 0 against 0.0."""
    wire = {
        "role": "assistant",
        "content": [{"type": "text", "text": "a", "x": None}, {"type": "new", "n": 1.0}],
        "usage": {"input": 0, "output": 0.0, "cost": {"total": 0}},
        "stopDetails": None,
        "unheard": {"of": [1, 1.0, True]},
    }
    made, _ = request(context=Context([from_wire(wire, AssistantMessage)]))
    assert made.body is not None
    assert json.dumps(wire, separators=(",", ":"), sort_keys=True) == json.dumps(
        json.loads(made.body)["context"]["messages"][0], separators=(",", ":"), sort_keys=True
    )


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), {1}, b"x", object()],
    ids=["nan", "inf", "set", "bytes", "object"],
)
def test_what_is_no_json_cannot_be_sent(value: object) -> None:
    """Neither an option nor a tool's argument may be what JSON does not have."""
    call = AssistantMessage([ToolCall("1", "f", {"a": value})])
    with pytest.raises((ConfigurationError, DecodeError)):
        request(context=Context([call]))
    with pytest.raises(ConfigurationError, match="the request cannot be written as JSON"):
        request(extra={"x": value})


def test_what_holds_itself_cannot_be_sent() -> None:
    """A list that contains itself is an error, and does not hang."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ConfigurationError, match="the request cannot be written as JSON"):
        request(metadata={"x": endless})
    call = AssistantMessage([ToolCall("1", "f", {"a": endless})])
    with pytest.raises((ConfigurationError, DecodeError)):
        request(context=Context([call]))


def test_the_headers_of_the_protocol() -> None:
    """Three headers and the key are sent, without others."""
    made, _ = request()
    assert made.headers == {**PROTOCOL_HEADERS, "Authorization": f"Bearer {KEY}"}


def test_a_models_headers_are_stronger() -> None:
    """A model's header takes the place of the protocol's, whatever its case."""
    made, _ = request(Model("y", "x", base_url=URL, headers={"ACCEPT": "a/b", "x-omp-slot": "1"}))
    assert made.headers == {
        "Content-Type": "application/json",
        "ACCEPT": "a/b",
        "Accept-Encoding": "identity",
        "x-omp-slot": "1",
        "Authorization": f"Bearer {KEY}",
    }


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_a_models_authorization_is_stronger_than_the_key(name: str) -> None:
    """There is one Authorization: the model's, where it has one."""
    made, _ = request(Model("y", "x", base_url=URL, headers={name: "Basic abc"}))
    assert made.headers == {**PROTOCOL_HEADERS, name: "Basic abc"}


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_there_is_no_authorization(key: str | None) -> None:
    """No key and an empty one send no header."""
    made, _ = request(api_key=key)
    assert made.headers == PROTOCOL_HEADERS


def test_a_models_headers_are_left_alone() -> None:
    """Headers that are added to the request are not in the model."""
    headers = {"x-a": "b"}
    made, _ = request(Model("y", "x", base_url=URL, headers=headers))
    made.headers["x-c"] = "d"
    assert headers == {"x-a": "b"}


def test_later_headers_win() -> None:
    """Of two spellings of a name the later one is sent, in the place of the first."""
    merged = merge_headers({"X-A": "1", "X-B": "2"}, {}, {"x-a": "3"}, {"X-a": "4", "x-c": "5"})
    assert list(merged.items()) == [("X-a", "4"), ("X-B", "2"), ("x-c", "5")]
    assert merge_headers() == {}


BAD_VALUES = ["a\r\nb", "a\nb", "a\rb", "a\0b", " a", "a ", "\ta", "a\n", "\u20ac", "\ud83d"]


@pytest.mark.parametrize("value", [*BAD_VALUES, None, 7, b"a", ["a"]], ids=ascii)
def test_a_value_that_no_header_can_carry(value: Any) -> None:
    """Line ends, what is beyond Latin-1 and what is no string are refused, without the value."""
    with pytest.raises(ConfigurationError) as caught:
        merge_headers({"x-token": value})
    assert str(caught.value) == "the header 'x-token' has a value that HTTP cannot carry"


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\n", "é", "a\r\nb: c", "(", None, 7, b"a"])
def test_a_name_that_no_header_can_have(name: Any) -> None:
    """A name that is no token is refused, and shown."""
    with pytest.raises(ConfigurationError) as caught:
        merge_headers({name: "x"})
    assert str(caught.value) == f"{name!r} is not a header's name"


@pytest.mark.parametrize("value", ["", "a b", "a\tb", "é", '"x"; y=1', "\x7f"])
def test_a_value_that_a_header_can_carry(value: str) -> None:
    """Latin-1, spaces within and nothing at all are no fault."""
    assert merge_headers({"x-a!#$%&'*+-.^_`|~09Z": value}) == {"x-a!#$%&'*+-.^_`|~09Z": value}


@pytest.mark.parametrize("bad", ["\r", "\n", "\0", "\u20ac"])
def test_a_key_that_no_header_can_carry_is_not_shown(bad: str) -> None:
    """The error names the character, and shows nothing else of the key."""
    with pytest.raises(ConfigurationError) as caught:
        with_bearer({}, f"secret{bad}secret")
    assert str(caught.value) == f"the api key holds {bad!r}, which no HTTP header can carry"
    assert caught.value.__cause__ is None


def test_adding_the_key_leaves_the_headers_alone() -> None:
    """The headers that were given are not changed."""
    headers = {"x-a": "b"}
    assert with_bearer(headers, KEY) == {"x-a": "b", "Authorization": f"Bearer {KEY}"}
    assert headers == {"x-a": "b"}


def test_a_secret_is_a_string_that_hides() -> None:
    """It is sent as it is, and shown as stars."""
    secret = Secret(KEY)
    assert secret == KEY
    assert secret.encode() == KEY.encode()
    assert repr(secret) == repr([secret])[1:-1] == "'***'"


@pytest.mark.parametrize("headers", [None, {"authorization": f"Bearer {KEY}"}])
def test_a_request_does_not_show_the_key(headers: dict[str, str] | None) -> None:
    """Neither its repr nor that of its headers shows it, wherever the key came from."""
    made, _ = request(Model("y", "x", base_url=URL, headers=headers))
    assert KEY not in repr(made) + repr(made.headers)


def test_a_fault_in_the_body_does_not_show_the_key() -> None:
    """A traceback with all local variables has no key in it."""
    with pytest.raises(ConfigurationError) as caught:
        request(api_key=Secret(KEY), extra={"x": {1}})
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [entry for entry in shown.stack if "pi_native" in entry.filename]
    frames = repr([entry.locals for entry in ours])
    assert "StreamOptions" in frames
    assert KEY not in frames


def test_the_conversation_is_written_at_once() -> None:
    """A change after the request was made is not sent."""
    context = Context([UserMessage("hi", timestamp=1)])
    made, before = request(context=context)
    context.messages.append(UserMessage("ho"))
    assert made.body is not None
    assert json.loads(made.body) == before
    assert len(to_wire(context)["messages"]) == 2


@pytest.mark.parametrize(
    ("key", "words"),
    [(" secret", "the api key holds ' '"), (7, "the api key must be a string, not int")],
)
def test_a_key_of_another_kind(key: Any, words: str) -> None:
    """White space at an end and a number are refused."""
    with pytest.raises(ConfigurationError, match=words):
        with_bearer({}, key)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_one_line_end_after_a_key_is_removed(end: str) -> None:
    """A key that was read from a file with its line end is sent without it."""
    assert with_bearer({}, f"key{end}") == {"Authorization": "Bearer key"}
    with pytest.raises(ConfigurationError):
        with_bearer({}, f"key{end}{end}")
