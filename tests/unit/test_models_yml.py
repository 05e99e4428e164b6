"""Clients made from an omp user's `models.yml`, and where a client's settings come from."""

from __future__ import annotations

import builtins
import pickle
from pathlib import Path
from typing import Any

import pytest

from pi_native import Client, ConfigurationError, Setting
from pi_native._protocol.request import Secret

GATEWAY = "http://llm-gateway.internal:4000"

ONE = f"""
providers:
  anthropic:
    baseUrl: {GATEWAY}/
    apiKey: MY_GATEWAY_TOKEN
    transport: pi-native
    headers: {{x-omp-slot: slot-1, x-team: TEAM}}
  openai:
    baseUrl: https://api.example.com/v1
    apiKey: sk-0123456789
    api: openai-completions
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of the file; its folder exists."""
    file = tmp_path / ".omp" / "agent" / "models.yml"
    file.parent.mkdir(parents=True)
    return file


def key_of(client: Client) -> str | None:
    """Return the bearer token of a client."""
    return None if client._api_key is None else str(client._api_key)


def origins(client: Client) -> dict[str, str]:
    """Return the origin of each setting."""
    return {setting.name: setting.origin for setting in client.settings}


def complaint(*arguments: Any) -> str:
    """Return the error text for a file that cannot be used."""
    with pytest.raises(ConfigurationError) as caught:
        Client.from_models_yml(*arguments)
    return str(caught.value)


