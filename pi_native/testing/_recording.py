"""A recording's file: JSON Lines, one line for each thing that happened, readable in a diff.

The first line says what the file is. Then come the exchanges, each with all of its lines together:

    {"exchange": 1, "at": 0.0, "method": "POST", "path": "/v1/pi/stream", "json": {...}}
    {"exchange": 1, "at": 0.0121, "status": 200, "reason": "OK", "headers": {...}}
    {"exchange": 1, "at": 0.0214, "text": "data: {\"type\":\"start\",...}\n\n"}
    {"exchange": 1, "at": 0.5003, "end": "complete"}

Times are in seconds: a request's since the recording began, the others' since that request. Each
`text` is what one read brought; what is no UTF-8 is `base64` instead. Without a `status` there was
no answer. An exchange stands in the file where it ended; its number says where it began.
"""

import base64
import json
import os
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from ._frames import dumps

__all__ = ["FIRST_LINE", "End", "RecordedTurn", "lines", "load"]

#: How an answer ended: whole; with the connection closed, or reset, by the other side; or not at
#: all, since the client went away or the recording was over first.
End = Literal["complete", "cut", "reset", "left"]
_ENDS = ("complete", "cut", "reset", "left")
FIRST_LINE = b'{"recording":"pi_native","version":1}\n'
_DIGITS = 4  # of a second: a tenth of a millisecond


@attrs.define
class RecordedTurn:
    """One request and what came back."""

    number: int
    at: float
    method: str
    path: str
    body: bytes = attrs.field(default=b"", repr=False)
    status: int | None = None
    reason: str = ""
    headers: dict[str, str] = attrs.field(factory=dict, repr=False)
    answered_at: float = 0.0
    pieces: list[tuple[float, bytes]] = attrs.field(factory=list, repr=False)
    end: End = "left"
    ended_at: float = 0.0


def lines(exchange: RecordedTurn) -> bytes:
    """Return the exchange as it stands in a file."""
    asked = {"method": exchange.method, "path": exchange.path, **_request_body(exchange.body)}
    rows = [(exchange.at, asked)]
    if exchange.status is not None:
        head = {"status": exchange.status, "reason": exchange.reason, "headers": exchange.headers}
        rows.append((exchange.answered_at, head))
    rows += [(at, _content(data)) for at, data in exchange.pieces]
    rows.append((exchange.ended_at, {"end": exchange.end}))
    return b"".join(
        dumps({"exchange": exchange.number, "at": round(at, _DIGITS), **row}) + b"\n"
        for at, row in rows
    )


def load(path: str | os.PathLike[str]) -> list[RecordedTurn]:
    """Read a recording; its exchanges in the order in which they began.

    Raises OSError, and ValueError with the place for what is no recording.
    """
    exchanges: dict[int, RecordedTurn] = {}
    with open(path, "rb") as file:
        _check_first(file.readline(), path)
        for number, line in enumerate(file, 2):
            try:
                _take(json.loads(line), exchanges)
            except (KeyError, TypeError, ValueError, RecursionError) as exc:
                where = f"{os.fspath(path)}, line {number}"
                raise ValueError(f"{where}: not a line of a recording ({exc!r})") from exc
    return sorted(exchanges.values(), key=lambda exchange: exchange.number)


def _check_first(line: bytes, path: str | os.PathLike[str]) -> None:
    try:
        known = json.loads(line) == json.loads(FIRST_LINE)
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"{os.fspath(path)} is no recording that this version can read")


def _take(row: dict[str, Any], exchanges: dict[int, RecordedTurn]) -> None:
    number, at = int(row["exchange"]), float(row["at"])
    if "method" in row:
        body = dumps(row["json"]) if "json" in row else _bytes(row)
        exchanges[number] = RecordedTurn(number, at, str(row["method"]), str(row["path"]), body)
        return
    exchange = exchanges[number]
    exchange.ended_at = at  # so far: the file of a recorder that was killed has no end
    if "status" in row:
        exchange.status, exchange.reason = int(row["status"]), str(row["reason"])
        exchange.headers, exchange.answered_at = dict(row["headers"]), at
    elif "end" in row:
        if row["end"] not in _ENDS:
            raise ValueError(f"no such end: {row['end']!r}")
        exchange.end = row["end"]
    else:
        exchange.pieces.append((at, _bytes(row)))


def _request_body(body: bytes) -> dict[str, Any]:
    try:
        return {"json": json.loads(body)} if body else {}
    except (ValueError, RecursionError):
        return _content(body)


def _content(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _bytes(row: Mapping[str, Any]) -> bytes:
    if "base64" in row:
        return base64.b64decode(row["base64"], validate=True)
    return str(row.get("text", "")).encode()
