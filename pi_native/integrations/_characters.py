"""Text of deltas in whole characters, for libraries that cannot encode half a surrogate pair."""

from __future__ import annotations

import json
from typing import Any


class CharacterJoiner:
    """Joins surrogate pairs that were divided between two deltas of the same block."""

    def __init__(self) -> None:
        self._held: dict[int, str] = {}

    def join(self, block: int, delta: str) -> str:
        """Return the whole characters of a delta; keep half a pair at its end for the next one."""
        text = self._held.pop(block, "") + delta
        if "\ud800" <= text[-1:] <= "\udbff":
            self._held[block] = text[-1]
            text = text[:-1]
        return encodable(text)


def encodable(text: str) -> str:
    """Return a text that UTF-8 can encode: half a surrogate pair becomes U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def encodable_json(value: Any) -> Any:
    """Return JSON data whose texts UTF-8 can encode."""
    return json.loads(encodable(json.dumps(value, ensure_ascii=False)))
