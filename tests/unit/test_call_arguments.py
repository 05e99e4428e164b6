"""Arguments of a client and of a turn: what is accepted, and the text of each refusal."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import attrs
import pytest

from pi_native import (
    Client,
    ConfigurationError,
    Context,
    Conversation,
    Model,
    ModelInfo,
    StreamOptions,
    UserMessage,
)
from pi_native._config import find_api_key, find_base_url, without_endpoint
from pi_native._prompts import model_of
from pi_native._protocol.request import turn_request
from pi_native._types.option_checks import check_options
from pi_native._types.options import TurnOptions

URL = "http://gateway.invalid:4000"


class TestOptions:
    """Options of a turn."""

    def test_the_typed_options_are_those_of_the_stream(self) -> None:
        """`TurnOptions` has each field of `StreamOptions` but `signal`, and four times."""
        fields = {a.alias or a.name for a in attrs.fields(StreamOptions)} - {"signal"}
        times = {"connect_timeout", "first_event_timeout", "idle_timeout", "total_timeout"}
        assert set(TurnOptions.__annotations__) == fields | times

    @pytest.mark.parametrize(
        ("name", "near"),
        [
            ("max_token", "max_tokens"),
            ("maxTokens", "max_tokens"),
            ("temprature", "temperature"),
            ("idle_timeouts", "idle_timeout"),
            ("resoning", "reasoning"),
        ],
    )
    def test_an_unknown_option(self, name: str, near: str) -> None:
        """The error names the nearest option."""
        with pytest.raises(TypeError) as caught:
            Client(URL, "key").stream("x/y", "hi", **{name: 5})  # type: ignore[misc]
        assert str(caught.value) == f"unknown option {name}; did you mean {near}?"

    def test_an_option_like_no_other(self) -> None:
        """Without a near name the error says how to send an option that is not known here."""
        with pytest.raises(TypeError, match=r"unknown option zzz; extra=\{...\} sends"):
            Client(URL, "key").stream("x/y", "hi", zzz=5)  # type: ignore[call-arg]

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("temperature", "hot", "temperature is a number of at least 0, not 'hot'"),
            ("temperature", True, "not True"),
            ("temperature", float("nan"), "not nan"),
            ("temperature", float("inf"), "not inf"),
            ("temperature", -0.1, "not -0.1"),
            ("top_p", 1.5, "top_p is a number from 0 to 1, not 1.5"),
            ("max_tokens", -5, "max_tokens is a whole number of at least 1, not -5"),
            ("max_tokens", 0, "not 0"),
            ("max_tokens", 1.5, "not 1.5"),
            ("max_tokens", "500", "not '500'"),
            (
                "reasoning",
                "extreme",
                'reasoning is "minimal" or "low" or "medium" or "high" or "xhigh" or "max", '
                "not 'extreme'; extra={'reasoning': ...} sends any other value",
            ),
            ("reasoning", 3, "not 3"),
            ("service_tier", "fast", '"flex"'),
            ("tool_choice", "always", "\"required\" or a dict, not 'always'"),
            ("stop_sequences", "END", "stop_sequences is a list of strings, not 'END'"),
            ("stop_sequences", [1], "a list of strings"),
            ("thinking_budgets", {"low": "1"}, "a dict of whole numbers"),
            ("request_metadata", {"a": 1}, "a dict of strings"),
            ("headers", [("a", "b")], "a dict of strings"),
            ("metadata", {1: 2}, "a dict"),
            ("disable_reasoning", "yes", "disable_reasoning is True or False, not 'yes'"),
            ("session_id", 7, "session_id is a string, not 7"),
            ("session_id", "x" * 0 or 7.5, "a string"),
            ("on_incomplete", "ok", 'on_incomplete is "done" or "error"'),
            ("max_retries", "3", "max_retries is a whole number"),
        ],
    )
    def test_an_impossible_value(self, name: str, value: Any, words: str) -> None:
        """The error names the option, what is allowed, and the value; both ways to call say it."""
        with pytest.raises(ConfigurationError) as caught:
            Client(URL, "key").complete("x/y", "hi", **{name: value})
        assert words in str(caught.value)
        model = Model("y", "x", base_url=URL)
        with pytest.raises(ConfigurationError):
            turn_request(model, Context([UserMessage("hi")]), StreamOptions(**{name: value}))

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"temperature": 0, "top_k": -1, "max_tokens": 1, "top_p": 1},
            {"reasoning": "max", "tool_choice": {"type": "tool", "name": "x"}},
            {"tool_choice": "any", "stop_sequences": [], "thinking_budgets": {"low": 1}},
            {"extra": {"reasoning": "extreme", "temperature": "hot"}},
            {"headers": {}, "metadata": {"a": [1]}, "prompt_cache": {}},
            {"stream_idle_timeout_ms": -1},
        ],
    )
    def test_a_possible_value(self, options: dict[str, Any]) -> None:
        """Allowed values pass, and nothing in `extra` is checked."""
        check_options(StreamOptions(**options))

    @pytest.mark.parametrize(
        "name", ["connect_timeout", "first_event_timeout", "idle_timeout", "total_timeout"]
    )
    @pytest.mark.parametrize("value", ["5", True, float("nan"), [1]])
    def test_a_time_that_is_no_number(self, name: str, value: Any) -> None:
        """The error has the caller's name and unit, for a client and for a turn."""
        words = f"{name} is a number of seconds, not "
        with pytest.raises(ConfigurationError, match=words):
            Client(URL, "key").complete("x/y", "hi", **{name: value})
        with pytest.raises(ConfigurationError, match=words):
            Client(URL, "key", **{name: value}).complete("x/y", "hi")

    def test_a_turns_time_replaces_the_clients(self) -> None:
        """Times of a turn are in seconds, and None leaves the client's in place."""
        client = Client(URL, idle_timeout=60, total_timeout=5)
        options = client._options({"idle_timeout": 2, "total_timeout": None, "connect_timeout": 0})
        assert options.stream_idle_timeout_ms == 2000
        assert options.total_timeout_ms == 5000
        assert options.connect_timeout_ms == 0
        assert options.stream_first_event_timeout_ms is None


