"""The checks of the project, each in an environment of its own: `nox -l` lists them.

CI and `.ci/run` call these sessions, so that a check has one definition.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["lint", "types", "test-3.11"]
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14", "3.14t", "3.15"]
MAIN = "3.11"
# Tests wait for sockets and processes about as long as they compute.
WORKERS = str((os.cpu_count() or 1) + 2)
TESTS = ("-q", "-n", WORKERS, "--dist", "loadgroup")
EVERYWHERE = "not gateway and not browser and not boxes and not omp"


@nox.session(python=MAIN)
def lint(session: nox.Session) -> None:
    """Check the style and the format with ruff."""
    session.install("ruff>=0.6")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=MAIN)
def types(session: nox.Session) -> None:
    """Check the types with four type checkers, and that the public names have complete types."""
    # Not editable: pyright looks for py.typed in the installed package. The base class of
    # ChatPiNative is that of LangChain, and without it its type is not complete.
    _remove_build()
    session.install(".[dev,integrations]")
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "pi_native", "--ignoreexternal")
    for checker in ("ty", "pyrefly"):  # as users run them
        session.run(checker, "check", "tests/typing/thirty_uses.py")


@nox.session(python=PYTHONS)
def test(session: nox.Session) -> None:
    """Run the fast and the slow tests that need nothing but Python."""
    session.install("-e", ".[test]")
    _pytest(session, "-m", EVERYWHERE)


@nox.session(python="3.14t")
def stress(session: nox.Session) -> None:
    """Run many threads on one client for a minute, without the GIL."""
    session.install("-e", ".[test]")
    session.run(
        *("python", "-m", "pytest", "-q", "-n", "0", "-m", "", "-s", "tests/loopback/platforms"),
        env={"PYTHON_GIL": "0", "PI_NATIVE_STRESS_SECONDS": "60"},
    )


@nox.session(python="3.10", name="test-lowest")
def test_lowest(session: nox.Session) -> None:
    """Run these tests with the lowest versions that setup.cfg allows, on the oldest Python."""
    session.install("-e", ".[test]")
    lowest = session.run("python", ".ci/lowest.py", "setup.cfg", silent=True)
    session.install(*str(lowest).split())
    session.run("python", ".ci/lowest.py", "setup.cfg", "--check")
    _pytest(session, "-m", EVERYWHERE)


@nox.session(python=MAIN, name="test-all")
def test_all(session: nox.Session) -> None:
    """Run all tests, with the real gateway, a terminal and a browser, and check the coverage."""
    session.install("-e", ".[dev,browser,integrations]")
    _install_gateway(session)
    _pytest(
        session,
        *("-m", "", "--cov", "--cov-report=term"),
        env={
            "PI_NATIVE_REQUIRE_GATEWAY": "1",
            # Not create_tmp, which sets TMPDIR: below the checkout, the tests that start pytest
            # would read pyproject.toml.
            "COVERAGE_FILE": str(Path(session.virtualenv.location, "coverage").resolve()),
        },
    )


@nox.session(python=MAIN)
def frameworks(session: nox.Session) -> None:
    """Run the examples with other libraries: OpenAI-compatible ones, web servers, task queues."""
    # uv: pip took 4 minutes to choose the versions and compile them, uv took 10 seconds.
    session.install("uv")
    requirements = ("-e", ".[test]", "-r", "tests/frameworks/requirements.txt")
    python = ("--python", str(Path(session.virtualenv.location).resolve()))
    session.run("uv", "pip", "install", *python, *requirements)
    _install_gateway(session)
    paths = ("tests/frameworks", "tests/gateway/test_recipes.py")
    env = {"PI_NATIVE_REQUIRE_GATEWAY": "1", "PI_NATIVE_REQUIRE_FRAMEWORKS": "1"}
    _pytest(session, "-m", "", *paths, env=env)


@nox.session(python=MAIN)
def omp(session: nox.Session) -> None:
    """Install the real command line omp (720 MB, on Linux x86-64), and run the tests beside it."""
    session.install("-e", ".[test]")
    folder = Path(session.cache_dir, "omp").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "natives.ts"):
        shutil.copy(Path("tests", "omp", name), folder)
    install = ("npm", "ci", "--omit=optional", "--ignore-scripts")
    with session.chdir(folder):
        session.run(*install, "--no-audit", "--no-fund", "--loglevel=error", external=True)
    session.run(
        *(*_loopback_only(session), "python", "-m", "pytest", "tests/omp", "-m", "omp", "-n", "0"),
        *session.posargs,
        env={"PI_NATIVE_OMP": str(folder)},
        external=True,
    )


def _loopback_only(session: nox.Session) -> tuple[str, ...]:
    """Return the beginning of a command that runs it without a network but loopback.

    omp asks servers for lists of models, and its default port may be in use.
    """
    command = ("unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    try:
        session.run(*command, "true", external=True, silent=True)
    except CommandFailed:
        session.log("unshare does not work here: omp runs with the network of this machine")
        return ()
    return command


@nox.session(python=MAIN)
def docs(session: nox.Session) -> None:
    """Build the site without a warning, and check that the reference names the fields."""
    session.install("-e", ".[docs]", "ruff>=0.6")
    site = Path(session.create_tmp(), "site").resolve()
    session.run(
        *("mkdocs", "build", "--quiet", "--strict", "--site-dir", str(site)),
        env={"NO_MKDOCS_2_WARNING": "1"},
    )
    # The fields of attrs classes are no arguments in the source: docs/fields.py adds them.
    for page, field in (("client", "stop_sequences"), ("types", "tool_call_id")):
        text = Path(site, "reference", page, "index.html").read_text(encoding="utf-8")
        if field not in text:
            session.error(f"reference/{page} does not mention {field}")


@nox.session(python=MAIN)
def screenshots(session: nox.Session) -> None:
    """Make the screenshots of the site again; needs tmux and Chromium."""
    session.install("-e", ".[test,cli,jupyter,browser]")
    session.run("python", "docs/screenshots.py", *session.posargs)


@nox.session(python=MAIN)
def package(session: nox.Session) -> None:
    """Build the wheel, install it, and use it outside the checkout."""
    _remove_build()
    folder = Path(session.create_tmp()).resolve()
    session.install("pip")
    session.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), ".")
    session.install("--force-reinstall", *map(str, folder.glob("*.whl")))
    with session.chdir(folder):
        session.run("pi-native", "--version")
        session.run("pi-native", "demo", silent=True)
        session.run("python", "-c", _TYPED)


_TYPED = """
import pathlib, pi_native
folder = pathlib.Path(pi_native.__file__).parent
assert "site-packages" in folder.parts, folder
assert (folder / "py.typed").exists()
"""


@nox.session(python=MAIN)
def bench(session: nox.Session) -> None:
    """Measure what a turn costs, here and in other clients; arguments go to the benchmarks."""
    session.install("-e", ".", "-r", "benchmarks/requirements.txt")
    session.run("python", "-m", "benchmarks", *session.posargs)


def _pytest(session: nox.Session, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Run the tests, and those that fail once more, alone.

    Many tests wait for threads, sockets and processes. Beside others on a busy machine one can miss
    its time; a test that also fails alone fails the session. The log names both.
    """
    cache = Path(session.virtualenv.location, "pytest-cache").resolve()
    pytest = ("python", "-m", "pytest", "-o", f"cache_dir={cache}")
    try:
        session.run(*pytest, *TESTS, *arguments, *session.posargs, env=env)
    except CommandFailed:
        session.log("running the tests that failed again, alone")
        again = ("--last-failed", "--last-failed-no-failures", "none", "-q", "-n", "0", "-m", "")
        session.run(*pytest, *again, env=env)


def _install_gateway(session: nox.Session) -> None:
    with session.chdir("tests/gateway"):
        session.run("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", external=True)


def _remove_build() -> None:
    """Remove the folder of setuptools: it may hold modules that were moved or deleted since."""
    shutil.rmtree("build", ignore_errors=True)
