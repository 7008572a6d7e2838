"""The command ``unclip-mm``: parse, run one command, and turn every error into one line and an exit code.

Exit codes: 0 done; 2 something given cannot be used; 1 a fault of the program; 130 interrupted.
Nothing heavy is imported before a command has checked what it was given.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from unclip_mm import __version__
from unclip_mm.commands import embed, generate, info
from unclip_mm.errors import InputError, UnclipError

PROGRAM = "unclip-mm"
LIBRARY_SETTINGS = {
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


class Parser(argparse.ArgumentParser):
    """A parser that raises instead of printing its usage and leaving."""

    def error(self, message: str) -> NoReturn:
        """Raise an :class:`InputError` that says where help is found."""
        raise InputError(f"{message.removeprefix('argument ')}; see {self.prog} --help")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands.

    Example:
        >>> build_parser().parse_args(["generate", "--text", "a red apple", "--output", "apple.png"]).text
        ['a red apple']
    """
    parser = Parser(
        prog=PROGRAM,
        description="Turn text, voice, sound, sketch, image, a mix of them, or embeddings into pictures.",
        epilog=f"'{PROGRAM} COMMAND --help' lists the options of a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for module in (generate, embed, info):
        module.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; never raises, never shows a stack trace unless ``--debug`` is given.

    Args:
        arguments: what follows the program's name; ``None`` takes them from the process.

    Returns:
        The exit code.

    Example:
        >>> main(["info", "--checkpoint", "somewhere else"])
        2
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    if arguments is None:
        _never_fail_to_print()
    try:
        args = build_parser().parse_args(given)
        with _quiet_libraries(debug):
            result = args.run(args)
        if args.json:
            print(json.dumps(result, indent=2))
        sys.stdout.flush()
        return 0
    except SystemExit as leaving:  # --help and --version
        return leaving.code if isinstance(leaving.code, int) else 0
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UnclipError as error:
        return _report(str(error), 2, debug)
    except MemoryError:
        return _report("not enough memory; make fewer or smaller things at a time", 1, debug)
    except Exception as error:
        return _report(f"unexpected {type(error).__name__}: {error} (--debug shows where)", 1, debug)


def _report(message: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    line = " ".join(message.split())
    print(f"{PROGRAM}: error: {line}", file=sys.stderr)
    return code


def _never_fail_to_print() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _quiet_libraries(debug: bool) -> Iterator[None]:
    """Keep other libraries' messages off the terminal; must start before they are imported."""
    if debug:
        yield
        return
    import logging
    import warnings

    for name, value in LIBRARY_SETTINGS.items():
        os.environ.setdefault(name, value)
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
