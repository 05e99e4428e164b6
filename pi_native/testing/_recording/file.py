r"""The file of a recording: JSON Lines, one line for each thing that happened, readable in a diff.

The first line names the format. Then come the exchanges, each with all of its lines together:

    {"exchange": 1, "at": 0.0, "method": "POST", "path": "/v1/pi/stream", "json": {...}}
    {"exchange": 1, "at": 0.0121, "status": 200, "reason": "OK", "headers": {...}}
    {"exchange": 1, "at": 0.0214, "text": "data: {\"type\":\"start\",...}\n\n"}
    {"exchange": 1, "at": 0.5003, "end": "complete"}

Times are in seconds. The time of a request counts from the start of the recording, the others from
their request. Each `text` is the result of one read; bytes that are not UTF-8 are `base64`. Without
`status` there was no response. Exchanges are ordered by their end and numbered by their start.
"""

import base64
import json
import os
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from .._frames import dumps

__all__ = ["FIRST_LINE", "End", "RecordedTurn", "lines", "load"]

#: How a response ended: it was complete; the gateway closed or reset the connection; or the client
#: left or the recording ended before it.
End = Literal["complete", "cut", "reset", "left"]
_ENDS = ("complete", "cut", "reset", "left")
FIRST_LINE = b'{"recording":"pi_native","version":1}\n'
_DIGITS = 4  # of a second: a tenth of a millisecond


@attrs.define
class RecordedTurn:
    """One request and its response."""

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
    """Return the lines of the exchange."""
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
    """Return the exchanges of a recording, in the order of their start.

    Raises OSError, and ValueError that names the line if the file is not a recording.
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
        raise ValueError(f"{os.fspath(path)} is not a recording (version 1 of the format)")


def _take(row: dict[str, Any], exchanges: dict[int, RecordedTurn]) -> None:
    number, at = int(row["exchange"]), float(row["at"])
    if "method" in row:
        body = dumps(row["json"]) if "json" in row else _bytes(row)
        exchanges[number] = RecordedTurn(number, at, str(row["method"]), str(row["path"]), body)
        return
    exchange = exchanges[number]
    exchange.ended_at = at  # for now: a recorder that was killed writes no end
    if "status" in row:
        exchange.status, exchange.reason = int(row["status"]), str(row["reason"])
        exchange.headers, exchange.answered_at = dict(row["headers"]), at
    elif "end" in row:
        if row["end"] not in _ENDS:
            raise ValueError(f"unknown end {row['end']!r}, expected one of {', '.join(_ENDS)}")
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