class TestProvider:
    """Which provider it is, and what is taken from it."""

    def test_the_only_one_with_a_gateway_is_taken(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Address, key and headers; names of environment variables stand for what these hold."""
        file.write_text(ONE)
        monkeypatch.setenv("MY_GATEWAY_TOKEN", "open sesame")
        monkeypatch.setenv("TEAM", "blue")

        with Client.from_models_yml() as client:
            assert client.base_url == GATEWAY
            assert key_of(client) == "open sesame"
            assert client._headers == {"x-omp-slot": "slot-1", "x-team": "blue"}

    def test_a_key_may_be_the_key_itself(self, file: Path) -> None:
        """That is what it is when no variable has its name, or an empty one."""
        file.write_text(ONE)
        assert key_of(Client.from_models_yml("anthropic")) == "MY_GATEWAY_TOKEN"

    def test_without_a_key_it_is_found_as_usual(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In the environment; with `auth: none` there is none, and none is looked for."""
        monkeypatch.setenv("PI_NATIVE_API_KEY", "from the environment")
        entry = f"providers: {{p: {{baseUrl: '{GATEWAY}', transport: pi-native"
        file.write_text(entry + "}}")
        assert key_of(Client.from_models_yml()) == "from the environment"
        file.write_text(entry + ", auth: none}}")
        assert key_of(Client.from_models_yml()) == ""

    def test_other_settings_are_the_clients_own(self, file: Path) -> None:
        """Headers that are given win over the file's."""
        file.write_text(ONE)
        client = Client.from_models_yml(total_timeout=5, headers={"x-omp-slot": "2"})
        assert client._headers["x-omp-slot"] == "2"
        assert Setting("total_timeout", 5.0, "argument") in client.settings

    def test_the_environment_names_another_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """models.yaml is found as well, and a path is used as it is."""
        other = tmp_path / "models.yaml"
        other.write_text(ONE)
        assert Client.from_models_yml(path=str(other)).base_url == GATEWAY
        monkeypatch.setenv("PI_CODING_AGENT_DIR", str(tmp_path))
        assert Client.from_models_yml().base_url == GATEWAY

    def test_the_key_does_not_show(self, file: Path) -> None:
        """Neither in the client's repr, nor in its settings, nor in a pickle."""
        file.write_text(ONE)
        client = Client.from_models_yml()
        assert isinstance(client._api_key, Secret)
        seen = f"{client!r} {client.settings!r} {pickle.dumps(client)!r}"
        assert "MY_GATEWAY_TOKEN" not in seen


class TestRefusals:
    """The error for a file says why it cannot be used, and holds no key."""

    def test_a_provider_that_omp_calls_directly(self, file: Path) -> None:
        """Its transport is the reason."""
        file.write_text(ONE)
        said = complaint("openai")
        assert "'openai'" in said
        assert "has no transport: omp calls it directly" in said
        assert "sk-" not in said

    def test_an_unknown_transport(self, file: Path) -> None:
        """Is not guessed at."""
        file.write_text(f"providers: {{p: {{baseUrl: '{GATEWAY}', transport: pigeon}}}}")
        assert "has another transport" in complaint("p")

    def test_several_gateways(self, file: Path) -> None:
        """Are named, so that one can be chosen."""
        file.write_text(ONE.replace("api: openai-completions", "transport: pi-native"))
        assert "say which: 'anthropic', 'openai'" in complaint()
        assert Client.from_models_yml("openai").base_url == "https://api.example.com/v1"

    def test_no_gateway(self, file: Path) -> None:
        """Says which providers there are instead."""
        file.write_text(ONE.replace("transport: pi-native", ""))
        said = complaint()
        assert 'has "transport: pi-native"' in said
        assert "'anthropic', 'openai'" in said

    def test_an_unknown_provider(self, file: Path) -> None:
        """Says which are known."""
        file.write_text(ONE)
        assert "no provider 'acme', but 'anthropic', 'openai'" in complaint("acme")

    def test_no_file(self, file: Path) -> None:
        """The error names the expected path, and its cause is `FileNotFoundError`."""
        with pytest.raises(ConfigurationError) as caught:
            Client.from_models_yml()
        assert str(file) in str(caught.value)
        assert isinstance(caught.value.__cause__, FileNotFoundError)

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "it names none"),
            ("providers:", "it names none"),
            ("[]", "it names none"),
            ("7", "does not map names to providers"),
            ("providers: [a]", "does not map names to providers"),
            ("providers: {p: }", "has no settings"),
            ("providers: {p: {transport: pi-native}}", 'has no "baseUrl"'),
            ("providers: {p: {transport: pi-native, baseUrl: 7}}", '"baseUrl" is no text'),
            (ONE.replace("MY_GATEWAY_TOKEN", "1234"), '"apiKey" is no text'),
            (ONE.replace("MY_GATEWAY_TOKEN", "'!pass show key'"), "printed by a command"),
            (ONE.replace("slot-1", "1"), '"x-omp-slot" is no text'),
            (ONE.replace("{x-omp-slot: slot-1, x-team: TEAM}", "[a]"), '"headers" does not map'),
            (ONE.replace("MY_GATEWAY_TOKEN", "!secret"), "is no valid YAML, line 5"),
            (ONE.replace("MY_GATEWAY_TOKEN", "*secret"), "is no valid YAML, line 5"),
            ("a: \x07secret", "is no valid YAML"),
            ("[" * 1_000, "is no valid YAML"),
        ],
    )
    def test_a_file_that_means_nothing(self, file: Path, text: str, why: str) -> None:
        """Says what is wrong with it, and quotes nothing that may be a secret."""
        file.write_text(text)
        said = complaint(None if "p:" not in text else "p" if "{p:" in text else None)
        assert why in said
        assert "secret" not in said
        assert "pass show" not in said

    def test_bytes_that_are_no_text(self, file: Path) -> None:
        """Are no YAML either."""
        file.write_bytes(b"\xff\xfe\xff")
        assert "holds no text" in complaint()

    def test_a_folder_in_its_place(self, file: Path) -> None:
        """Cannot be read."""
        file.mkdir()
        assert f"cannot read {file}" in complaint()

    def test_a_home_that_is_unknown(self) -> None:
        """Nothing can be in it."""
        assert "cannot read ~no-such-user" in complaint(None, "~no-such-user/m.yml")

    def test_without_pyyaml_the_extra_is_named(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is not needed for anything else, so it may be missing."""
        file.write_text(ONE)
        found = builtins.__import__

        def without_yaml(name: str, *more: Any) -> Any:
            if name == "yaml":
                raise ImportError(name)
            return found(name, *more)

        monkeypatch.setattr(builtins, "__import__", without_yaml)
        assert "pip install '.[yaml]' in a checkout of pi-native" in complaint()


class TestOrigins:
    """A client tells where its settings came from."""

    def test_nothing_is_given(self) -> None:
        """Everything is a default then."""
        assert Client().settings == [
            Setting("base_url", "http://127.0.0.1:4000", "default"),
            Setting("api_key", None, "default"),
            Setting("connect_timeout", 10.0, "default"),
            Setting("first_event_timeout", 250.0, "default"),
            Setting("idle_timeout", 250.0, "default"),
            Setting("total_timeout", None, "default"),
        ]

    def test_everything_is_given(self) -> None:
        """Arguments win over all else."""
        client = Client(
            GATEWAY,
            "key",
            connect_timeout=1,
            first_event_timeout=2,
            idle_timeout=0,
            total_timeout=4,
        )
        assert set(origins(client).values()) == {"argument"}
        assert [setting.value for setting in client.settings] == [GATEWAY, "set", 1, 2, None, 4]

    def test_the_environment_says_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each by the name of its variable."""
        monkeypatch.setenv("PI_NATIVE_BASE_URL", GATEWAY)
        monkeypatch.setenv("PI_NATIVE_API_KEY", "key")
        monkeypatch.setenv("PI_STREAM_FIRST_EVENT_TIMEOUT_MS", "1000")
        monkeypatch.setenv("PI_OPENAI_STREAM_IDLE_TIMEOUT_MS", "2000")
        client = Client()
        assert client.settings[:2] == [
            Setting("base_url", GATEWAY, "PI_NATIVE_BASE_URL"),
            Setting("api_key", "set", "PI_NATIVE_API_KEY"),
        ]
        assert client.settings[3:5] == [
            Setting("first_event_timeout", 1.0, "PI_STREAM_FIRST_EVENT_TIMEOUT_MS"),
            Setting("idle_timeout", 2.0, "PI_OPENAI_STREAM_IDLE_TIMEOUT_MS"),
        ]

    def test_one_timeout_may_stand_for_another(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The longer idle timeout serves for the first event too, and is named as its origin."""
        monkeypatch.setenv("PI_STREAM_IDLE_TIMEOUT_MS", "400000")
        found = Setting("first_event_timeout", 400.0, "PI_STREAM_IDLE_TIMEOUT_MS")
        assert found in Client().settings

    def test_the_gateways_own_token_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On its host, `Client()` needs nothing else; for another host the file is not read."""
        (tmp_path / ".omp").mkdir()
        (tmp_path / ".omp" / "auth-gateway.token").write_text("token\n")
        assert key_of(Client()) == "token"
        assert origins(Client())["api_key"] == "~/.omp/auth-gateway.token"
        monkeypatch.setenv("PI_NATIVE_BASE_URL", GATEWAY)
        assert Client().settings[1] == Setting("api_key", None, "default")

    def test_a_file_of_omps(self, file: Path) -> None:
        """Its provider is named; what the file does not say comes from elsewhere."""
        file.write_text(ONE)
        found = origins(Client.from_models_yml())
        assert found["base_url"] == found["api_key"] == f"provider 'anthropic' in {file}"
        file.write_text(ONE.replace("apiKey", "note"))
        assert origins(Client.from_models_yml())["api_key"] == "default"

    def test_a_pickle_finds_its_key(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """And says so."""
        file.write_text(ONE)
        data = pickle.dumps(Client.from_models_yml())
        monkeypatch.setenv("PI_NATIVE_API_KEY", "here")
        assert origins(pickle.loads(data))["api_key"] == "PI_NATIVE_API_KEY"


NO_KEY = ONE.replace("apiKey", "auth: none\n    apiKey")
COMMAND = ONE.replace("MY_GATEWAY_TOKEN", "'!cat /run/key'")


class TestCommand:
    """A key that a command prints, which is not run."""

    def test_it_is_refused_with_the_way_out(self, file: Path) -> None:
        """The error names the argument and the variable that replace the command."""
        file.write_text(COMMAND)
        text = complaint()
        assert "is not run here" in text
        assert "api_key_file=" in text
        assert "PI_NATIVE_API_KEY_FILE" in text

    @pytest.mark.parametrize(
        "text", [COMMAND, ONE, ONE.replace("apiKey", "auth: none\n    apiKey")]
    )
    @pytest.mark.parametrize("name", ["api_key", "api_key_file"])
    def test_an_argument_replaces_the_key_of_the_file(
        self, file: Path, tmp_path: Path, name: str, text: str
    ) -> None:
        """`api_key` and `api_key_file` are used as they are given, whatever the file says."""
        file.write_text(text)
        (tmp_path / "key").write_text("mine\n")
        given: dict[str, Any] = {name: "mine" if name == "api_key" else tmp_path / "key"}
        with Client.from_models_yml("anthropic", **given) as client:
            assert key_of(client) == "mine"
            assert client.base_url == GATEWAY

    @pytest.mark.parametrize("name", ["PI_NATIVE_API_KEY", "PI_NATIVE_API_KEY_FILE"])
    def test_a_variable_replaces_the_command(
        self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """The variables of this package are used in place of a command, and not of a plain key."""
        (tmp_path / "key").write_text("mine\n")
        monkeypatch.setenv(name, "mine" if name == "PI_NATIVE_API_KEY" else str(tmp_path / "key"))
        file.write_text(COMMAND)
        with Client.from_models_yml() as client:
            assert key_of(client) == "mine"
        file.write_text(ONE.replace("MY_GATEWAY_TOKEN", "a-plain-key"))
        with Client.from_models_yml() as client:
            assert key_of(client) == "a-plain-key"
