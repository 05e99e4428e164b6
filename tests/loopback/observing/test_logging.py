"""The log describes turns without the key and the conversation."""

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
    """Return a client of the gateway whose base URL has a password."""
    url = gateway.url.replace("//", "//someone:password@")
    with Client(url, KEY, headers={"x-secret": "secret"}) as client:
        yield client


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the logged messages, with N in place of each number."""
    records = [record for record in caplog.records if record.name == "pi_native"]
    return [re.sub(r"\d[\d.,]*(?<![,.])", "N", record.getMessage()) for record in records]


def test_each_step_of_a_turn_is_logged(
    gateway: FakeGateway, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Each step is logged by the worker thread, with the figures of `stats`."""
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
        """Raise an error for every record."""
        raise self.error("broken filter")


@pytest.mark.parametrize("error", [ValueError, SystemExit])
@pytest.mark.parametrize("what", ["answer", "failure", "retry", "callbacks"])
def test_a_filter_that_raises_breaks_no_turn(
    what: str, error: type[BaseException], gateway: FakeGateway, logger: logging.Logger
) -> None:
    """With a logging filter that raises, each turn still has its outcome."""
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


def test_a_retry_and_a_failure_are_logged(
    gateway: FakeGateway, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names their kinds only, since a gateway may quote the conversation."""
    caplog.set_level("DEBUG", logger="pi_native")
    gateway.reply("never", fault=HangUp(after=0)).error(400, SAID)
    with pytest.raises(PiNativeError, match=SAID):
        client.complete("acme/large", SAID)
    failures = [line for line in lines(caplog) if "fail" in line]
    assert failures == [
        "attempt N failed (GatewayConnectionError), trying again in N s",
        "failed, InvalidRequestError N: N s, N events, N bytes, N attempts",
    ]
    assert SAID not in caplog.text


@pytest.mark.parametrize("means", ["abort", "drop"])
def test_a_cancel_is_logged(
    gateway: FakeGateway, client: Client, caplog: pytest.LogCaptureFixture, means: str
) -> None:
    """The log distinguishes a cancel by the caller from a dropped stream."""
    caplog.set_level("DEBUG", logger="pi_native")
    gateway.reply("One two three", fault=Stall(after=3))
    held = [client.stream("acme/large", SAID)]
    next(held[0].text_stream)
    cancel(held, means)
    word = {"abort": "ended, stop reason 'aborted': ", "drop": "dropped: "}[means]
    assert wait_until(lambda: caplog.messages[-1].startswith(word))


def test_neither_key_nor_conversation_is_logged(
    gateway: FakeGateway, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """No outcome logs the key or the conversation, at level DEBUG."""
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
    """A message is neither formatted nor logged if its level is disabled."""

    def fail(*_: object) -> None:
        raise AssertionError("a message was formatted although its level is disabled")

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


def stderr_of_a_program(gateway: FakeGateway, level: str | None) -> str:
    """Return the stderr of a program without a logging setup, whose observer fails."""
    gateway.reply("Hello")
    added = {} if level is None else {"PI_NATIVE_LOG": level}
    done = run(PROGRAM, gateway.url, KEY, SAID, **added)
    assert (done.returncode, done.stdout) == (0, "Hello\n")
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("level", [None, "", "error"])
def test_nothing_is_logged_by_default(gateway: FakeGateway, level: str | None) -> None:
    """Stderr is empty by default; at `error`, exceptions of callbacks are logged."""
    said = stderr_of_a_program(gateway, level)
    assert ("on_sse_event raised" in said) == (level == "error")
    assert "POST" not in said


@pytest.mark.slow
@pytest.mark.parametrize("level", ["debug", "DEBUG"])
def test_the_environment_turns_it_on(gateway: FakeGateway, level: str) -> None:
    """Lines have the time and the thread, and neither the key nor the conversation."""
    said = stderr_of_a_program(gateway, level)
    assert re.search(r"^\d{4}-\S+ \S+ DEBUG pi-native-1: POST http", said, re.MULTILINE)
    assert "stop reason 'stop'" in said
    assert KEY not in said
    assert SAID not in said


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """Yield the package's logger, and restore it after the test."""
    logger = logging.getLogger("pi_native")
    before = list(logger.handlers)
    yield logger
    logger.handlers[:] = before
    logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize(("said", "level"), [("info", "INFO"), (" Error ", "ERROR")])
def test_each_spelling_of_a_level_is_valid(said: str, level: str, logger: logging.Logger) -> None:
    """Each spelling sets the logger's level and adds one handler for stderr."""
    set_up({"PI_NATIVE_LOG": said})
    assert logging.getLevelName(logger.level) == level
    [handler] = logger.handlers[1:]
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stderr


@pytest.mark.slow
def test_an_unknown_level_is_reported(gateway: FakeGateway) -> None:
    """An unknown level causes a warning, and does not stop the program."""
    said = stderr_of_a_program(gateway, "loud")
    assert "PI_NATIVE_LOG is one of debug, info, warning, error, not 'loud'" in said


def test_the_program_configures_the_logger(logger: logging.Logger) -> None:
    """The logger has no level unless the environment sets one."""
    assert logger.level == logging.NOTSET
    assert logger.propagate
    assert [type(handler) for handler in logger.handlers] == [logging.NullHandler]
