"""Settings: where the gateway's address and its key come from, and that each says so."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from pi_native import Setting
from pi_native._config import find_api_key, find_base_url

URL = "http://gateway.invalid:4000"
LOCAL = "http://127.0.0.1:4000"
FILE = "~/.omp/auth-gateway.token"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """Return the local gateway's token file, in the home directory that each test has to itself."""
    path = tmp_path / ".omp" / "auth-gateway.token"
    path.parent.mkdir()
    path.write_text("token-of-the-file\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("given", "variable", "found"),
    [
        (URL, None, (URL, "argument")),
        (URL, LOCAL, (URL, "argument")),
        (f"{URL}/a//", None, (f"{URL}/a", "argument")),
        (None, URL, (URL, "PI_NATIVE_BASE_URL")),
        ("", URL, (URL, "PI_NATIVE_BASE_URL")),
        (None, f"{URL}///", (URL, "PI_NATIVE_BASE_URL")),
        (None, "", (LOCAL, "default")),
        (None, None, (LOCAL, "default")),
    ],
)
def test_the_address(given: str | None, variable: str | None, found: tuple[str, str]) -> None:
    """The argument, else the variable, else the local gateway, without slashes at the end."""
    environ = {} if variable is None else {"PI_NATIVE_BASE_URL": variable}
    assert find_base_url(given, environ) == found


@pytest.mark.usefixtures("token_file")
@pytest.mark.parametrize("base_url", [LOCAL, URL])
@pytest.mark.parametrize(
    ("given", "variable", "found"),
    [
        ("mine", None, ("mine", "argument")),
        ("mine", "theirs", ("mine", "argument")),
        ("", "theirs", ("", "argument")),
        (None, "theirs", ("theirs", "PI_NATIVE_API_KEY")),
    ],
)
def test_the_key(
    base_url: str, given: str | None, variable: str | None, found: tuple[str, str]
) -> None:
    """The argument, an empty one too, else the variable; a token file is not asked then."""
    environ = {} if variable is None else {"PI_NATIVE_API_KEY": variable}
    assert find_api_key(given, base_url, environ) == found


@pytest.mark.usefixtures("token_file")
@pytest.mark.parametrize("base_url", [LOCAL, "http://localhost", "https://[::1]:1"])
@pytest.mark.parametrize("environ", [{}, {"PI_NATIVE_API_KEY": ""}], ids=["unset", "empty"])
def test_the_token_file_is_for_this_machine(base_url: str, environ: dict[str, str]) -> None:
    """Without anything else, a gateway on this machine gets the token of its file."""
    assert find_api_key(None, base_url, environ) == ("token-of-the-file", FILE)


@pytest.mark.usefixtures("token_file")
@pytest.mark.parametrize(
    "base_url",
    [URL, "http://127.0.0.1@gateway.invalid", "http://localhost.gateway.invalid", "localhost", ""],
)
def test_the_token_file_is_for_no_other_machine(base_url: str) -> None:
    """The local token is not sent to another machine."""
    assert find_api_key(None, base_url, {}) == (None, "default")


@pytest.mark.parametrize("content", [b"", b" \n\t", b"\xff\xfe"], ids=["empty", "blank", "no text"])
def test_a_token_file_without_a_token(token_file: Path, content: bytes) -> None:
    """A file with nothing in it, or with what is no text, is no key and no fault."""
    token_file.write_bytes(content)
    assert find_api_key(None, LOCAL, {}) == (None, "default")


def test_a_token_file_that_is_a_directory(token_file: Path) -> None:
    """A token file that cannot be read is no key, and no error is raised."""
    token_file.unlink()
    token_file.mkdir()
    assert find_api_key(None, LOCAL, {}) == (None, "default")


def test_no_token_file() -> None:
    """A machine without a gateway has no key."""
    assert find_api_key(None, LOCAL, {}) == (None, "default")


def test_a_machine_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without a home directory has no key, and no error is raised."""

    def nowhere(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nowhere)
    assert find_api_key(None, LOCAL, {}) == (None, "default")


def test_a_token_is_read_again(token_file: Path) -> None:
    """A gateway that was given a new token is answered with that."""
    assert find_api_key(None, LOCAL, {})[0] == "token-of-the-file"
    token_file.write_text("  newer \r\n", encoding="utf-8")
    assert find_api_key(None, LOCAL, {})[0] == "newer"


def test_a_setting_is_a_value() -> None:
    """Two settings that say the same are equal, show what they are, and can be pickled."""
    setting = Setting("idle_timeout", 300.0, "default")
    assert setting == Setting("idle_timeout", 300.0, "default")
    assert setting != Setting("idle_timeout", 300.0, "argument")
    assert repr(setting) == "Setting(name='idle_timeout', value=300.0, origin='default')"
    assert pickle.loads(pickle.dumps(setting)) == setting
