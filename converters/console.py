"""Output of the commands: results go to stdout, complaints to stderr, and an exit status says how it went.

A result is text for people (`say`) or, with --json, one JSON document for programs (`answer`). A command calls both,
and one of them writes. Whatever is written is without passwords and signatures of addresses. The help of a command ends
with examples, from the text that lists all commands.
"""

import argparse
import errno
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from typing import Any, NoReturn, TextIO

from converters.files.redaction import without_secrets
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


def describe_commands(parser: argparse.ArgumentParser) -> None:
    """Begin the help of each command that has no description of its own with what the list of commands says of it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            listed = {each.dest: each.help for each in action._choices_actions}
            for name, command in action.choices.items():
                if not command.description and (said := listed.get(name)):
                    command.description = f"{said[0].upper()}{said[1:]}."
                describe_commands(command)


class Parser(argparse.ArgumentParser):
    """A parser, and those of its commands, that tell wrong arguments without passwords and signatures of addresses."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong, and end."""
        super().error(without_secrets(message))


class _KeepingLines(argparse.HelpFormatter):
    """Wraps descriptions, and keeps the lines of examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


def add_answer_options(parser: argparse.ArgumentParser, quiet: str) -> None:
    """Add --json and --quiet to a command; `answering` obeys them.

    Args:
        parser: the parser of a command that answers.
        quiet: what --quiet leaves out, for the help.
    """
    parser.add_argument("--json", action="store_true", help="print the answer as JSON, for programs")
    parser.add_argument("--quiet", action="store_true", help=quiet)


_as_json: ContextVar[bool] = ContextVar("as_json", default=False)
_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


@contextmanager
def answering(*, as_json: bool = False, quiet: bool = False) -> Iterator[None]:
    """While this lasts, results are JSON or text, and what --quiet leaves out is said or not."""
    before = _as_json.set(as_json), _quiet.set(quiet)
    try:
        yield
    finally:
        _as_json.reset(before[0])
        _quiet.reset(before[1])


def is_json() -> bool:
    """Return whether stdout holds JSON alone."""
    return _as_json.get()


def is_quiet() -> bool:
    """Return whether progress and notices are left out."""
    return _quiet.get()


def say(text: str) -> None:
    """Print a line of the result for people; letters that the terminal lacks are printed as escapes."""
    if is_json():
        return
    sys.stdout.write(f"{as_shown(text, sys.stdout)}\n")


def as_shown(text: str, stream: TextIO) -> str:
    """Return a text as a stream takes it: without secrets, and with escapes for the letters that the stream lacks."""
    encoding = stream.encoding or "utf-8"
    return without_secrets(text).encode(encoding, "backslashreplace").decode(encoding)


def say_unless_quiet(text: str) -> None:
    """Print a line for people that --quiet leaves out, because it says that all is well."""
    if not is_quiet():
        say(text)


def answer(values: Any) -> None:
    """Print the result for programs, once a command, as JSON; the names of numbers say their units.

    Dataclasses become objects, paths become text, and what is not a number, such as an IoU of nothing, becomes null.
    """
    if is_json():
        sys.stdout.write(f"{_json_text(_in_json(values))}\n")


def _json_text(values: Any) -> str:
    """Return values as JSON. Letters are escaped if stdout lacks them, or if there is half of one in a file's name."""
    escaped = json.dumps(values, indent=2, allow_nan=False)
    if (sys.stdout.encoding or "utf-8").lower().replace("-", "") != "utf8":
        return escaped
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return escaped
    return text


def answer_list(text: Iterator[str]) -> None:
    """Print a JSON list that may be longer than the memory, by the pieces of its text."""
    if is_json():
        sys.stdout.writelines(text)
        sys.stdout.write("\n")


def _in_json(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _in_json(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {_in_json(name): _in_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_in_json(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float):
        return value
    return without_secrets(str(value))


def complain(command: str, text: object) -> None:
    """Print a line about a failure on stderr; it begins with the command as it was called."""
    sys.stderr.write(f"{as_shown(f'{command}: {text}', sys.stderr)}\n")


def in_words(error: OSError) -> str:
    """Return an error of the system as a person reads it: the file, what is wrong with it, and what to do."""
    if error.filename is None:
        return f"{error.strerror or error}."
    what_to_do = "Make room." if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Correct its path."
    return f"{str(error.filename)!r} cannot be used: {error.strerror}. {what_to_do}"


def say_counts(counts: ConversionCounts, more: str = "") -> int:
    """Print how much was read and written, and return the exit status.

    Args:
        counts: the counts of a conversion.
        more: a line that only this format prints; "" prints none.
    """
    say_unless_quiet(f"images: {counts.images_in} read, {counts.images_out} written")
    say_unless_quiet(f"regions: {counts.regions_in} read, {counts.regions_out} entries written")
    for what, times in counts.notes.items():
        say(f"{what}: {times}")
    if more:
        say_unless_quiet(more)
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
