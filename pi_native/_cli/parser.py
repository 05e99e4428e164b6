"""The arguments."""

from __future__ import annotations

import argparse
import math
from typing import TypeAlias

from pi_native import __version__

from .ask import ask
from .batch import EPILOG, HELP, add_batch_arguments, batch
from .completion import completion
from .console import Console
from .doctor import doctor
from .fake import demo, fake_gateway
from .pages import health, models, usage

_EPILOG = """\
environment:
  PI_NATIVE_BASE_URL   the gateway, unless --base-url says it; else http://127.0.0.1:4000
  PI_NATIVE_API_KEY    its key, unless --api-key-file says it; else, for a gateway on this
                       host, what stands in ~/.omp/auth-gateway.token
  PI_NATIVE_MODEL      the model for `ask` and `doctor`, unless -m says it
  PI_NATIVE_LOG        debug, info, warning or error: log to stderr what each turn does

exit codes:
  0 done, 1 the turn or the gateway failed, 2 called the wrong way, 130 interrupted
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser; what it returns has the command's function in `run`, None without a command."""
    parser = argparse.ArgumentParser(
        prog="pi-native",
        description="Talk to a pi-native LLM gateway (omp auth-gateway).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_connection_options()],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pi-native {__version__}")
    parser.set_defaults(run=None, base_url=None, api_key_file=None, timeout=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    connection = _connection_options()
    _add_ask(commands, connection)
    _add_batch(commands, connection)
    _add_pages(commands, connection)
    _add_doctor(commands, connection)
    _add_fakes(commands)
    _add_completion(commands, parser)
    return parser


def _connection_options() -> argparse.ArgumentParser:
    """What every command for a gateway takes, before the command's name or after it.

    Without a default of their own: those of a command would hide what was given before its name.
    The parser and its commands need one each: setting a parser's defaults changes its options.
    """
    options = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    options.add_argument(
        "--base-url", metavar="URL", help="the gateway's address; else what PI_NATIVE_BASE_URL says"
    )
    options.add_argument(
        "--api-key-file",
        metavar="FILE",
        help="the file that holds the gateway's key; else it is what PI_NATIVE_API_KEY says",
    )
    options.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        help="give up when it has not finished by then",
    )
    return options


# argparse has no public name for it
_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add_ask(commands: _Commands, connection: argparse.ArgumentParser) -> None:
    text = "Ask a model, and show its answer as it comes."
    parser = commands.add_parser(
        "ask", help=text, description=text, parents=[connection], allow_abbrev=False
    )
    add = parser.add_argument
    add("prompt", metavar="PROMPT", nargs="?", help="what to ask; absent or -: read from stdin")
    add("-m", "--model", metavar="MODEL", help="PROVIDER/ID; else what PI_NATIVE_MODEL says")
    add("--system", metavar="TEXT", help="the system prompt")
    add(
        "--file", metavar="FILE", help="go on with the conversation in this file, and keep it there"
    )
    add(
        "--image",
        metavar="FILE",
        action="append",
        default=[],
        help="send an image along; repeatable",
    )
    add(
        "--thinking",
        action=argparse.BooleanOptionalAction,
        help="show the thinking too, on stderr, or dimmed where the extra [cli] draws",
    )
    add("--json", action="store_true", help="print the events as JSON, one a line")
    parser.set_defaults(run=ask)


def _add_batch(commands: _Commands, connection: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "batch",
        help=HELP,
        description=HELP,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[connection],
        allow_abbrev=False,
    )
    add_batch_arguments(parser.add_argument)
    parser.set_defaults(run=batch)


def _add_pages(commands: _Commands, connection: argparse.ArgumentParser) -> None:
    for run, text in (
        (models, "List the models that the gateway offers."),
        (health, "Tell whether the gateway is up, and its version."),
        (usage, "Show how much of the providers' limits is used."),
    ):
        parser = commands.add_parser(
            run.__name__, help=text, description=text, parents=[connection], allow_abbrev=False
        )
        parser.add_argument("--json", action="store_true", help="print JSON, one object a line")
        parser.set_defaults(run=run)
        if run is models:
            _add_filters(parser)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("words", metavar="WORD", nargs="*", help="only models with all these in their names")
    add(
        "--input",
        metavar="MODALITY",
        action="append",
        default=[],
        help="only models that take this, for example image; repeatable",
    )
    add("--context", metavar="TOKENS", type=_count, default=0, help="only with this much at least")


def _add_doctor(commands: _Commands, connection: argparse.ArgumentParser) -> None:
    text = "Tell where each setting comes from, and what is wrong: gateway, key or model."
    parser = commands.add_parser(
        "doctor", help=text, description=text, parents=[connection], allow_abbrev=False
    )
    text = "the model to look for, PROVIDER/ID; else what PI_NATIVE_MODEL says"
    parser.add_argument("-m", "--model", metavar="MODEL", help=text)
    parser.add_argument("--json", action="store_true", help="print JSON, one object in all")
    parser.set_defaults(run=doctor)


def _add_fakes(commands: _Commands) -> None:
    text = "Watch a fake gateway answer; needs no gateway and no key."
    parser = commands.add_parser("demo", help=text, description=text, allow_abbrev=False)
    parser.set_defaults(run=demo)
    text = "Serve a fake gateway to try things with, until Ctrl-C."
    parser = commands.add_parser("fake-gateway", help=text, description=text, allow_abbrev=False)
    parser.add_argument("--port", metavar="N", type=_port, default=0, help="default: any free one")
    parser.set_defaults(run=fake_gateway)


_LOADING = """\
to load it, in ~/.bashrc, in ~/.zshrc after compinit, or in config.fish:
  eval "$(pi-native completion bash)"
  eval "$(pi-native completion zsh)"
  pi-native completion fish | source
"""


def _add_completion(commands: _Commands, whole: argparse.ArgumentParser) -> None:
    text = "Print a script that has your shell complete commands and options."
    parser = commands.add_parser(
        "completion",
        help=text,
        description=text,
        epilog=_LOADING,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    shells = ["bash", "zsh", "fish"]
    parser.add_argument("shell", metavar="SHELL", choices=shells, help="bash, zsh or fish")

    def run(args: argparse.Namespace, console: Console) -> int:
        console.text(completion(args, whole))
        return 0

    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"not a number of seconds above 0: {text!r}")
    return seconds


def _count(text: str) -> int:
    if not (text.isdecimal() and text.isascii()):
        raise argparse.ArgumentTypeError(f"not a number of tokens: {text!r}")
    return int(text)


def _port(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"not a port number: {text!r}")
    return int(text)
