"""`pi-native doctor` in front of good gateways, of faulty ones, and of other servers."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from pi_native import AuthenticationError, Client
from pi_native.testing import FakeGateway, HangUp, HTTPError, Stall, Verbatim

from .commands import main

Examine = Callable[..., tuple[int, dict[str, list[str]], str]]


@pytest.fixture
def examine(capsys: pytest.CaptureFixture[str]) -> Examine:
    """Run the doctor; return its exit code, its rows by their first cell, and the next steps."""

    def examine(*arguments: str) -> tuple[int, dict[str, list[str]], str]:
        code = main(["doctor", *arguments])
        out, err = capsys.readouterr()
        assert err == ""
        lines = out.splitlines()
        cells = {row[0]: row[1:] for row in (line.split("\t") for line in lines)}
        return code, cells, "\n".join(line for line in lines if line.startswith("next: "))

    return examine


def test_all_is_well(gateway: FakeGateway, examine: Examine) -> None:
    """Every setting is shown, the key only as "set", and there is no next step."""
    code, rows, next_steps = examine()
    assert (code, next_steps) == (0, "")
    assert rows["base url"] == [gateway.url, "PI_NATIVE_BASE_URL"]
    assert rows["api key"] == ["set", "PI_NATIVE_API_KEY"]
    assert rows["model"] == ["ok", "models/large"]
    assert rows["reachable"][0] == "ok"
    assert rows["reachable"][1].startswith("version 18.2.3, ")
    assert rows["authorized"] == ["ok", "3 models"]


def test_the_key_is_never_shown(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No output holds a key, right or wrong, or the password in an address."""
    host = gateway.url.partition("//")[2]
    for key in (str(gateway.api_key), "not-this-one"):
        monkeypatch.setenv("PI_NATIVE_API_KEY", key)
        for arguments in ([], ["--json"], ["--base-url", f"http://me:hush@{host}"]):
            main(["doctor", *arguments])
            shown = "".join(capsys.readouterr())
            assert host in shown
            assert key not in shown
            assert "hush" not in shown


