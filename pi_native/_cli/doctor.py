"""`doctor`: show where each setting comes from, and how far a turn gets with them.

A check is made only after the one before it has passed, so that the report names the cause and not
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

from .console import Console, what_happened
from .inputs import MODEL_VARIABLE, client_for_queries, client_for_turns, read_key
from .pages import kind_of
from .tables import NOTHING, show_table

_OK, _NOT_TRIED = "ok", "not tried"
_START = "start a gateway there"
NAME_ANOTHER = "--base-url or PI_NATIVE_BASE_URL names another gateway"

_OPTIONS = {"base_url": "--base-url", "api_key": "--api-key-file", "total_timeout": "--timeout"}
_VARIABLES = {"base_url": "PI_NATIVE_BASE_URL", "api_key": "PI_NATIVE_API_KEY"}


START_GATEWAY = """\
The gateway is part of omp, a coding agent for the terminal. To start one on this machine:
  npm install -g bun @oh-my-pi/pi-coding-agent     # install omp
  omp auth-broker login anthropic                  # store the credential of a provider
  omp auth-broker serve --bind=127.0.0.1:9000      # keeps running
  OMP_AUTH_BROKER_URL=http://127.0.0.1:9000 omp auth-gateway serve     # keeps running, too"""

_PASSWORD = re.compile(r"//[^/@]*@")  # a URL may hold one


class Check(NamedTuple):
    """One check: its name, its result, the details, and the next step for the user."""

    check: str
    result: str
    found: str = NOTHING
    next_step: str | None = None
    passed: bool = True
    needs_gateway: bool = False


def doctor(args: argparse.Namespace, console: Console) -> int:
    """Show the configuration, and what is wrong with it."""
    key = read_key(args.api_key_file)  # once: it may be a pipe
    settings: list[Setting] = []
    try:
        settings += [*_settings(args, key), *_from_omp()]
        with client_for_queries(args, key) as client:
            checks = list(examine(client, args.model or os.environ.get(MODEL_VARIABLE)))
    except ConfigurationError as exc:
        checks = [_invalid(exc), *map(_not_tried, ("reachable", "authorized", "model"))]
    passed = all(check.passed for check in checks)
    if args.json:
        console.json(_report(passed, settings, checks))
    else:
        _show(settings, checks, console)
    return 0 if passed else 1


def _invalid(exc: ConfigurationError) -> Check:
    return Check("settings", "invalid", what_happened(exc), exc.hint, passed=False)


def _not_tried(check: str) -> Check:
    return Check(check, _NOT_TRIED)


def _settings(args: argparse.Namespace, key: str | None) -> list[Setting]:
    with client_for_turns(args, key) as client:
        found = [Setting(s.name, s.value, _origin(s)) for s in client.settings]
    origin = "-m" if args.model else MODEL_VARIABLE
    model = args.model or os.environ.get(MODEL_VARIABLE) or None
    return [*found[:2], Setting("model", model, origin if model else "default"), *found[2:]]


def _origin(setting: Setting) -> str:
    """Return the origin as an option's name, with the variable that the option overrides."""
    if setting.origin != "argument":
        return setting.origin
    option, variable = _OPTIONS[setting.name], _VARIABLES.get(setting.name, "")
    return f"{option}, over {variable}" if os.environ.get(variable) else option


def _from_omp() -> list[Setting]:
    """Return the gateway that omp uses, if there is one: it is easily taken for this one."""
    try:
        client = Client.from_models_yml()
    except ConfigurationError as exc:
        if isinstance(exc.__cause__, FileNotFoundError):
            return []
        return [Setting("models.yml", None, str(exc))]
    origin = client.settings[0].origin
    return [
        Setting("models.yml", client.base_url, f"{origin}; used only by Client.from_models_yml()")
    ]


def examine(client: Client, model: str | None) -> Iterator[Check]:
    """Check the gateway, then the key, then the model, until a check fails."""
    reached = _reach(client)
    yield reached
    if not reached.passed:
        yield _not_tried("authorized")
        yield _not_tried("model")
        return
    offered, authorized = _enter(client)
    yield authorized
    yield _find(model, offered) if authorized.passed else _not_tried("model")


def _reach(client: Client) -> Check:
    began = time.perf_counter()
    try:
        health = client.health()
    except PiNativeError as exc:
        result, next_step = _why_not_reached(exc, client.base_url)
        return Check(
            "reachable",
            result,
            what_happened(exc),
            next_step,
            passed=False,
            needs_gateway=next_step.startswith(_START),
        )
    version = f"version {health.version or 'unknown'}, {time.perf_counter() - began:.3f} s"
    if not health.ok:
        return Check("reachable", "not ok", version, "see the gateway's log", passed=False)
    return Check("reachable", _OK, version)


def _why_not_reached(exc: PiNativeError, url: str) -> tuple[str, str]:
    if isinstance(exc, StreamTimeoutError):
        return "no answer", f"check the network on the way, and the gateway's load; {NAME_ANOTHER}"
    if isinstance(exc, AuthGatewayError) and exc.status >= 500:
        return "broken", exc.hint or "the gateway, or a proxy in front of it, failed: see its log"
    if isinstance(exc, (AuthGatewayError, StreamProtocolError)):
        advice = exc.hint or "another server answers there"
        return "no gateway", f"{_without_path(url)}{advice}; {NAME_ANOTHER}"
    if isinstance(exc, GatewayConnectionError):
        return _why_not_connected(exc)
    return "failed", NAME_ANOTHER


def _without_path(url: str) -> str:
    """Return advice for a URL with a path: other SDKs expect `/v1` at its end."""
    parts = urlsplit(url)
    if not parts.path:
        return ""
    return f"try {_public(f'{parts.scheme}://{parts.netloc}')}, without a path; otherwise "


def _why_not_connected(exc: GatewayConnectionError) -> tuple[str, str]:
    if exc.phase != "connect":
        return "no gateway", f"the server there closed the connection; {NAME_ANOTHER}"
    if isinstance(exc.__cause__, ConnectionRefusedError) or not exc.hint:
        return "unreachable", f"{_START} (`omp auth-gateway serve`); {NAME_ANOTHER}"
    return "unreachable", exc.hint


def _enter(client: Client) -> tuple[list[ModelInfo], Check]:
    key = client.settings[1]
    try:
        offered = client.models(kind=None)
    except AuthenticationError as exc:
        blame = f"the gateway refuses the key from {_origin(key)}: " if key.value else ""
        return [], Check(
            *("authorized", "unauthorized", what_happened(exc)),
            next_step=f"{blame}{exc.hint}; --api-key-file names a file as well",
            passed=False,
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
    # A gateway resolves a bare id as well.
    found = [model for model in offered if name in (model.id, model.id.partition("/")[2])]
    if found and kind_of(found[0]) != "chat":
        return Check(
            "model",
            f"not a chat model ({kind_of(found[0])})",
            found[0].display_name or name,
            "`pi-native models` lists the chat models",
            passed=False,
        )
    if found:
        return Check("model", _OK, found[0].display_name or name)
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
    if rows:
        show_table(["SETTING", "VALUE", "FROM"], rows, console)
        console.line("")
    results = [[check.check, check.result, check.found] for check in checks]
    show_table(["CHECK", "RESULT", "FOUND"], results, console)
    for check in checks:
        if check.next_step:
            console.line("")
            console.paragraph(f"next: {check.next_step}")
        if check.needs_gateway:
            console.line(f"\n{START_GATEWAY}")


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
