"""A storage that is away for a moment is asked again, after pauses that grow, until a limit.

A storage is away if nobody can be reached, an answer does not come in time, or the storage says that it is busy. A file
that is not there, a refused permission or a wrong name is an answer, and no reason to ask again.
"""

import errno
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar, copy_context
from typing import TypeVar

from converters.files.redaction import without_secrets
from ovdiff.errors import StorageError

PATIENCE_S = 180.0
"""For how long a storage is asked again: longer than the restart of a server or of a network device takes."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_BUSY = {
    getattr(errno, name)
    for name in (
        "EBUSY", "EIO", "EREMOTEIO", "EAGAIN", "ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "EPIPE", "EHOSTUNREACH",
        "ENETUNREACH", "ENETDOWN", "EHOSTDOWN", "ETIMEDOUT",
    )
    if hasattr(errno, name)
}  # fmt: skip
_BUSY_STATUS = {408, 429, 500, 502, 503, 504}
_STATUSES = ("status_code", "status", "code")
"""What Azure's, aiohttp's and Google's errors call the status of an answer; aiohttp warns whoever asks for `code`."""
_ANSWERS = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
_AWAY = {  # by name, for their libraries may not be installed: botocore's, aiohttp's, Azure's
    "ConnectionError", "HTTPClientError", "ClientConnectionError", "ClientPayloadError", "ServiceRequestError",
    "ServiceResponseError", "IncompleteRead", "ResponseParserError",
}  # fmt: skip

_over: ContextVar[threading.Event | None] = ContextVar("over", default=None)
"""What says that nobody needs the answer any more."""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


def is_away(error: BaseException) -> bool:
    """Say whether an error means that a storage cannot answer just now."""
    if isinstance(error, _ANSWERS):
        return False
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in _BUSY:
        # s3fs makes EIO of each code of S3 that it does not know, of a full disk as of a gateway that failed.
        status = _s3_status(error) if error.errno == errno.EIO else None
        return status is None or status in _BUSY_STATUS
    if next((getattr(error, name) for name in _STATUSES if hasattr(error, name)), None) in _BUSY_STATUS:
        return True
    return any(kind.__name__ in _AWAY for kind in type(error).__mro__)


def _s3_status(error: BaseException) -> int | None:
    """Return the HTTP status of the answer of S3 behind an error; ``None`` if it is none of S3's answers."""
    response = getattr(error.__cause__, "response", None)
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, Mapping) else None
    return status if isinstance(status, int) else None


def context_until(over: threading.Event) -> Context:
    """Return a copy of this thread's context, in which no storage is asked again after an event: a run's end."""
    context = copy_context()
    context.run(_over.set, over)
    return context


def _pause(seconds: float) -> None:
    over = _over.get()
    if over is None:
        time.sleep(seconds)
    else:
        over.wait(seconds)


def patiently(
    ask: Callable[[], _T],
    what: str,
    patience_s: float,
    *,
    clock_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = _pause,
) -> _T:
    """Return what a storage answers; while it is away, ask it again.

    The first failure is logged, because a person may wait for minutes.

    Args:
        ask: asks once.
        what: what cannot be done while the storage is away: "s3://bucket/a.json cannot be read".
        patience_s: for how many seconds the storage is asked again.
        clock_s: the present moment in seconds.
        sleep: waits for some seconds.

    Raises:
        StorageError: the storage was away all the time, or until nobody needed its answer (`context_until`).
    """
    began_s, pause_s, told = clock_s(), _FIRST_PAUSE_S, False
    while True:
        try:
            answer = ask()
        except Exception as error:
            if not is_away(error):
                raise
            if (over := _over.get()) is not None and over.is_set():
                raise StorageError(f"{what}: {reason(error)}. It is not asked again.", is_away=True) from error
            waited_s = clock_s() - began_s
            asked_again = f", and it was asked again for {waited_s:.0f} s" if waited_s >= 1 else ""
            if waited_s + pause_s > patience_s:
                raise StorageError(
                    f"{what}{asked_again}: {reason(error)}. Look whether the storage runs and whether this machine "
                    "reaches it, then do the same again: what is stored stays.",
                    is_away=True,
                ) from error
            if not told:
                _log.warning("%s: %s. It is asked again for up to %.0f s.", what, reason(error), patience_s)
                told = True
        else:
            if told:
                _log.warning("The storage answers again, after %.0f s.", clock_s() - began_s)
            return answer
        sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def reason(error: BaseException) -> str:
    """Return the first line of what an error says, in at most 300 characters, without secrets and a full stop."""
    text = str(error.strerror or error) if isinstance(error, OSError) else str(error)
    return without_secrets(text.strip().partition("\n")[0].strip().rstrip(".") or type(error).__name__)[:300]
