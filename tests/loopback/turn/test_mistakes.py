"""The error for a caller's mistake names it and the fix, and has no secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pi_native import (
    Client,
    Context,
    Conversation,
    ImageContent,
    PiNativeError,
    StreamTimeoutError,
    UserMessage,
)
from pi_native.testing import FakeGateway, HTTPError, Stall

KEY = "sesame-open-1234"
PAGE = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>" + b"x" * 3000
LINK = {"type": "image_url", "image_url": {"url": "https://x"}}

Mistake = Callable[[FakeGateway, Path], object]


def ask(gateway: FakeGateway, *arguments: Any, **options: Any) -> object:
    """Make a turn at the gateway with the right key."""
    with Client(gateway.url, KEY, max_retries=0) as client:
        return client.complete(*(arguments or ("acme/one", "hi")), **options)


def with_answer(answer: Any) -> Mistake:
    """Return a turn that gets this response."""
    return lambda gateway, _: ask(gateway.add(answer))


MISTAKES: dict[str, tuple[Mistake, str]] = {
    "no key": (lambda g, _: Client(g.url, "").models(), "no key was sent"),
    "wrong key": (lambda g, _: Client(g.url, f"{KEY}x").models(), "not this gateway's"),
    "Bearer in the key": (lambda g, _: Client(g.url, f"Bearer {KEY}").models(), '"Bearer "'),
    "line end in the key": (lambda g, _: Client(g.url, f"{KEY}\n\n"), "api_key holds"),
    "no key file": (lambda g, p: Client(g.url, api_key_file=p / "none"), "cannot read the key"),
    "no scheme": (lambda *_: Client("localhost:4000"), "looks like http://127.0.0.1:4000"),
    "a port as address": (lambda *_: Client(4000), "base_url must be a string"),  # type: ignore[arg-type]
    "another path": (lambda g, _: Client(g.url + "/api", KEY).models(), "does not lead to"),
    "half a model": (lambda g, _: ask(g, "acme/", "hi"), '"provider/id"'),
    "a number as model": (lambda g, _: ask(g, 7, "hi"), "model must be"),
    "dicts as prompt": (
        lambda g, _: ask(g, "acme/one", [{"role": "user", "content": "hi"}]),
        "Context.from_openai(messages)",
    ),
    "a string as block": (lambda *_: UserMessage(["hi"]), "content[0]"),  # type: ignore[list-item]
    "an image as URL": (
        lambda *_: Context.from_openai([{"role": "user", "content": [LINK]}]),
        "$.messages[0].content[0].image_url.url",
    ),
    "no image": (lambda *_: ImageContent.from_bytes(b"%PDF-1.7"), "unsupported image format"),
    "a misspelt option": (lambda g, _: ask(g, max_token=5), "did you mean max_tokens?"),
    "a text as number": (lambda g, _: ask(g, temperature="hot"), "temperature is a number"),
    "an unknown effort": (lambda g, _: ask(g, reasoning="extreme"), '"minimal" or "low"'),
    "a negative count": (lambda g, _: ask(g, max_tokens=-5), "at least 1, not -5"),
    "a text as time": (lambda g, _: ask(g, idle_timeout="5"), "a number of seconds"),
    "swapped arguments": (
        lambda g, _: Conversation("acme/one", Client(g.url)),  # type: ignore[arg-type]
        "client must be a Client, not str",
    ),
    "a page of HTML": (with_answer(HTTPError(502, body=PAGE)), "a proxy or a web server answered"),
    "too many requests": (
        with_answer(HTTPError(429, headers={"Retry-After": "7"})),
        "try again in 7 s",
    ),
}


@pytest.mark.parametrize(("mistake", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake(tmp_path: Path, mistake: Mistake, words: str) -> None:
    """The text has the words, is short, and has no key, no HTML and no traceback line."""
    with FakeGateway(KEY) as gateway, pytest.raises((PiNativeError, TypeError)) as caught:
        mistake(gateway, tmp_path)
    text = str(caught.value)
    assert words in text
    assert KEY not in text
    assert "<html" not in text.lower()
    assert "Traceback" not in text
    assert len(text) < 500
    if isinstance(caught.value, PiNativeError) and caught.value.hint:
        assert text.endswith(caught.value.hint)


def test_a_time_of_a_turn_is_in_seconds(gateway: FakeGateway) -> None:
    """The error for a turn's timeout gives it in seconds, and names the argument."""
    gateway.reply("One two", fault=Stall(after=1))
    with (
        Client(gateway.url, gateway.api_key, max_retries=0) as client,
        pytest.raises(StreamTimeoutError) as caught,
    ):
        client.complete("acme/one", "hi", first_event_timeout=0.2, total_timeout=60)
    assert (caught.value.phase, caught.value.limit) == ("first_event", 0.2)
    assert "first_event_timeout" in (caught.value.hint or "")
