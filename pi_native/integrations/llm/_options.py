"""The options of a prompt, `-o NAME VALUE` of llm, as options of a turn."""

from __future__ import annotations

import json
from typing import Any, Literal

import llm
from pydantic import Field, field_validator


class PiOptions(llm.Options):
    """The options of a turn. Times are in seconds."""

    temperature: float | None = Field(None, description="Randomness of the sampling")
    top_p: float | None = Field(None, description="Share of the probability mass to sample from")
    top_k: int | None = Field(None, description="Number of tokens to sample from")
    presence_penalty: float | None = Field(None, description="Penalty for tokens that occurred")
    frequency_penalty: float | None = Field(None, description="Penalty for frequent tokens")
    max_tokens: int | None = Field(None, description="Largest number of tokens in the answer")
    stop_sequences: list[str] | None = Field(
        None, description="Texts that end the answer: one text, or a JSON list"
    )
    reasoning: Literal["minimal", "low", "medium", "high", "xhigh", "max"] | None = Field(
        None, description="Effort of thinking"
    )
    service_tier: str | None = Field(None, description="Service tier of the provider")
    cache_retention: Literal["none", "short", "long"] | None = Field(
        None, description="How long the provider keeps the prompt in its cache"
    )
    first_event_timeout: float | None = Field(None, description="Seconds until the answer begins")
    idle_timeout: float | None = Field(None, description="Seconds between two events")
    total_timeout: float | None = Field(None, description="Seconds for the whole turn")
    max_retries: int | None = Field(None, description="Number of further attempts")
    other_options: dict[str, Any] | None = Field(
        None, description="JSON object of other options of pi_native, by their Python names"
    )

    @field_validator("stop_sequences", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        if isinstance(value, str):
            return json.loads(value) if value.lstrip().startswith("[") else [value]
        return value

    @field_validator("other_options", mode="before")
    @classmethod
    def _object(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value


def turn_options(options: PiOptions) -> dict[str, Any]:
    """Return the options that are set, as keyword arguments of `Client.stream`."""
    given = {name: value for name, value in dict(options).items() if value is not None}
    return {**given.pop("other_options", {}), **given}
