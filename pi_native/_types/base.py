"""What a wire type is: an attrs class whose fields are members of a JSON object.

A field is called in Python what its member is called on the wire, in snake_case instead of
camelCase. None stands for a member that is absent. Whatever no field is there for, and every
explicit null, is kept in `extra` under its wire name, so that an object can be written again
exactly as it was read.

An object of a kind that is not known here is an `Unknown`, and is kept whole.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import Attribute, define, field, fields

REQUIRED = {"required": True}
"""Metadata of a field without which the object means nothing; all others may be missing."""

LOCAL = {"local": True}
"""Metadata of a field that stays on this side and has no member on the wire."""

_LONGEST_TEXT_SHOWN = 40


def named(wire_name: str) -> dict[str, str]:
    """Metadata of a field whose member is not its own name in camelCase."""
    return {"wire_name": wire_name}


def wire_name(attribute: Attribute[Any]) -> str:
    """The name that a field has on the wire."""
    given: str | None = attribute.metadata.get("wire_name")
    return given or _camel_case(attribute.alias or attribute.name)


def wire_fields(cls: type[WireObject]) -> list[Attribute[Any]]:
    """The fields of `cls` that are members on the wire; the one that tells its kind comes first."""
    members = [a for a in fields(cls) if a.name != "extra" and not a.metadata.get("local")]
    return sorted(members, key=lambda attribute: not is_tag(attribute))


def is_tag(attribute: Attribute[Any]) -> bool:
    """Whether the field is the `type` or `role`, which a class fixes once and for all."""
    return not attribute.init


def _camel_case(name: str) -> str:
    # A trailing underscore only keeps a name from being a Python keyword.
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(word.capitalize() for word in rest)


def names_only(values: Mapping[str, object] | None) -> str:
    """A repr for what may hold secrets, or a lot: `<name, name>`."""
    return "None" if values is None else f"<{', '.join(map(str, values))}>"


def shortened(value: object) -> str:
    """A repr for texts that may be megabytes of base64."""
    if isinstance(value, str) and len(value) > _LONGEST_TEXT_SHOWN:
        return f"{value[:16]!r}... ({len(value)} characters)"
    return repr(value)


def _nothing() -> dict[str, Any]:
    return {}


class Record:
    """Compares and shows an attrs class by its fields.

    This is written once, here: attrs would compile it anew for each of some fifty classes, which is
    a tenth of what importing this package costs.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        compared = (a for a in _fields_of(self) if a.eq)
        return all(_comparable(a, self) == _comparable(a, other) for a in compared)

    __hash__ = None  # type: ignore[assignment]  # they can be changed

    def __repr__(self) -> str:
        # `extra` comes from a base class, so it is the first field; it reads better as the last.
        ordered = sorted(_fields_of(self), key=lambda attribute: attribute.name == "extra")
        shown = (_show(a, getattr(self, a.name)) for a in ordered)
        return f"{type(self).__qualname__}({', '.join(filter(None, shown))})"


@define(eq=False, repr=False, match_args=False)
class WireObject(Record):
    """The base of all wire types."""

    extra: dict[str, Any] = field(factory=_nothing, kw_only=True, repr=names_only)


def _fields_of(record: Record) -> Iterable[Attribute[Any]]:
    every: Iterable[Attribute[Any]] = fields(type(record))  # type: ignore[arg-type]  # by subclasses
    return every


def _comparable(attribute: Attribute[Any], owner: object) -> object:
    value = getattr(owner, attribute.name)
    key = attribute.eq_key  # type: ignore[attr-defined]  # attrs documents it, its stub does not
    return value if key is None else key(value)


def _show(attribute: Attribute[Any], value: object) -> str:
    """One field of a repr; nothing for one that is absent, since most fields mostly are."""
    if (
        is_tag(attribute)
        or attribute.repr is False
        or value is None
        or (attribute.name == "extra" and not value)
    ):
        return ""
    show = attribute.repr if callable(attribute.repr) else repr
    return f"{attribute.alias}={show(value)}"


@define(eq=False, repr=False)
class Unknown(Record):
    """An object of a kind that this version does not know. `data` is the object as it came."""

    data: dict[str, Any] = field(repr=reprlib.repr)