class TestModels:
    """Names of models."""

    @pytest.mark.parametrize(
        ("given", "full_id"),
        [
            ("acme/large", "acme/large"),
            ("acme/a/b", "acme/a/b"),
            ("large", "large"),
            (ModelInfo(id="acme/large"), "acme/large"),
            (ModelInfo(id="large"), "large"),
            (Model("large", "acme"), "acme/large"),
        ],
    )
    def test_a_model(self, given: Any, full_id: str) -> None:
        """A name, a bare id, a row of the gateway's list and a `Model` all name a model."""
        assert model_of(given).full_id == full_id
        request = turn_request(
            attrs.evolve(model_of(given), base_url=URL), Context([]), StreamOptions()
        )
        assert f'"modelId":"{full_id}"'.encode() in (request.body or b"")

    @pytest.mark.parametrize("name", ["", "/", "/large", "acme/"])
    def test_half_a_name(self, name: str) -> None:
        """A name without an id, or with an empty provider, is refused."""
        with pytest.raises(ConfigurationError, match='a model is named "provider/id"'):
            model_of(name)

    @pytest.mark.parametrize("model", [None, 7, b"x", ["x/y"], Client])
    def test_another_type(self, model: Any) -> None:
        """Any other type is a `TypeError`."""
        with pytest.raises(TypeError, match="model must be"):
            model_of(model)


class TestAddress:
    """The address of a gateway."""

    @pytest.mark.parametrize(
        "url",
        ["localhost:4000", "127.0.0.1:4000", "gateway", "ftp://x", "http://", "://x", "http://[x"],
    )
    def test_no_url(self, url: str) -> None:
        """An address without a scheme or a host fails at once, and is shown."""
        with pytest.raises(ConfigurationError) as caught:
            Client(url)
        assert repr(url) in str(caught.value)
        assert "looks like http://127.0.0.1:4000" in str(caught.value)
        with pytest.raises(ConfigurationError, match="from PI_NATIVE_BASE_URL"):
            find_base_url(None, {"PI_NATIVE_BASE_URL": url})

    @pytest.mark.parametrize("url", ["ftp://me:secret@x", "me:secret@x", "//me:secret@x/y"])
    def test_a_password_is_not_shown(self, url: str) -> None:
        """The error hides user name and password."""
        with pytest.raises(ConfigurationError) as caught:
            Client(url)
        assert "secret" not in str(caught.value)
        assert "***@x" in str(caught.value)

    @pytest.mark.parametrize("url", [4000, b"http://x", ["http://x"], Path("x")])
    def test_another_type(self, url: Any) -> None:
        """A port number or bytes are a `TypeError` with an example."""
        with pytest.raises(TypeError, match=r'base_url must be a string such as "http://127'):
            Client(url)

    @pytest.mark.parametrize(
        "end", ["", "/", "/v1", "/v1/", "/v1/pi/stream", "/v1/chat/completions", "/v1/messages"]
    )
    def test_an_endpoint_at_the_end(self, end: str) -> None:
        """The endpoint of this and of other SDKs is no part of the address; a prefix is."""
        assert without_endpoint(URL + end) == URL
        assert without_endpoint(f"{URL}/omp{end}") == f"{URL}/omp"


