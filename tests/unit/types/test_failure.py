"""A turn that the provider failed: kind, wait and words of the error."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pi_native import AssistantMessage, ProviderError
from pi_native._types.failure import failure_kind, failure_of, provider_words

from ...characters import CHARACTERS

EMPTY, POLICY, BLOCKED = 0x2000, 0x4000, 0x8000
TRANSIENT, TIMEOUT, USAGE = 0x20000, 0x40000, 0x80000
OVERFLOW, AUTH, ABORT, REJECTED = 0x800000, 0x1000000, 0x8000000, 0x80000000
CLASSIFIED = 0x1000

ORDER = [
    (USAGE, "usage_limit"),
    (AUTH, "auth"),
    (OVERFLOW, "context_overflow"),
    (BLOCKED, "content_blocked"),
    (POLICY, "content_blocked"),
    (TIMEOUT, "timeout"),
    (TRANSIENT, "transient"),
    (EMPTY, "transient"),
]


def signed(number: int) -> int:
    """Return the number as JavaScript's bit operators give it."""
    return number - (1 << 32) if number & 0x80000000 else number


def failed(**members: Any) -> ProviderError:
    """Return the error of a failed message with these members."""
    return failure_of(AssistantMessage(stop_reason="error", timestamp=1, **members))


@pytest.mark.parametrize(
    ("error_id", "status", "kind"),
    [
        (None, None, "other"),
        (None, 400, "other"),
        (None, 408, "transient"),
        (None, 429, "rate_limit"),
        (None, 500, "transient"),
        (None, 529, "transient"),
        (None, 599, "transient"),
        (None, 600, "other"),
        (0, 503, "transient"),
        (0, None, "other"),
        (429, None, "rate_limit"),
        (429, 500, "rate_limit"),
        (503, 400, "transient"),
        (400, 503, "other"),
        (0xFFF, 503, "other"),
        (CLASSIFIED, 429, "rate_limit"),
        (CLASSIFIED, 503, "transient"),
        (CLASSIFIED | TRANSIENT, 429, "rate_limit"),
        (CLASSIFIED | TRANSIENT, 400, "transient"),
        (CLASSIFIED | TRANSIENT | TIMEOUT, 503, "timeout"),
        (CLASSIFIED | USAGE, 429, "usage_limit"),
        (CLASSIFIED | ABORT, None, "other"),
        (signed(CLASSIFIED | REJECTED), 400, "other"),
        (signed(CLASSIFIED | REJECTED | OVERFLOW), 400, "context_overflow"),
        (131072.0 + CLASSIFIED, None, "transient"),
    ],
)
def test_the_kind_of_a_failure(error_id: float | None, status: int | None, kind: str) -> None:
    """The flags of the id decide, else the status; an id below 0x1000 is a status."""
    assert failure_kind(error_id, status) == kind
    assert failed(error_id=error_id, error_status=status).kind == kind


@pytest.mark.parametrize("pair", list(itertools.combinations(ORDER, 2)))
def test_the_first_flag_in_the_order_decides(pair: tuple[tuple[int, str], ...]) -> None:
    """Of two flags the one that is first in the order names the kind."""
    (first, kind), (second, _) = pair
    assert failure_kind(CLASSIFIED | first | second, None) == kind


@given(st.integers(-(2**31), 2**32 - 1), st.none() | st.integers(0, 999))
def test_every_id_has_a_kind(error_id: int, status: int | None) -> None:
    """Any 32-bit id has a kind, and the same one signed and unsigned."""
    assert failure_kind(error_id, status) == failure_kind(signed(error_id & 0xFFFFFFFF), status)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("slow down", None),
        ("429 slow down retry-after-ms=1500", 1.5),
        ("slow down retry-after-ms=0", 0.0),
        ("slow down retry-after-ms=250.5", 0.2505),
        ("retry-after-ms=1000\nslow down (retry-after-ms=2000)", 2.0),
        ("retry-after-ms=soon", None),
        ("retry-after-ms=" + "9" * 400, float("inf")),
    ],
)
def test_the_wait_of_a_failure(text: str, seconds: float | None) -> None:
    """The error message may hold the wait in milliseconds; the longest one counts."""
    assert failed(error_message=text).retry_after == seconds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Overloaded", "Overloaded"),
        ('529 {"type":"error","error":{"message":"Overloaded"}}', "Overloaded (529)"),
        ('{"error":{"message":"no credit"}} (log: /home/omp/x.json)', "no credit"),
        ('{"error":"unauthorized"}', "unauthorized"),
        ('400: {"message":"bad"}', "bad (400)"),
        ("use {braces}", "use {braces}"),
        ('{"code":7}', '{"code":7}'),
        ('{"a":' * 100_000, ('{"a":' * 100_000)[:4096]),
    ],
)
def test_the_words_of_the_provider_come_first(text: str, words: str) -> None:
    """JSON in an error message is replaced by the message that it holds."""
    assert provider_words(text) == words
    error = failed(error_message=text)
    assert str(error) == words
    assert error.message is not None
    assert error.message.error_message == text


JSON = st.recursive(st.none() | st.text(CHARACTERS) | st.integers(), st.lists, max_leaves=5)
INNER = st.dictionaries(st.sampled_from(["message", "type"]), JSON)
OUTER = st.dictionaries(st.sampled_from(["error", "message", "type"]), JSON | INNER)


@given(JSON | OUTER)
def test_any_json_in_an_error_message_has_words(value: Any) -> None:
    """No JSON makes the error fail or leaves it without text."""
    assert str(failed(error_message=json.dumps(value)))


def test_a_failure_without_words() -> None:
    """An error whose message has no text names the stop reason."""
    assert str(failed()) == "the turn ended with stop reason 'error'"


@pytest.mark.parametrize(
    ("error_id", "hint"),
    [
        (CLASSIFIED | USAGE, "Client.usage()"),
        (CLASSIFIED | AUTH, "Client.check_credentials()"),
        (CLASSIFIED | OVERFLOW, "fewer messages"),
    ],
)
def test_a_failure_that_the_caller_can_act_on_has_a_hint(error_id: int, hint: str) -> None:
    """The hint names what to look at, and the text ends with it."""
    error = failed(error_id=error_id, error_message="no")
    assert hint in (error.hint or "")
    assert str(error) == f"no; {error.hint}"
