"""`doctor`: where each setting came from, and how far a turn would get with them.

Each check is tried only when the one before it went well, so that what is told is the cause and not
its consequences.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pi_native import (
    AuthenticationError,
    AuthGatewayError,
    Client,
    ConfigurationError,
    GatewayConnectionError,
    ModelInfo,
    PiNativeError,
    Setting,
    StreamProtocolError,
    StreamTimeoutError,
)

from .console import Console
from .gateway import client_for_pages, client_for_turns, read_key
from .problems import NAME_ANOTHER, about_the_road, what_happened
from .prompt import MODEL_VARIABLE
from .tables import NOTHING, show_table

_OK, _NOT_TRIED = "ok", "not tried"

_OPTIONS = {"base_url": "--base-url", "api_key": "--api-key-file", "total_timeout": "--timeout"}
_VARIABLES = {"base_url": "PI_NATIVE_BASE_URL", "api_key": "PI_NATIVE_API_KEY"}

_GIVE_KEY = (
    "give the gateway's key in PI_NATIVE_API_KEY, or its file with --api-key-file; "
    "on its host the gateway keeps it in ~/.omp/auth-gateway.token"
)


_PASSWORD = re.compile(r"//[^/@]*@")  # a URL may hold one


class Check(NamedTuple):
    """What was tried, how it went, what was seen, and what to do next about it."""

    check: str
    result: str
    found: str = NOTHING
    next_step: str | None = None
    passed: bool = True


def doctor(args: argparse.Namespace, console: Console) -> int:
    """Say what is configured, and what is wrong with it."""
    key = read_key(args.api_key_file)  # once: it may be a pipe
    settings = [*_settings(args, key), *_from_omp()]
    with client_for_pages(args, key) as client:
        checks = list(examine(client, args.model or os.environ.get(MODEL_VARIABLE)))
    passed = all(check.passed for check in checks)
    if args.json:
        console.json(_report(passed, settings, checks))
    else:
        _show(settings, checks, console)
    return 0 if passed else 1


def _settings(args: argparse.Namespace, key: str | None) -> list[Setting]:
    with client_for_turns(args, key) as client:
        found = [Setting(s.name, s.value, _told(s)) for s in client.settings]
    origin = "-m" if args.model else MODEL_VARIABLE
    model = args.model or os.environ.get(MODEL_VARIABLE) or None
    return [*found[:2], Setting("model", model, origin if model else "default"), *found[2:]]


def _told(setting: Setting) -> str:
    """The origin in the command line's words, with the variable that an option has overruled."""
    if setting.origin != "argument":
        return setting.origin
    option, variable = _OPTIONS[setting.name], _VARIABLES.get(setting.name, "")
    return f"{option}, over {variable}" if os.environ.get(variable) else option


def _from_omp() -> list[Setting]:
    """The gateway that omp would use, where there is omp: easily taken for the one in use."""
    try:
        client = Client.from_models_yml()
    except ConfigurationError as exc:
        if isinstance(exc.__cause__, FileNotFoundError):
            return []
        return [Setting("models.yml", None, str(exc))]
    origin = client.settings[0].origin
    return [Setting("models.yml", client.base_url, f"{origin}; for Client.from_models_yml() alone")]


def examine(client: Client, model: str | None) -> Iterator[Check]:
    """Try the gateway, then the key, then the model, as far as that makes sense."""
    reached = _reach(client)
    yield reached
    if not reached.passed:
        yield Check("authorized", _NOT_TRIED)
        yield Check("model", _NOT_TRIED)
        return
    offered, authorized = _enter(client)
    yield authorized
    yield _find(model, offered) if authorized.passed else Check("model", _NOT_TRIED)


def _reach(client: Client) -> Check:
    began = time.perf_counter()
    try:
        health = client.health()
    except PiNativeError as exc:
        result, next_step = _why_not_reached(exc, client.base_url)
        return Check("reachable", result, what_happened(exc), next_step, passed=False)
    version = f"version {health.version or 'unknown'}, {time.perf_counter() - began:.3f} s"
    if not health.ok:
        return Check("reachable", "unwell", version, "see the gateway's own log", passed=False)
    return Check("reachable", _OK, version)