class TestKeys:
    """The gateway's key."""

    def test_a_file(self, tmp_path: Path) -> None:
        """A key file may have a byte order mark and a line end; the argument comes first."""
        file = tmp_path / "key"
        file.write_bytes(b"\xef\xbb\xbfsecret\r\n")
        assert find_api_key(None, URL, {}, file) == ("secret", str(file))
        assert find_api_key("mine", URL, {}, file) == ("mine", "argument")
        environ = {"PI_NATIVE_API_KEY_FILE": str(file)}
        assert find_api_key(None, URL, environ) == ("secret", str(file))
        environ["PI_NATIVE_API_KEY"] = "theirs"
        assert find_api_key(None, URL, environ) == ("theirs", "PI_NATIVE_API_KEY")
        assert find_api_key(None, URL, environ, file) == ("secret", str(file))

    @pytest.mark.parametrize(
        ("content", "words"), [(b"", "is empty"), (b" \n", "is empty"), (b"\xff", "not UTF-8")]
    )
    def test_a_file_without_a_key(self, tmp_path: Path, content: bytes, words: str) -> None:
        """The error names the file."""
        file = tmp_path / "key"
        file.write_bytes(content)
        with pytest.raises(ConfigurationError, match=words) as caught:
            Client(URL, api_key_file=file)
        assert str(file) in str(caught.value)

    def test_no_file(self, tmp_path: Path) -> None:
        """A file that is not there is an error that names it."""
        with pytest.raises(ConfigurationError, match=r"cannot read the key file .*none"):
            Client(URL, api_key_file=tmp_path / "none")

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_one_line_end(self, end: str) -> None:
        """One line end after a key is removed, wherever the key is from."""
        assert find_api_key(f"key{end}", URL, {})[0] == "key"
        assert find_api_key(None, URL, {"PI_NATIVE_API_KEY": f"key{end}"})[0] == "key"

    @pytest.mark.parametrize("bad", ["\n", "\r", "\0", "\u2026"])
    def test_a_character_that_cannot_be_sent(self, bad: str) -> None:
        """The error names the source and the character, and nothing else of the key."""
        for given, environ, source in [
            (f"sec{bad}ret", {}, "the argument api_key"),
            (None, {"PI_NATIVE_API_KEY": f"sec{bad}ret"}, "PI_NATIVE_API_KEY"),
        ]:
            with pytest.raises(ConfigurationError) as caught:
                find_api_key(given, URL, environ)
            assert f"the key from {source} holds {bad!r}" in str(caught.value)
            assert "sec" not in str(caught.value).replace("secret", "")

    @pytest.mark.parametrize(
        ("environ", "directory"),
        [
            ({}, ".omp"),
            ({"PI_CONFIG_DIR": ".pi"}, ".pi"),
            ({"OMP_PROFILE": "work"}, ".omp/profiles/work"),
            ({"PI_PROFILE": "work"}, ".omp/profiles/work"),
            ({"OMP_PROFILE": "default", "PI_PROFILE": "work"}, ".omp"),
            ({"OMP_PROFILE": "", "PI_PROFILE": "work"}, ".omp/profiles/work"),
            ({"PI_PROFILE": "default"}, ".omp"),
            ({"OMP_PROFILE": "a", "PI_CONFIG_DIR": ".pi"}, ".pi/profiles/a"),
        ],
    )
    @pytest.mark.parametrize("url", ["http://0.0.0.0:4000", "http://[::]:4000", "http://localhost"])
    def test_omps_directory(
        self, tmp_path: Path, environ: dict[str, str], directory: str, url: str
    ) -> None:
        """The variables of omp move the token file; a gateway at 0.0.0.0 is on this machine."""
        file = tmp_path / directory / "auth-gateway.token"
        file.parent.mkdir(parents=True)
        file.write_text("\ufefftoken\n", encoding="utf-8")
        origin = f"~/{directory}/auth-gateway.token"
        assert find_api_key(None, url, environ) == ("token", origin)
        assert find_api_key(None, URL, environ) == (None, "default")


def test_the_types_of_options_can_be_asked_for() -> None:
    """`typing.get_type_hints` works on the options of a stream."""
    assert "temperature" in typing.get_type_hints(StreamOptions)


def test_swapped_arguments_of_a_conversation() -> None:
    """A model in place of the client is a `TypeError`."""
    with pytest.raises(TypeError, match="client must be a Client, not str"):
        Conversation("acme/large", Client(URL))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="model must be"):
        Conversation(Client(URL), Client(URL))  # type: ignore[arg-type]
