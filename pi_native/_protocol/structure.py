"""Readers: functions that take a JSON value and give the typed one, or raise all its faults.

Nothing is coerced, nothing is lost, and nothing but a wrong type is wrong. A reader's second
argument is the type it reads, which most have no use for: it is what cattrs calls them with.

Readers of composed types are made from those of the parts, which `reader_for` finds.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable
from typing import Any, TypeAlias, Union, get_args, get_origin

from attrs import fields, frozen

from .._types.base import Unknown, WireObject, is_tag, wire_fields, wire_name
from .._types.messages import AssistantMessage
from .validation import Collector, Faults, wrong, wrong_or_missing, wrong_tag

Reader: TypeAlias = Callable[[Any, Any], Any]
ReaderFor: TypeAlias = Callable[[Any], Reader]


def is_union(hint: Any) -> bool:
    """Whether it is a union, however it was spelt."""
    return get_origin(hint) in (Union, types.UnionType)


def is_wire(hint: Any) -> bool:
    """Whether it is a class of objects that are known."""
    return _is_subclass(hint, WireObject)


def is_unknown(hint: Any) -> bool:
    """Whether it is a class that stands for all other objects."""
    return _is_subclass(hint, Unknown)


def _is_subclass(hint: Any, cls: type) -> bool:
    # On Python 3.10 list[int] passes for a type, but issubclass() refuses it.
    return isinstance(hint, type) and not get_args(hint) and issubclass(hint, cls)


def read_string(value: Any, _: Any) -> Any:
    """A string."""
    return value if isinstance(value, str) else wrong("a string", value)


def read_bool(value: Any, _: Any) -> Any:
    """True or false, and neither 0 nor 1."""
    return value if isinstance(value, bool) else wrong("true or false", value)


def read_integer(value: Any, _: Any) -> Any:
    """An integer. JavaScript has one kind of number: 7.0 is one too, and stays 7.0."""
    if type(value) is int or (isinstance(value, float) and value.is_integer()):
        return value
    return wrong("an integer", value)


def read_number(value: Any, _: Any) -> Any:
    """A number that JSON can hold: an infinite one could not be written again."""
    if type(value) is int or (isinstance(value, float) and math.isfinite(value)):
        return value
    return wrong("a number", value)


def read_any(value: Any, _: Any) -> Any:
    """Whatever it is, itself and not a copy."""
    return value


def read_object(value: Any, _: Any = None) -> dict[str, Any]:
    """An object, itself and not a copy."""
    return value if isinstance(value, dict) else wrong("an object", value)


def list_reader(hint: Any, reader_for: ReaderFor) -> Reader:
    """For `list[item]`."""
    read_item = reader_for(get_args(hint)[0])

    def read(value: Any, _: Any) -> list[Any]:
        if not isinstance(value, list):
            wrong("an array", value)
        faults = Collector()
        items = [faults.read(read_item, item, index) for index, item in enumerate(value)]
        faults.check()
        return items

    return read


def dict_reader(hint: Any, reader_for: ReaderFor) -> Reader:
    """For `dict[str, item]`."""
    read_item = reader_for(get_args(hint)[1])

    def read(value: Any, _: Any) -> dict[str, Any]:
        faults = Collector()
        items = {key: faults.read(read_item, item, key) for key, item in read_object(value).items()}
        faults.check()
        return items

    return read


def union_reader(hint: Any, reader_for: ReaderFor) -> Reader:
    """For a union: of classes that their `type` or `role` tells apart, or of kinds of value."""
    # Null needs no reader: a member that is null goes to `extra`, and an array may hold none.
    members = [member for member in get_args(hint) if member is not types.NoneType]
    if len(members) == 1:
        return reader_for(members[0])
    if all(is_wire(member) or is_unknown(member) for member in members):
        return _tagged_reader(members, reader_for)
    return _reader_by_kind(members, reader_for)


def _tagged_reader(members: list[Any], reader_for: ReaderFor) -> Reader:
    """By the object's `type` or `role`; the one that is Unknown takes what no other does."""
    tags = [(wire_fields(member)[0], member) for member in filter(is_wire, members)]
    name = tags[0][0].name
    if any(not is_tag(tag) or tag.name != name for tag, _ in tags):
        raise TypeError(f"nothing tells these apart: {', '.join(m.__name__ for m in members)}")
    readers = {tag.default: reader_for(member) for tag, member in tags}
    expected = " or ".join(f'"{own}"' for own in readers)
    unknown = next(filter(is_unknown, members), None)
    read_unknown = reader_for(unknown) if unknown else None

    def read(value: Any, _: Any) -> Any:
        tag = read_object(value).get(name)
        if isinstance(tag, str) and tag in readers:
            return readers[tag](value, None)
        if read_unknown is None:
            raise Faults([wrong_or_missing(expected, value, name)])
        return read_unknown(value, unknown)

    return read


