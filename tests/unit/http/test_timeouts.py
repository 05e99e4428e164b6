"""Timeouts: the option, else the environment, else the default; milliseconds in, seconds out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from pi_native import ConfigurationError, StreamOptions
from pi_native._http.timeouts import ARGUMENT, DEFAULT, Limits, resolve_timeouts, timeout_origins

FIRST = "PI_STREAM_FIRST_EVENT_TIMEOUT_MS"
IDLE = "PI_STREAM_IDLE_TIMEOUT_MS"
ALIAS = "PI_OPENAI_STREAM_IDLE_TIMEOUT_MS"
OPTIONS = (
    "connect_timeout_ms",
    "stream_first_event_timeout_ms",
    "stream_idle_timeout_ms",
    "total_timeout_ms",
)
FIELDS = ("connect", "first_event", "idle", "total")


def limits(environ: Mapping[str, str] | None = None, **options: Any) -> Limits:
    """Return the limits of a call with these options, in this environment."""
    return resolve_timeouts(StreamOptions(**options), environ or {})


def test_the_defaults() -> None:
    """Ten seconds to connect, five minutes for each wait, and as long as it takes in all."""
    found = limits()
    assert [found[name] for name in FIELDS] == [10.0, 300.0, 300.0, None]


@pytest.mark.parametrize(("option", "field"), [*zip(OPTIONS, FIELDS, strict=True)])
@pytest.mark.parametrize(
    ("milliseconds", "seconds"),
    [
        (1, 0.001),
        (1500, 1.5),
        (1500.9, 1.5),
        (1.999, 0.001),
        (0.9, None),
        (0, None),
        (0.0, None),
        (-0.5, None),
        (-1, None),
        (math.inf, None),
        (-math.inf, None),
    ],
)
def test_an_option_is_in_milliseconds(
    option: str, field: str, milliseconds: float, seconds: float | None
) -> None:
    """Fractions of a millisecond are cut off; nothing, less, and no end are no limit."""
    assert limits(**{option: milliseconds})[field] == seconds


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("value", ["1000", True, False, math.nan, [], {}, b"1", 1j], ids=repr)
def test_an_option_that_is_no_number(option: str, value: object) -> None:
    """A value that is no number is refused with the name of its option."""
    with pytest.raises(ConfigurationError) as caught:
        limits(**{option: value})
    assert str(caught.value) == f"{option} must be a number of milliseconds, not {value!r}"


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_that_no_clock_can_hold(option: str) -> None:
    """An integer beyond all floats is refused; the refusal does not spell it out."""
    with pytest.raises(ConfigurationError) as caught:
        limits(**{option: 10**400})
    assert str(caught.value) == f"{option} is too large a number of milliseconds"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1500", 1.5),
        ("1500.9", 1.5),
        (" 1500 ", 1.5),
        ("\t1500\n", 1.5),
        ("1.5e3", 1.5),
        ("+1500", 1.5),
        ("", None),
        ("  ", None),
        ("0", None),
        ("0.9", None),
        ("-1", None),
        ("-1e9", None),
    ],
)
def test_the_environment_is_in_milliseconds(text: str, seconds: float | None) -> None:
    """A variable is a number, spaces around it or not; nothing is 0, and 0 or less no limit."""
    assert limits({IDLE: text})["idle"] == seconds
    assert limits({ALIAS: text})["idle"] == seconds


@pytest.mark.parametrize(
    "text",
    ["abc", "nan", "NaN", "inf", "Infinity", "-inf", "1e999", "1_000", "1,5", "5s", "1 2", "١٢٣"],
)
def test_a_variable_that_is_no_finite_number_counts_as_unset(text: str) -> None:
    """The defaults hold then, for either wait."""
    assert limits({IDLE: text})["idle"] == 300.0
    assert limits({ALIAS: text})["idle"] == 300.0
    assert limits({FIRST: text})["first_event"] == 300.0
    assert limits({FIRST: text, IDLE: "400000"})["first_event"] == 400.0


@pytest.mark.parametrize(
    ("environ", "options", "idle"),
    [
        ({IDLE: "1000"}, {}, 1.0),
        ({IDLE: "1000", ALIAS: "2000"}, {}, 1.0),
        ({ALIAS: "2000"}, {}, 2.0),
        ({IDLE: "1000", ALIAS: "2000"}, {"stream_idle_timeout_ms": 3000}, 3.0),
        ({IDLE: "1000"}, {"stream_idle_timeout_ms": 0}, None),
        ({IDLE: "", ALIAS: "2000"}, {}, None),
        ({IDLE: "abc", ALIAS: "2000"}, {}, 300.0),
        ({FIRST: "1000"}, {}, 300.0),
    ],
)
def test_who_says_the_idle_limit(
    environ: dict[str, str], options: dict[str, Any], idle: float | None
) -> None:
    """The option, else the variable, else its alias, which is for when there is no variable."""
    assert limits(environ, **options)["idle"] == idle


@pytest.mark.parametrize(
    ("environ", "options", "first_event"),
    [
        ({FIRST: "1000"}, {}, 1.0),
        ({FIRST: "1"}, {}, 0.001),
        ({FIRST: "1000"}, {"stream_first_event_timeout_ms": 2000}, 2.0),
        ({FIRST: "1000"}, {"stream_first_event_timeout_ms": 0}, None),
        # Without either, the larger of the default and the idle limit.
        ({}, {"stream_idle_timeout_ms": 400_000}, 400.0),
        ({}, {"stream_idle_timeout_ms": 200_000}, 300.0),
        ({}, {"stream_idle_timeout_ms": 0}, 300.0),
        ({IDLE: "400000"}, {}, 400.0),
        ({ALIAS: "400000"}, {}, 400.0),
        ({IDLE: "1000"}, {}, 300.0),
        # A variable that turns it off leaves the wait to the idle limit.
        ({FIRST: "0", IDLE: "1000"}, {}, 1.0),
        ({FIRST: "-5", IDLE: "1000"}, {}, 1.0),
        ({FIRST: "", ALIAS: "1000"}, {}, 1.0),
        ({FIRST: "0.5", IDLE: "1000"}, {}, 1.0),
        ({FIRST: "0"}, {"stream_idle_timeout_ms": 2000}, 2.0),
        ({FIRST: "0"}, {}, 300.0),
        ({FIRST: "0", IDLE: "0"}, {}, None),
        ({FIRST: "0", IDLE: "1000"}, {"stream_first_event_timeout_ms": 0}, None),
    ],
)
def test_who_says_the_first_events_limit(
    environ: dict[str, str], options: dict[str, Any], first_event: float | None
) -> None:
    """The option, else the variable; what they leave open is said by the idle limit."""
    assert limits(environ, **options)["first_event"] == first_event


@pytest.mark.parametrize("name", [FIRST, IDLE, ALIAS])
def test_connecting_and_the_whole_turn_have_no_variable(name: str) -> None:
    """The environment moves the waits for events, and nothing else."""
    found = limits({name: "1000"}, total_timeout_ms=5000)
    assert (found["connect"], found["total"]) == (10.0, 5.0)


def test_connecting_can_be_left_unbounded() -> None:
    """An option of None is no default there, but no limit."""
    assert limits(connect_timeout_ms=None)["connect"] is None


@pytest.mark.parametrize(
    ("environ", "options", "first_event", "idle"),
    [
        ({}, {}, DEFAULT, DEFAULT),
        ({FIRST: "1000", IDLE: "1000"}, {}, FIRST, IDLE),
        ({FIRST: "abc", IDLE: "abc"}, {}, DEFAULT, DEFAULT),
        ({ALIAS: "1000"}, {}, DEFAULT, ALIAS),
        ({ALIAS: "400000"}, {}, ALIAS, ALIAS),
        ({FIRST: "0", IDLE: "1000"}, {}, IDLE, IDLE),
        ({IDLE: ""}, {}, DEFAULT, IDLE),
        ({FIRST: "1000"}, {"stream_first_event_timeout_ms": 0}, ARGUMENT, DEFAULT),
        ({IDLE: "1000"}, {"stream_idle_timeout_ms": 400_000}, ARGUMENT, ARGUMENT),
    ],
)
def test_the_origin_is_named(
    environ: dict[str, str], options: dict[str, Any], first_event: str, idle: str
) -> None:
    """The origin of a limit is an option, the variable that counted, or the default."""
    said = timeout_origins(StreamOptions(**options), environ)
    assert said == {"first_event": first_event, "idle": idle}
