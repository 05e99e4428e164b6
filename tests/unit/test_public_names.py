"""The public names: each can be imported, and is called by its public name."""

from __future__ import annotations

import pickle
import re
import typing
from pathlib import Path

import attrs
import pytest

import pi_native

ROOT = Path(__file__).parents[2]


def test_every_name_is_there() -> None:
    """Each listed name is an attribute, in `dir`, and imported by a star."""
    assert set(pi_native.__all__) <= set(dir(pi_native))
    starred: dict[str, object] = {}
    exec("from pi_native import *", starred)
    assert {name: getattr(pi_native, name) for name in pi_native.__all__}.items() <= starred.items()


def test_a_name_that_is_not_there() -> None:
    """A misspelt name is an `AttributeError`."""
    with pytest.raises(AttributeError, match=r"^module 'pi_native' has no attribute 'Cilent'$"):
        pi_native.Cilent  # type: ignore[attr-defined]  # noqa: B018


def test_public_classes_name_the_public_module() -> None:
    """A pickle, a traceback and a repr never name a private module."""
    classes = {
        name: value
        for name in pi_native.__all__
        if isinstance(value := getattr(pi_native, name), type)
    }
    assert {name for name, cls in classes.items() if cls.__module__ != "pi_native"} == set()
    restored = pickle.loads(pickle.dumps(pi_native.UserMessage("Hi", timestamp=0)))
    assert restored == pi_native.UserMessage("Hi", timestamp=0)


@pytest.mark.parametrize("cls", [c for c in vars(pi_native).values() if attrs.has(c)], ids=str)
def test_the_types_of_fields_can_be_asked_for(cls: type) -> None:
    """`typing.get_type_hints` works on every public attrs class, for whatever library asks."""
    assert typing.get_type_hints(cls).keys() >= {field.name for field in attrs.fields(cls)}


def test_the_reference_lists_the_calls_of_a_client() -> None:
    """The page names each public member of `Client`, in the order of their use."""
    page = (ROOT / "docs" / "reference" / "client.md").read_text(encoding="utf-8")
    listed = re.search(r"::: pi_native\.Client\n.*?members: \[(.*?)\]", page, re.DOTALL)
    assert listed is not None
    members = {name for name in dir(pi_native.Client) if not name.startswith("_")}
    assert set(listed[1].split(", ")) == members
