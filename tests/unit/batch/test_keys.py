"""The key of a prompt: equal for what gets the same answer, else different."""

from __future__ import annotations

from typing import Any

import pytest

from pi_native import ConfigurationError, Context, Model, StreamOptions, TextContent, UserMessage
from pi_native._batch.saving.keys import KeyMaker

MODEL = Model("parrot", "acme")
SHARED = Context([])
WHY = Context([UserMessage("Why?")])


def call(model: Model = MODEL, shared: Context = SHARED, **options: Any) -> str:
    """Return the part of a key that a call's prompts share."""
    return KeyMaker(model, shared, StreamOptions(**options), None).call


def test_equal_prompts_are_counted() -> None:
    """The second of two equal prompts has a key of its own, and the same in the next run."""
    runs = [KeyMaker(MODEL, SHARED, StreamOptions(), None) for _ in range(2)]
    keys = [[maker.key(WHY), maker.key(WHY), maker.key(Context([]))] for maker in runs]
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == 3
    assert keys[0][0].rpartition(".")[0] == keys[0][1].rpartition(".")[0]


def test_timestamps_do_not_count() -> None:
    """A message that is made again a minute later is the same prompt."""
    maker = KeyMaker(MODEL, SHARED, StreamOptions(), None)
    later = Context([UserMessage("Why?", timestamp=WHY.messages[0].timestamp + 60_000)])  # type: ignore[union-attr]
    assert maker.check(WHY) == maker.check(later)


@pytest.mark.parametrize(
    "options",
    [
        {"connect_timeout_ms": 1},
        {"stream_idle_timeout_ms": 1},
        {"stream_first_event_timeout_ms": 1},
        {"total_timeout_ms": 1},
        {"max_retries": 3},
        {"api_key": "k"},
        {"on_incomplete": "error"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_of_this_side_do_not_count(options: dict[str, Any]) -> None:
    """Timeouts, retries and the key change no answer."""
    assert call(**options) == call()


@pytest.mark.parametrize(
    "options",
    [{"temperature": 0.5}, {"max_tokens": 5}, {"reasoning": "high"}, {"extra": {"new": 1}}],
    ids=lambda options: next(iter(options)),
)
def test_options_of_the_provider_count(options: dict[str, Any]) -> None:
    """Options that the provider sees make another call."""
    assert call(**options) != call()


def test_model_and_system_prompt_count() -> None:
    """Another model, or another system prompt, makes another call."""
    calls = {call(), call(Model("other", "acme")), call(shared=Context([], system_prompt=["Hi"]))}
    assert len(calls) == 3


@pytest.mark.parametrize("bad", [float("nan"), object(), {1, 2}], ids=["nan", "object", "set"])
def test_a_prompt_that_is_no_json_is_refused(bad: Any) -> None:
    """A value that a request cannot carry is found before anything is sent."""
    maker = KeyMaker(MODEL, SHARED, StreamOptions(), None)
    context = Context([UserMessage([TextContent("Why?", extra={"odd": bad})])])
    with pytest.raises(ConfigurationError, match="cannot be written as JSON"):
        maker.check(context)
