"""The gateways in an omp user's `models.yml`: address, key and headers of a provider.

The file means here what it means to omp, with one exception: a key that a command prints
(`"!command"`) is refused, because a library must not run commands. The file holds keys, so an error
quotes only names and line numbers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from ._config import API_KEY_FILE_VARIABLE, API_KEY_VARIABLE, omp_directory
from .errors import ConfigurationError

DIRECTORY_VARIABLE = "PI_CODING_AGENT_DIR"
_FILES = ("models.yml", "models.yaml")

_TRANSPORT = "pi-native"
_KEYS = (API_KEY_VARIABLE, API_KEY_FILE_VARIABLE)

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)")


@attrs.define(eq=False, repr=False)  # a repr would show the key
class Provider:
    """A provider behind a gateway. `origin` names the entry and its file."""

    base_url: str
    api_key: str | None
    headers: dict[str, str]
    origin: str

    @property
    def gateway(self) -> tuple[object, ...]:
        """The address, the key and the headers; equal ones are the same gateway."""
        return self.base_url.rstrip("/"), self.api_key, self.headers


def find_provider(
    name: str | None,
    path: str | os.PathLike[str] | None,
    environ: Mapping[str, str],
    *,
    needs_key: bool = True,
) -> Provider:
    """Return the provider with that name; without a name, the only gateway.

    With `needs_key=False` the key in the file is not read, because the caller has one. Raises
    `ConfigurationError`, caused by a `FileNotFoundError` when there is no such file.
    """
    file = _locate(path, environ)
    providers = _providers(_load(file), file)
    if name is None:
        return _only_gateway(providers, file, environ, needs_key)
    if name not in providers:
        raise ConfigurationError(f"{file} has no provider {name!r}, but {_listed(providers)}")
    return _ProviderReader(file, name, environ, needs_key).read(providers[name])


def _locate(path: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Path:
    if path is not None:
        return _expanded(path)
    directory = _expanded(_agent_directory(environ))
    places = [directory / file for file in _FILES]
    return next((place for place in places if place.exists()), places[0])


def _agent_directory(environ: Mapping[str, str]) -> str:
    return environ.get(DIRECTORY_VARIABLE) or f"{omp_directory(environ)}/agent"


def _expanded(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as exc:  # no home to be found
        raise ConfigurationError(f"cannot read {os.fspath(path)}: {exc}") from None


def _load(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} holds no text (expected UTF-8)") from None
    except FileNotFoundError as exc:
        raise ConfigurationError(
            f"there is no {file}, where omp names its gateways",
            hint=f"{DIRECTORY_VARIABLE} names another directory",
        ) from exc
    except OSError as exc:
        raise ConfigurationError(f"cannot read {file}: {exc.strerror or exc}") from None
    return _parse(text, file)


def _parse(text: str, file: Path) -> Any:
    try:
        import yaml
    except ImportError as exc:
        raise ConfigurationError(
            f"reading {file} needs PyYAML: pip install '.[yaml]' in a checkout of pi-native"
        ) from exc
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        # The YAML error is not shown or chained: it may quote a key.
        raise ConfigurationError(f"{file} is no valid YAML{where}") from None


def _providers(data: Any, file: Path) -> dict[str, Any]:
    found = data.get("providers") if isinstance(data, dict) else data
    if not found:
        return {}
    if not isinstance(found, dict):
        raise ConfigurationError(f'{file} does not map names to providers, under "providers"')
    return {str(name): entry for name, entry in found.items()}


def _only_gateway(
    providers: Mapping[str, Any], file: Path, environ: Mapping[str, str], needs_key: bool
) -> Provider:
    """Return the gateway, which several providers may share."""
    names = [name for name, entry in providers.items() if _transport(entry) == _TRANSPORT]
    if not names:
        raise ConfigurationError(
            f'no provider in {file} has "transport: {_TRANSPORT}", so none has a gateway; '
            f"it names {_listed(providers)}"
        )
    found = [
        _ProviderReader(file, name, environ, needs_key).read(providers[name]) for name in names
    ]
    if any(provider.gateway != found[0].gateway for provider in found):
        raise ConfigurationError(
            f"{file} has several providers with a gateway; say which: {_listed(names)}"
        )
    return found[0]


def _transport(entry: Any) -> Any:
    return entry.get("transport") if isinstance(entry, dict) else None


def _listed(names: Mapping[str, Any] | list[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


class _ProviderReader:
    """Reads one provider's entry; its errors name the entry and the file."""

    def __init__(self, file: Path, name: str, environ: Mapping[str, str], needs_key: bool) -> None:
        self._needs_key = needs_key
        self._origin = f"provider {name!r} in {file}"
        self._environ = environ

    def read(self, entry: Any) -> Provider:
        """Return the provider. Raises `ConfigurationError`."""
        if not isinstance(entry, dict):
            raise ConfigurationError(f"{self._origin} has no settings")
        self._check_transport(_transport(entry))
        base_url = self._text(entry, "baseUrl")
        if base_url is None:
            raise ConfigurationError(f'{self._origin} has no "baseUrl", so its gateway is unknown')
        return Provider(base_url, self._api_key(entry), self._headers(entry), self._origin)

    def _check_transport(self, transport: Any) -> None:
        if transport == _TRANSPORT:
            return
        what = "no" if transport is None else "another"
        raise ConfigurationError(
            f"{self._origin} has {what} transport: omp calls it directly, and this client calls "
            f'only gateways. The entry of a gateway has "transport: {_TRANSPORT}"'
        )

    def _api_key(self, entry: Mapping[str, Any]) -> str | None:
        if not self._needs_key:
            return None
        if entry.get("auth") == "none":
            return ""  # no key, not even one of the environment
        given = self._text(entry, "apiKey")
        if given is not None and given.startswith("!") and any(map(self._environ.get, _KEYS)):
            return None  # the variable replaces the command, which is not run
        return None if given is None else self._resolved(given, "apiKey")

    def _headers(self, entry: Mapping[str, Any]) -> dict[str, str]:
        headers = entry.get("headers") or {}
        if not isinstance(headers, dict):
            raise ConfigurationError(f'{self._origin}: "headers" does not map names to texts')
        texts = {str(name): self._text(headers, name) for name in headers}
        return {name: self._resolved(text, name) for name, text in texts.items() if text}

    def _text(self, entry: Mapping[Any, Any], member: Any) -> str | None:
        value = entry.get(member)
        if value is None or isinstance(value, str):
            return value or None
        raise ConfigurationError(
            f'{self._origin}: "{member}" is no text; put quotes around its value'
        )

    def _resolved(self, value: str, member: str) -> str:
        """Return the value of the environment variable with that name, else the value itself."""
        if value.startswith("!"):
            raise ConfigurationError(
                f'{self._origin}: "{member}" is to be printed by a command, which is not run here',
                hint="write its output to a file, and name that file with api_key_file=... or "
                f"{API_KEY_FILE_VARIABLE}",
            )
        return self._environ.get(value) or _from_dotenv(value, self._environ) or value


def _from_dotenv(name: str, environ: Mapping[str, str]) -> str | None:
    """Return a variable's value from the `.env` files that omp reads, or None."""
    if not _VARIABLE.fullmatch(name):
        return None
    places = (".", _agent_directory(environ), omp_directory(environ), "~")
    for place in places:
        try:
            lines = (_expanded(place) / ".env").read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError, ConfigurationError):
            continue
        for line in lines:
            match = _ASSIGNMENT.fullmatch(line)
            if match and match[1] == name and (value := _unquoted(match[2])):
                return value
    return None


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value.partition(" #")[0].rstrip()
