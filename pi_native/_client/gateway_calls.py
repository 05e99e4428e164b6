"""The calls for the gateway's own pages: its models, its health, its limits."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .._config import without_endpoint
from .._hints import NOT_A_GATEWAY
from .._http.json_call import fetch_json, get
from .._http.timeouts import resolve_timeouts
from .._protocol.convert import from_wire
from .._protocol.request import merge_headers, with_bearer
from .._protocol.rules import quote
from .._threads.clock import monotonic
from .._types.gateway import CredentialsCheck, Health, ModelInfo, ModelList, Rows, UsageSnapshot
from .._types.option_checks import seconds
from ..errors import (
    AuthenticationError,
    DecodeError,
    GatewayConnectionError,
    GatewayServerError,
    StreamTimeoutError,
)
from .base import BaseClient

if TYPE_CHECKING:
    from .._protocol.request import Request

_LONGEST_POLL_SECONDS = 1.0

T = TypeVar("T")


class GatewayClient(BaseClient):
    """A client that asks the gateway about itself."""

    def models(self, kind: str | None = "chat") -> list[ModelInfo]:
        """Return the gateway's models of one kind; of all kinds for None.

        Other kinds are for example "embedding" and "image"; only chat models serve turns.
        """
        models = self._ask("/v1/models", ModelList).data
        return Rows(model for model in models if kind in (None, model.kind or "chat"))

    def wait_until_ready(self, timeout: float = 30.0) -> Health:
        """Wait until the gateway answers `/healthz`, for example while it starts, and return that.

        `timeout` is in seconds; after it the error of the last attempt is raised, most often a
        `GatewayConnectionError`. Needs no key.
        """
        deadline = monotonic() + seconds("timeout", timeout)
        pause = 0.05
        while True:
            left = deadline - monotonic()
            try:
                health = self._ask("/healthz", Health, {"total_timeout": max(left, pause)})
                if health.ok is not False:
                    return health
                failure: Exception = GatewayConnectionError("the gateway is not ready yet")
            except (GatewayConnectionError, GatewayServerError, StreamTimeoutError) as exc:
                failure = exc
            left = deadline - monotonic()
            if left <= 0:
                raise failure
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_POLL_SECONDS)

    def health(self) -> Health:
        """Return the state and the version of the gateway. Needs no key."""
        return self._ask("/healthz", Health)

    def usage(self) -> UsageSnapshot:
        """Return the use of each provider's limits."""
        return self._ask("/v1/usage", UsageSnapshot)

    def check_credentials(self) -> CredentialsCheck:
        """Let the gateway test its credentials, one after the other, and return their states."""
        return self._ask("/v1/credentials/check", CredentialsCheck)

    def _ask(self, path: str, answer: type[T], options: Mapping[str, Any] | None = None) -> T:
        """Return the gateway's response to a GET of `path`, as an `answer`."""
        limits = resolve_timeouts(self._options(options or {}), os.environ)
        try:
            body = fetch_json(self._transport, self._page(path), limits)
        except AuthenticationError as exc:
            if exc.status != 401 or not self._has_new_key():
                raise
            body = fetch_json(self._transport, self._page(path), limits)
        try:
            return from_wire(body, answer)
        except DecodeError as exc:
            text = f"{path} is {exc}, in {quote(json.dumps(body))}"
            raise DecodeError(text, problems=exc.problems, hint=NOT_A_GATEWAY) from None

    def _page(self, path: str) -> Request:
        headers = merge_headers({"Accept": "application/json"}, self._attribution, self._headers)
        return get(without_endpoint(self.base_url), path, with_bearer(headers, self._api_key))