def _why_not_reached(exc: PiNativeError, url: str) -> tuple[str, str]:
    if isinstance(exc, ConfigurationError):
        return "no URL", f"a gateway's URL looks like http://127.0.0.1:4000; {NAME_ANOTHER}"
    if isinstance(exc, StreamTimeoutError):
        return "no answer", f"look at what is on the way there, or at its load; {NAME_ANOTHER}"
    if isinstance(exc, AuthGatewayError) and exc.status >= 500:
        return "broken", "the gateway, or a proxy before it, failed: see its own log"
    if isinstance(exc, (AuthGatewayError, StreamProtocolError)):
        return "no gateway", f"{_without_path(url)}something else answers there; {NAME_ANOTHER}"
    if isinstance(exc, GatewayConnectionError):
        return _why_not_connected(exc)
    return "failed", NAME_ANOTHER


def _without_path(url: str) -> str:
    """The way out for those who know that other SDKs want `/v1` at the end."""
    parts = urlsplit(url)
    if not parts.path:
        return ""
    return f"try {_public(f'{parts.scheme}://{parts.netloc}')}, without a path; else "


def _why_not_connected(exc: GatewayConnectionError) -> tuple[str, str]:
    if exc.phase != "connect":
        return "no gateway", f"what listens there hung up; {NAME_ANOTHER}"
    advice = about_the_road(exc)
    return "unreachable", advice or f"start a gateway there (`omp auth-gateway`); {NAME_ANOTHER}"


def _enter(client: Client) -> tuple[list[ModelInfo], Check]:
    key = client.settings[1]
    try:
        offered = client.models()
    except AuthenticationError as exc:
        blame = f"the key from {_told(key)} is not this gateway's: " if key.value else ""
        return [], Check(
            "authorized", "unauthorized", what_happened(exc), blame + _GIVE_KEY, passed=False
        )
    except PiNativeError as exc:
        next_step = f"is this the URL of a pi-native gateway? {NAME_ANOTHER}"
        return [], Check("authorized", "failed", what_happened(exc), next_step, passed=False)
    number = len(offered)
    found = f"{number:,} model{'' if number == 1 else 's'}"
    found += "" if key.value else "; no key was needed"
    return offered, Check("authorized", _OK, found)


def _find(name: str | None, offered: list[ModelInfo]) -> Check:
    if not name:
        return Check("model", "none named", next_step=f"-m or {MODEL_VARIABLE} names one")
    found = next((model for model in offered if model.id == name), None)
    if found is not None:
        return Check("model", _OK, found.display_name or name)
    close = difflib.get_close_matches(name, [model.id for model in offered if model.id], n=3)
    likely = f"did you mean {' or '.join(close)}? " if close else ""
    return Check(
        "model",
        "unknown model",
        f"{name} is not among the {len(offered):,} that the gateway offers",
        f"{likely}`pi-native models` lists them",
        passed=False,
    )


def _show(settings: list[Setting], checks: list[Check], console: Console) -> None:
    rows = [[s.name.replace("_", " "), _value(s), s.origin] for s in settings]
    show_table([["SETTING", "VALUE", "FROM"], *rows], console)
    console.line("")
    results = [[check.check, check.result, check.found] for check in checks]
    show_table([["CHECK", "RESULT", "FOUND"], *results], console)
    for check in checks:
        if check.next_step:
            console.line("")
            console.paragraph(f"next: {check.next_step}")


def _value(setting: Setting) -> str:
    if isinstance(setting.value, (int, float)):
        return f"{setting.value:g} s"
    return "none" if setting.value is None else str(_public(setting.value))


def _public(value: str | float | None) -> str | float | None:
    return _PASSWORD.sub("//***@", value) if isinstance(value, str) else value


def _report(passed: bool, settings: list[Setting], checks: list[Check]) -> dict[str, Any]:
    return {
        "ok": passed,
        "settings": [
            {"name": s.name, "value": _public(s.value), "from": s.origin} for s in settings
        ],
        "checks": [
            {"check": c.check, "result": c.result, "found": c.found, "next": c.next_step}
            for c in checks
        ],
    }
