"""What the demo tells the person in front of it: lines, and one line of progress."""

import sys
from dataclasses import dataclass
from typing import TextIO


@dataclass
class Console:
    """Writes lines; progress is rewritten in place on a terminal, and a line per change elsewhere."""

    stream: TextIO
    _progress: str = ""

    def say(self, text: str) -> None:
        """Write a line."""
        self.end_progress()
        self.stream.write(f"{text}\n")
        self.stream.flush()

    def progress(self, text: str, detail: str = "") -> None:
        """Show how far something is; ``detail``, which changes often, only where it can be rewritten."""
        rewritten = self.stream.isatty()
        if rewritten and detail:
            text = f"{text} ({detail})"
        if text == self._progress:
            return
        self.stream.write(f"\r\x1b[K  {text}" if rewritten else f"  {text}\n")
        self.stream.flush()
        self._progress = text

    def end_progress(self) -> None:
        """Keep the last progress text on its line and go on below it."""
        if self._progress and self.stream.isatty():
            self.stream.write("\n")
        self._progress = ""


def standard_console() -> Console:
    """Return a console on standard output."""
    return Console(sys.stdout)
