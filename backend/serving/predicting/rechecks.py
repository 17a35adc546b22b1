"""Images that were believed by their address are looked at afterwards, so that no belief lasts for ever.

The address of an upload says which bytes are there (`backend.sources.upload_addresses`), so nobody waits for them. But
somebody with access to Label Studio's disk may have written over the file. So after an answer the image is fetched all
the same, in a thread, at most one a second and each at most once in a while. If it is another one, the stored
prediction is dropped, and whoever asks next is answered from the new image.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from backend.errors import BackendError
from backend.serving.predicting.recent import ImageAddress

logger = logging.getLogger(__name__)

PAUSE_S = 1.0  # between two images, which take the time of those who wait
MOST_WAITING = 1000  # images beyond are looked at when they are asked for again
MOST_KNOWN = 10_000


@dataclass(frozen=True)
class Belief:
    """What a stored prediction was made of: an image, by what it is known again, and the key of the prediction."""

    address: ImageAddress
    signs: str
    key: str


class Rechecks:
    """A thread that looks whether images still are what stored predictions were made of. Threads may share it."""

    def __init__(
        self,
        is_still: Callable[[Belief], bool],
        drop: Callable[[str], None],
        *,
        every_s: float,
        pause_s: float = PAUSE_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at nothing yet; the thread begins with the first image.

        Args:
            is_still: asks whether an image is what it was.
            drop: forgets the prediction of a key.
            every_s: for how long an image is believed after it was looked at.
            pause_s: seconds between two images.
            clock_s: the present moment in seconds.
        """
        self._is_still, self._drop, self._clock_s = is_still, drop, clock_s
        self._every_s, self._pause_s = every_s, pause_s
        self._changed = threading.Condition()
        self._waiting: OrderedDict[bytes, Belief] = OrderedDict()
        self._looked_s: OrderedDict[bytes, float] = OrderedDict()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def soon(self, belief: Belief) -> None:
        """Have an image looked at, unless that was done a while ago. This returns at once."""
        place = belief.address.key
        with self._changed:
            is_due = self._clock_s() - self._looked_s.get(place, -self._every_s) >= self._every_s
            if not is_due or len(self._waiting) >= MOST_WAITING or self._stopping.is_set():
                return
            self._waiting[place] = belief
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ovdiff-rechecks", daemon=True)
                self._thread.start()
            self._changed.notify()

    def stop(self) -> None:
        """Look at no further image. One that is under way is not waited for."""
        with self._changed:
            self._stopping.set()
            self._waiting.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        while (belief := self._next()) is not None:
            try:
                self._look(belief)
            except BackendError as error:  # it may be gone, or Label Studio away: nothing is known of it
                logger.info("The image of a stored prediction could not be looked at: %s", error)
            except Exception:
                logger.exception("Looking at the image of a stored prediction failed unexpectedly.")
            self._stopping.wait(self._pause_s)

    def _next(self) -> Belief | None:
        """Wait for an image, and return it; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping.is_set() or self._waiting)
            if self._stopping.is_set():
                return None
            place, belief = self._waiting.popitem(last=False)
            self._looked_s[place] = self._clock_s()
            self._looked_s.move_to_end(place)
            if len(self._looked_s) > MOST_KNOWN:
                self._looked_s.popitem(last=False)
            return belief

    def _look(self, belief: Belief) -> None:
        if self._is_still(belief):
            return
        self._drop(belief.key)
        logger.warning(
            "Task %s: %s is another image now than the one its stored prediction was made of, although Label Studio "
            "never writes to the address of an upload again. Delete the task's prediction in Label Studio and open "
            "the task: it is predicted anew.",
            belief.address.task,
            belief.address.reference.partition("?")[0][:200],
        )
