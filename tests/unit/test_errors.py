"""Errors: one family of classes, whose attributes, hint and text survive a pickle."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

import pi_native
from pi_native import AssistantMessage, TextContent, errors
from pi_native.errors import (
    AbortError,
    AuthenticationError,
    AuthGatewayError,
    BudgetError,
    ConfigurationError,
    ConversationBusyError,
    DecodeError,
    ExtractionError,
    GatewayConnectionError,
    GatewayServerError,
    IncompleteStreamError,
    InvalidRequestError,
    PiNativeError,
    ProviderError,
    RateLimitError,
    StreamProtocolError,
    StreamTimeoutError,
    ToolError,
    ToolRoundsError,
    error_class_for_status,
)

MESSAGE = AssistantMessage([TextContent("so far")], stop_reason="error", timestamp=1)
ANSWER: dict[str, Any] = {
    "status": 429,
    "headers": {"retry-after": "3"},
    "code": "rate_limit_error",
    "body": {"error": {"message": "slow down"}},
    "request_id": "r-1",
    "retry_after": 3.0,
}
NO_ANSWER: dict[str, Any] = {
    "status": 0,
    "headers": {},
    "code": None,
    "body": None,
    "request_id": None,
    "retry_after": None,
}
# Each class, all its arguments, and its attributes without arguments.
KNOWS: list[tuple[type[PiNativeError], dict[str, Any], dict[str, Any]]] = [
    (PiNativeError, {}, {}),
    (ConfigurationError, {}, {}),
    (AbortError, {"reason": "a reason"}, {"reason": None}),
    (GatewayConnectionError, {"phase": "body"}, {"phase": "connect"}),
    (AuthGatewayError, ANSWER, NO_ANSWER),
    (AuthenticationError, ANSWER, NO_ANSWER),
    (RateLimitError, ANSWER, NO_ANSWER),
    (InvalidRequestError, ANSWER, NO_ANSWER),
    (GatewayServerError, ANSWER, NO_ANSWER),
    (StreamTimeoutError, {"phase": "idle", "limit": 1.5}, {"phase": "total", "limit": None}),
    (StreamProtocolError, {}, {}),
    (DecodeError, {"problems": ("$.a: no", "$.b: no")}, {"problems": ()}),
    (IncompleteStreamError, {}, {}),
    (
        ProviderError,
        {"message": MESSAGE, "kind": "rate_limit", "retry_after": 2.5},
        {"message": None, "kind": "other", "retry_after": None},
    ),
    (ConversationBusyError, {}, {}),
    (
        BudgetError,
        {"spent": {"dollars": 1.0}, "left": 3, "results": ["a"]},
        {"spent": None, "left": 0, "results": ()},
    ),
    (
        ExtractionError,
        {"problems": [("$.a", "missing")], "attempts": 3},
        {"problems": [], "attempts": 0},
    ),
    (ToolError, {}, {}),
    (ToolRoundsError, {"rounds": 10}, {"rounds": 0}),
]
CLASSES = [cls for cls, _, _ in KNOWS]
every_class = pytest.mark.parametrize("cls", CLASSES)
each_class = pytest.mark.parametrize(
    ("cls", "knows", "default"), KNOWS, ids=[c.__name__ for c in CLASSES]
)


def test_every_error_is_looked_at_here() -> None:
    """The list above has each class of the module, and the package exports them all."""
    own = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.PiNativeError)
    ]
    assert set(own) == set(CLASSES)
    assert all(getattr(pi_native, cls.__name__) is cls for cls in own)
    assert {cls.__name__ for cls in own} <= set(pi_native.__all__)


@pytest.mark.parametrize(
    ("cls", "bases"),
    [
        (PiNativeError, (Exception,)),
        (ConfigurationError, (PiNativeError, ValueError)),
        (AbortError, (PiNativeError,)),
        (GatewayConnectionError, (PiNativeError, ConnectionError)),
        (AuthGatewayError, (PiNativeError,)),
        (AuthenticationError, (AuthGatewayError,)),
        (RateLimitError, (AuthGatewayError,)),
        (InvalidRequestError, (AuthGatewayError,)),
        (GatewayServerError, (AuthGatewayError,)),
        (StreamTimeoutError, (PiNativeError, TimeoutError)),
        (StreamProtocolError, (PiNativeError,)),
        (DecodeError, (StreamProtocolError,)),
        (IncompleteStreamError, (PiNativeError,)),
        (ProviderError, (PiNativeError,)),
        (ConversationBusyError, (PiNativeError, RuntimeError)),
        (BudgetError, (PiNativeError,)),
        (ExtractionError, (PiNativeError,)),
        (ToolError, (PiNativeError,)),
        (ToolRoundsError, (PiNativeError,)),
    ],
)
def test_the_family(cls: type[PiNativeError], bases: tuple[type, ...]) -> None:
    """Each error is what users catch: one of ours, and Python's own kind where there is one."""
    assert cls.__bases__ == bases


