"""Show the fields of attrs classes in the reference.

Griffe reads the source, in which these fields are not arguments of an `__init__`.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import attrs
import griffe


class Fields(griffe.Extension):
    """Give each attrs class of the package the signature that it has at run time."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Set the `__init__` of a class that griffe has found."""
        try:
            known = getattr(importlib.import_module(cls.module.path), cls.name)
        except (AttributeError, ImportError):  # a nested class, or the module needs an extra
            return
        if attrs.has(known):
            parameters = griffe.Parameters(*map(_parameter, _arguments(known)))
            cls.set_member("__init__", griffe.Function("__init__", parameters=parameters))


def _arguments(cls: type) -> list[attrs.Attribute[Any]]:
    arguments = [field for field in attrs.fields(cls) if field.init]
    return sorted(arguments, key=lambda field: (field.kw_only, field.name == "extra"))


def _parameter(field: attrs.Attribute[Any]) -> griffe.Parameter:
    kinds = griffe.ParameterKind
    kind = kinds.keyword_only if field.kw_only else kinds.positional_or_keyword
    type_ = field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)
    return griffe.Parameter(
        field.alias or field.name, annotation=type_, kind=kind, default=_default(field)
    )


def _default(field: attrs.Attribute[Any]) -> str | None:
    if field.default is attrs.NOTHING:
        return None
    return "..." if isinstance(field.default, attrs.Factory) else repr(field.default)
