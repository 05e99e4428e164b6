"""The tests use the public names, except for unit tests, and read no source code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
FILES = {
    path.relative_to(TESTS).as_posix(): path
    for path in sorted(TESTS.rglob("*.py"))
    if "node_modules" not in path.parts
}

# Files outside tests/unit that use a private name, each with the reason.
PRIVATE = {
    "conftest.py": "closes the pooled connections before it looks for open sockets",
    "loopback/conftest.py": "shortens the wait before a retry",
    "loopback/connection/conftest.py": "lengthens the drain, and the time to send a request again",
    "loopback/connection/test_connections.py": "restores this limit for the test of it",
    "loopback/turn/test_retries.py": "shortens the wait for an error body",
    "loopback/batch/test_map.py": "shortens the wait before a retry",
    "loopback/platforms/test_interpreters.py": "removes the timer thread of earlier tests",
    "loopback/cancel/test_cancel.py": "cancels between the creation of a socket and its use",
    "loopback/cancel/test_real_threads.py": "starts a timer thread under patched threads",
    "loopback/observing/test_logging.py": "sets up the logger in this process",
    "loopback/turn/test_fuzz_corpus.py": "breaks each layer, which its target must notice",
    "loopback/turn/test_reading.py": "stops a turn where it discards events",
    "loopback/turn/test_transcripts.py": "compares with the decoder alone, at a fixed time",
}
SOURCE_READERS = {"getsource", "getsourcelines", "getsourcefile", "findsource"}


def private_names(path: Path) -> Iterator[str]:
    """Yield the private modules of the package that a file imports, or names in a string."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = node.value.split()
        else:
            continue
        yield from (name for name in names if name.startswith("pi_native._"))


def source_readers(path: Path) -> set[str]:
    """Return the functions of `inspect` that a file uses to read source code."""
    text = path.read_text(encoding="utf-8")
    if not any(name in text for name in SOURCE_READERS):
        return set()
    nodes = ast.walk(ast.parse(text))
    names = {getattr(node, "attr", getattr(node, "id", None)) for node in nodes}
    return SOURCE_READERS & names


def test_only_unit_tests_use_private_names() -> None:
    """A test outside tests/unit uses the public names, unless PRIVATE gives a reason."""
    found = {
        name: [used for used in private_names(path) if not used.startswith("pi_native.__")]
        for name, path in FILES.items()
        if not name.startswith("unit/") and name not in PRIVATE
    }
    assert {name: used for name, used in found.items() if used} == {}


def test_no_test_reads_source_code() -> None:
    """No test reads source code with `inspect`."""
    found = {name for name, path in FILES.items() if source_readers(path)}
    assert found == set()
