"""What the gateway says about itself: models, health, limits of providers, credentials.

Loaded when it is asked: most programs never do, and a class costs a third of a millisecond.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field

from .base import WireObject, named


@define(eq=False, repr=False, kw_only=True)
class ModelInfo(WireObject):
    """A model that the gateway offers. `id` is "provider/id"."""

    id: str
    object: str = "model"
    owned_by: str | None = field(default=None, metadata=named("owned_by"))
    api: str | None = None
    display_name: str | None = field(default=None, metadata=named("display_name"))
    input_modalities: list[str] | None = field(default=None, metadata=named("input_modalities"))
    context_length: int | None = field(default=None, metadata=named("context_length"))
    max_output_tokens: int | None = field(default=None, metadata=named("max_output_tokens"))
    supports_tools: bool | None = field(default=None, metadata=named("supports_tools"))


@define(eq=False, repr=False)
class ModelList(WireObject):
    """What the gateway answers when asked for its models."""

    data: list[ModelInfo]


@define(eq=False, repr=False)
class Health(WireObject):
    """Whether the gateway is up, and which version it is."""

    ok: bool
    version: str


@define(eq=False, repr=False)
class UsageSnapshot(WireObject):
    """What was used of each provider's limits, as of `generated_at` (ms since 1970)."""

    generated_at: float
    reports: list[dict[str, Any]]


@define(eq=False, repr=False, kw_only=True)
class CredentialStatus(WireObject):
    """Whether one of the gateway's credentials works; `ok` is None when that cannot be told."""

    id: int | str
    provider: str
    type: str
    ok: bool | None = None
    reason: str | None = None
    email: str | None = None


@define(eq=False, repr=False)
class CredentialsCheck(WireObject):
    """How the gateway's credentials fared when it tried them at `generated_at` (ms since 1970)."""

    generated_at: float
    credentials: list[CredentialStatus]
