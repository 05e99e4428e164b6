"""What the log tells of turns, and what it does not."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pi_native import (
    Client,
    ConfigurationError,
    GatewayServerError,
    PiNativeError,
    TextContent,
    UserMessage,
)
from pi_native._turn.logs import set_up
from pi_native.testing import FakeGateway, HangUp, Stall

from ...conftest import wait_until
from ...programs import run
from ..calls import KEY, cancel

pytestmark = pytest.mark.usefixtures("quick_retries")

SAID = "words-of-the-prompt"
ANSWERED = "words-of-the-answer"


@pytest.fixture
def client(gateway: FakeGateway) -> Iterator[Client]:
    """A client of it, by an address that holds a password."""
    url = gateway.url.replace("//", "//someone:password@")
    with Client(url, KEY, headers={"x-secret": "secret"}) as client:
        yield client


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged, with N for each number."""
    records = [record for record in caplog.records if record.name == "pi_native"]
    return [re.sub(r"\d[\d.,]*(?<![,.])", "N", record.getMessage()) for record in records]


def test_a_turn_is_told_step_by_step(
    gateway: FakeGateway, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Sent, answered, begun, ended: all from one thread, and with the figures of `stats`."""
    caplog.set_level("DEBUG", logger="pi_native")
    gateway.reply(ANSWERED)
    message = client.complete("acme/large", SAID)
    sent, answered, first, ended = caplog.messages
    url = gateway.url
    body = len(gateway.last_request.body)
    assert sent == f"POST {url}/v1/pi/stream: acme/large, {body} bytes, attempt 1"
    assert re.fullmatch(
        rf"status 200 after [\d.]+ s, request id '{gateway.last_request.request_id}'", answered
    )
    assert re.fullmatch(r"first event after [\d.]+ s", first)
    assert ended == f"ended, stop reason 'stop': {message.stats}"
    assert len({record.threadName for record in caplog.records}) == 1
    assert {record.levelname for record in caplog.records} == {"DEBUG"}


class Broken(logging.Filter):
    """A filter that raises at every record."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self.error = error

    def filter(self, _: logging.LogRecord) -> bool:
        raise self.error("broken filter")


@pytest.mark.parametrize("error", [ValueError, SystemExit])
@pytest.mark.parametrize("what", ["answer", "failure", "retry", "callbacks"])
def test_a_filter_that_raises_breaks_no_turn(
    what: str, error: type[BaseException], gateway: FakeGateway, logger: logging.Logger
) -> None:
    """With a logging filter that raises, each turn still gets to its result or failure."""
    logger.setLevel("DEBUG")
    broken = Broken(error)
    logger.addFilter(broken)
    options: dict[str, Any] = {}
    if what in ("failure", "retry"):
        gateway.error(503, "busy")
    if what == "callbacks":
        options = {"on_sse_event": lambda _: 1 / 0}
    gateway.reply(ANSWERED)
    try:
        with Client(gateway.url, KEY, max_retries=int(what == "retry")) as client:
            stream = client.stream("acme/large", SAID, on_retry=lambda _: 1 / 0, **options)
            if what == "failure":
                with pytest.raises(GatewayServerError):
                    stream.result(10)
            else:
                assert stream.result(10).text == ANSWERED
    finally:
        logger.removeFilter(broken)


def test_a_retry_and_a_failure_are_told(
    gateway: FakeGateway, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """By their kinds, since a gateway may quote the conversation in its words."""
    caplog.set_level("DEBUG", logger="pi_native")
    gateway.reply("never", fault=HangUp(after=0)).error(400, SAID)
    with pytest.raises(PiNativeError, match=SAID):
        client.complete("acme/large", SAID)
    told = [line for line in lines(caplog) if "fail" in line]
    assert told == [
        "attempt N failed (GatewayConnectionError), trying again in N s",
        "failed, InvalidRequestError N: N s, N events, N bytes, N attempts",
    ]
    assert SAID not in caplog.text


@pytest.mark.parametrize("means", ["abort", "drop"])
def test_a_cancel_is_told(
    gateway: FakeGateway, client: Client, caplog: pytest.LogCaptureFixture, means: str
) -> None:
    """As what it was: the caller's, or that nobody was there any more."""
    caplog.set_level("DEBUG", logger="pi_native")
    gateway.reply("One two three", fault=Stall(after=3))
    held = [client.stream("acme/large", SAID)]
    next(held[0].text_stream)
    cancel(held, means)
    word = {"abort": "ended, stop reason 'aborted': ", "drop": "dropped: "}[means]
    assert wait_until(lambda: caplog.messages[-1].startswith(word))


def test_neither_key_nor_conversation_is_told(
    gateway: FakeGateway, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever happens to a turn, at the most talkative level."""
    caplog.set_level(1, logger="pi_native")
    gateway.reply(ANSWERED, thinking=ANSWERED).error(500, SAID).error(401, KEY)
    gateway.reply(ANSWERED, error_message=SAID)
    prompt = UserMessage([TextContent(SAID)])
    client.complete("acme/large", prompt, system=SAID, metadata={"of": SAID})
    for _ in range(2):
        with pytest.raises(PiNativeError):
            client.complete("acme/large", prompt, max_retries=1)
    with pytest.raises(ConfigurationError):
        client.complete("acme/large", prompt, extra={"x": {SAID}})
    assert len(caplog.messages) > 8
    for secret in (KEY, SAID, ANSWERED, "secret", "password", "someone"):
        assert secret not in caplog.text


def test_what_is_not_logged_costs_nothing(
    gateway: FakeGateway, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is written, nor made up, while nobody asked for it."""

    def fail(*_: object) -> None:
        raise AssertionError("a line was made up for nobody")

    monkeypatch.setattr("pi_native._turn.logs._without_secrets", fail)
    monkeypatch.setattr("pi_native._turn.logs._how", fail)
    gateway.reply(ANSWERED)
    assert client.complete("acme/large", SAID).text == ANSWERED


# The environment.

PROGRAM = """
import sys
from pi_native import Client

def broken(frame):
    raise ValueError("of the program's own")

client = Client(sys.argv[1], sys.argv[2])
print(client.complete("acme/large", sys.argv[3], on_sse_event=broken).text)
"""


def said_by_a_program(gateway: FakeGateway, level: str | None) -> str:
    """The stderr of one that sets up no logging, and makes a turn whose observer fails."""
    gateway.reply("Hello")
    added = {} if level is None else {"PI_NATIVE_LOG": level}
    done = run(PROGRAM, gateway.url, KEY, SAID, **added)
    assert (done.returncode, done.stdout) == (0, "Hello\n")
    return done.stderr


@pytest.mark.parametrize("level", [None, "", "error"])
def test_nothing_is_said_by_default(gateway: FakeGateway, level: str | None) -> None:
    """A program's stderr is its own; at `error`, what its callbacks raise is told."""
    said = said_by_a_program(gateway, level)
    assert ("on_sse_event raised" in said) == (level == "error")
    assert "POST" not in said


@pytest.mark.parametrize("level", ["debug", "DEBUG"])
def test_the_environment_turns_it_on(gateway: FakeGateway, level: str) -> None:
    """On stderr, with the time and the turn's thread; the key is not there, nor what was said."""
    said = said_by_a_program(gateway, level)
    assert re.search(r"^\d{4}-\S+ \S+ DEBUG pi-native-1: POST http", said, re.MULTILINE)
    assert "stop reason 'stop'" in said
    assert KEY not in said
    assert SAID not in said


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The package's logger, which is as it was after the test."""
    logger = logging.getLogger("pi_native")
    before = list(logger.handlers)
    yield logger
    logger.handlers[:] = before
    logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize(("said", "level"), [("info", "INFO"), (" Error ", "ERROR")])
def test_a_level_is_a_level(said: str, level: str, logger: logging.Logger) -> None:
    """However it is spelled, the logger has it, and one handler more, which is on stderr."""
    set_up({"PI_NATIVE_LOG": said})
    assert logging.getLevelName(logger.level) == level
    [handler] = logger.handlers[1:]
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stderr


def test_a_level_that_is_none_is_told(gateway: FakeGateway) -> None:
    """It is no reason to stop a program, and none to be silent."""
    said = said_by_a_program(gateway, "loud")
    assert "PI_NATIVE_LOG is one of debug, info, warning, error, not 'loud'" in said


def test_the_logger_is_the_programs_to_set_up(logger: logging.Logger) -> None:
    """It is an ordinary logger, with no level of its own unless the environment gives it one."""
    assert logger.level == logging.NOTSET
    assert logger.propagate
    assert [type(handler) for handler in logger.handlers] == [logging.NullHandler]
