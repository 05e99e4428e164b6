"""A client uses the new key of a key file that changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pi_native import AuthenticationError, Client, Model
from pi_native.testing import FakeGateway

CALLS: dict[str, Callable[[Client], object]] = {
    "turn": lambda client: client.complete("acme/one", "hi").text,
    "page": lambda client: client.models(),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Return a key file with the old key."""
    file = tmp_path / "key"
    file.write_text("old\n")
    return file


@each_call
def test_a_new_key_is_read_after_a_401(key_file: Path, call: Callable[[Client], object]) -> None:
    """The request is sent once more with the current key of the file."""
    with (
        FakeGateway("new") as gateway,
        Client(gateway.url, api_key_file=key_file, max_retries=0) as client,
    ):
        key_file.write_text("\ufeffnew\n", encoding="utf-8")
        assert call(client)
        assert call(client)
        sent = [request.headers["authorization"] for request in gateway.requests]
        assert sent == ["Bearer old", "Bearer new", "Bearer new"]


@each_call
def test_the_same_key_is_not_sent_again(key_file: Path, call: Callable[[Client], object]) -> None:
    """If the file is unchanged, the first 401 is the error."""
    with FakeGateway("new") as gateway, Client(gateway.url, api_key_file=key_file) as client:
        with pytest.raises(AuthenticationError, match="not this gateway's"):
            call(client)
        assert len(gateway.requests) == 1


@each_call
def test_a_wrong_new_key_is_sent_once(key_file: Path, call: Callable[[Client], object]) -> None:
    """A second 401 is the error, and so is a missing file."""
    with FakeGateway("new") as gateway, Client(gateway.url, api_key_file=key_file) as client:
        key_file.write_text("other")
        with pytest.raises(AuthenticationError):
            call(client)
        assert len(gateway.requests) == 2
        key_file.unlink()
        with pytest.raises(AuthenticationError):
            call(client)
        assert len(gateway.requests) == 3


def test_a_key_of_the_call_is_not_replaced(key_file: Path) -> None:
    """A key or Authorization header of the call or the model is kept."""
    with FakeGateway("new") as gateway, Client(gateway.url, api_key_file=key_file) as client:
        key_file.write_text("new")
        with pytest.raises(AuthenticationError):
            client.complete("acme/one", "hi", api_key="mine")
        model = Model("one", "acme", headers={"authorization": "Basic mine"})
        with pytest.raises(AuthenticationError):
            client.complete(model, "hi")
        sent = [request.headers["authorization"] for request in gateway.requests]
        assert sent == ["Bearer mine", "Basic mine"]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "no key was sent"),
        ("wrong", "the key that was sent is not this gateway's"),
        ("Bearer right", 'the key begins with "Bearer "'),
    ],
)
@each_call
def test_a_401_says_what_is_wrong(key: str, words: str, call: Callable[[Client], object]) -> None:
    """No key, a wrong key and a key with the word Bearer have different hints, without the key."""
    with (
        FakeGateway("right") as gateway,
        Client(gateway.url, key) as client,
        pytest.raises(AuthenticationError) as caught,
    ):
        call(client)
    assert words in (caught.value.hint or "")
    assert str(caught.value).endswith(caught.value.hint or "-")
    assert not key or key not in str(caught.value).replace(words, "")
