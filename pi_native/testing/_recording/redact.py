"""Take secrets out of an exchange before a recording stores it.

* Request headers are not stored at all. Response headers are stored when their name is on a list of
  harmless ones. Headers inside a request body follow the same list.
* The key, and the values of secret request headers, are replaced wherever they occur in a body.
* The value of a JSON member with a secret name ("x-api-key", "accessToken") is replaced.

In a body a secret becomes as many asterisks, so that Content-Length and chunk sizes stay true. It
is found across reads. It is not found when a model spells it out in several events.
"""

import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote

import attrs

from .._frames import dumps
from .file import RecordedTurn

__all__ = ["Redactor"]

_HARMLESS_HEADER = re.compile(
    r"accept|allow|anthropic-(?:beta|version)|cache-control|connection|content-[\w-]+|date|keep-alive"
    r"|location|openai-beta|openai-processing-ms|proxy-authenticate|(?:x-)?request-id|retry-after(?:-ms)?"
    r"|server|transfer-encoding|user-agent|vary|via|www-authenticate|x-accel-buffering"
    r"|x-litellm-model-id|x-should-retry|(?:anthropic-|x-)?ratelimit-[\w-]+",
    re.IGNORECASE,
)
# At most 40 characters before the word: a name, not a run of base64.
_SECRET_NAME = (
    r"[\w.-]{0,40}(?:auth|authorization|bearer|cookie2?|credentials?|jwt|pass(?:word|wd|phrase)|pwd|secret"
    r"|token|(?:access|api|auth|client|private|secret|signing)[-_]?key)"
)
_SECRET_HEADER = re.compile(_SECRET_NAME, re.IGNORECASE)
# A member with a string: in JSON, and in JSON inside a string of JSON (a tool call's arguments).
_SECRET_MEMBERS = [
    re.compile(rb'("%b"\s*:\s*")((?:[^"\\]|\\.)+)' % _SECRET_NAME.encode(), re.IGNORECASE),
    re.compile(
        rb'(\\"%b\\"\s*:\s*\\")((?:[^"\\]|\\\\(?:\\["\\]|[^"\\]))+)' % _SECRET_NAME.encode(),
        re.IGNORECASE,
    ),
]
_USER_INFO = re.compile(rb"(:(?:\\?/){2})([^\s/\\\"'<>?#]+)(@)")
# Characters. A shorter text protects nothing and is part of ordinary words.
_SHORTEST_KEY = 4
_SHORTEST_HEADER_PART = 8


class Redactor:
    """The secrets that are known so far, and how to take them out of an exchange."""

    def __init__(self) -> None:
        self._forms: set[bytes] = set()
        self._pattern = re.compile(b"(?!)")  # matches nothing

    def learn_key(self, key: str | None) -> None:
        """Replace this key from now on."""
        if key and len(key) >= _SHORTEST_KEY:
            self._forms |= set(_spellings(key))
            longest_first = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile(b"|".join(map(re.escape, longest_first)))

    def learn_url(self, url: str) -> None:
        """Replace the password of this URL, or its user when it has no password."""
        authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
        user, _, password = authority.rpartition("@")[0].partition(":")
        self.learn_key(unquote(password or user))

    def learn_headers(self, headers: Mapping[str, str | bytes]) -> None:
        """Replace the values of secret headers that were sent."""
        for name, value in headers.items():
            if _SECRET_HEADER.fullmatch(name):
                text = value.decode("latin-1") if isinstance(value, bytes) else value
                scheme, _, credentials = text.partition(" ")
                self.learn_key(credentials if scheme.lower() == "bearer" else None)
                for part in re.split(r"[\s;,]+|(?<=\w)=(?=\w)", text):
                    self.learn_key(part if len(part) >= _SHORTEST_HEADER_PART else None)

    def redact(self, exchange: RecordedTurn) -> RecordedTurn:
        """Return the exchange without secrets."""
        return attrs.evolve(
            exchange,
            path=self._redact_text(exchange.path),
            body=self._redact_bytes(_without_secret_headers(exchange.body)),
            reason=self._redact_text(exchange.reason),
            headers={
                name: self._redact_text(value)
                for name, value in exchange.headers.items()
                if _HARMLESS_HEADER.fullmatch(name)
            },
            pieces=self._redact_pieces(list(exchange.pieces)),  # a copy: it may still grow
        )

    def _redact_bytes(self, data: bytes) -> bytes:
        data = self._pattern.sub(lambda found: b"*" * len(found[0]), data)
        for member in _SECRET_MEMBERS:
            data = member.sub(lambda found: found[1] + b"*" * len(found[2]), data)
        return _USER_INFO.sub(lambda found: found[1] + b"*" * len(found[2]) + found[3], data)

    def _redact_text(self, text: str) -> str:
        data = self._pattern.sub(b"***", text.encode("utf-8", "surrogatepass"))
        return _USER_INFO.sub(rb"\1", data).decode("utf-8", "surrogatepass")

    def _redact_pieces(self, pieces: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
        whole = self._redact_bytes(b"".join(data for _, data in pieces))
        redacted, start = [], 0
        for at, data in pieces:
            redacted.append((at, whole[start : start + len(data)]))
            start += len(data)
        return redacted


def _spellings(secret: str) -> Iterable[bytes]:
    """Yield the secret as it is, as in JSON and as in a URL."""
    yield secret.encode("utf-8", "surrogatepass")
    yield json.dumps(secret)[1:-1].encode()
    yield json.dumps(secret, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass")
    with contextlib.suppress(UnicodeEncodeError):
        yield quote(secret, safe="").encode()
        yield secret.encode("latin-1")


def _without_secret_headers(body: bytes) -> bytes:
    """Return a request body without the values of `headers` that are not known to be harmless."""
    if b'"headers"' not in body:
        return body
    try:
        return dumps(_hide_headers(json.loads(body)))
    except (ValueError, RecursionError):
        return body


def _hide_headers(value: Any) -> Any:
    if isinstance(value, list):
        return [_hide_headers(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _harmless(member)
        if name == "headers" and isinstance(member, dict)
        else _hide_headers(member)
        for name, member in value.items()
    }


def _harmless(headers: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value if _HARMLESS_HEADER.fullmatch(name) else "***"
        for name, value in headers.items()
    }
