"""The client by itself: how it is made, shown, pickled and closed, and what it makes of a call."""

from __future__ import annotations

import copy
import io
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter

from pi_native import (
    AbortController,
    AssistantMessage,
    AuthenticationError,
    Client,
    ConfigurationError,
    Context,
    DeveloperMessage,
    Health,
    ImageContent,
    IncompleteStreamError,
    Model,
    ProviderError,
    Setting,
    StreamOptions,
    TextContent,
    Tool,
    UserMessage,
    stream_pi_native,
)
from pi_native._prompts import context_of, messages_of

KEY = "key-of-the-gateway"
URL = "http://gateway.invalid:4000"
LOCAL = "http://127.0.0.1:4000"
HI = UserMessage("hi", timestamp=1)
TOOL = Tool("clock", "Tells the time.", {"type": "object"})
SAID = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}], "stopReason": "stop"}
FAILED = {**SAID, "stopReason": "error", "errorMessage": "overloaded"}


class Gateway(BaseAdapter):
    """Answers a session's requests, without a network, as a gateway would."""

    def __init__(self, *events: dict[str, Any], status: int = 200) -> None:
        super().__init__()
        self.events = events or ({"type": "done", "reason": "stop", "message": SAID},)
        self.status = status
        self.sent: list[requests.PreparedRequest] = []
        self.closed = 0

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        """Answer a turn with events, and anything else with the state of health."""
        self.sent.append(request)
        answer = requests.Response()
        answer.status_code, answer.request, answer.url = self.status, request, str(request.url)
        if request.method == "POST":
            answer.headers["Content-Type"] = "text/event-stream"
            body = b"".join(b"data: %s\n\n" % json.dumps(e).encode() for e in self.events)
        else:
            body = b'{"ok":true,"version":"1"}'
        answer.raw = io.BytesIO(body if self.status == 200 else b'{"error":"no"}')
        return answer

    def close(self) -> None:
        """Count."""
        self.closed += 1

    @property
    def body(self) -> Any:
        """Return the body of the last request."""
        body = self.sent[-1].body
        assert body is not None
        return json.loads(body)

    @property
    def headers(self) -> dict[str, str]:
        """The last request's headers, their names in small letters."""
        return {name.lower(): value for name, value in self.sent[-1].headers.items()}


def client_of(gateway: Gateway, api_key: str | None = KEY, **settings: Any) -> Client:
    """Return a client whose session goes to this gateway."""
    session = requests.Session()
    session.mount("http://", gateway)
    return Client(URL, api_key, session=session, **{"max_retries": 0, **settings})


def settings_of(client: Client) -> dict[str, tuple[str | float | None, str]]:
    """Return the client's settings by name, with their origins."""
    return {setting.name: (setting.value, setting.origin) for setting in client.settings}


# How it is made


def test_nothing_needs_to_be_given() -> None:
    """Without arguments and environment it is the local gateway, without a key."""
    client = Client()
    assert client.base_url == LOCAL
    assert client.settings == [
        Setting("base_url", LOCAL, "default"),
        Setting("api_key", None, "default"),
        Setting("connect_timeout", 10.0, "default"),
        Setting("first_event_timeout", 250.0, "default"),
        Setting("idle_timeout", 250.0, "default"),
        Setting("total_timeout", None, "default"),
    ]


def test_everything_can_be_given() -> None:
    """Arguments have the origin "argument", times are in seconds, and the key is only "set"."""
    client = Client(
        f"{URL}//",
        KEY,
        connect_timeout=1,
        first_event_timeout=2.5,
        idle_timeout=0,
        total_timeout=60,
    )
    assert settings_of(client) == {
        "base_url": (URL, "argument"),
        "api_key": ("set", "argument"),
        "connect_timeout": (1.0, "argument"),
        "first_event_timeout": (2.5, "argument"),
        "idle_timeout": (None, "argument"),
        "total_timeout": (60.0, "argument"),
    }


