"""Write the seeds: transcripts of the real gateway, and unusual inputs made by hand.

    python -m fuzz.seeds

An input that a fuzzer found is added by hand, with a name that begins with `found-`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable

from .targets import CORPUS, HERE

_DATA = HERE.parent / "tests" / "data"
_TRANSCRIPTS = (
    "empty",
    "error",
    "error-429",
    "error-aborted",
    "error-no-message",
    "error-no-message-late",
    "every-block",
    "text",
    "text-at-once",
    "thinking-signed",
)
_STREAM = b"Content-Type: text/event-stream\r\n"
_OK = b"HTTP/1.1 200 OK\r\n" + _STREAM
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_CLOSE = _OK + b"Connection: close\r\n\r\n"
_MESSAGE = {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}


def _frame(event: object) -> bytes:
    text = event if isinstance(event, str) else json.dumps(event, separators=(",", ":"))
    return b"data: %b\n\n" % text.encode()


def _delta(delta: str, text: str) -> bytes:
    partial = {"role": "assistant", "content": [{"type": "text", "text": text}]}
    head = {"type": "text_delta", "contentIndex": 0, "delta": delta}
    return _frame({**head, "partial": partial})


def _tool(delta: str, arguments: str, text: str) -> bytes:
    call = {"type": "toolCall", "id": "1", "arguments": {"a": arguments}, "partialArgs": text}
    head = {"type": "toolcall_delta", "contentIndex": 0, "delta": delta}
    return _frame({**head, "partial": {"role": "assistant", "content": [call]}})


_DONE = _frame({"type": "done", "reason": "stop", "message": _MESSAGE})
_DEEP = "[" * 3000 + "1" + "]" * 3000
_TURN = _delta("H", "H") + _delta("i", "Hi") + _DONE + b"data: [DONE]\n\n"

_SSE = {
    "nothing": b"",
    "bom": b"\xef\xbb\xbfdata: x\n\n",
    "half-a-bom": b"\xef\xbb",
    "crlf": b"data: x\r\n\r\ndata: y\r\n\r\n",
    "cr": b"data: x\r\rdata: y\r\r",
    "mixed-ends": b"data: x\n\r\ndata: y\r\n\rdata: z\r\r\n\n",
    "cr-comes-late": b"data: x\n\ndata: y\ndata: z\n\ndata: \r\n\r\n",
    "comments": b": hi\n:\n\n:\ndata: x\n:\n\n",
    "fields": b"event: e\nid: 7\nretry: 5\ndata: x\ndata\ndata:\nother: y\n\n",
    "many-lines": b"data: x\nid: 1\n" * 70 + b"\n",
    "no-utf8": b"data: \xff\xed\xa0\xbd\xf0\x9f\n\nid: \x00\ndata:\x00\n\n",
    "odd-line-ends": "data: a\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029b\n\n".encode(),
    "cut-off": b"data: x\n\ndata: y\nda",
}
_EVENTS = {
    "turn": _TURN,
    "tool": _tool("{", "", "{") + _tool('\\"', '"', '{\\"') + _tool("}", '"', '{\\"}'),
    "surrogates": _delta("\ud83d", "\ud83d") + _delta("\ude00", "\ud83d\ude00"),
    "malformed": _delta("a", "a") + _delta("b", 'ab"}],"x":[{"y":"'),
    "wrong-types": _frame({"type": "text_delta", "contentIndex": "0", "delta": 7, "partial": []}),
    "numbers": _frame('{"type":"done","reason":"stop","message":{"usage":{"input":1.0,"x":-0.0}}}'),
    "null": b"data: null\n\n",
    "nan": _frame('{"type":"x","a":NaN}'),
    "huge": _frame('{"type":"x","a":1e400}'),
    "digits": _frame('{"type":"x","a":' + "9" * 5000 + "}"),
    "deep": _frame('{"type":"x","a":' + _DEEP + "}"),
    "deep-snapshot": _frame(
        '{"type":"text_delta","contentIndex":0,"delta":"","partial":{"a":' + _DEEP + "}}"
    ),
    "proxy": _TURN[:100] + b"\n\ndata: 429 Too Many Requests\n\n",
    "twice": b'data: {"type":"x","type":"start","partial":{},"partial":null}\n\n',
    "after-end": _DONE + _TURN + b"data: {{\n\n",
    "gateway-broke": _frame({"type": "error", "reason": "aborted", "errorMessage": None, "x": 1}),
    "no-blank-line": _DONE.rstrip(b"\n"),
    "cut-off": _DONE[:60],
}


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _length(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


_ANSWERS = {
    "nothing": b"",
    "chunked": _CHUNKED + _chunk(_TURN[:50]) + _chunk(_TURN[50:]) + b"0\r\n\r\n",
    "until-close": _CLOSE + _TURN,
    "length": _OK + _length(_TURN),
    "too-short": _OK + _length(_TURN)[:-20],
    "not-all-chunks": _CHUNKED + _chunk(_delta("H", "H")),
    "chunk-lies": _CHUNKED + b"3\r\n" + _TURN,
    "chunk-extension": _CHUNKED + b'5;a="b"\r\ndata:\r\n0\r\nTrailer: x\r\n\r\n',
    "trailers-without-end": _CHUNKED + _chunk(_TURN) + b"0\r\n" + b"X: y\r\n" * 200,
    "chunk-size-huge": _CHUNKED + b"fffffffffffffff\r\ndata: ",
    "chunk-size-negative": _CHUNKED + b"-1\r\n",
    "no-final-chunk-line-end": _CHUNKED + _chunk(_TURN) + b"0\r\n",
    "after-end": _OK + _length(_TURN) + b"HTTP/1.1 500 Smuggled\r\n\r\n",
    "gzip": _OK + b"Content-Encoding: gzip\r\n" + _length(gzip.compress(_TURN, mtime=0)),
    "gzip-cut": _OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(_TURN, mtime=0)[:40],
    "gzip-not": _OK + b"Content-Encoding: gzip\r\n" + _length(_TURN),
    "encoding-unknown": _OK + b"Content-Encoding: x\r\n" + _length(_TURN),
    "encodings": _OK + b"Content-Encoding: gzip, deflate, gzip\r\n" + _length(_TURN),
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + _CLOSE + _TURN,
    "early-hints": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + _CLOSE + _TURN,
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "old": b"HTTP/1.0 200 OK\r\n" + _STREAM + b"\r\n" + _TURN,
    "very-old": _TURN,
    "html": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>hello</html>",
    "json": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + _length(b'{"message":{}}'),
    "no-content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "no-body": _OK + b"Content-Length: 0\r\n\r\n",
    "length-twice": _OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\ndata: x\n\n",
    "length-no-number": _OK + b"Content-Length: x\r\n\r\ndata: x\n\n",
    "both-framings": _OK + b"Transfer-Encoding: chunked\r\n" + _length(_chunk(_TURN)),
    "redirect": b"HTTP/1.1 307 Go\r\nLocation: http://[::1\r\n" + _length(b"elsewhere"),
    "refused": b"HTTP/1.1 429 Slow\r\nRetry-After: 5\r\n"
    + _length(b'{"error":{"type":"rate_limit_error","message":"slow down"}}'),
    "refused-oddly": b"HTTP/1.1 500\r\nRetry-After: Wed, 99 Foo 0000 25:61:61 GMT\r\n"
    + _length(b'{"error":[1,2]}'),
    "refused-in-no-year": b"HTTP/1.1 503 Busy\r\n"
    b"Retry-After: Thu, 01 Jan 99999999999999999999 00:00:00 GMT\r\n\r\n",
    "refused-later": b"HTTP/1.1 503 Busy\r\nRetry-After: " + b"9" * 5000 + b"\r\n\r\n",
    "refused-deep": b"HTTP/1.1 400 Bad\r\n\r\n" + b"[" * 5000,
    "refused-digits": b"HTTP/1.1 400 Bad\r\n\r\n" + b"9" * 5000,
    "refused-surrogate": b"HTTP/1.1 400 Bad\r\n\r\n" + b'{"error":{"message":"\\ud83d"}}',
    "status-odd": b"HTTP/1.1 999 Odd\r\n\r\n",
    "status-no-number": b"HTTP/1.1 2x0 OK\r\n\r\n",
    "no-http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "half-a-head": b"HTTP/1.1 200 OK\r\nContent-",
    "headers-folded": b"HTTP/1.1 200 OK\r\n folded\r\nX: a\r\n b\r\n: c\r\nd\r\n\r\n" + _TURN,
    "headers-no-ascii": b"HTTP/1.1 200 \xff\xfe\r\nX-\xe9: \xff\x00\r\n\r\n" + _TURN,
    "cookies": _OK + b"Set-Cookie: a=b; Domain=\xff\r\nSet-Cookie: =\r\n" + _length(_TURN),
    "tls": b"\x15\x03\x01\x00\x02\x02\x46",
}


def _write(target: str, entries: Iterable[tuple[str, bytes]]) -> None:
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in entries:
        (folder / name).write_bytes(data)


def main() -> None:
    """Write all seeds."""
    transcripts = {name: (_DATA / f"{name}.sse").read_bytes() for name in _TRANSCRIPTS}
    small = {name: data for name, data in transcripts.items() if len(data) < 4000}
    _write("sse", {**_SSE, "gateway": transcripts["text-at-once"]}.items())
    _write("events", {**_EVENTS, **{f"gateway-{k}": v for k, v in transcripts.items()}}.items())
    _write("answers", _ANSWERS.items())
    whole = {f"gateway-{k}": _CHUNKED + _chunk(v) + b"0\r\n\r\n" for k, v in small.items()}
    _write("answers", whole.items())


if __name__ == "__main__":
    main()
