"""An omp user's `models.yml`: which providers omp reaches through a gateway, and with which key.

It means here what it means to omp, but for one thing: a key that is to be printed by a command
(`"!command"`) is refused, since nobody expects a library to run one. The file holds keys, so no
error quotes more of it than names and line numbers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from .errors import ConfigurationError

DIRECTORY_VARIABLE = "PI_CODING_AGENT_DIR"
_DIRECTORY = "~/.omp/agent"
_FILES = ("models.yml", "models.yaml")

_TRANSPORT = "pi-native"


@attrs.define(eq=False, repr=False)  # its key and headers are nobody's business
class Provider:
    """A provider that is reached through a gateway. `origin` says where all of it was found."""

    base_url: str
    api_key: str | None
    headers: dict[str, str]
    origin: str


def find_provider(
    name: str | None, path: str | os.PathLike[str] | None, environ: Mapping[str, str]
) -> Provider:
    """The provider of that name; without a name, the only one that has a gateway.

    Raises `ConfigurationError`, caused by a `FileNotFoundError` when there is no such file.
    """
    file = _locate(path, environ)
    providers = _providers(_load(file), file)
    chosen = _only_one(providers, file) if name is None else name
    if chosen not in providers:
        raise ConfigurationError(f"{file} has no provider {chosen!r}, but {_listed(providers)}")
    return _Reader(file, chosen, environ).read(providers[chosen])


def _locate(path: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Path:
    if path is not None:
        return _expanded(path)
    directory = _expanded(environ.get(DIRECTORY_VARIABLE) or _DIRECTORY)
    places = [directory / file for file in _FILES]
    return next((place for place in places if place.exists()), places[0])


def _expanded(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as exc:  # no home to be found
        raise ConfigurationError(f"cannot read {os.fspath(path)}: {exc}") from None


def _load(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} holds no text") from None
    except FileNotFoundError as exc:
        raise ConfigurationError(
            f"there is no {file}, which names an omp user's gateways; "
            f"{DIRECTORY_VARIABLE} names another directory"
        ) from exc
    except OSError as exc:
        raise ConfigurationError(f"cannot read {file}: {exc.strerror or exc}") from None
    return _parse(text, file)


def _parse(text: str, file: Path) -> Any:
    try:
        import yaml
    except ImportError as exc:
        raise ConfigurationError(
            f"reading {file} needs PyYAML: pip install 'pi-native[yaml]'"
        ) from exc
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        # Neither its text nor its cause: both may quote a key.
        raise ConfigurationError(f"{file} is no valid YAML{where}") from None


def _providers(data: Any, file: Path) -> dict[str, Any]:
    found = data.get("providers") if isinstance(data, dict) else data
    if not found:
        return {}
    if not isinstance(found, dict):
        raise ConfigurationError(f'{file} does not map names to providers, under "providers"')
    return {str(name): entry for name, entry in found.items()}


def _only_one(providers: Mapping[str, Any], file: Path) -> str:
    names = [name for name, entry in providers.items() if _transport(entry) == _TRANSPORT]
    if len(names) == 1:
        return names[0]
    if names:
        raise ConfigurationError(
            f"{file} has several providers with a gateway; say which: {_listed(names)}"
        )
    raise ConfigurationError(
        f'no provider in {file} has "transport: {_TRANSPORT}", so none has a gateway; '
        f"it names {_listed(providers)}"
    )


def _transport(entry: Any) -> Any:
    return entry.get("transport") if isinstance(entry, dict) else None


def _listed(names: Mapping[str, Any] | list[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


class _Reader:
    """Reads one provider's entry, and says whose fault it is when that fails."""

    def __init__(self, file: Path, name: str, environ: Mapping[str, str]) -> None:
        self._origin = f"provider {name!r} in {file}"
        self._environ = environ

    def read(self, entry: Any) -> Provider:
        """The provider. Raises `ConfigurationError`."""
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
            f'nothing but gateways. For a gateway, its entry says "transport: {_TRANSPORT}"'
        )

    def _api_key(self, entry: Mapping[str, Any]) -> str | None:
        if entry.get("auth") == "none":
            return ""  # none, not even the one that the environment names
        given = self._text(entry, "apiKey")
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
        """What an environment variable of that name holds, else the value itself."""
        if value.startswith("!"):
            raise ConfigurationError(
                f'{self._origin}: "{member}" is to be printed by a command, which is not run here; '
                "put the value into an environment variable, and that one's name into the file"
            )
        return self._environ.get(value) or value
