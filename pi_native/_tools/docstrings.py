"""The docstring of a function as texts for the model: of the tool, and of each parameter."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from ..errors import ConfigurationError


@attrs.frozen
class DocTexts:
    """The description of a tool, and those of its parameters by name."""

    description: str = ""
    parameters: Mapping[str, str] = attrs.field(factory=dict)


def doc_texts(function: Callable[..., Any]) -> DocTexts:
    """Return the texts of a docstring in the style of Google, numpy or reST.

    A docstring in no such style is the description as a whole. Raises `ConfigurationError` if there
    is a docstring, and docstring-parser is not installed.
    """
    text = inspect.getdoc(function)
    if not text:
        return DocTexts()
    docstring_parser = _load_docstring_parser()
    try:
        parsed = docstring_parser.parse(text)
    except docstring_parser.ParseError:
        return DocTexts(text)
    parts = (parsed.short_description, parsed.long_description)
    texts = {part.arg_name: " ".join((part.description or "").split()) for part in parsed.params}
    description = "\n\n".join(filter(None, parts))
    return DocTexts(description, {name: text for name, text in texts.items() if text})


def _load_docstring_parser() -> Any:
    try:
        import docstring_parser  # lazy: an optional dependency, extra [tools]
    except ImportError:
        raise ConfigurationError(
            "functions as tools need docstring-parser: pip install '.[tools]' in a checkout of "
            "pi-native"
        ) from None
    return docstring_parser
