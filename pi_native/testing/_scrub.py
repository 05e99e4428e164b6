"""What a recording must not keep: keys, cookies, and whoever stands in a URL.

In a body a secret gives way to as many asterisks, so that lengths stay what the headers and the
chunks say. It is found wherever its text stands whole, also across two reads; a key that a model
spells out in several events is not.
"""

import base64
import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, unquote

import attrs

from ._recording import RecordedTurn

__all__ = ["Secrets"]

_SECRET_HEADER = re.compile(
    r"(?:^|[-_])(?:authorization|authentication|auth|cookie2?|api[-_]?key|key|token|secret|password"
    r"|jwt)(?:$|[-_])",
    re.IGNORECASE,
)
_USER_INFO = re.compile(rb"(:(?:\\?/){2})([^\s/\\\"'<>?#]+)@")
# Characters. A shorter one protects nothing, and its letters stand everywhere.
_SHORTEST_KEY = 4
_SHORTEST_OTHER = 8  # the value of a header that only looks like a secret's


class Secrets:
    """The secrets that are known so far, and how to take them out."""

    def __init__(self) -> None:
        self._forms: set[bytes] = set()
        self._pattern: re.Pattern[bytes] | None = None

    def add_key(self, key: str | None) -> None:
        """Never keep this key."""
        if key and len(key) >= _SHORTEST_KEY:
            self._add(key)

    def add_url(self, url: str) -> None:
        """Never keep the user and the password of this URL."""
        where = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]  # of a bad URL as well
        user, _, password = map(unquote, where.rpartition("@")[0].partition(":"))
        self.add_key(password or user)
        if user:
            self._add(base64.b64encode(f"{user}:{password}".encode()).decode())

    def add_headers(self, headers: Mapping[str, str]) -> None:
        """Never keep what these headers, which were sent, say in secret."""
        for name, value in headers.items():
            if _SECRET_HEADER.search(name):
                for secret in _parts(name.lower(), _text(value)):
                    self._add(secret)

    def _add(self, secret: str) -> None:
        new = set(_forms(secret)) - self._forms
        if new:
            self._forms |= new
            longest_first = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile(b"|".join(map(re.escape, longest_first)))

    def scrub(self, exchange: RecordedTurn) -> RecordedTurn:
        """Return the exchange without them."""
        return attrs.evolve(
            exchange,
            path=self._scrub_text(exchange.path),
            body=self._scrub(exchange.body),
            reason=self._scrub_text(exchange.reason),
            headers={
                name: self._scrub_text(value)
                for name, value in exchange.headers.items()
                if not _SECRET_HEADER.search(name)
            },
            pieces=self._scrub_pieces(exchange.pieces),
        )

    def _scrub(self, data: bytes) -> bytes:
        if self._pattern is not None:
            data = self._pattern.sub(lambda found: b"*" * len(found[0]), data)
        return _USER_INFO.sub(lambda found: found[1] + b"*" * len(found[2]) + b"@", data)

    def _scrub_text(self, text: str) -> str:
        data = text.encode("utf-8", "surrogatepass")
        if self._pattern is not None:
            data = self._pattern.sub(b"***", data)
        return _USER_INFO.sub(rb"\1", data).decode("utf-8", "surrogatepass")

    def _scrub_pieces(self, pieces: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
        pieces = list(pieces)  # which may still grow
        whole = memoryview(self._scrub(b"".join(data for _, data in pieces)))
        scrubbed, start = [], 0
        for at, data in pieces:
            end = start + len(data)
            scrubbed.append((at, bytes(whole[start:end])))
            start = end
        return scrubbed


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _parts(name: str, value: str) -> Iterator[str]:
    """Yield what is secret in a header's value."""
    if name in ("authorization", "proxy-authorization"):
        credentials = value.partition(" ")[2].strip() or value
        if len(credentials) >= _SHORTEST_KEY:
            yield credentials
        return
    several = (part.partition("=")[2] for part in value.split(";")) if "cookie" in name else ()
    yield from (secret for secret in (value, *several) if len(secret) >= _SHORTEST_OTHER)


def _forms(secret: str) -> Iterable[bytes]:
    """Return how the secret may be written: plain, in JSON, in a URL."""
    texts = {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe=""),
    }
    forms = {text.encode("utf-8", "surrogatepass") for text in texts}
    with contextlib.suppress(UnicodeEncodeError):
        forms.add(secret.encode("latin-1"))
    return forms
