"""`pi-native doctor`, in front of gateways that are well, and of what is not a gateway at all."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from pi_native.__main__ import main
from pi_native.testing import FakeGateway, HangUp, HTTPError, Stall, Verbatim

MODEL = "acme/models/large"

Examine = Callable[..., tuple[int, dict[str, list[str]], str]]


@pytest.fixture
def gateway(named: Callable[..., FakeGateway]) -> Iterator[FakeGateway]:
    """A started gateway, which the environment names."""
    with FakeGateway(models=[MODEL, "acme/small"]) as gateway:
        yield named(gateway, MODEL)


@pytest.fixture
def examine(capsys: pytest.CaptureFixture[str]) -> Examine:
    """Call the doctor; returns its exit code, its rows by their first cell, and the next steps."""

    def examine(*arguments: str) -> tuple[int, dict[str, list[str]], str]:
        code = main(["doctor", *arguments])
        out, err = capsys.readouterr()
        assert err == ""
        lines = out.splitlines()
        rows = [line.split("  ") for line in lines if "  " in line]
        cells = {row[0]: [cell.strip() for cell in row[1:] if cell] for row in rows}
        return code, cells, "\n".join(line for line in lines if line.startswith("next: "))

    return examine


def test_all_is_well(gateway: FakeGateway, examine: Examine) -> None:
    """Everything is told, the key excepted, and there is nothing to do."""
    code, rows, next_steps = examine()
    assert (code, next_steps) == (0, "")
    assert rows["base url"] == [gateway.url, "PI_NATIVE_BASE_URL"]
    assert rows["api key"] == ["set", "PI_NATIVE_API_KEY"]
    assert rows["model"] == ["ok", "models/large"]
    assert rows["reachable"][0] == "ok"
    assert rows["reachable"][1].startswith("version 18.2.3, ")
    assert rows["authorized"] == ["ok", "2 models"]


def test_the_key_is_never_shown(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a right one nor a wrong one, nor a password in the address, in no format."""
    host = gateway.url.partition("//")[2]
    for key in (str(gateway.api_key), "sesame"):
        monkeypatch.setenv("PI_NATIVE_API_KEY", key)
        for arguments in ([], ["--json"], ["--base-url", f"http://me:hush@{host}"]):
            main(["doctor", *arguments])
            shown = "".join(capsys.readouterr())
            assert host in shown
            assert key not in shown
            assert "hush" not in shown