def test_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Address, key and waits come from their variables, which are named."""
    monkeypatch.setenv("PI_NATIVE_BASE_URL", f"{URL}/")
    monkeypatch.setenv("PI_NATIVE_API_KEY", KEY)
    monkeypatch.setenv("PI_STREAM_IDLE_TIMEOUT_MS", "1500")
    found = settings_of(Client())
    assert found["base_url"] == (URL, "PI_NATIVE_BASE_URL")
    assert found["api_key"] == ("set", "PI_NATIVE_API_KEY")
    assert found["idle_timeout"] == (1.5, "PI_STREAM_IDLE_TIMEOUT_MS")


def test_the_local_token_is_found(tmp_path: Path) -> None:
    """The file of a gateway on this machine has the key, and is named."""
    (tmp_path / ".omp").mkdir()
    (tmp_path / ".omp" / "auth-gateway.token").write_text(KEY)
    assert settings_of(Client())["api_key"] == ("set", "~/.omp/auth-gateway.token")
    assert settings_of(Client(URL))["api_key"] == (None, "default")


@pytest.mark.parametrize("name", ["connect_timeout", "idle_timeout", "total_timeout"])
def test_a_timeout_that_is_no_number(name: str) -> None:
    """It is not the making of a client that fails, but asking for its settings."""
    client = Client(URL, KEY, **{name: float("nan")})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="is a number of seconds, not nan"):
        _ = client.settings
    client = Client(URL, KEY, **{name: "5"})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"is a number of seconds, not '5'$"):
        _ = client.settings


def test_the_headers_that_were_given_are_copied() -> None:
    """A change to them after the client was made is not sent."""
    gateway, headers = Gateway(), {"x-a": "1"}
    client = client_of(gateway, headers=headers)
    headers["x-a"] = "2"
    client.health()
    assert gateway.headers["x-a"] == "1"


# How it is shown


@pytest.mark.parametrize(
    "settings", [{}, {"headers": {"authorization": f"Bearer {KEY}"}}, {"pickle_key": True}]
)
def test_a_repr_hides_the_key(settings: dict[str, Any]) -> None:
    """The address is shown and nothing else; nor do its variables and settings show the key."""
    client = Client(URL, KEY, **settings)
    assert repr(client) == f"Client({URL!r})"
    shown = {name: value for name, value in vars(client).items() if name != "_headers"}
    assert KEY not in repr(shown) + repr(client.settings)


# Pickled


def test_a_pickle_has_no_key_and_takes_the_other_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key stays behind; on the other side it comes from the environment there, if it is set."""
    pickled = pickle.dumps(Client(URL, KEY, headers={"x-a": "b", "AUTHORIZATION": KEY}))
    assert KEY.encode() not in pickled
    without = pickle.loads(pickled)
    assert settings_of(without)["api_key"] == (None, "default")
    monkeypatch.setenv("PI_NATIVE_API_KEY", "theirs")
    assert settings_of(pickle.loads(pickled))["api_key"] == ("set", "PI_NATIVE_API_KEY")


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_keeps_the_key(copied: Callable[[Client], Client]) -> None:
    """It stays in the process, so it is the same client, with connections of its own."""
    client = Client(URL, KEY, headers={"authorization": KEY}, idle_timeout=5)
    twin = copied(client)
    assert settings_of(twin) == settings_of(client)
    assert pickle.dumps(twin) == pickle.dumps(client)
    assert (twin._api_key, twin._headers) == (client._api_key, client._headers)
    assert twin._transport is not client._transport


def test_a_pickle_may_have_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for it, the key comes along, and the environment's is not taken."""
    monkeypatch.setenv("PI_NATIVE_API_KEY", "theirs")
    back = pickle.loads(pickle.dumps(Client(URL, KEY, pickle_key=True)))
    assert settings_of(back)["api_key"] == ("set", "argument")
    assert KEY.encode() in pickle.dumps(back)
    assert repr(back) == f"Client({URL!r})"
    assert KEY not in repr(vars(back))


def test_a_pickle_has_everything_else() -> None:
    """Address and times are those of the original, whatever the environment says."""
    client = Client(URL, KEY, connect_timeout=1, idle_timeout=2, total_timeout=3, pickle_key=True)
    back = pickle.loads(pickle.dumps(client))
    assert back.settings == client.settings
    assert back.base_url == URL


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_any_protocol(protocol: int) -> None:
    """Each protocol that knows slots and states will do."""
    back = pickle.loads(pickle.dumps(Client(URL, idle_timeout=5), protocol))
    assert settings_of(back)["idle_timeout"] == (5.0, "argument")


def test_pickling_leaves_the_client_as_it_is() -> None:
    """The key is gone from the pickle alone."""
    gateway = Gateway()
    client = client_of(gateway)
    assert client.__getstate__()["_api_key"] is None
    client.complete("x/y", "hi")
    assert gateway.headers["authorization"] == f"Bearer {KEY}"


