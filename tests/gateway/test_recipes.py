"""The examples of docs/other-frameworks.md, each with its library, at the real gateway.

`nox -s frameworks` installs the libraries; without one of them its example is skipped.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import Any

import pytest
from launch import Gateway

from tests.loopback.docs.test_docs import DOCS, Example, check_output, examples_of

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

PAGE = DOCS / "other-frameworks.md"
MODEL = "anthropic/claude-sonnet-4-5"
BREAK = "-----\n"
# The first import of LlamaIndex took 48 s on a busy machine.
PATIENCE_SECONDS = 240


def libraries() -> dict[str, list[Example]]:
    """Return the examples of each library."""
    found: dict[str, list[Example]] = {}
    for example in examples_of(PAGE):
        found.setdefault(str(example.needs), []).append(example)
    return found


def need(library: str) -> None:
    """Skip the test if the library is not installed; this process does not import it."""
    if not importlib.util.find_spec(library):
        pytest.skip(f"{library} is not installed: nox -s frameworks installs it")


def run(gateway: Gateway, source: str) -> str:
    """Run a program against the gateway, without the network, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", source],
        env={**os.environ, "PI_NATIVE_API_KEY": gateway.token, "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_this_gateway(gateway: Gateway, source: str, model: str = "fake/agent") -> str:
    """Return the source with the address of the gateway, and with a model that it has."""
    return source.replace("http://127.0.0.1:4000", gateway.url).replace(MODEL, model)


@pytest.mark.parametrize("library", libraries())
def test_an_example_prints_the_output_that_is_shown(gateway: Gateway, library: str) -> None:
    """The examples of a library run one after the other, and each prints what the page shows."""
    need(library)
    examples = libraries()[library]
    source = f"\nprint({BREAK.strip()!r})\n".join(example.source for example in examples)
    printed = run(gateway, on_this_gateway(gateway, source)).split(BREAK)
    for example, text in zip(examples, printed, strict=True):
        check_output(example, text, library)


def setup_of(library: str, before: str) -> str:
    """Return the first example of a library up to the line that starts with `before`."""
    source = libraries()[library][0].source
    assert f"\n{before}" in source
    return source.partition(f"\n{before}")[0] + "\n"


def failure_of(gateway: Gateway, upstream: Any, source: str) -> str:
    """Return the class of the exception of a program; check that no schema was sent."""
    source = on_this_gateway(gateway, source)
    body = "\n    ".join(source.splitlines())
    printed = run(gateway, f"try:\n    {body}\nexcept Exception as exc:\n    print(type(exc))")
    assert upstream.calls
    assert all("response_format" not in call["body"] for call in upstream.calls)
    return printed


class TestWithoutResponseFormat:
    def test_openai_parse_fails(self, gateway, upstream):
        """`parse` raises, because the model answers with a text."""
        need("openai")
        source = setup_of("openai", "answer = ") + (
            "from pydantic import BaseModel\n"
            "class City(BaseModel):\n    city: str\n"
            "client.chat.completions.parse(\n"
            "    model=model, messages=messages, response_format=City)\n"
        )
        assert "ValidationError" in failure_of(gateway, upstream, source)

    @pytest.mark.parametrize("mode", ["JSON", "JSON_SCHEMA"])
    def test_instructor_in_another_mode_fails(self, gateway, upstream, mode):
        """A mode of instructor that relies on `response_format` raises."""
        need("instructor")
        [example] = libraries()["instructor"]
        source = example.source.replace("Mode.TOOLS", f"Mode.{mode}")
        source = source.replace("response_model=City,", "response_model=City, max_retries=1,")
        assert "RetryException" in failure_of(gateway, upstream, source)

    def test_the_native_output_of_pydantic_ai_fails(self, gateway, upstream):
        """`NativeOutput` raises, because the model answers with a text."""
        need("pydantic_ai")
        [example] = libraries()["pydantic_ai"]
        source = example.source.replace("output_type=City", "output_type=NativeOutput(City)")
        source = source.replace("Agent\n", "Agent, NativeOutput\n", 1)
        assert "UnexpectedModelBehavior" in failure_of(gateway, upstream, source)


def test_the_retries_of_openai_multiply_those_of_the_gateway(gateway, upstream):
    """With the default of `openai`, a 429 makes three requests and six calls of the provider."""
    need("openai")
    source = setup_of("openai", "answer = ").replace("    max_retries=0,\n", "")
    source += "client.chat.completions.create(model=model, messages=messages)\n"
    source = on_this_gateway(gateway, source, "fake/429")
    with pytest.raises(AssertionError, match="InternalServerError"):
        run(gateway, source)
    assert (len(upstream.requests), len(upstream.calls)) == (3, 6)


def test_llama_index_refuses_an_unknown_model(gateway):
    """The class `OpenAI` of LlamaIndex raises for a model of the gateway."""
    need("llama_index")
    source = libraries()["llama_index"][0].source
    source = source.replace("openai_like", "openai").replace("OpenAILike(", "OpenAI(")
    source = source.replace("import OpenAILike", "import OpenAI")
    for name in ("is_chat_model", "is_function_calling_model", "context_window"):
        source = "".join(s for s in source.splitlines(keepends=True) if name not in s)
    with pytest.raises(AssertionError, match="Unknown model"):
        run(gateway, on_this_gateway(gateway, source))


def test_the_libraries_of_the_session_are_those_of_the_page() -> None:
    """Each library of the page is installed by `nox -s frameworks`, or none of them is."""
    installed = {name for name in libraries() if importlib.util.find_spec(name)}
    if os.environ.get("PI_NATIVE_REQUIRE_FRAMEWORKS") == "1":
        assert installed == set(libraries())
