"""How busy a GPU is while something runs: the share of time in which a kernel ran, by the driver's own count.

The driver is asked through NVML (the package nvidia-ml-py) or, where that is missing, through ``nvidia-smi``. Without
either, and on a CPU, there is no figure.
"""

import importlib
import shutil
import statistics
import subprocess
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

Ask = Callable[[], float]
"""Returns the share of the driver's last interval in which a kernel ran, 0 to 1."""

_EVERY_S = 0.1


class Busy:
    """Asks again and again while a ``with`` block runs; :meth:`share` is the mean of the answers."""

    def __init__(self, ask: Ask | None, every_s: float = _EVERY_S) -> None:
        """Ask nothing yet; ``None`` is a device that cannot be asked."""
        self._ask, self._every_s = ask, every_s
        self._answers: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        """Begin to ask."""
        if self._ask is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ask no more."""
        self._ended.set()
        if self._ask is not None:
            self._thread.join()

    def share(self) -> float | None:
        """Return the mean share, 0 to 1; ``None`` where nothing was told."""
        return statistics.fmean(self._answers) if self._answers else None

    def _listen(self) -> None:
        assert self._ask is not None
        while not self._ended.wait(self._every_s):
            self._answers.append(self._ask())


def asking(device: str) -> tuple[str, Ask | None]:
    """Return the name of what tells how busy a device is, and how it is asked."""
    if device != "cuda":
        return "nothing: the device is no GPU", None
    try:
        return "NVML", _by_nvml(importlib.import_module("pynvml"))
    except Exception:  # noqa: BLE001 — whatever is wrong with the driver's library, the command is asked instead
        if shutil.which("nvidia-smi"):
            return "nvidia-smi", _by_command
        return "nothing: neither nvidia-ml-py nor nvidia-smi is there", None


def _by_nvml(library: Any) -> Ask:
    library.nvmlInit()
    handle = library.nvmlDeviceGetHandleByIndex(0)
    library.nvmlDeviceGetUtilizationRates(handle)  # raises here, if it does, and not in the thread
    return lambda: library.nvmlDeviceGetUtilizationRates(handle).gpu / 100


def _by_command() -> float:
    asked = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]
    return float(subprocess.run(asked, check=True, capture_output=True, text=True).stdout) / 100