def test_a_client_can_be_copied() -> None:
    """A copy talks to the same gateway, through connections of its own."""
    client = Client(URL, KEY, pickle_key=True)
    twin = copy.copy(client)
    assert twin.settings == client.settings
    assert twin._transport is not client._transport


# Closed


def test_leaving_a_with_block_closes_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """`with` gives the client itself, and closes it once, also when the block fails."""
    closed: list[Client] = []
    monkeypatch.setattr(Client, "close", lambda self: closed.append(self))
    client = Client(URL, KEY)
    with client as same:
        assert same is client
        assert closed == []
    assert closed == [client]
    with pytest.raises(KeyError), client:
        raise KeyError
    assert closed == [client, client]


def test_closing_twice_is_closing_once() -> None:
    """A client may be closed at any time, also before it was used."""
    with Client(URL, KEY) as client:
        client.close()
        client.close()


def test_a_closed_client_can_be_used() -> None:
    """A closed client opens new connections for its next call."""
    gateway = Gateway()
    client = client_of(gateway)
    client.close()
    assert client.health() == Health(True, "1")
    assert client.complete("x/y", "hi").text == "Hello"


def test_the_callers_session_is_not_closed() -> None:
    """The client does not close a session that the caller gave it."""
    gateway = Gateway()
    with client_of(gateway) as client:
        client.health()
    assert gateway.closed == 0


# Its calls


def test_a_turn_through_a_session() -> None:
    """The model, the prompt and the key are sent, and the message comes back."""
    gateway = Gateway()
    answer = client_of(gateway).complete("x/y/z", "hi", temperature=0.5)
    assert answer.text == "Hello"
    assert gateway.sent[-1].url == f"{URL}/v1/pi/stream"
    assert gateway.body["modelId"] == "x/y/z"
    assert gateway.body["context"]["messages"][0]["content"] == "hi"
    assert gateway.body["options"] == {"temperature": 0.5}
    assert gateway.headers["authorization"] == f"Bearer {KEY}"
    assert gateway.headers["x-omp-app"] == "pi-native-python"


def test_a_turn_may_have_a_session_of_its_own() -> None:
    """The call's session takes the place of the client's."""
    gateway, other = Gateway(), Gateway()
    session = requests.Session()
    session.mount("http://", other)
    client_of(gateway).complete("x/y", "hi", session=session)
    assert (len(gateway.sent), len(other.sent)) == (0, 1)


def test_a_turns_own_key_is_stronger() -> None:
    """A key given with the call is sent instead of the client's."""
    gateway = Gateway()
    client_of(gateway).complete("x/y", "hi", api_key="another")
    assert gateway.headers["authorization"] == "Bearer another"


def test_headers_by_their_strength() -> None:
    """A model's header is stronger than the client's, and that than the attribution."""
    gateway = Gateway()
    client = client_of(gateway, headers={"X-OMP-APP": "client", "x-a": "client", "x-b": "client"})
    client.complete(Model("y", "x", headers={"X-A": "model"}), "hi")
    assert gateway.headers["x-omp-app"] == "client"
    assert (gateway.headers["x-a"], gateway.headers["x-b"]) == ("model", "client")


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({}, {"x-omp-app": "pi-native-python"}),
        ({"app": ""}, {}),
        ({"app": "caf\u00e9 \u20ac\n"}, {"x-omp-app": "caf? ??"}),
        (
            {"app": "a", "install_id": "b", "hostname": "c\u00fc"},
            {"x-omp-app": "a", "x-omp-install-id": "b", "x-omp-hostname": "c?"},
        ),
    ],
    ids=["default", "none", "beyond ascii", "all"],
)
def test_whose_tokens_are_spent(settings: dict[str, Any], sent: dict[str, str]) -> None:
    """The attribution headers hold the arguments, in characters that a header can carry."""
    gateway = Gateway()
    client_of(gateway, **settings).complete("x/y", "hi")
    assert {k: v for k, v in gateway.headers.items() if k.startswith("x-omp")} == sent


@pytest.mark.parametrize("name", ["", "/", "x/", "/y", "//"])
def test_a_model_that_has_no_such_name(name: str) -> None:
    """The stream tells it, and nothing is sent."""
    gateway = Gateway()
    with pytest.raises(ConfigurationError, match='a model is named "provider/id"'):
        client_of(gateway).stream(name, "hi").result(5)
    assert gateway.sent == []


