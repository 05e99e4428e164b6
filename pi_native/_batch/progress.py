"""The state of a batch, as numbers."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Progress:
    """The state of a batch at one moment.

    * `done`: the prompts that are finished: answered, `failed` and `reused` ones.
    * `running`: the turns in flight. `waiting`: the prompts that were read and not started, or put
      back after a refusal.
    * `total`: the number of prompts; None when it is not known.
    * `cost`: what this run has cost so far, in US dollars.
    * `window`: the number of turns that the batch allows in flight now.
    """

    done: int = 0
    reused: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0
    total: int | None = None
    cost: float = 0.0
    window: int = 0

    def __str__(self) -> str:
        """Return one line: `12/300 done, 2 failed, 8 running, $0.0123`."""
        total = "" if self.total is None else f"/{self.total:,}"
        parts = [f"{self.done:,}{total} done"]
        if self.reused:
            parts.append(f"{self.reused:,} reused")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        parts.append(f"{self.running:,} running")
        if self.cost:
            parts.append(f"${self.cost:,.4f}")
        return ", ".join(parts)