_KINDS: dict[Any, str] = {str: "a string", int: "an integer", list: "an array"}


def _reader_by_kind(members: list[Any], reader_for: ReaderFor) -> Reader:
    readers = {get_origin(member) or member: reader_for(member) for member in members}
    expected = " or ".join(_KINDS[kind] for kind in readers)
    if int in readers:
        readers[float] = readers[int]

    def read(value: Any, _: Any) -> Any:
        read_kind = readers.get(type(value))
        return read_kind(value, None) if read_kind else wrong(expected, value)

    return read


def class_reader(cls: type[WireObject], reader_for: ReaderFor) -> Reader:
    """For a wire class."""
    # Events annotate what they hold for a snapshot; on the wire that is a message.
    hints = typing.get_type_hints(cls) | {"_partial": AssistantMessage}
    members: dict[str, _Member] = {}
    for a in wire_fields(cls):
        read = _tag_reader(a.default) if is_tag(a) else reader_for(hints[a.name])
        expected = ("a string" if is_tag(a) else "an object") if a.metadata.get("required") else ""
        members[wire_name(a)] = _Member(a.name, read, expected, "count" in a.metadata)
    local = {a.name: a.default for a in fields(cls) if a.metadata.get("local")}
    return _ClassReader(cls, members, local)


def _tag_reader(own: Any) -> Reader:
    def read(value: Any, _: Any) -> Any:
        return value if value == own else wrong_tag(f'"{own}"', value)

    return read


@frozen(eq=False, repr=False)
class _Member:
    argument: str
    read: Reader
    required: str  # the description of its type, if it must not be missing
    is_count: bool


@frozen(eq=False, repr=False)
class _ClassReader:
    cls: type[WireObject]
    members: dict[str, _Member]
    local: dict[str, Any]  # fields of this side, with their defaults

    def __call__(self, value: Any, _: Any) -> WireObject:
        faults = Collector()
        given: dict[str, Any] = {member.argument: None for member in self.members.values()}
        extra: dict[str, Any] = {}
        for name, part in read_object(value).items():
            member = self.members.get(name)
            if part is None or member is None:
                extra[name] = part
            elif member.is_count:
                given[member.argument] = _read_count(member.read, part, name, extra)
            else:
                given[member.argument] = faults.read(member.read, part, name)
        self._look_for_required(value, faults)
        faults.check()
        return self._build(given, extra)

    def _look_for_required(self, value: dict[str, Any], faults: Collector) -> None:
        for name, member in self.members.items():
            if member.required and value.get(name) is None:
                faults.found.append(wrong_or_missing(member.required, value, name))

    def _build(self, given: dict[str, Any], extra: dict[str, Any]) -> WireObject:
        # Without `__init__`, whose checks are for the program's own objects: a member that is
        # missing on the wire is None here, whatever the class requires.
        built = self.cls.__new__(self.cls)
        for name, value in (*given.items(), *self.local.items()):
            _set(built, name, value)
        _set(built, "extra", extra)
        return built


_set = object.__setattr__  # attrs' own runs the checks


def _read_count(read: Reader, value: Any, name: str, extra: dict[str, Any]) -> Any:
    """Return a count; one of a wrong type is kept in `extra`, as it must not cost the turn."""
    try:
        return read(value, None)
    except Faults:
        extra[name] = value
        return None
