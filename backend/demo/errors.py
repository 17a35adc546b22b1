"""The errors of the demo.

::

    DemoError             an error that a person can act on; only its message is shown
     +-- ServerError      Label Studio or the backend did not start, or died; the message holds the end of its log
     +-- ApiError         Label Studio refused a request or gave an unexpected answer
     +-- CheckError       the demo ran, but a promise of it is not kept
"""

from pathlib import Path

from backend.errors import BackendError

_TAIL_LINES = 25


class DemoError(BackendError):
    """Base of all errors of the demo."""


class ServerError(DemoError):
    """A server did not start or died."""


class ApiError(DemoError):
    """Label Studio refused a request or gave an unexpected answer."""


class CheckError(DemoError):
    """A promise of the demo is not kept."""


def log_tail(path: Path, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of a log, indented, below a line that names the file."""
    text = path.read_text(errors="replace") if path.exists() else ""
    tail = text.splitlines()[-lines:] or ["(empty)"]
    return "\n".join([f"The end of {path}:", *(f"    {line}" for line in tail)])
