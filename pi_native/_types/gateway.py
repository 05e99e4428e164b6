"""The gateway's own pages: models, health, limits of providers, credentials.

A member that a page lacks is None, as in all types of the protocol. Only the member without which
it is not that page is required: the page of another server, or an error, is not an empty success.
"""

from __future__ import annotations

from typing import Any, TypeVar

from attrs import define, field

from .base import REQUIRED_BOOL, REQUIRED_LIST, WireObject, named

Row = TypeVar("Row")


@define(eq=False, repr=False, kw_only=True)
class ModelInfo(WireObject):
    """A model that the gateway offers.

    `id` is "provider/id". `kind` is for example "embedding" or "image"; None is a chat model.
    """

    id: str
    object: str = "model"
    owned_by: str | None = field(default=None, metadata=named("owned_by"))
    api: str | None = None
    display_name: str | None = field(default=None, metadata=named("display_name"))
    input_modalities: list[str] | None = field(default=None, metadata=named("input_modalities"))
    context_length: int | None = field(default=None, metadata=named("context_length"))
    max_output_tokens: int | None = field(default=None, metadata=named("max_output_tokens"))
    supports_tools: bool | None = field(default=None, metadata=named("supports_tools"))
    kind: str | None = None


@define(eq=False, repr=False)
class ModelList(WireObject):
    """The list of the gateway's models."""

    data: list[ModelInfo] = field(metadata=REQUIRED_LIST)


@define(eq=False, repr=False)
class Health(WireObject):
    """The state of the gateway, and its version."""

    ok: bool = field(metadata=REQUIRED_BOOL)
    version: str


@define(eq=False, repr=False)
class UsageSnapshot(WireObject):
    """The use of each provider's limits at `generated_at` (ms since 1970)."""

    generated_at: float
    reports: list[dict[str, Any]] = field(metadata=REQUIRED_LIST)


@define(eq=False, repr=False, kw_only=True)
class CredentialStatus(WireObject):
    """The state of one of the gateway's credentials; `ok` is None when it is unknown."""

    id: int | str
    provider: str
    type: str
    ok: bool | None = None
    reason: str | None = None
    email: str | None = None


@define(eq=False, repr=False)
class CredentialsCheck(WireObject):
    """The states of the gateway's credentials at `generated_at` (ms since 1970)."""

    generated_at: float
    credentials: list[CredentialStatus] = field(metadata=REQUIRED_LIST)


class Rows(list[Row]):
    """A list of objects that notebooks show as a table."""

    def _repr_html_(self) -> str:
        """Return the table: one row for each object, one column for each member."""
        from .._notebook.views import rows_html  # only notebooks need it

        return rows_html(self)
