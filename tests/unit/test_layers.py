"""The package's folders import in one direction, and each dependency has one place."""

from __future__ import annotations

import ast
import functools
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import pi_native

from ..programs import run

PACKAGE = Path(pi_native.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LIBRARIES = {"cattrs", "sseclient", "IPython", "opentelemetry", "yaml", "urllib3", "requests"}

# Each may import from those before it.
ORDER = [
    "_hints",
    "errors",
    "_threads",
    "_types",
    "_protocol",
    "_http",
    "_turn",
    "_notebook",
    "the client",
    "_schemas",
    "_tools",
    "_batch",
    "testing",
    "_cli",
    "integrations",
]
CLIENT = {
    "__init__",
    "_client",
    "_config",
    "_conversation",
    "_conversation_file",
    "_models_yml",
    "_prompts",
}

# Objects show and write themselves; the code for that knows all classes and is imported on use.
LATE = {
    ("errors", "_notebook"),
    ("_types.base", "_protocol"),
    ("_types.content", "_notebook"),
    ("_types.gateway", "_notebook"),
    ("_types.messages", "_notebook"),
    ("_turn.stream", "_notebook"),
}
# The methods for batches and extractions import the code for them on use.
LATER = {
    ("_client.client", "_batch"),
    ("__init__", "_batch"),
    ("_client.client", "_tools"),
    ("_conversation", "_tools"),
    ("__init__", "integrations"),
    ("_prompts", "_tools"),
    ("__init__", "_tools"),
}

USERS = {
    "cattrs": {"_protocol.convert"},
    "sseclient": {"_protocol.sse"},
    "IPython": {"_notebook.display", "integrations._magic"},
    "markdown_it": {"_notebook.sanitize"},
    "opentelemetry": {"_turn.telemetry"},
    "yaml": {"_models_yml"},
    "langchain_core": {
        "integrations.langchain._answers",
        "integrations.langchain._chat_model",
        "integrations.langchain._messages",
    },
    "llm": {
        "integrations.llm.__init__",
        "integrations.llm._answers",
        "integrations.llm._keys",
        "integrations.llm._messages",
        "integrations.llm._model",
        "integrations.llm._model_list",
        "integrations.llm._options",
    },
    "urllib3": {"_http.adapter", "_http.errors", "_http.gateway_response"},
    "requests": {
        "_http.adapter",
        "_http.errors",
        "_http.gateway_response",
        "_http.route",
        "_http.transport",
    },
}


def module_name(path: Path) -> str:
    """Return the name of a file's module below the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def group(module: str) -> str:
    """Return the entry of ORDER that a module belongs to."""
    first = module.partition(".")[0]
    if first == "__main__":
        return "_cli"
    return "the client" if first in CLIENT else first


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """Return the modules that a file imports, except those that only a type checker sees."""
    return tuple(all_imports(path))


def all_imports(path: Path) -> Iterator[str]:
    """Yield them; parsing takes a while."""
    nodes: list[ast.AST] = [*ast.parse(path.read_text(encoding="utf-8")).body]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes += node.orelse
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from absolute(node, path)
        else:
            nodes += ast.iter_child_nodes(node)


def absolute(node: ast.ImportFrom, path: Path) -> Iterator[str]:
    """Yield the absolute names of what a `from … import …` imports."""
    parts = ["pi_native", *path.relative_to(PACKAGE).parent.parts]
    above = parts[: len(parts) - node.level + 1] if node.level else []
    base = ".".join([*above, *([node.module] if node.module else [])])
    if node.module is None or base == "pi_native":
        yield from (f"{base}.{alias.name}" for alias in node.names)
    else:
        yield base


def inner_imports(path: Path) -> Iterator[str]:
    """Yield the modules of this package that a file imports, without the package's name."""
    for name in imports(path):
        package, _, module = name.partition(".")
        if package == "pi_native":
            yield module


def test_every_folder_has_its_place_in_the_order() -> None:
    """ORDER names each folder and module at the top of the package, and no other."""
    assert {group(module_name(path)) for path in FILES} == set(ORDER)


def test_a_folder_holds_at_most_14_modules() -> None:
    """No folder has more modules than a reader can keep in mind."""
    folders = {path.parent for path in FILES}
    sizes = {
        folder.name: len([path for path in folder.glob("*.py") if path.stem != "__init__"])
        for folder in folders
    }
    assert {name: size for name, size in sizes.items() if size > 14} == {}


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_in_one_direction(path: Path) -> None:
    """A module imports from its own folder and from those before it in ORDER."""
    module = module_name(path)
    for imported in inner_imports(path):
        target = group(imported)
        if target not in ORDER or (module, target) in LATE | LATER:
            continue  # a public name of the package itself
        assert ORDER.index(target) <= ORDER.index(group(module)), f"{module} imports {imported}"


def test_no_circle_among_the_modules_of_a_package() -> None:
    """No module imports itself through others of its package, also not on use."""
    names = {module_name(path) for path in FILES}
    graph = {
        module_name(path): {
            name
            for name in inner_imports(path)
            if name in names and group(name) == group(module_name(path))
        }
        for path in FILES
    }
    graphlib.TopologicalSorter(graph).prepare()  # a CycleError names the modules


@pytest.mark.parametrize("dependency", sorted(USERS))
def test_a_dependency_is_imported_in_one_place(dependency: str) -> None:
    """Only the modules that USERS names import a library."""
    users = {
        module_name(path)
        for path in FILES
        if group(module_name(path)) not in ("testing", "_cli")
        and any(name.partition(".")[0] == dependency for name in imports(path))
    }
    assert users == USERS[dependency]


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if group(module_name(path)) in ("_types", "_protocol")],
    ids=module_name,
)
def test_types_and_decoding_are_pure(path: Path) -> None:
    """From bytes to events there is no socket, no thread, no clock and no HTTP."""
    names = {name.partition(".")[0] for name in imports(path)}
    assert not names & {"socket", "threading", "select", "ssl", "http", "urllib3", "requests"}


@pytest.mark.parametrize("folder", ["_cli", "testing", "integrations"])
def test_front_ends_use_the_public_names(folder: str) -> None:
    """These packages import what any user may, except for the recorder."""
    allowed = {("testing._recording.record", "_http.observer")}
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        for name in inner_imports(path):
            private = name.startswith("_") and not name.startswith(("_cli", "__version__"))
            assert not private or (module_name(path), name) in allowed, f"{path.name}: {name}"


def test_importing_the_package_loads_no_extra() -> None:
    """After `import pi_native` neither a front end nor an optional library is loaded."""
    code = "import sys, pi_native; print(*sys.modules)"
    loaded = run(code).stdout.split()
    assert "pi_native._client" in loaded
    unwanted = {"yaml", "rich", "IPython", "opentelemetry", "argparse", "pytest"}
    unwanted |= {"llm", "pydantic", "langchain_core", "click", "openai", "flask", "django"}
    assert not unwanted & set(loaded)
    assert not {"pi_native._cli", "pi_native.testing", "pi_native.integrations"} & set(loaded)


def test_no_class_name_is_used_twice() -> None:
    """A class name has one meaning in the whole package."""
    names = [
        node.name
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    allowed = {"Outcome"}  # of a turn and of a batch's unit of work
    assert {name for name in names if names.count(name) > 1} <= allowed
