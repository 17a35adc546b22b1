"""What a command tells the person in front of it: results on stdout, complaints on stderr, and its exit status."""

import sys
from collections.abc import Mapping, Sequence

from converters.selection import ConversionCounts

DONE, FAILED, WRONG_USE, LEFT_BEHIND, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit status: all done; nothing done; wrong arguments; done, but something was left behind; stopped by Ctrl-C."""

_MAX_DETAILS = 10


def say(text: str) -> None:
    """Write a line of the result, also on a terminal that lacks some of its letters."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def complain(command: str, text: object) -> None:
    """Write a line about something that went wrong in a command, which is named as it was called."""
    encoding = sys.stderr.encoding or "utf-8"
    sys.stderr.write(f"{command}: {text}".encode(encoding, "backslashreplace").decode(encoding) + "\n")


def say_counts(counts: ConversionCounts, more: str = "") -> int:
    """Say what went in and what came out, and return the exit status that follows.

    Args:
        counts: of the conversion.
        more: a line that only this format has.
    """
    say(f"images: {counts.images_in} read, {counts.images_out} written")
    say(f"regions: {counts.regions_in} read, {counts.regions_out} entries written")
    for what, times in counts.notes.items():
        say(f"{what}: {times}")
    if more:
        say(more)
    return say_left_out(counts.left_out, counts.details)


def say_left_out(left_out: Mapping[str, int], details: Sequence[str]) -> int:
    """Say what was left behind and why, and return the exit status that follows.

    Args:
        left_out: how often, by reason.
        details: reason and place of some of them.
    """
    for reason, times in left_out.items():
        say(f"left out, {reason}: {times}")
    for detail in details[:_MAX_DETAILS]:
        say(f"  {detail}")
    hidden = sum(left_out.values()) - len(details[:_MAX_DETAILS])
    if hidden > 0:
        say(f"  and {hidden} more")
    return LEFT_BEHIND if left_out else DONE
