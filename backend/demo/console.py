"""The messages of the demo: lines of text, and one line of progress."""

import sys
from dataclasses import dataclass, field
from typing import TextIO

from backend.demo.steps import Steps


@dataclass
class Console:
    """Writes lines. On a terminal, progress is rewritten in place; elsewhere each change is a line of its own.

    ``steps`` notes what the demo has done when.
    """

    stream: TextIO
    steps: Steps = field(default_factory=Steps)
    _progress: str = ""

    def say(self, text: str) -> None:
        """Write a line."""
        self.end_progress()
        self.stream.write(f"{text}\n")
        self.stream.flush()

    def progress(self, text: str, detail: str = "") -> None:
        """Show the progress; ``detail``, which changes often, is shown only on a terminal."""
        rewritten = self.stream.isatty()
        if rewritten and detail:
            text = f"{text} ({detail})"
        if text == self._progress:
            return
        self.stream.write(f"\r\x1b[K  {text}" if rewritten else f"  {text}\n")
        self.stream.flush()
        self._progress = text

    def end_progress(self) -> None:
        """Leave the last progress text on its line, and continue on the next line."""
        if self._progress and self.stream.isatty():
            self.stream.write("\n")
        self._progress = ""


def standard_console() -> Console:
    """Return a console on standard output."""
    return Console(sys.stdout)
