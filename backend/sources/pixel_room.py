"""Room for a limited number of pixels, so that many large images at once do not fill the machine's memory."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from backend.errors import ImageWaitError


class PixelRoom:
    """Room for the images that are in memory at the same time. Threads share it.

    An image with more pixels than the whole room gets in once it is alone. Whoever has waited longest is next, so small
    images do not keep a large one waiting for ever. Those who give way are next when nobody else waits.
    """

    def __init__(self, most_px: int) -> None:
        """Start with nobody inside."""
        self._most_px = most_px
        self._taken_px = 0
        self._waiting: deque[object] = deque()
        self._giving_way: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, px: int, *, within_s: float = math.inf, gives_way: bool = False) -> Iterator[None]:
        """Wait until there is room for an image of so many pixels, and take it for the block.

        Args:
            px: how many pixels the image has.
            within_s: how long to wait at most.
            gives_way: whether everybody who does not give way goes first, also who comes later.

        Raises:
            ImageWaitError: there was no room within `within_s`.
        """
        ticket, line = object(), self._giving_way if gives_way else self._waiting
        with self._changed:
            line.append(ticket)
            try:
                timeout_s = None if within_s == math.inf else max(0.0, within_s)
                if not self._changed.wait_for(lambda: self._next() is ticket and self._fits(px), timeout_s):
                    raise ImageWaitError(
                        f"other images in work left no room for its {px} pixels in time (OVDIFF_PIXELS_AT_ONCE)."
                    )
                self._taken_px += px
            finally:  # also after an interrupt, or the ticket would hold up every later image
                line.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._taken_px -= px
                self._changed.notify_all()

    def _next(self) -> object:
        return (self._waiting or self._giving_way)[0]

    def _fits(self, px: int) -> bool:
        return self._taken_px == 0 or self._taken_px + px <= self._most_px
