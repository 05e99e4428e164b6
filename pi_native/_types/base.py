"""Base of the wire types: attrs classes whose fields are members of a JSON object.

A field has the name of its member in snake_case instead of camelCase. None is an absent
member. Members without a field and explicit nulls are kept in `extra` under their wire names, so
that an object is written again exactly as it was read.

An object of an unknown kind is an `Unknown`, which keeps it whole.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from attrs import Attribute, define, field, fields

REQUIRED = {"required": "an object"}
REQUIRED_LIST = {"required": "an array"}
REQUIRED_BOOL = {"required": "true or false"}
"""Metadata of a field that the object must have; all others may be missing."""

LOCAL = {"local": True}
"""Metadata of a field that stays on this side and has no member on the wire."""

COUNT = {"count": True}
"""Metadata of a count, whose wrong value must not cost a turn: it is kept in `extra`."""

_LONGEST_TEXT_SHOWN = 40


def named(wire_name: str) -> dict[str, str]:
    """Return the metadata of a field whose member is not its name in camelCase."""
    return {"wire_name": wire_name}


def wire_name(attribute: Attribute[Any]) -> str:
    """Return the wire name of a field."""
    given: str | None = attribute.metadata.get("wire_name")
    return given or _camel_case(attribute.alias or attribute.name)


def wire_fields(cls: type[WireObject]) -> list[Attribute[Any]]:
    """Return the fields of `cls` that are members on the wire, the `type` or `role` first."""
    members = [a for a in fields(cls) if a.name != "extra" and not a.metadata.get("local")]
    return sorted(members, key=lambda attribute: not is_tag(attribute))


def is_tag(attribute: Attribute[Any]) -> bool:
    """Return True for the `type` or `role`, which is fixed by the class."""
    return not attribute.init


def _camel_case(name: str) -> str:
    # A trailing underscore only keeps a name from being a Python keyword.
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(word.capitalize() for word in rest)


def names_only(values: Mapping[str, object] | None) -> str:
    """Return a repr for values that may be secret or long: `<name, name>`."""
    return "None" if values is None else f"<{', '.join(map(str, values))}>"


def shortened(value: object) -> str:
    """Return a repr for texts that may be megabytes of base64."""
    if isinstance(value, str) and len(value) > _LONGEST_TEXT_SHOWN:
        return f"{value[:16]!r}... ({len(value)} characters)"
    return repr(value)


class Record:
    """Base of attrs classes that are compared and shown by their fields.

    attrs would compile these methods for each of about fifty classes, which takes a tenth of the
    time of `import pi_native`.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        compared = (a for a in _fields_of(self) if a.eq)
        return all(_comparable(a, self) == _comparable(a, other) for a in compared)

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # the objects are mutable

    def __repr__(self) -> str:
        # `extra` comes from a base class, so it is the first field; it reads better as the last.
        ordered = sorted(_fields_of(self), key=lambda attribute: attribute.name == "extra")
        shown = (_show(a, getattr(self, a.name)) for a in ordered)
        return f"{type(self).__qualname__}({', '.join(filter(None, shown))})"


@define(eq=False, repr=False, match_args=False)
class WireObject(Record):
    """The base of all wire types."""

    extra: dict[str, Any] = field(factory=dict, kw_only=True, repr=names_only)

    def to_dict(self) -> dict[str, Any]:
        """Return the object as on the wire, for `json.dumps`; the same as `to_wire`."""
        return _to_wire(self)

    def to_json(self) -> str:
        """Return the JSON text of the object as on the wire, in ASCII."""
        return json.dumps(_to_wire(self), allow_nan=False, separators=(",", ":"))


def _fields_of(record: Record) -> Iterable[Attribute[Any]]:
    every: Iterable[Attribute[Any]] = fields(type(record))  # type: ignore[arg-type]  # by subclasses
    return every


def _comparable(attribute: Attribute[Any], owner: object) -> object:
    value = getattr(owner, attribute.name)
    key = attribute.eq_key  # type: ignore[attr-defined]  # attrs documents it, its stub does not
    return value if key is None else key(value)


def _show(attribute: Attribute[Any], value: object) -> str:
    """Return one field of a repr; an empty string for an absent one, as most are."""
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
    """An object of a kind that this version does not know. `data` is the object unchanged."""

    data: dict[str, Any] = field(repr=reprlib.repr)

    def to_dict(self) -> dict[str, Any]:
        """Return the object as on the wire, for `json.dumps`; the same as `to_wire`."""
        return _to_wire(self)

    def to_json(self) -> str:
        """Return the JSON text of the object as on the wire, in ASCII."""
        return json.dumps(_to_wire(self), allow_nan=False, separators=(",", ":"))


def _to_wire(obj: WireObject | Unknown) -> dict[str, Any]:
    from .._protocol.convert import to_wire  # which imports the classes of this package

    return to_wire(obj)
