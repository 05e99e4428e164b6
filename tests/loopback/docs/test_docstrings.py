"""The examples in the docstrings run, and print the output that is shown."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import pi_native
from pi_native import testing
from pi_native.testing import FakeGateway, RecordedRequest, Reply

NAMES = {name: getattr(pi_native, name) for name in pi_native.__all__}
NAMES |= {name: getattr(testing, name) for name in testing.__all__}
CLOCK = pi_native.ToolCall("call_1", "clock", {"zone": "UTC"})
WITH_EXAMPLES = {
    "AbortController",
    "AbortSignal.any",
    "AbortSignal.timeout",
    "AssistantMessageEventStream",
    "Client",
    "Client.complete",
    "Client.stream",
    "Conversation",
    "Conversation.rounds",
    "Conversation.run",
    "EventStream",
    "FakeGateway",
    "FakeGateway.replay",
    "FunctionTool",
    "ImageContent.from_bytes",
    "ImageContent.from_file",
    "ImageContent.from_image",
    "ImageContent.from_url_bytes",
    "PiNativeError",
    "Rounds",
    "StreamOptions",
    "Tool",
    "from_wire",
    "record",
    "stream_pi_native",
    "to_wire",
    "tool",
}


def examples() -> Iterator[tuple[str, doctest.DocTest]]:
    """Yield each docstring that has an example, with the name of its object."""
    finder = doctest.DocTestFinder()
    for name, value in NAMES.items():
        if isinstance(value, type):  # a public class names the package as its module
            for cls in value.__mro__:
                if cls.__module__.startswith("pi_native"):
                    for test in finder.find(cls, name, False):
                        # Of a base class the methods, not what it says of itself.
                        if test.examples and (cls is value or test.name != name):
                            yield test.name, test
    for module in modules():
        for test in finder.find(module, module.__name__):
            if test.examples:
                yield test.name.removeprefix(f"{module.__name__}."), test


def modules() -> Iterator[ModuleType]:
    """Yield the modules of the package, except integrations of libraries that are not installed."""
    for module in pkgutil.walk_packages(pi_native.__path__, "pi_native."):
        if module.name.endswith("__main__"):
            continue
        try:
            yield importlib.import_module(module.name)
        except ModuleNotFoundError:
            if not module.name.startswith("pi_native.integrations."):
                raise


EXAMPLES = dict(examples())


def answer(request: RecordedRequest) -> Reply:
    """Return the answer of a model: one model fails, one calls a tool."""
    if request.messages[-1]["role"] == "toolResult":
        return Reply("It is half past nine.")
    return {
        "acme/broken": Reply("Because", error_message="overloaded"),
        "acme/clocks": Reply("", tool_calls=[CLOCK]),
    }.get(request.model, Reply("Because of the air."))


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_runs(
    name: str, named: Callable[..., FakeGateway], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An example prints the output that the docstring shows."""
    monkeypatch.chdir(tmp_path)
    Path("chart.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with FakeGateway() as gateway:
        gateway.default = answer
        named(gateway)
        if name == "FakeGateway.replay":
            run(EXAMPLES["record"], gateway)
        run(EXAMPLES[name], gateway)


def run(example: doctest.DocTest, gateway: FakeGateway) -> None:
    """Run an example in which the public names are defined."""
    example.globs = {**NAMES, "gateway": gateway}
    report: list[str] = []
    flags = doctest.IGNORE_EXCEPTION_DETAIL if "Traceback" in (example.docstring or "") else 0
    runner = doctest.DocTestRunner(verbose=False, optionflags=flags)
    failed, _ = runner.run(example, out=report.append)
    assert not failed, "".join(report)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_is_a_block_of_code(name: str) -> None:
    """An example is indented, so that the site renders it as code."""
    text = inspect.cleandoc(EXAMPLES[name].docstring or "")
    assert re.search("^    >>>", text, re.MULTILINE)
    assert not re.search("^>>>", text, re.MULTILINE), "indent the example below a sentence"


def test_the_names_that_programs_start_with_have_examples() -> None:
    """Each of these names has an example in its docstring."""
    assert WITH_EXAMPLES - EXAMPLES.keys() == set()