@each_class
def test_what_an_error_knows(
    cls: type[PiNativeError], knows: dict[str, Any], default: dict[str, Any]
) -> None:
    """An error has its text, its arguments as attributes, and defaults for the others."""
    full, bare = cls("it failed", **knows), cls("it failed")
    assert str(full) == str(bare) == "it failed"
    assert repr(full) == repr(bare) == f"{cls.__name__}('it failed')"
    assert {name: getattr(full, name) for name in knows} == knows
    assert {name: getattr(bare, name) for name in default} == default


@each_class
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_a_pickle(
    cls: type[PiNativeError], knows: dict[str, Any], default: dict[str, Any], protocol: int
) -> None:
    """The class, the message, what it knows and what had arrived are there on the other side."""
    assert knows.keys() == default.keys()
    error = cls("it failed", **knows)
    error.partial = MESSAGE
    error.hint, error.request_id = "try again", "r-9"
    back = pickle.loads(pickle.dumps(error, protocol))
    assert type(back) is cls
    assert (back.args, str(back), repr(back)) == (error.args, str(error), repr(error))
    assert {name: getattr(back, name) for name in knows.keys() - {"request_id"}} == {
        name: value for name, value in knows.items() if name != "request_id"
    }
    assert back.partial == MESSAGE
    assert (back.hint, back.request_id) == ("try again", "r-9")


@each_class
def test_an_error_survives_a_copy(
    cls: type[PiNativeError], knows: dict[str, Any], default: dict[str, Any]
) -> None:
    """A copy knows what the original knows, and a deep one has a snapshot of its own."""
    assert knows.keys() == default.keys()
    error = cls("it failed", **knows)
    error.partial = MESSAGE
    shallow, deep = copy.copy(error), copy.deepcopy(error)
    assert type(shallow) is type(deep) is cls
    assert vars(shallow) == vars(deep) == vars(error)
    assert shallow.partial is MESSAGE
    assert deep.partial is not MESSAGE


@every_class
def test_nothing_had_arrived_unless_it_is_said(cls: type[PiNativeError]) -> None:
    """`partial` is None at first, and set for one error alone."""
    first, second = cls("it failed"), cls("it failed")
    assert first.partial is None
    first.partial = MESSAGE
    assert second.partial is None
    assert cls.partial is None


@every_class
def test_an_error_can_be_raised_again(cls: type[PiNativeError]) -> None:
    """Raised and caught by its base class, it is the same object, with its cause."""
    error, cause = cls("it failed"), OSError("the cause")
    with pytest.raises(PiNativeError, match="it failed") as caught:
        raise error from cause
    assert caught.value is error
    assert caught.value.__cause__ is cause


def test_a_pickle_keeps_headers_without_case() -> None:
    """The headers of an answer are still looked up without case on the other side."""
    headers: CaseInsensitiveDict[str] = CaseInsensitiveDict({"X-Request-Id": "r-1"})
    back = pickle.loads(pickle.dumps(AuthGatewayError("no", headers=headers)))
    assert back.headers["x-request-id"] == back.headers["X-REQUEST-ID"] == "r-1"


