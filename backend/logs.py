"""Lines of the log, as text or as JSON, each with the number of the request that it belongs to.

Passwords and signatures of addresses are in no line, whoever logs them.

The number is a context variable: a thread that a request starts has none, and neither has what works in the background.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

from converters.files.redaction import without_secrets

REQUEST_ID: ContextVar[str] = ContextVar("ovdiff_request_id", default="")
"""The number of the request that this thread answers; "" outside of requests."""


class TextLines(logging.Formatter):
    """Lines for people: "2026-11-22 07:30:00,000 INFO backend.serving: text [request 1f2e3d]"."""

    def __init__(self) -> None:
        """Use the form that the commands always had."""
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and a traceback below it."""
        return without_secrets(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 — logging's own name
        """Return the line, with the request's number behind it if there is one."""
        number = REQUEST_ID.get()
        return super().formatMessage(record) + (f" [request {number}]" if number else "")


class JsonLines(logging.Formatter):
    """Lines for programs: one JSON object each, a traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
        }
        if number := REQUEST_ID.get():
            said["request"] = number
        if record.exc_info:
            said["traceback"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(said, ensure_ascii=False)


def log_to(level: str, form: str, stream: TextIO | None = None) -> None:
    """Write the log of this process to a stream, stderr by default, unless somebody has set logging up before.

    Args:
        level: the least level that is written, such as "INFO".
        form: "text" or "json".
        stream: where to.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=level, handlers=[handler])


@contextmanager
def without_word_notices() -> Iterator[None]:
    """Leave out of the log what engines tell about words, unless the level is DEBUG.

    Such as which anchors step aside. An evaluation asks for hundreds of vocabularies, and an ablation has dozens of
    engines; their lines would stand between a person and the progress.
    """
    told = logging.getLogger("ovdiff.segmenting")
    before = told.level
    if told.getEffectiveLevel() > logging.DEBUG:
        told.setLevel(logging.WARNING)
    try:
        yield
    finally:
        told.setLevel(before)
