"""The gateway of a soak, in a separate process: the model id selects the response.

It prints its address, and when its standard input ends, what it saw.
"""

from __future__ import annotations

import collections
import json
import sys
import time

from pi_native.testing import (
    Answer,
    FakeGateway,
    HangUp,
    HTTPError,
    Raw,
    RecordedRequest,
    Reply,
    Stall,
)

TEXT = "The light of day is blue because the air scatters it. "
LONG = TEXT * 30
CALL = {"name": "write", "arguments": {"path": "a.txt", "text": TEXT}}
_AFTER = 4  # events before the fault
_KEPT = 1000
_GONE_SECONDS = 5.0
_GARBAGE = b"data: 429 Too Many Requests\n\n"
_DELTA = b'data: {"type":"text_delta","contentIndex":0,"delta":"x","partial":{"content":[]}}\n\n'

ANSWERS: dict[str, Answer] = {
    "whole": Reply(TEXT),
    "long": Reply(LONG, thinking=TEXT),
    "tool": Reply(TEXT, tool_calls=[CALL]),
    "failed": Reply(TEXT, error_message="the provider broke"),
    "refused": HTTPError(400, "no"),
    "limited": HTTPError(429, "slow down", headers={"Retry-After": "3600"}),
    "cut": Reply(TEXT, fault=HangUp(after=_AFTER)),
    "cut in an event": Reply(TEXT, fault=HangUp(after=_AFTER, mid_event=True)),
    "reset": Reply(TEXT, fault=HangUp(after=_AFTER, reset=True)),
    "no answer": Reply(TEXT, fault=HangUp(after=None)),
    "garbage": Raw([_DELTA, _GARBAGE]),
    "no end": Raw([_DELTA, _DELTA]),
    "stall": Reply(TEXT, fault=Stall(after=_AFTER)),
    "late": Reply(TEXT, fault=Stall(after=None)),
}
_BUSY = HTTPError(503, "busy")


class Answers:
    """Answer by model; a turn that is retried succeeds at the second attempt."""

    def __init__(self, gateway: FakeGateway) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._gateway = gateway
        self._tried: set[str] = set()

    def __call__(self, request: RecordedRequest) -> Answer:
        """Return the answer to a request."""
        name = request.model.partition("/")[2]
        self.counts[name] += 1
        self._forget()
        if name != "retried":
            return ANSWERS[name]
        turn = str(request.json["context"])
        if turn in self._tried:
            self._tried.discard(turn)
            return ANSWERS["whole"]
        self._tried.add(turn)
        return _BUSY

    def _forget(self) -> None:
        # The base class keeps all requests for a test; a soak makes a hundred thousand.
        if len(self._gateway._requests) > _KEPT:
            with self._gateway._changed:
                self._gateway._requests.clear()


def main() -> None:
    """Serve until standard input ends; then print the counts of requests and open connections."""
    with FakeGateway() as gateway:
        gateway.default = answers = Answers(gateway)
        print(gateway.url, gateway.api_key, flush=True)
        sys.stdin.read()
        deadline = time.monotonic() + _GONE_SECONDS
        while gateway.open_connections and time.monotonic() < deadline:
            time.sleep(0.01)
        print(json.dumps({"open": gateway.open_connections, "requests": answers.counts}))


if __name__ == "__main__":
    main()