def test_errors_share_no_headers() -> None:
    """Each error without headers has an empty mapping of its own."""
    assert AuthGatewayError("a").headers is not AuthGatewayError("b").headers


def test_an_abort_without_a_reason() -> None:
    """A cancel without a reason has a text of its own."""
    error = AbortError()
    assert (str(error), error.reason) == ("aborted", None)


def test_problems_cannot_be_changed() -> None:
    """The faults of a decode error are a tuple, whatever they were given as."""
    faults = ["$.a: no"]
    error = DecodeError("no", problems=faults)
    faults.append("$.b: no")
    assert error.problems == ("$.a: no",)


def test_a_providers_failure_holds_its_message_as_partial_too() -> None:
    """The failed message is the `partial` of the error."""
    error = ProviderError("overloaded", message=MESSAGE)
    assert error.message is error.partial is MESSAGE


def test_pythons_own_kinds_carry_no_number() -> None:
    """Errors that are an `OSError` to Python show their message, and no errno."""
    for error in (GatewayConnectionError("no road"), StreamTimeoutError("too late")):
        assert (error.errno, error.strerror, error.filename) == (None, None, None)


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (0, AuthGatewayError),
        (101, AuthGatewayError),
        (200, AuthGatewayError),
        (302, AuthGatewayError),
        (399, AuthGatewayError),
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (402, InvalidRequestError),
        (403, AuthenticationError),
        (404, InvalidRequestError),
        (408, InvalidRequestError),
        (428, InvalidRequestError),
        (429, RateLimitError),
        (430, InvalidRequestError),
        (499, InvalidRequestError),
        (500, GatewayServerError),
        (503, GatewayServerError),
        (599, GatewayServerError),
        (600, AuthGatewayError),
        (999, AuthGatewayError),
    ],
)
def test_the_class_for_a_status(status: int, cls: type[AuthGatewayError]) -> None:
    """401 and 403, 429, other 4xx and 5xx have classes; the rest is the base class."""
    assert error_class_for_status(status) is cls


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (0, False),
        (200, False),
        (302, False),
        (400, False),
        (401, False),
        (404, False),
        (407, False),
        (408, True),
        (409, False),
        (428, False),
        (429, True),
        (430, False),
        (499, False),
        (500, True),
        (503, True),
        (599, True),
        (600, False),
    ],
)
def test_what_may_succeed_later(status: int, retryable: bool) -> None:
    """408, 429 and 5xx may pass; all else stays as it is."""
    assert AuthGatewayError("no", status=status).retryable is retryable


@every_class
def test_the_text_ends_with_the_hint(cls: type[PiNativeError]) -> None:
    """A hint follows the text; without one the text is alone."""
    error = cls("it failed")
    assert (error.hint, error.request_id) == (None, None)
    error.hint = "try again"
    assert str(error) == "it failed; try again"
    assert error.args == ("it failed",)


@pytest.mark.parametrize("cls", [ExtractionError, ToolRoundsError])
def test_the_last_message_is_the_partial(cls: Any) -> None:
    """An error about several requests has the last message as its `partial`."""
    assert cls("it failed", partial=MESSAGE).partial is MESSAGE


@pytest.mark.parametrize(
    ("kind", "retry_after", "retryable"),
    [
        ("rate_limit", None, True),
        ("rate_limit", 60.0, True),
        ("rate_limit", 60.001, False),
        ("transient", 0.0, True),
        ("transient", 3600.0, False),
        ("timeout", None, False),
        ("usage_limit", 1.0, False),
        ("auth", None, False),
        ("other", None, False),
    ],
)
def test_a_retryable_provider_error(kind: Any, retry_after: float | None, retryable: bool) -> None:
    """A rate limit and a transient failure are retryable, unless the wait is over 60 s."""
    assert ProviderError("no", kind=kind, retry_after=retry_after).retryable is retryable
