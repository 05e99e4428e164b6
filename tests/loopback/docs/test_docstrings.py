"""The examples in the docstrings run, as they stand there."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pi_native
from pi_native import testing
from pi_native.testing import FakeGateway, RecordedRequest, Reply

NAMES = {name: getattr(pi_native, name) for name in pi_native.__all__}
NAMES |= {name: getattr(testing, name) for name in testing.__all__}
CLOCK = pi_native.ToolCall("call_1", "clock", {"zone": "UTC"})
SHOWN_IN_USE = {
    "AbortController",
    "AbortSignal.any",
    "AbortSignal.timeout",
    "AssistantMessageEventStream",
    "Client",
    "Client.complete",
    "Client.stream",
    "Conversation",
    "EventStream",
    "FakeGateway",
    "FakeGateway.replay",
    "ImageContent.from_bytes",
    "ImageContent.from_file",
    "ImageContent.from_image",
    "ImageContent.from_url_bytes",
    "PiNativeError",
    "StreamOptions",
    "Tool",
    "from_wire",
    "record",
    "stream_pi_native",
    "to_wire",
}


def found() -> Iterator[tuple[str, doctest.DocTest]]:
    """Every docstring of the package that has an example, by the name of what it is about."""
    finder = doctest.DocTestFinder()
    for name, value in NAMES.items():
        if isinstance(value, type):  # its module is the package, wherever its code is
            yield from (
                (test.name, test) for test in finder.find(value, name, False) if test.examples
            )
    for module in pkgutil.walk_packages(pi_native.__path__, "pi_native."):
        if not module.name.endswith("__main__"):
            imported = importlib.import_module(module.name)
            for test in finder.find(imported, module.name):
                if test.examples:
                    yield test.name.removeprefix(f"{module.name}."), test


EXAMPLES = dict(found())


def answer(request: RecordedRequest) -> Reply:
    """What the examples' models say: one of them fails, one calls a tool."""
    return {
        "acme/broken": Reply("Because", error_message="overloaded"),
        "acme/clocks": Reply("", tool_calls=[CLOCK]),
    }.get(request.model, Reply("Because of the air."))


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_runs(
    name: str, named: Callable[..., FakeGateway], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What an example prints, beside a gateway, is what it says."""
    monkeypatch.chdir(tmp_path)
    Path("chart.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with FakeGateway() as gateway:
        gateway.default = answer
        named(gateway)
        if name == "FakeGateway.replay":
            run(EXAMPLES["record"], gateway)
        run(EXAMPLES[name], gateway)


def run(example: doctest.DocTest, gateway: FakeGateway) -> None:
    """Run it with the public names at hand."""
    example.globs = {**NAMES, "gateway": gateway}
    said: list[str] = []
    flags = doctest.IGNORE_EXCEPTION_DETAIL if "Traceback" in (example.docstring or "") else 0
    runner = doctest.DocTestRunner(verbose=False, optionflags=flags)
    failed, _ = runner.run(example, out=said.append)
    assert not failed, "".join(said)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_is_a_block_of_code(name: str) -> None:
    """On the site, too: it is indented even when the docstring's own indent is taken away."""
    text = inspect.cleandoc(EXAMPLES[name].docstring or "")
    assert re.search("^    >>>", text, re.MULTILINE)
    assert not re.search("^>>>", text, re.MULTILINE), "a sentence has to stand beside it"


def test_what_people_use_is_shown_in_use() -> None:
    """The names that a program begins with have examples."""
    assert not SHOWN_IN_USE - EXAMPLES.keys()