@pytest.mark.parametrize("base_url", [None, "", URL, f"{URL}/"])
def test_a_model_of_this_gateway(base_url: str | None) -> None:
    """A model without an address, or with the client's own, is called there, and left as it is."""
    gateway, model = Gateway(), Model("y", "x", base_url=base_url)
    assert client_of(gateway).complete(model, "hi").text == "Hello"
    assert (model.base_url, model.headers) == (base_url, None)


def test_a_model_of_another_gateway() -> None:
    """It is not called: the key is for this one."""
    gateway = Gateway()
    model = Model("y", "x", base_url="http://other.invalid")
    with pytest.raises(ConfigurationError, match=r"'y' names another gateway.*other\.invalid"):
        client_of(gateway).stream(model, "hi").result(5)
    assert gateway.sent == []


@pytest.mark.parametrize("model", [None, 7, b"x/y", Context([])], ids=["none", "int", "bytes", "c"])
def test_a_model_of_a_wrong_type(model: Any) -> None:
    """It is raised at the call."""
    with pytest.raises(TypeError, match='model must be "provider/id" or a Model'):
        Client(URL, KEY).stream(model, "hi")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("x/y", Context([]), None), "model must be a Model, not str"),
        ((Model("y", "x"), "hi", None), "context must be a Context, not str"),
        ((Model("y", "x"), Context([]), {}), "options must be a StreamOptions, not dict"),
    ],
    ids=["model", "context", "options"],
)
def test_a_low_level_call_of_a_wrong_type(arguments: tuple[Any, Any, Any], words: str) -> None:
    """It is raised at the call, and says what was expected."""
    with pytest.raises(TypeError, match=words):
        stream_pi_native(*arguments)


@pytest.mark.parametrize(
    ("signal", "words"),
    [
        (AbortController(), "not AbortController; its signal is meant"),
        (7, "an AbortSignal or a threading.Event, not int"),
    ],
)
def test_a_signal_of_a_wrong_type(signal: Any, words: str) -> None:
    """It is raised at the call, by both ways in; the controller is a likely slip."""
    options = StreamOptions(signal=signal)
    for call in (
        lambda: Client(URL, KEY).stream("x/y", "hi", signal=signal),
        lambda: stream_pi_native(Model("y", "x", base_url=URL), Context([HI]), options),
    ):
        with pytest.raises(TypeError, match=words):
            call()


@pytest.mark.parametrize("tools", [[{"name": "clock"}], ["clock"], [None]])
def test_tools_of_a_wrong_type(tools: Any) -> None:
    """It is raised at the call, and not by the provider."""
    with pytest.raises(TypeError, match="each of the tools must be a Tool or a function, not "):
        Client(URL, KEY).stream("x/y", "hi", tools=tools)


@pytest.mark.parametrize("tools", [print, Tool("clock", "", {})], ids=["function", "tool"])
def test_one_tool_without_a_list(tools: Any) -> None:
    """The error says that a list is expected."""
    with pytest.raises(TypeError, match=r"tools must be a list, not .*: tools=\[...\]"):
        Client(URL, KEY).stream("x/y", "hi", tools=tools)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_incomplete": "ok"}, 'on_incomplete is "done" or "error", not \'ok\''),
        ({"max_retries": "3"}, "max_retries is a whole number, not '3'"),
        ({"max_retries": None}, "max_retries is a whole number, not None"),
        ({"max_retries": True}, "max_retries is a whole number, not True"),
    ],
)
def test_a_choice_that_there_is_not(options: Any, words: str) -> None:
    """It comes out of the stream, and nothing is sent."""
    gateway = Gateway()
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        client_of(gateway, **options).stream("x/y", "hi").result(5)
    assert gateway.sent == []


def test_a_low_level_call_adds_no_attribution() -> None:
    """Only a client says whose tokens are spent."""
    gateway = Gateway()
    session = requests.Session()
    session.mount("http://", gateway)
    model = Model("y", "x", base_url=URL)
    stream_pi_native(model, Context([HI]), StreamOptions(session=session)).result(5)
    assert not [name for name in gateway.headers if name.startswith("x-omp")]
    assert "authorization" not in gateway.headers


def test_an_option_that_does_not_exist() -> None:
    """A misspelt option is raised at the call."""
    with pytest.raises(TypeError, match="temprature"):
        Client(URL, KEY).stream("x/y", "hi", temprature=1)


