"""The house is built as ARCHITECTURE.md says: layers, and one door for each dependency."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..programs import run

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "pi_native"
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
FRONT_ENDS = ("_cli", "testing")
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__"))
DOORS = {
    "cattrs": {"_convert"},
    "sseclient": {"_sse"},
    "IPython": {"_notebook"},
    "opentelemetry": {"_telemetry"},
    "yaml": {"_models_yml"},
    "urllib3": {"_sockets", "_failures", "_answer"},
    "requests": {"_sockets", "_failures", "_answer", "_http"},
}


def layers() -> dict[str, int]:
    """Each module's layer, as the page's table has it."""
    found: dict[str, int] = {}
    for number, names in re.findall(r"^\| (\d) [^|]+\| ([^|]+) \|", PAGE, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            assert name not in found, f"{name} is in two layers"
            found[name] = int(number)
    return found


LAYERS = layers()


def imports_of(path: Path, *, lazy: bool = True) -> Iterator[str]:
    """The modules that a file imports for its work, but for those a type checker alone sees."""
    nodes = [*ast.parse(path.read_text(encoding="utf-8")).body]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes += node.orelse
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from _from(node)
        elif lazy or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            nodes += ast.iter_child_nodes(node)


def _from(node: ast.ImportFrom) -> Iterator[str]:
    dots = "." * node.level
    if node.module is None:
        yield from (dots + alias.name for alias in node.names)
    else:
        yield dots + node.module


def test_every_module_has_its_layer() -> None:
    """The table names each module of the package, and none that is not there."""
    beside = {"pi_native_pytest"}
    assert LAYERS.keys() == {*MODULES, *FRONT_ENDS} | beside
    assert all((PACKAGE / name).is_dir() for name in FRONT_ENDS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module: str) -> None:
    """A module imports from lower layers, and from those of its own that do not import it back."""
    for name in imports_of(PACKAGE / f"{module}.py"):
        if name.startswith("."):
            below = name.lstrip(".").partition(".")[0]
            assert LAYERS[below] <= LAYERS[module], f"{module} imports {below}, which is above"


def test_no_two_modules_import_each_other() -> None:
    """There is an order in which the modules can be imported, one after the other."""
    needs = {
        module: {
            name.lstrip(".").partition(".")[0]
            for name in imports_of(PACKAGE / f"{module}.py")
            if name.startswith(".")
        }
        for module in MODULES
    }
    while needs:
        ready = {module for module, below in needs.items() if not below & needs.keys()}
        assert ready, f"a cycle among {sorted(needs)}"
        for module in ready:
            del needs[module]


@pytest.mark.parametrize("dependency", DOORS)
def test_a_dependency_has_one_door(dependency: str) -> None:
    """Only the modules that the page names import it."""
    users = {
        module
        for module in MODULES
        for name in imports_of(PACKAGE / f"{module}.py")
        if name.partition(".")[0] == dependency
    }
    assert users == DOORS[dependency]


@pytest.mark.parametrize("module", [name for name, layer in LAYERS.items() if layer in (1, 2)])
def test_the_core_is_pure(module: str) -> None:
    """From bytes to outcome there is no socket, no thread and no HTTP."""
    path = PACKAGE / f"{module}.py"
    names = {name.partition(".")[0] for name in imports_of(path)}
    assert not names & {"socket", "threading", "select", "ssl", "http", "urllib3", "requests"}


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_front_ends_use_the_public_names(front_end: str) -> None:
    """What they import is what anybody may; the recorder looks on, and TLS threads mind a fork."""
    allowed = {("_record", "pi_native._tap"), ("_connection", "pi_native._forks")}
    for path in sorted((PACKAGE / front_end).glob("*.py")):
        for name in imports_of(path):
            if name.startswith(".."):
                name = f"pi_native.{name.lstrip('.')}"
            private = name.startswith("pi_native._") and not name.startswith("pi_native._cli")
            assert not private or (path.stem, name) in allowed, path


def test_importing_the_package_loads_no_more_than_it_needs() -> None:
    """Neither cattrs nor a front end nor an extra is there after `import pi_native`."""
    code = "import sys, pi_native; print(*sys.modules)"
    loaded = run(code).stdout.split()
    assert "pi_native._client" in loaded
    unwanted = {"cattrs", "yaml", "rich", "IPython", "opentelemetry", "argparse", "pytest"}
    assert not unwanted & set(loaded)
    assert not {"pi_native._cli", "pi_native.testing"} & set(loaded)