class TestSettings:
    """Who won."""

    def test_options_win_and_tell_over_what(
        self, gateway: FakeGateway, examine: Examine, tmp_path: Path
    ) -> None:
        """What the environment says is named as well where it was overruled."""
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
        """As in `--api-key-file <(pass show gateway)`: it is read once."""
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
        """In seconds here, whatever they are there."""
        monkeypatch.setenv("PI_STREAM_IDLE_TIMEOUT_MS", "1500")
        monkeypatch.setenv("PI_STREAM_FIRST_EVENT_TIMEOUT_MS", "2500")
        _, rows, _ = examine("--base-url", gateway.url)
        assert rows["idle timeout"] == ["1.5 s", "PI_STREAM_IDLE_TIMEOUT_MS"]
        assert rows["first event timeout"] == ["2.5 s", "PI_STREAM_FIRST_EVENT_TIMEOUT_MS"]
        assert rows["connect timeout"] == ["10 s", "default"]

    def test_beside_the_gateway_nothing_need_be_set(
        self,
        gateway: FakeGateway,
        examine: Examine,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The token file is the key's origin then."""
        monkeypatch.delenv("PI_NATIVE_API_KEY")
        (tmp_path / ".omp").mkdir()
        (tmp_path / ".omp" / "auth-gateway.token").write_text(str(gateway.api_key))
        code, rows, _ = examine()
        assert code == 0
        assert rows["api key"] == ["set", "~/.omp/auth-gateway.token"]

    def test_the_gateway_of_omp_is_told_apart(
        self, gateway: FakeGateway, examine: Examine, tmp_path: Path
    ) -> None:
        """It is easily taken for the one in use, which it is not; a broken file is told too."""
        file = tmp_path / ".omp" / "agent" / "models.yml"
        file.parent.mkdir(parents=True)
        file.write_text("providers: {acme: {baseUrl: 'http://a.internal', transport: pi-native}}")
        code, rows, _ = examine()
        assert rows["base url"] == [gateway.url, "PI_NATIVE_BASE_URL"]
        assert rows["models.yml"][0] == "http://a.internal"
        assert "Client.from_models_yml() alone" in rows["models.yml"][1]
        file.write_text("providers: 7")
        code, rows, _ = examine()
        assert code == 0
        assert rows["models.yml"][0] == "none"
        assert "does not map names to providers" in rows["models.yml"][1]


class TestReachable:
    """Whether there is a gateway."""

    def check(self, examine: Examine, *arguments: str) -> tuple[str, str]:
        """The result, which must not be good, and the next step."""
        code, rows, next_steps = examine(*arguments)
        assert code == 1
        assert rows["authorized"] == rows["model"][:2] == ["not tried", "-"]
        return rows["reachable"][0], next_steps

    def test_nobody_listens(self, examine: Examine) -> None:
        """A gateway is to be started, or another one to be named."""
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))  # keeps the port, and does not listen
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            result, next_step = self.check(examine, "--base-url", url)
        assert result == "unreachable"
        assert "omp auth-gateway" in next_step

    def test_a_certificate_that_nobody_knows(self, examine: Examine) -> None:
        """The gateway runs; what is to be named is who signed for it."""
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
        with FakeGateway(tls=tls) as gateway:
            result, next_step = self.check(examine, "--base-url", gateway.url)
        assert result == "unreachable"
        assert "REQUESTS_CA_BUNDLE" in next_step
        assert "omp auth-gateway" not in next_step

    def test_an_address_with_a_path(self, gateway: FakeGateway, examine: Examine) -> None:
        """Other SDKs want one; it is left out in the address to try."""
        result, next_step = self.check(examine, "--base-url", f"{gateway.url}/v1")
        assert result == "no gateway"
        assert next_step.startswith(f"next: try {gateway.url}, without a path; ")

    @pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://127.0.0.1"])
    def test_no_url(self, examine: Examine, url: str) -> None:
        """An example of one is given."""
        result, next_step = self.check(examine, "--base-url", url)
        assert result == "no URL"
        assert "looks like http://127.0.0.1:4000" in next_step

    @pytest.mark.parametrize(
        ("answer", "result"),
        [
            (HTTPError(404), "no gateway"),
            (Verbatim(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"), "no gateway"),
            (HTTPError(200, fault=HangUp(after=None)), "no gateway"),
            (HTTPError(502), "broken"),
            (Verbatim(b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"ok":false}'), "unwell"),
        ],
        ids=["not found", "a page", "hung up", "bad gateway", "not ok"],
    )
    def test_something_is_there(
        self, gateway: FakeGateway, examine: Examine, answer: Any, result: str
    ) -> None:
        """But it is no gateway, or none that works."""
        gateway.add(*[answer] * 5, path="/healthz")
        found, next_step = self.check(examine)
        assert found == result
        assert next_step

    def test_somebody_listens_and_says_nothing(
        self, gateway: FakeGateway, examine: Examine
    ) -> None:
        """--timeout ends the waiting."""
        gateway.add(HTTPError(500, fault=Stall(after=None)), path="/healthz")
        assert self.check(examine, "--timeout", "0.2")[0] == "no answer"


class TestAuthorized:
    """Whether the key is the right one."""

    @pytest.mark.usefixtures("gateway")
    def test_a_wrong_key(self, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its origin is what has to be changed."""
        monkeypatch.setenv("PI_NATIVE_API_KEY", "sesame")
        code, rows, next_step = examine()
        assert code == 1
        assert rows["reachable"][0] == "ok"
        assert rows["authorized"][0] == "unauthorized"
        assert rows["model"] == ["not tried", "-"]
        assert "the key from PI_NATIVE_API_KEY is not this gateway's" in next_step

    @pytest.mark.usefixtures("gateway")
    def test_no_key(self, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
        """The places for one are named."""
        monkeypatch.delenv("PI_NATIVE_API_KEY")
        code, rows, next_step = examine()
        assert (code, rows["authorized"][0]) == (1, "unauthorized")
        assert next_step.startswith("next: give the gateway's key in PI_NATIVE_API_KEY")

    def test_a_gateway_that_wants_no_key(
        self, examine: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Is no reason to give one."""
        monkeypatch.delenv("PI_NATIVE_API_KEY", raising=False)
        with FakeGateway(api_key=None) as gateway:
            code, rows, _ = examine("--base-url", gateway.url)
        assert code == 0
        assert rows["authorized"] == ["ok", "1 model; no key was needed"]

    def test_pages_that_are_missing(self, gateway: FakeGateway, examine: Examine) -> None:
        """Something that is well, and has no models, is hardly a gateway."""
        gateway.add(HTTPError(404), path="/v1/models")
        code, rows, next_step = examine()
        assert (code, rows["authorized"][0]) == (1, "failed")
        assert "is this the URL of a pi-native gateway?" in next_step


class TestModel:
    """Whether the gateway knows the model."""

    @pytest.mark.usefixtures("gateway")
    def test_a_slip_of_the_pen(self, examine: Examine) -> None:
        """What was probably meant is told."""
        code, rows, next_step = examine("-m", "acme/models/larg")
        assert code == 1
        assert rows["authorized"][0] == "ok"
        assert rows["model"][0] == "unknown model"
        assert next_step.startswith("next: did you mean acme/models/large")

    @pytest.mark.usefixtures("gateway")
    def test_a_name_like_no_other(self, examine: Examine) -> None:
        """The list is where to look."""
        code, _, next_step = examine("-m", "zzz")
        assert (code, next_step) == (1, "next: `pi-native models` lists them")

    @pytest.mark.usefixtures("gateway")
    def test_no_model_is_no_failure(
        self, examine: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """How to name one is said all the same."""
        monkeypatch.delenv("PI_NATIVE_MODEL")
        code, rows, next_step = examine()
        assert (code, rows["model"]) == (0, ["none named", "-"])
        assert "PI_NATIVE_MODEL" in next_step


def test_json_has_it_all(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """One object: whether all is well, the settings with their origins, the checks."""
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
