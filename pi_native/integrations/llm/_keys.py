"""The gateway's key: that of llm's `--key` or `llm keys set pi`, else as for any client."""

from __future__ import annotations

import llm

from pi_native import Client

ALIAS = "pi"


def stored_key(given: str | None) -> str | None:
    """Return the key that is given to llm, by itself or by its name, or stored there as "pi"."""
    key: str | None = llm.get_key(explicit_key=given, key_alias=ALIAS)
    return key or None


def make_client(key: str | None) -> Client:
    """Return a client. Raises `ConfigurationError`."""
    return Client(api_key=key, app="pi-native-llm")
