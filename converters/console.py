"""Output of the commands: results go to stdout, complaints to stderr, and an exit status says how it went.

The help of a command ends with examples, which are taken from the text that lists all commands.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

from converters.selection import ConversionCounts

DONE, FAILED, WRONG_USE, LEFT_BEHIND, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit status: all done; failed; wrong arguments; done, but something was left out; stopped by Ctrl-C."""

_MAX_DETAILS = 10


def show_examples(parser: argparse.ArgumentParser, text: str) -> None:
    """End the help of a parser, and of each of its commands, with the lines of a text that begin with the command.

    Args:
        parser: the parser, with all of its commands.
        text: the text; an example is an indented line that begins with the parser's `prog`.
    """
    lines = [line for line in text.splitlines() if line.startswith("    ")]
    examples = [line for line in lines if f"{line.strip()} ".startswith(f"{parser.prog} ")]
    if examples:
        parser.epilog = "\n".join(["examples:", *examples])
        parser.formatter_class = _KeepingLines
    for action in parser._actions:  # argparse has no public way from a parser to its commands
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                show_examples(command, text)


class _KeepingLines(argparse.HelpFormatter):
    """Wraps descriptions, and keeps the lines of examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


def say(text: str) -> None:
    """Print a line of the result; letters that the terminal lacks are printed as escapes."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def complain(command: str, text: object) -> None:
    """Print a line about a failure on stderr; it begins with the command as it was called."""
    encoding = sys.stderr.encoding or "utf-8"
    sys.stderr.write(f"{command}: {text}".encode(encoding, "backslashreplace").decode(encoding) + "\n")


def say_counts(counts: ConversionCounts, more: str = "") -> int:
    """Print how much was read and written, and return the exit status.

    Args:
        counts: the counts of a conversion.
        more: a line that only this format prints; "" prints none.
    """
    say(f"images: {counts.images_in} read, {counts.images_out} written")
    say(f"regions: {counts.regions_in} read, {counts.regions_out} entries written")
    for what, times in counts.notes.items():
        say(f"{what}: {times}")
    if more:
        say(more)
    return say_left_out(counts.left_out, counts.details)


def say_left_out(left_out: Mapping[str, int], details: Sequence[str]) -> int:
    """Print what was left out and why, and return the exit status.

    Args:
        left_out: how often something was left out, by reason.
        details: the reason and the place of some of the things that were left out.
    """
    for reason, times in left_out.items():
        say(f"left out, {reason}: {times}")
    for detail in details[:_MAX_DETAILS]:
        say(f"  {detail}")
    hidden = sum(left_out.values()) - len(details[:_MAX_DETAILS])
    if hidden > 0:
        say(f"  and {hidden} more")
    return LEFT_BEHIND if left_out else DONE
