"""A gateway for tests: a real HTTP server on loopback that answers what the test scripts.

    from pi_native.testing import FakeGateway, Stall

    with FakeGateway() as gateway:
        gateway.reply("Hello world", fault=Stall(after=2))
        ...

With pytest, the fixture `pi_native_gateway` is one, started.
"""

from ._answers import Answer, Events, HTTPError, Raw, Reply, Verbatim
from ._faults import Fault, Garbage, HangUp, Slow, Stall
from ._gateway import FakeGateway
from ._request import RecordedRequest

__all__ = [
    "Answer",
    "Events",
    "FakeGateway",
    "Fault",
    "Garbage",
    "HTTPError",
    "HangUp",
    "Raw",
    "RecordedRequest",
    "Reply",
    "Slow",
    "Stall",
    "Verbatim",
]
