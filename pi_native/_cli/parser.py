"""Define the arguments of every command."""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from pi_native import __version__

from .ask import ask
from .batch import EPILOG as BATCH_EPILOG, HELP as BATCH_HELP, add_batch_arguments, batch
from .chat.command import chat
from .completion import Completers, completion_script
from .console import Console
from .doctor import doctor
from .fake import demo, fake_gateway
from .inputs import parse_option
from .pages import health, models, usage

_EPILOG = """\
environment:
  PI_NATIVE_BASE_URL   the gateway, without --base-url; default http://127.0.0.1:4000
  PI_NATIVE_API_KEY    its key, without --api-key-file; for a gateway on this host the
                       default is the content of ~/.omp/auth-gateway.token
  PI_NATIVE_MODEL      the model of `ask`, `chat` and `doctor`, without -m
  PI_NATIVE_LOG        debug, info, warning or error: log each turn to stderr
  NO_COLOR             use no colours in the terminal

exit codes:
  0 done, 1 the turn or the gateway failed, 2 wrong usage, 130 interrupted
"""

_ASK_EPILOG = """\
examples:
  pi-native ask -m anthropic/claude-sonnet-4-5 Why is the sky blue?
  git diff | pi-native ask "Review this."
  pi-native ask -c "And at dusk?"
  pi-native ask -o top_p=0.9 -o 'stop_sequences=["END"]' "Tell a story."
"""

_LOADING = """\
to load it, in ~/.bashrc, in ~/.zshrc after compinit, or in config.fish:
  eval "$(pi-native completion bash)"
  eval "$(pi-native completion zsh)"
  pi-native completion fish | source
"""

_REASONING = ["minimal", "low", "medium", "high", "xhigh", "max"]
_SHELLS = ["bash", "zsh", "fish"]

# argparse has no public name for this class.
_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
_Add: TypeAlias = "Callable[..., object]"