def test_a_failed_turn_raises_from_complete_alone() -> None:
    """`complete` raises for it; the stream's result is the failed message."""
    gateway = Gateway({"type": "error", "reason": "error", "error": FAILED})
    client = client_of(gateway)
    assert client.stream("x/y", "hi").result(5).error_message == "overloaded"
    with pytest.raises(ProviderError, match="overloaded") as caught:
        client.complete("x/y", "hi")
    assert caught.value.message is not None
    assert caught.value.message.text == "Hello"


def test_an_early_end_is_an_error_unless_it_is_said_to_be_none() -> None:
    """The default is an error, the client's argument is stronger, and the call's the strongest."""
    gateway = Gateway({"type": "start", "partial": SAID})
    with pytest.raises(IncompleteStreamError) as caught:
        client_of(gateway).complete("x/y", "hi")
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hello"
    client = client_of(gateway, on_incomplete="done")
    assert client.complete("x/y", "hi").content == []
    with pytest.raises(IncompleteStreamError):
        client.complete("x/y", "hi", on_incomplete="error")


def test_a_page_without_a_key() -> None:
    """A client without a key asks all the same; the gateway decides."""
    gateway = Gateway()
    assert client_of(gateway, api_key=None).health().ok
    assert "authorization" not in gateway.headers
    assert gateway.headers["accept"] == "application/json"


def test_a_page_that_is_refused() -> None:
    """A call about the gateway raises what the stream of a turn would raise."""
    with pytest.raises(AuthenticationError) as caught:
        client_of(Gateway(status=401)).health()
    assert str(caught.value).startswith('auth-gateway 401: {"error":"no"}; ')
    assert caught.value.hint


# Prompts


@pytest.mark.parametrize(
    ("prompt", "messages"),
    [
        (HI, [HI]),
        ([HI], [HI]),
        ((HI, HI), [HI, HI]),
        ([], []),
        (DeveloperMessage("x", timestamp=1), [DeveloperMessage("x", timestamp=1)]),
        (AssistantMessage([], timestamp=1), [AssistantMessage([], timestamp=1)]),
    ],
    ids=["message", "list", "tuple", "empty", "developer", "assistant"],
)
def test_a_prompt_as_messages(prompt: Any, messages: list[Any]) -> None:
    """A message or a sequence of them is the conversation."""
    assert messages_of(prompt) == messages


def test_a_text_is_what_the_user_says() -> None:
    """A string becomes one message of the user."""
    [message] = messages_of("hi")
    assert isinstance(message, UserMessage)
    assert message.content == "hi"


@pytest.mark.parametrize(
    "prompt",
    [None, 7, b"hi", {"role": "user"}, {HI.content}, iter([HI]), [HI, "hi"], ["hi"], [None]],
    ids=["none", "int", "bytes", "dict", "set", "iterator", "mixed", "texts", "nones"],
)
def test_a_prompt_that_is_none(prompt: Any) -> None:
    """Anything else is raised at the call."""
    with pytest.raises(TypeError, match="a prompt is a string, messages or a Context"):
        Client(URL, KEY).stream("x/y", prompt)


@pytest.mark.parametrize(
    ("prompt", "hint"),
    [
        (TextContent("hi"), "blocks go into a UserMessage"),
        ([ImageContent("", "image/png")], "blocks go into a UserMessage"),
        ([{"role": "user", "content": "hi"}], "from_wire(data, Message) makes a message of a dict"),
        ({"role": "user"}, "from_wire(data, Message) makes a message of a dict"),
    ],
)
def test_a_prompt_that_is_nearly_one(prompt: Any, hint: str) -> None:
    """The error names the likely intention."""
    with pytest.raises(TypeError, match=re.escape(hint)):
        messages_of(prompt)


def test_messages_are_the_calls_own() -> None:
    """A list that was given is not the list that is sent."""
    given = [HI]
    assert messages_of(given) is not given


@pytest.mark.parametrize(
    ("system", "expected"), [(None, None), ("s", ["s"]), (["s", "t"], ["s", "t"]), (("s",), ["s"])]
)
def test_instructions(system: Any, expected: list[str] | None) -> None:
    """One text or several become a list of them."""
    assert context_of("hi", system, None).system_prompt == expected


def test_a_context_is_not_changed() -> None:
    """Instructions and tools given beside a context are the call's, and stay out of it."""
    context = Context([HI], system_prompt=["old"], tools=[])
    made = context_of(context, "new", (TOOL,))
    assert (made.system_prompt, made.tools, made.messages) == (["new"], [TOOL], [HI])
    assert (context.system_prompt, context.tools) == (["old"], [])
    same = context_of(context, None, None)
    assert same == context
    assert same is not context
