"""Refine the JSON Schemas of msgspec, so that a schema accepts what the conversion accepts.

Three things are missing in them: the keys of a dict that are no plain strings, the format of times
without a timezone, and that a set is converted from an array with duplicates, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Schema = dict[str, Any]

_REFERENCE = "#/$defs/"
_INTEGER = "^-?(0|[1-9][0-9]*)$"
_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$"
_FORMATS = {
    "DateType": "date",
    "DateTimeType": "date-time",
    "TimeType": "time",
    "TimeDeltaType": "duration",
    "UUIDType": "uuid",
    "DecimalType": "decimal",
}
_ARRAYS = ("ListType", "SetType", "FrozenSetType", "VarTupleType", "TupleType", "NamedTupleType")
_CLASSES = ("StructType", "DataclassType", "TypedDictType", "NamedTupleType", "EnumType")


class KeyTypeError(TypeError):
    """A dict whose keys no JSON object has."""


def refine(schema: Schema, type_: Any) -> None:
    """Refine a schema of msgspec, in place. `type_` is an object of `msgspec.inspect`.

    Raises `KeyTypeError`.
    """
    _Refiner(schema).refine(type_, schema)


class _Refiner:
    def __init__(self, schema: Schema) -> None:
        self._definitions: Mapping[str, Schema] = schema.get("$defs", {})
        self._seen: set[str] = set()

    def refine(self, type_: Any, schema: Schema) -> None:
        type_ = _bare(type_)
        if "$ref" in schema:
            name = schema["$ref"].removeprefix(_REFERENCE)
            if name in self._seen:
                return
            self._seen.add(name)
            schema = self._definitions[name]
        refiner = self._REFINERS.get(_kind(type_))
        if refiner is not None:
            refiner(self, type_, schema)

    def _set(self, type_: Any, schema: Schema) -> None:
        # With a length, which is that of the set, the schema of msgspec is the stricter one.
        if type_.min_length is None and type_.max_length is None:
            schema.pop("uniqueItems", None)
        self._list(type_, schema)

    def _list(self, type_: Any, schema: Schema) -> None:
        if "items" in schema:
            self.refine(type_.item_type, schema["items"])

    def _tuple(self, type_: Any, schema: Schema) -> None:
        self._each(type_.item_types, schema.get("prefixItems", ()))

    def _fields(self, type_: Any, schema: Schema) -> None:
        types = {field.encode_name: field.type for field in type_.fields}
        if "prefixItems" in schema:
            self._each(types.values(), schema["prefixItems"])
        else:
            properties = schema["properties"]
            self._each(types.values(), [properties[name] for name in types])

    def _each(self, types: Any, schemas: Any) -> None:
        for type_, schema in zip(types, schemas, strict=False):
            self.refine(type_, schema)

    def _dict(self, type_: Any, schema: Schema) -> None:
        names = _property_names(_bare(type_.key_type))
        if names:
            schema["propertyNames"] = names
        if "additionalProperties" in schema:
            self.refine(type_.value_type, schema["additionalProperties"])

    def _time(self, type_: Any, schema: Schema) -> None:
        schema.setdefault("format", _FORMATS[_kind(type_)])

    def _union(self, type_: Any, schema: Schema) -> None:
        if "anyOf" not in schema:  # of one type: the other one was an unset value
            for member in type_.types:
                self.refine(member, schema)
            return
        options = list(_options(schema))
        for member in map(_bare, type_.types):
            for option in options:
                if self._is_of(option, member):
                    self.refine(member, option)

    def _is_of(self, schema: Schema, type_: Any) -> bool:
        """Return whether a schema in a union is that of a type.

        A union has at most one array, one object and one string, apart from classes.
        """
        kind = _kind(type_)
        if kind in _CLASSES:
            name = schema.get("$ref", "").removeprefix(_REFERENCE)
            return bool(self._definitions.get(name, {}).get("title") == _title(type_.cls))
        if kind in _ARRAYS:
            return schema.get("type") == "array"
        if kind == "DictType":
            return schema.get("type") == "object"
        return kind in _FORMATS and schema.get("type") == "string"

    _REFINERS: Mapping[str, Callable[[_Refiner, Any, Schema], None]] = {
        "SetType": _set,
        "FrozenSetType": _set,
        "ListType": _list,
        "VarTupleType": _list,
        "TupleType": _tuple,
        "NamedTupleType": _fields,
        "StructType": _fields,
        "DataclassType": _fields,
        "TypedDictType": _fields,
        "DictType": _dict,
        "DateTimeType": _time,
        "TimeType": _time,
        "UnionType": _union,
    }


def _property_names(key: Any) -> Schema | None:
    """Return the schema of the keys; None for that of msgspec. Raises `KeyTypeError`."""
    kind = _kind(key)
    if kind in ("AnyType", "StrType"):
        return None
    if kind == "IntType":
        return {"pattern": _INTEGER}
    if kind == "FloatType":
        return {"pattern": _NUMBER}
    if kind == "EnumType":
        return {"enum": sorted(str(member.value) for member in key.cls)}
    if kind == "LiteralType" and None not in key.values:
        return {"enum": sorted(map(str, key.values))}
    if kind in _FORMATS:
        return {"format": _FORMATS[kind]}
    raise KeyTypeError("the keys of a JSON object are strings, so use dict[str, ...]")


def _options(schema: Schema) -> Iterator[Schema]:
    for option in schema["anyOf"]:
        if "anyOf" in option:  # several msgspec.Structs
            yield from _options(option)
        else:
            yield option


def _bare(type_: Any) -> Any:
    while _kind(type_) == "Metadata":
        type_ = type_.type
    return type_


def _kind(type_: Any) -> str:
    return type(type_).__name__


def _title(class_: Any) -> str:
    if not hasattr(class_, "__origin__"):
        return str(class_.__name__)
    names = (arg.__name__ if isinstance(arg, type) else repr(arg) for arg in class_.__args__)
    return f"{class_.__origin__.__name__}[{', '.join(names)}]"