def build_parser(completers: Completers | None = None) -> argparse.ArgumentParser:
    """Return the parser; its result has the function of the command in `run`, or None.

    `completers` are attached to the arguments with these metavars, for a completion script.
    """
    parser = argparse.ArgumentParser(
        prog="pi-native",
        description="Talk to a pi-native LLM gateway (omp auth-gateway).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pi-native {__version__}")
    parser.set_defaults(run=None, base_url=None, api_key_file=None, timeout=None)
    known = completers or {}
    _add_connection_options(_adder(parser, known))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_ask(commands, known)
    _add_chat(commands, known)
    add_batch_arguments(_add_command(commands, known, batch, BATCH_HELP, epilog=BATCH_EPILOG))
    _add_queries(commands, known)
    _add_doctor(commands, known)
    _add_fakes(commands, known)
    _add_completion(commands, known)
    return parser


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; the words of a prompt may stand before and after options.

    Raises `SystemExit` as argparse does.
    """
    args, rest = parser.parse_known_args(argv)
    if rest:
        words = [word for word in rest if not word.startswith("-") or word == "-"]
        if args.run is not ask or words != rest:
            unknown = " ".join(word for word in rest if word not in words) or " ".join(rest)
            getattr(args, "parser", parser).error(f"unrecognized arguments: {unknown}")
        args.prompt += words
    return args


def _adder(parser: Any, completers: Completers) -> _Add:
    """Return `parser.add_argument`, which also sets the completer of the metavar."""

    def add(*names: str, **settings: Any) -> None:
        action = parser.add_argument(*names, **settings)
        if action.metavar in completers:
            action.complete = completers[action.metavar]

    return add


def _add_command(
    commands: _Commands,
    completers: Completers,
    run: Callable[[argparse.Namespace, Console], int],
    text: str,
    *,
    connects: bool = True,
    epilog: str | None = None,
) -> _Add:
    """Add the command of a function, and return the function that adds its arguments."""
    parser = commands.add_parser(
        run.__name__.replace("_", "-"),
        help=text,
        description=text,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    if connects:
        _add_connection_options(_adder(parser, completers))
    return _adder(parser, completers)


def _add_connection_options(add: _Add) -> None:
    """Add the options that may stand before the command and after it.

    They have no default here: the default of a command would replace a value from before its name.
    """
    add = functools.partial(add, default=argparse.SUPPRESS)
    add("--base-url", metavar="URL", help="the gateway's address; default: PI_NATIVE_BASE_URL")
    add(
        "--api-key-file",
        metavar="FILE",
        help="a file with the gateway's key; default: the key in PI_NATIVE_API_KEY",
    )
    add("--timeout", metavar="SECONDS", type=_seconds, help="fail when it takes longer than this")


def _add_turn_options(add: _Add) -> None:
    """Add the options that `ask` and `chat` share, except those in groups."""
    add("-m", "--model", metavar="MODEL", help="PROVIDER/ID; default: PI_NATIVE_MODEL")
    add("-s", "--system", metavar="TEXT", help="the system prompt")
    add("--reasoning", choices=_REASONING, help="how much the model thinks before it answers")
    add("--max-tokens", metavar="N", type=_positive, help="the limit of output tokens")
    add("--temperature", metavar="T", type=_temperature, help="0 for the most likely answer")
    add(
        "-o",
        dest="options",
        metavar="NAME=VALUE",
        action="append",
        type=parse_option,
        default=[],
        help="any other option of a turn, such as top_p=0.9; VALUE is JSON or text; repeatable",
    )
    add(
        "--thinking",
        action=argparse.BooleanOptionalAction,
        help="show the thinking that --reasoning asks for: dimmed in a terminal with the extra "
        "[cli], else on stderr; default: only where it is dimmed",
    )
    add("--plain", action="store_true", help="show Markdown as it is, also in a terminal")


def _add_file_options(group: argparse.ArgumentParser, completers: Completers) -> None:
    files = group.add_mutually_exclusive_group()
    add = _adder(files, completers)
    add(
        "-c",
        "--continue",
        dest="continue_last",
        action="store_true",
        help="continue the last conversation, by default with its model",
    )
    add("--file", metavar="FILE", help="continue the conversation in this file, and save it there")


def _add_ask(commands: _Commands, completers: Completers) -> None:
    text = "Ask a model, and show its answer as it arrives."
    add = _add_command(commands, completers, ask, text, epilog=_ASK_EPILOG)
    add(
        "prompt",
        metavar="PROMPT",
        nargs="*",
        help="the question, in one or more words; text on stdin follows it, and replaces it when "
        "it is absent or -",
    )
    _add_turn_options(add)
    add(
        "--image",
        metavar="FILE",
        action="append",
        default=[],
        help="send an image with the prompt; repeatable",
    )
    parser = commands.choices["ask"]
    _add_file_options(parser, completers)
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument(
        "--json", action="store_true", help="print the finished message as one JSON object"
    )
    formats.add_argument(
        "--events", action="store_true", help="print each event as a line of JSON, as it arrives"
    )


def _add_chat(commands: _Commands, completers: Completers) -> None:
    text = "Chat with a model: Ctrl-C stops an answer, Ctrl-D leaves."
    add = _add_command(commands, completers, chat, text)
    _add_turn_options(add)
    add(
        "--tools",
        metavar="FILE",
        help="a Python file; its functions with @tool may be called by the model. The file is run",
    )
    _add_file_options(commands.choices["chat"], completers)


def _add_queries(commands: _Commands, completers: Completers) -> None:
    for run, text in (
        (models, "List the models that the gateway offers."),
        (health, "Show whether the gateway is up, and its version."),
        (usage, "Show how much of the providers' limits is used."),
    ):
        add = _add_command(commands, completers, run, text)
        if run is models:
            _add_filters(add)
        add("--json", action="store_true", help="print JSON, one object a line")


def _add_filters(add: _Add) -> None:
    add("words", metavar="WORD", nargs="*", help="only models with all these words in their names")
    add(
        "--input",
        metavar="MODALITY",
        action="append",
        default=[],
        help="only models that take this, for example image; repeatable",
    )
    add("--context", metavar="TOKENS", type=_count, default=0, help="only with this much context")
    add("--kind", metavar="KIND", default="chat", help="chat, image, embedding, ...; default: chat")
    add("--all", action="store_true", help="models of every kind")
    add("--ids", action="store_true", help="print only the names for -m, one a line")


def _add_doctor(commands: _Commands, completers: Completers) -> None:
    text = "Show where each setting comes from, and what is wrong: gateway, key or model."
    add = _add_command(commands, completers, doctor, text)
    add("-m", "--model", metavar="MODEL", help="the model to look for; default: PI_NATIVE_MODEL")
    add("--json", action="store_true", help="print one JSON object")


def _add_fakes(commands: _Commands, completers: Completers) -> None:
    text = "Show the answer of a fake gateway; needs no gateway and no key."
    _add_command(commands, completers, demo, text, connects=False)
    text = "Serve a fake gateway for experiments, until Ctrl-C."
    add = _add_command(commands, completers, fake_gateway, text, connects=False)
    add("--port", metavar="N", type=_port, default=0, help="default: any free port")


def _add_completion(commands: _Commands, completers: Completers) -> None:
    def completion(args: argparse.Namespace, console: Console) -> int:
        console.line(completion_script(args.shell, build_parser))
        return 0

    text = "Print a script that lets a shell complete commands, options, models and files."
    add = _add_command(commands, completers, completion, text, connects=False, epilog=_LOADING)
    add("shell", metavar="SHELL", choices=_SHELLS, help="bash, zsh or fish")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _seconds(text: str) -> float:
    if not 0 < (seconds := _number(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, not {text!r}")
    return seconds


def _temperature(text: str) -> float:
    if not 0 <= (temperature := _number(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of 0 or more, not {text!r}")
    return temperature


def _count(text: str) -> int:
    if not (text.isdecimal() and text.isascii()):
        raise argparse.ArgumentTypeError(f"expected a number of tokens, not {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if (number := _count(text)) == 0:
        raise argparse.ArgumentTypeError("expected a number of tokens above 0")
    return number


def _port(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"expected a port number up to 65535, not {text!r}")
    return int(text)