class TestSettings:
    """The origin of each setting."""

    def test_an_option_names_the_variable_that_it_overrides(
        self, gateway: FakeGateway, examine: Examine, tmp_path: Path
    ) -> None:
        """The origin of an option is the option, with the variable if it is set."""
        file = tmp_path / "key"
        file.write_text(str(gateway.api_key))
        url = gateway.url.replace("127.0.0.1", "localhost")
        code, rows, _ = examine(
            "--base-url", url, "--api-key-file", str(file), "--timeout", "20", "-m", "acme/small"
        )
        assert code == 0
        assert rows["base url"] == [url, "--base-url, over PI_NATIVE_BASE_URL"]
        assert rows["api key"] == ["set", "--api-key-file, over PI_NATIVE_API_KEY"]
        assert rows["total timeout"] == ["20 s", "--timeout"]
        assert rows["model"] == ["ok", "small"]

    @pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs pipes that have a name")
    def test_the_key_may_come_through_a_pipe(
        self, gateway: FakeGateway, examine: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`--api-key-file <(pass show gateway)` works, because the file is read once."""
        monkeypatch.delenv("PI_NATIVE_API_KEY")
        reader, writer = os.pipe()
        with open(reader), open(writer, "w") as pipe:
            pipe.write(str(gateway.api_key))
            pipe.close()
            code, rows, _ = examine("--api-key-file", f"/dev/fd/{reader}")
        assert (code, rows["authorized"][0]) == (0, "ok")

    def test_the_environments_timeouts(
        self, examine: Examine, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Variables in milliseconds are shown in seconds."""
        monkeypatch.setenv("PI_STREAM_IDLE_TIMEOUT_MS", "1500")
        monkeypatch.setenv("PI_STREAM_FIRST_EVENT_TIMEOUT_MS", "2500")
        _, rows, _ = examine("--base-url", gateway.url)
        assert rows["idle timeout"] == ["1.5 s", "PI_STREAM_IDLE_TIMEOUT_MS"]
        assert rows["first event timeout"] == ["2.5 s", "PI_STREAM_FIRST_EVENT_TIMEOUT_MS"]
        assert rows["connect timeout"] == ["10 s", "default"]

    def test_on_the_host_of_the_gateway_nothing_need_be_set(
        self,
        gateway: FakeGateway,
        examine: Examine,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The token file of the local gateway is the origin of the key."""
        monkeypatch.delenv("PI_NATIVE_API_KEY")
        (tmp_path / ".omp").mkdir()
        (tmp_path / ".omp" / "auth-gateway.token").write_text(str(gateway.api_key))
        code, rows, _ = examine()
        assert code == 0
        assert rows["api key"] == ["set", "~/.omp/auth-gateway.token"]

    def test_the_gateway_of_omp_is_a_row_of_its_own(
        self, gateway: FakeGateway, examine: Examine, tmp_path: Path
    ) -> None:
        """The gateway in models.yml is not the one in use; a broken file is reported as well."""
        file = tmp_path / ".omp" / "agent" / "models.yml"
        file.parent.mkdir(parents=True)
        file.write_text("providers: {acme: {baseUrl: 'http://a.internal', transport: pi-native}}")
        code, rows, _ = examine()
        assert rows["base url"] == [gateway.url, "PI_NATIVE_BASE_URL"]
        assert rows["models.yml"][0] == "http://a.internal"
        assert "used only by Client.from_models_yml()" in rows["models.yml"][1]
        file.write_text("providers: 7")
        code, rows, _ = examine()
        assert code == 0
        assert rows["models.yml"][0] == "none"
        assert "does not map names to providers" in rows["models.yml"][1]


class TestReachable:
    """The first check: is a gateway there."""

    def check(self, examine: Examine, *arguments: str) -> tuple[str, str]:
        """Return the result of a failed check, and the next step."""
        code, rows, next_steps = examine(*arguments)
        assert code == 1
        assert rows["authorized"] == rows["model"][:2] == ["not tried", "-"]
        return rows["reachable"][0], next_steps

    def test_no_server_listens(self, examine: Examine, capsys: pytest.CaptureFixture[str]) -> None:
        """The report has the commands that install and start a gateway."""
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))  # keeps the port, and does not listen
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            result, next_step = self.check(examine, "--base-url", url)
            main(["doctor", "--base-url", url])
        out = capsys.readouterr().out
        assert result == "unreachable"
        assert "omp auth-gateway serve" in next_step
        for command in (
            "npm install -g bun @oh-my-pi/pi-coding-agent",
            "omp auth-broker login",
            "omp auth-broker serve",
            "omp auth-gateway serve",
        ):
            assert command in out

    def test_an_unknown_certificate(self, examine: Examine) -> None:
        """The next step is to name the authority, not to start a gateway."""
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
        with FakeGateway(tls=tls) as gateway:
            result, next_step = self.check(examine, "--base-url", gateway.url)
        assert result == "unreachable"
        assert "REQUESTS_CA_BUNDLE" in next_step
        assert "omp auth-gateway" not in next_step

    def test_an_address_with_a_path(self, gateway: FakeGateway, examine: Examine) -> None:
        """Other SDKs expect a path; the address to try has none."""
        result, next_step = self.check(examine, "--base-url", f"{gateway.url}/elsewhere")
        assert result == "no gateway"
        assert next_step.startswith(f"next: try {gateway.url}, without a path; ")

    @pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://127.0.0.1"])
    def test_an_invalid_url(self, examine: Examine, url: str) -> None:
        """The report has the value, and an example of a URL."""
        code, rows, next_step = examine("--base-url", url)
        assert (code, rows["settings"][0]) == (1, "invalid")
        assert repr(url) in rows["settings"][1]
        assert "http://127.0.0.1:4000" in next_step
        assert rows["reachable"] == ["not tried", "-"]

    @pytest.mark.parametrize(
        ("answer", "result"),
        [
            (HTTPError(404), "no gateway"),
            (Verbatim(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"), "no gateway"),
            (HTTPError(200, fault=HangUp(after=None)), "no gateway"),
            (HTTPError(502), "broken"),
            (Verbatim(b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"ok":false}'), "not ok"),
        ],
        ids=["not found", "a page", "hung up", "bad gateway", "not ok"],
    )
    def test_another_server_is_there(
        self, gateway: FakeGateway, examine: Examine, answer: Any, result: str
    ) -> None:
        """A server that is no gateway, or a broken one, is named as such."""
        gateway.add(*[answer] * 5, path="/healthz")
        found, next_step = self.check(examine)
        assert found == result
        assert next_step

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (HTTPError(308, headers={"Location": "https://gw.example/healthz"}), "https://gw.exa"),
            (HTTPError(503, body=b"<html>Sorry</html>"), "a proxy or a web server answered"),
            (HTTPError(404), "does not lead to a pi-native gateway"),
            (Verbatim(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), "does not lead to"),
        ],
        ids=["a redirect", "a page", "not found", "another page"],
    )
    def test_the_advice_is_that_of_the_exception(
        self, gateway: FakeGateway, examine: Examine, answer: Any, words: str
    ) -> None:
        """`doctor` gives the hint that a program finds in the exception."""
        gateway.add(answer, path="/healthz", times=5)
        assert words in self.check(examine)[1]

    def test_a_silent_server(self, gateway: FakeGateway, examine: Examine) -> None:
        """--timeout ends the wait."""
        gateway.add(HTTPError(500, fault=Stall(after=None)), path="/healthz")
        assert self.check(examine, "--timeout", "0.2")[0] == "no answer"


class TestAuthorized:
    """The second check: is the key right."""

    @pytest.mark.usefixtures("gateway")
    def test_a_wrong_key(self, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
        """The next step names the origin of the key."""
        monkeypatch.setenv("PI_NATIVE_API_KEY", "not-this-one")
        code, rows, next_step = examine()
        assert code == 1
        assert rows["reachable"][0] == "ok"
        assert rows["authorized"][0] == "unauthorized"
        assert rows["model"] == ["not tried", "-"]
        assert "the gateway refuses the key from PI_NATIVE_API_KEY" in next_step

    @pytest.mark.usefixtures("gateway")
    def test_no_key(self, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
        """The next step names the places for a key."""
        monkeypatch.delenv("PI_NATIVE_API_KEY")
        code, rows, next_step = examine()
        assert (code, rows["authorized"][0]) == (1, "unauthorized")
        assert next_step.startswith("next: no key was sent: set the gateway's key in PI_NATIVE_API")

    @pytest.mark.parametrize("key", ["", "not-this-one", "Bearer test-key"])
    def test_the_advice_is_that_of_the_exception(
        self, gateway: FakeGateway, examine: Examine, monkeypatch: pytest.MonkeyPatch, key: str
    ) -> None:
        """`doctor` gives the hint that a program finds in the exception."""
        monkeypatch.setenv("PI_NATIVE_API_KEY", key)
        with Client(gateway.url, key) as client, pytest.raises(AuthenticationError) as caught:
            client.models()
        assert str(caught.value.hint) in examine()[2]

    def test_a_gateway_that_needs_no_key(
        self, examine: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The check passes and says so."""
        monkeypatch.delenv("PI_NATIVE_API_KEY", raising=False)
        with FakeGateway(api_key=None) as gateway:
            code, rows, _ = examine("--base-url", gateway.url)
        assert code == 0
        assert rows["authorized"] == ["ok", "1 model; no key was needed"]

    def test_a_server_without_models(self, gateway: FakeGateway, examine: Examine) -> None:
        """A server without a list of models may not be a gateway."""
        gateway.add(HTTPError(404), path="/v1/models")
        code, rows, next_step = examine()
        assert (code, rows["authorized"][0]) == (1, "failed")
        assert "is this the URL of a pi-native gateway?" in next_step


class TestModel:
    """The third check: does the gateway offer the model."""

    @pytest.mark.usefixtures("gateway")
    def test_a_misspelt_model(self, examine: Examine) -> None:
        """The next step has the most similar names."""
        code, rows, next_step = examine("-m", "acme/models/larg")
        assert code == 1
        assert rows["authorized"][0] == "ok"
        assert rows["model"][0] == "unknown model"
        assert next_step.startswith("next: did you mean acme/models/large")

    @pytest.mark.usefixtures("gateway")
    def test_a_name_like_no_other(self, examine: Examine) -> None:
        """Without a similar name the next step is the list."""
        code, _, next_step = examine("-m", "zzz")
        assert (code, next_step) == (1, "next: `pi-native models` lists them")

    def test_a_bare_id_is_a_model(self, gateway: FakeGateway, examine: Examine) -> None:
        """The gateway resolves a model id without its provider."""
        code, rows, _ = examine("-m", "tiny", "--base-url", gateway.url)
        assert (code, rows["model"]) == (0, ["ok", "tiny"])

    def test_a_model_of_another_kind(self, gateway: FakeGateway, examine: Examine) -> None:
        """An embedding model cannot answer."""
        gateway.models.append({"id": "acme/embed", "object": "model", "kind": "embedding"})
        code, rows, next_step = examine("-m", "acme/embed")
        assert (code, rows["model"][0]) == (1, "not a chat model (embedding)")
        assert "`pi-native models`" in next_step

    @pytest.mark.usefixtures("gateway")
    def test_no_model_is_no_failure(
        self, examine: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The next step says how to name one."""
        monkeypatch.delenv("PI_NATIVE_MODEL")
        code, rows, next_step = examine()
        assert (code, rows["model"]) == (0, ["none named", "-"])
        assert "PI_NATIVE_MODEL" in next_step


def test_json_is_one_object(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """The object has the verdict, the settings with their origins, and the checks."""
    assert main(["doctor", "--json", "-m", "acme/tiny"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    report = json.loads(line)
    assert report["ok"] is False
    assert report["settings"][0] == {
        "name": "base_url",
        "value": gateway.url,
        "from": "PI_NATIVE_BASE_URL",
    }
    assert {"name": "total_timeout", "value": None, "from": "default"} in report["settings"]
    assert [check["result"] for check in report["checks"]] == ["ok", "ok", "unknown model"]
    assert report["checks"][2]["next"].endswith("`pi-native models` lists them")
    assert os.environ["PI_NATIVE_API_KEY"] not in line
