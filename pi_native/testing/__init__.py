"""A gateway for tests: a real HTTP server on loopback with scripted answers.

    >>> with FakeGateway() as gateway:
    ...     gateway = gateway.reply("Hello world")
    ...     Client(gateway.url, gateway.api_key).complete("any/model", "Hi").text
    'Hello world'

With pytest, the fixture `pi_native_gateway` is a started one, and `pi_native_env` puts it into the
environment.
"""

from ._answers import Answer, Events, HTTPError, Raw, Verbatim
from ._faults import BadChunk, Endless, Fault, Garbage, HangUp, Slow, Stall
from ._gateway import FakeGateway
from ._recording.record import record
from ._recording.replay import Recorded
from ._replies import FailedTurn, Reply
from ._request import RecordedRequest

__all__ = [
    "Answer",
    "BadChunk",
    "Endless",
    "Events",
    "FailedTurn",
    "FakeGateway",
    "Fault",
    "Garbage",
    "HTTPError",
    "HangUp",
    "Raw",
    "Recorded",
    "RecordedRequest",
    "Reply",
    "Slow",
    "Stall",
    "Verbatim",
    "record",
]
