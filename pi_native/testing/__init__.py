"""A gateway for tests: a real HTTP server on loopback that answers what the test scripts.

    >>> with FakeGateway() as gateway:
    ...     gateway = gateway.reply("Hello world")
    ...     Client(gateway.url, gateway.api_key).complete("any/model", "Hi").text
    'Hello world'

With pytest, the fixture `pi_native_gateway` is one, started.
"""

from ._answers import Answer, Events, HTTPError, Raw, Reply, Verbatim
from ._faults import BadChunk, Endless, Fault, Garbage, HangUp, Slow, Stall
from ._gateway import FakeGateway
from ._record import record
from ._replay import Recorded
from ._request import RecordedRequest

__all__ = [
    "Answer",
    "BadChunk",
    "Endless",
    "Events",
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
