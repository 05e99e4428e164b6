"""The races of tests/unit/turn/test_endings.py, fewer of them, run over real connections."""

from __future__ import annotations

import queue
import threading
import warnings

import pytest

from benchmarks.wires import frame
from pi_native import AbortController, Client, ResponseInfo

from ...conftest import wait_until
from ...repetitions import repetitions
from ...unit.endings import CALLERS, LEFT, Race, pairs
from ..peer import CHUNKED, LAST_CHUNK, Connection, Peer, chunk

ROUNDS = repetitions(8, 2)
EVENTS = 5
ALL = {"role": "assistant", "content": [{"type": "text", "text": "all"}]}


def text_delta(number: int) -> bytes:
    """Return a text event whose number distinguishes it from all others."""
    partial = {"role": "assistant", "content": [{"type": "text", "text": "x" * number}]}
    head = {"type": "text_delta", "contentIndex": number, "delta": "x"}
    return chunk(frame({**head, "partial": partial}))


DONE = chunk(frame({"type": "done", "reason": "stop", "message": ALL}))
# The events that the peer sends when the race starts; with None the caller ends the turn.
ENDINGS = {"terminal event": DONE + LAST_CHUNK, "end of data": LAST_CHUNK, "failure": b"zz\r\n"}
PAIRS = pairs(CALLERS) + [(theirs, ours) for theirs in ENDINGS for ours in CALLERS]


class Gateway:
    """A script that sends some events of each turn, and the rest when the race starts."""

    def __init__(self) -> None:
        self.races: queue.SimpleQueue[tuple[Race, str]] = queue.SimpleQueue()

    def __call__(self, connection: Connection) -> None:
        """Send the events of each turn on the connection."""
        while True:
            connection.read_request()
            connection.send(CHUNKED, *map(text_delta, range(EVENTS)))
            race, how = self.races.get(timeout=LEFT)
            race.start.wait(LEFT)
            if how in ENDINGS:
                connection.send(*map(text_delta, range(EVENTS, 2 * EVENTS)), ENDINGS[how])


def run(client: Client, gateway: Gateway, pair: tuple[str, str]) -> None:
    """Run one race."""
    controller, responses = AbortController(), list[ResponseInfo]()
    # Only the race refers to the stream, so that the race can drop it.
    stream = client.stream(
        "x/y", "hi", signal=controller.signal, on_response=responses.append, on_incomplete="done"
    )
    theirs = pair[0] in ENDINGS
    race = Race(stream, controller, runners=2 if theirs else 3)
    del stream
    assert wait_until(lambda: race.turn.channel.partial is not None)
    worker = race.turn.worker
    for how in pair[theirs:]:
        race.run(lambda how=how: race.end(how))  # type: ignore[misc]
    gateway.races.put((race, pair[0]))
    race.finish()
    assert isinstance(worker, threading.Thread)
    worker.join(LEFT)
    assert not worker.is_alive()
    assert race.judge((*pair, "abort")) in (*pair, "abort")
    assert len(responses) == 1


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_of_two_endings_at_once_all_readers_see_the_same(pair: tuple[str, str]) -> None:
    """All readers see one outcome, the worker ends, and the next turn works."""
    gateway = Gateway()
    with Peer(gateway) as peer, Client(peer.url, "key", max_retries=0) as client:
        for _ in range(ROUNDS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                run(client, gateway, pair)
        stream = client.stream("x/y", "hi")
        assert wait_until(lambda: stream.partial is not None)
        race = Race(stream, AbortController(), runners=1)
        gateway.races.put((race, "terminal event"))
        race.finish()
        assert race.judge(("terminal event",)) == "terminal event"
