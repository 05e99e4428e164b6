"""Structure hooks for cattrs: functions that turn a JSON value into a typed one.

A hook takes the value and its type, and raises `Faults` with all problems of the value. It coerces
nothing and loses nothing; only a wrong type is a problem. The hook factories for lists, dicts,
unions and classes get the hooks of the parts from `hook_for`, which is cattrs'
`get_structure_hook`.

cattrs' own hooks are not used for these types, because reading must be lossless: they coerce (7.9
to 7, None to "None"), drop unknown members, treat a missing member as its default, and report
Python names instead of paths in the JSON.
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

Hook: TypeAlias = Callable[[Any, Any], Any]
HookFor: TypeAlias = Callable[[Any], Hook]


def is_union(hint: Any) -> bool:
    """Return True for a union, in either spelling."""
    return get_origin(hint) in (Union, types.UnionType)


def is_wire(hint: Any) -> bool:
    """Return True for a class of known objects."""
    return _is_subclass(hint, WireObject)


def is_unknown(hint: Any) -> bool:
    """Return True for a class of unknown objects."""
    return _is_subclass(hint, Unknown)


def _is_subclass(hint: Any, cls: type) -> bool:
    # On Python 3.10 list[int] is an instance of type, but issubclass() refuses it.
    return isinstance(hint, type) and not get_args(hint) and issubclass(hint, cls)


def read_string(value: Any, _: Any) -> Any:
    """Return a string."""
    return value if isinstance(value, str) else wrong("a string", value)


def read_bool(value: Any, _: Any) -> Any:
    """Return True or False; 0 and 1 are refused."""
    return value if isinstance(value, bool) else wrong("true or false", value)


def read_integer(value: Any, _: Any) -> Any:
    """Return an integer. 7.0 is one in JavaScript, and stays 7.0."""
    if type(value) is int or (isinstance(value, float) and value.is_integer()):
        return value
    return wrong("an integer", value)


def read_number(value: Any, _: Any) -> Any:
    """Return a finite number: JSON cannot hold an infinite one."""
    if type(value) is int or (isinstance(value, float) and math.isfinite(value)):
        return value
    return wrong("a number", value)


def read_any(value: Any, _: Any) -> Any:
    """Return any value itself, not a copy."""
    return value


def read_object(value: Any, _: Any = None) -> dict[str, Any]:
    """Return an object itself, not a copy."""
    return value if isinstance(value, dict) else wrong("an object", value)


def list_hook(hint: Any, hook_for: HookFor) -> Hook:
    """Return the hook for `list[item]`."""
    read_item = hook_for(get_args(hint)[0])

    def read(value: Any, _: Any) -> list[Any]:
        if not isinstance(value, list):
            wrong("an array", value)
        faults = Collector()
        items = [faults.read(read_item, item, index) for index, item in enumerate(value)]
        faults.check()
        return items

    return read


def dict_hook(hint: Any, hook_for: HookFor) -> Hook:
    """Return the hook for `dict[str, item]`."""
    read_item = hook_for(get_args(hint)[1])

    def read(value: Any, _: Any) -> dict[str, Any]:
        faults = Collector()
        items = {key: faults.read(read_item, item, key) for key, item in read_object(value).items()}
        faults.check()
        return items

    return read


def union_hook(hint: Any, hook_for: HookFor) -> Hook:
    """Return the hook for a union of tagged classes, or of kinds of value."""
    # Null needs no hook: a null member goes to `extra`, and an array may not hold one.
    members = [member for member in get_args(hint) if member is not types.NoneType]
    if len(members) == 1:
        return hook_for(members[0])
    if all(is_wire(member) or is_unknown(member) for member in members):
        return _tagged_hook(members, hook_for)
    return _hook_by_kind(members, hook_for)


def _tagged_hook(members: list[Any], hook_for: HookFor) -> Hook:
    """Return the hook that selects a class by `type` or `role`; Unknown takes the rest."""
    tags = [(wire_fields(member)[0], member) for member in filter(is_wire, members)]
    name = tags[0][0].name
    if any(not is_tag(tag) or tag.name != name for tag, _ in tags):
        raise TypeError(
            f"these classes have no common tag: {', '.join(m.__name__ for m in members)}"
        )
    hooks = {tag.default: hook_for(member) for tag, member in tags}
    expected = " or ".join(f'"{own}"' for own in hooks)
    unknown = next(filter(is_unknown, members), None)
    read_unknown = hook_for(unknown) if unknown else None

    def read(value: Any, _: Any) -> Any:
        tag = read_object(value).get(name)
        if isinstance(tag, str) and tag in hooks:
            return hooks[tag](value, None)
        if read_unknown is None:
            raise Faults([wrong_or_missing(expected, value, name)])
        return read_unknown(value, unknown)

    return read


_KINDS: dict[Any, str] = {str: "a string", int: "an integer", list: "an array"}


def _hook_by_kind(members: list[Any], hook_for: HookFor) -> Hook:
    hooks = {get_origin(member) or member: hook_for(member) for member in members}
    expected = " or ".join(_KINDS[kind] for kind in hooks)
    if int in hooks:
        hooks[float] = hooks[int]

    def read(value: Any, _: Any) -> Any:
        read_kind = hooks.get(type(value))
        return read_kind(value, None) if read_kind else wrong(expected, value)

    return read


def class_hook(cls: type[WireObject], hook_for: HookFor) -> Hook:
    """Return the hook for a wire class."""
    # Events annotate the source of a snapshot; on the wire it is a message.
    hints = typing.get_type_hints(cls) | {"_partial": AssistantMessage}
    members: dict[str, _Member] = {}
    for a in wire_fields(cls):
        read = _tag_hook(a.default) if is_tag(a) else hook_for(hints[a.name])
        expected = a.metadata.get("required", "")
        if expected and is_tag(a):
            expected = "a string"
        members[wire_name(a)] = _Member(a.name, read, expected, "count" in a.metadata)
    local = {a.name: a.default for a in fields(cls) if a.metadata.get("local")}
    return _ClassHook(cls, members, local)


def _tag_hook(own: Any) -> Hook:
    def read(value: Any, _: Any) -> Any:
        return value if value == own else wrong_tag(f'"{own}"', value)

    return read


@frozen(eq=False, repr=False)
class _Member:
    argument: str
    read: Hook
    required: str  # the description of its type, if it must not be missing
    is_count: bool


@frozen(eq=False, repr=False)
class _ClassHook:
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


def _read_count(read: Hook, value: Any, name: str, extra: dict[str, Any]) -> Any:
    """Return a count; one of a wrong type is kept in `extra`, as it must not cost the turn."""
    try:
        return read(value, None)
    except Faults:
        extra[name] = value
        return None
