"""Whether the service can do its work: its models load, and the bank and the state file can be written.

The models are loaded in the background when the service starts, not at a probe. If that fails, it is tried again later.
"""

from __future__ import annotations

import logging
import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from backend.errors import StoreError
from backend.serving.store import Store
from ovdiff.engines.segmenting import LoadsModels
from ovdiff.errors import OVDiffError, StorageError
from ovdiff.storage import is_stored
from ovdiff.storage.stored_path import StoredPath

logger = logging.getLogger(__name__)

CHECKED_EVERY_S = 1.0  # anybody may probe, and a look writes to the disk
STORAGE_CHECKED_EVERY_S = 30.0  # in a storage a look costs two requests, which may be paid for
LOOK_BYTES = b"\0" * 4096
LOADING = "being loaded"
"""The reason why models are missing that will be there soon."""


class Readiness:
    """What the service lacks. Threads may share it."""

    def __init__(
        self,
        engine: object,
        store: Store,
        bank_dir: Path,
        *,
        building_failed: Callable[[], str],
        retry_failed_after_s: float,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at nothing yet; `start` begins to load the models.

        Args:
            engine: the method. An engine that is no `LoadsModels` counts as loaded.
            store: the state file.
            bank_dir: the folder of the prototypes.
            building_failed: returns why no prototypes can be made for any category; "" if they can.
            retry_failed_after_s: the time until models that did not load are tried again, in seconds.
            clock_s: the present moment in seconds.
        """
        self._engine = engine
        self._store = store
        self._bank_dir = bank_dir
        self._every_s = STORAGE_CHECKED_EVERY_S if is_stored(bank_dir) else CHECKED_EVERY_S
        self._building_failed = building_failed
        self._retry_failed_after_s = retry_failed_after_s
        self._clock_s = clock_s
        self._models = LOADING if isinstance(engine, LoadsModels) else ""
        self._looking = threading.Lock()
        self._looked_s: float | None = None
        self._disk = {"bank": "not looked at yet"}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to load the models."""
        self._thread = threading.Thread(target=self._load, name="ovdiff-models", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Try nothing more, and wait for what is being loaded, at most `timeout_s`."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def missing(self) -> dict[str, str]:
        """Return what is not ready, each with the reason; nothing if the service is ready.

        While another thread looks at the disk, what was seen last is returned: a disk that hangs holds one thread.
        """
        if self._looking.acquire(blocking=False):
            try:
                if self._looked_s is None or self._clock_s() - self._looked_s >= self._every_s:
                    self._disk = self._look()
                    self._looked_s = self._clock_s()
            finally:
                self._looking.release()
        models = self._models or self._building_failed()
        return ({"models": models} if models else {}) | self._disk

    def _look(self) -> dict[str, str]:
        """Write to the bank's folder and to the state file; return which of them refused, and why."""
        missing = {}
        try:
            self._look_at_bank()
        except (OSError, StorageError) as error:
            missing["bank"] = f"cannot write in {self._bank_dir}: {error}"
        try:
            self._store.check()
        except StoreError as error:
            missing["state file"] = str(error)
        return missing

    def _look_at_bank(self) -> None:
        if is_stored(self._bank_dir):
            path = StoredPath(str(self._bank_dir), patience_s=0.0) / f"leases/ready-{secrets.token_hex(8)}"
            path.write_bytes(LOOK_BYTES[:1])
            path.unlink(missing_ok=True)
            return
        self._bank_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._bank_dir) as file:
            file.write(LOOK_BYTES)

    def _load(self) -> None:
        while isinstance(self._engine, LoadsModels):
            try:
                self._engine.load_models()
            except OVDiffError as error:
                self._models = str(error)
            except Exception as error:  # an engine may come from another package
                logger.exception("Loading the models failed unexpectedly.")
                self._models = f"unexpected {type(error).__name__}; the service's log has the details"
            else:
                self._models = ""
                return
            logger.error("The models do not load, next try in %g s: %s", self._retry_failed_after_s, self._models)
            if self._stopping.wait(self._retry_failed_after_s):
                return
