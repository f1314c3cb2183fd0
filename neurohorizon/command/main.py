"""The command line, ``neurohorizon`` or ``python -m neurohorizon``.

A module with the name of a command has its arguments (``add_arguments``), its program (``run``, which returns the exit
status) and its ``EXAMPLES``. It is imported only if its command is used, so that ``--help`` needs no other package.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import NoReturn

from neurohorizon import __version__
from neurohorizon.command.usage import UsageError

COMMANDS = {
    "check": "what a recording holds, and whether it can be forecast",
    "forecast": "forecast recordings with released weights, and write one page for each",
    "weights": "list the released weights, or show the card of one",
    "init": "write a cohort table and a short configuration, to train on your own recordings",
}
"""Names of the commands, and what each does."""
_WINDOWS = """\
The reference window, by default the first half of the valid time, describes each unit. The time
after it is forecast in windows: a network reads the spikes of a context, and forecasts the counts
of the horizon after it. Nothing is trained."""
_MORE = {
    "check": f"""{_WINDOWS}
Each line of the output is what was found in the file; an option replaces it.""",
    "forecast": f"""{_WINDOWS}
The page has the verdict: the score over the mean rate of each unit, next to simple methods, by unit,
region and time ahead.""",
    "weights": """\
A name of the list is a value of --network. Without it, a recording gets the weights that fit it.""",
    "init": "Released weights do not need this: `neurohorizon forecast` trains nothing.",
}
"""What else the help of a command explains."""
EXAMPLES = """\
examples:
  neurohorizon check mouse.nwb             what is in the file, and can it be forecast?
  neurohorizon forecast mouse.nwb --open   forecast it, and open the page of the answer
  neurohorizon weights                     which trained networks are there?
  neurohorizon init mine recordings/       prepare a training on your own recordings

`neurohorizon COMMAND --help` shows the options and more examples of a command.
"""
WRONG_USE, INTERRUPTED = 2, 130
"""Exit statuses; 0: all recordings could be used, 1: some could not."""


class _Parser(argparse.ArgumentParser):
    """Prints an error as one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and end the program."""
        self.exit(WRONG_USE, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit status.

    Args:
        arguments: Its arguments; None: those of the process.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser, parsers = _parser()
    name = next((one for one in given if not one.startswith("-")), "")
    if name in COMMANDS:
        command = import_module(f"neurohorizon.command.{name}")
        parsers[name].epilog = command.EXAMPLES
        command.add_arguments(parsers[name])
    elif name:
        print(f"neurohorizon: {_unknown(name)}", file=sys.stderr)
        return WRONG_USE
    try:
        options, unknown = parser.parse_known_args(given)
        if unknown:
            parsers.get(name, parser).error(_unknown_option(unknown[0], parsers.get(name, parser)))
    except SystemExit as end:  # argparse has printed the help or the error
        return int(end.code or 0)
    if not name:
        parser.print_help()
        return WRONG_USE
    try:
        status = command.run(options)
        sys.stdout.flush()
    except UsageError as error:
        print(f"neurohorizon {name}: {error}", file=sys.stderr)
        return WRONG_USE
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("neurohorizon"):
            raise
        extras = "model,nwb,remote" if error.name == "requests" else "model,nwb"
        print(
            f'neurohorizon {name}: the package {error.name} is not installed: pip install "neurohorizon[{extras}]"',
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"neurohorizon {name}: interrupted; finished recordings keep their files", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # as in `neurohorizon check FOLDER | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _unknown(name: str) -> str:
    """Return what to do after a command that does not exist."""
    if name.lower().endswith(".nwb") or os.path.exists(name):
        return f"{name} is a recording, and a command is expected before it, such as `neurohorizon forecast {name}`"
    near = get_close_matches(name, COMMANDS, n=1)
    return f"there is no command {name!r}; expected one of {', '.join(COMMANDS)}" + (
        f"; did you mean {near[0]!r}?" if near else ""
    )


def _unknown_option(option: str, parser: argparse.ArgumentParser) -> str:
    near = get_close_matches(option, set(re.findall(r"--[a-z-]+", parser.format_help())), n=1)
    return f"there is no option {option}" + (f"; did you mean {near[0]}?" if near else "")


def _parser() -> tuple[_Parser, dict[str, _Parser]]:
    """Return the parser, and the parser of each command by its name."""
    parser = _Parser(
        prog="neurohorizon",
        description="Forecast the spikes of every unit of a recording, with networks that were not trained on it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"neurohorizon {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND")
    parsers = {
        name: subparsers.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}.\n\n{_MORE[name]}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for name, what in COMMANDS.items()
    }
    return parser, parsers
