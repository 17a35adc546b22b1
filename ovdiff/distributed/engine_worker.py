"""The engine of a worker: made once from preset, bank and device, and then used by every call in that process.

The functions here are what a pool is given: the initializer :func:`start_engine`, and calls that ask
:func:`engine_here`. In a pool of processes and on a Ray cluster they are the same.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.engines import EnginePreset, SegmentationEngine, make_engine
from ovdiff.engines.building import HasAnchors
from ovdiff.engines.segmenting import FindsInstances, LoadsModels
from ovdiff.errors import ClusterError
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary

_REPORT_S = 0.2

_of_this_process: list[SegmentationEngine] = []


@dataclass(frozen=True)
class EngineSpec:
    """What another process needs to make the same engine; picklable.

    Attributes:
        preset: the preset.
        bank: the bank, at a place that all machines see.
        device: torch's name of the device.
        fingerprint: that of the caller's engine, whatever its bank holds; "" accepts any.
        maker: makes the engine from preset, bank and device.
    """

    preset: EnginePreset
    bank: Bank
    device: str
    fingerprint: str = ""
    maker: Callable[..., Any] = make_engine

    def make(self) -> Any:
        """Make the engine; no model loads.

        Raises:
            ClusterError: this machine has other weights or another version of ovdiff, so masks would differ.
            OVDiffError: it cannot be made.
        """
        engine = self.maker(self.preset, self.bank, self.device)
        if self.fingerprint and _fingerprint(engine) != self.fingerprint:
            raise ClusterError(
                f"The machine {socket.gethostname()} has other weights of the preset {self.preset.name!r} or another "
                "version of ovdiff than the one where the command runs, so its masks would differ. Install the same "
                "version and weights on all machines."
            )
        return engine


def spec_of(engine: SegmentationEngine, bank: Bank, device: str) -> EngineSpec:
    """Return the spec of an engine for workers of a cluster, which show each process its own GPU as the first one."""
    from ovdiff.models.devices import shown_alone  # torch comes with it

    return EngineSpec(engine.preset, bank, shown_alone(device), _fingerprint(engine))


def _fingerprint(engine: SegmentationEngine) -> str:
    """Return the fingerprint of code, preset and weights. Anchors may be built while workers start."""
    return engine.fingerprint_without_anchors() if isinstance(engine, HasAnchors) else engine.fingerprint()


def start_engine(spec: EngineSpec, threads: int, loads: bool) -> None:
    """Make the engine of this process.

    Args:
        spec: the engine.
        threads: how many threads torch may use; with another number masks differ in a handful of pixels.
        loads: whether to load the models that segment at once, so that the first image does not wait for them.
    """
    import torch

    torch.set_num_threads(threads)
    engine = spec.make()
    use_engine(engine)
    if loads and isinstance(engine, LoadsModels):
        engine.load_models()


def use_engine(engine: SegmentationEngine) -> None:
    """Let the calls of this process use an engine that was made already."""
    _of_this_process[:] = [engine]


def engine_here() -> SegmentationEngine:
    """Return the engine of this process."""
    return _of_this_process[0]


class Board(Protocol):
    """Where a build tells how far it is; `ovdiff.distributed.progress` has the one of a cluster."""

    def note(self, category: Category, stage: str, fraction: float) -> bool:
        """Note a stage and the fraction done; return whether to go on."""
        ...


class GivenUpError(Exception):
    """A build ended because the caller does not want it any more; what was drawn in whole batches is kept."""


def build_category(category: Category, board: Board, clock_s: Callable[[], float] = time.monotonic) -> float:
    """Build a category with the engine of this process, and return the seconds that it took.

    Args:
        category: the category; one that the bank has costs nothing.
        board: is told of stages, five times a second at most.
        clock_s: the clock.

    Raises:
        GivenUpError: the board said so.
        OVDiffError: the category cannot be built.
    """
    began_s = clock_s()
    told_s = [began_s - _REPORT_S]

    def report(stage: str, fraction: float) -> None:
        if clock_s() - told_s[0] >= _REPORT_S:
            told_s[0] = clock_s()
            if not board.note(category, stage, fraction):
                raise GivenUpError(category.name)

    engine_here().build(category, report)
    return clock_s() - began_s


def segment_here(image: NDArray[np.uint8], vocabulary: Vocabulary, objects: bool) -> Segmentation:
    """Segment an image, (H, W, 3) uint8 RGB, with the engine of this process.

    Args:
        image: the image.
        vocabulary: the categories.
        objects: whether objects of one kind are told apart, by an engine that can.
    """
    engine = engine_here()
    image = np.array(image)  # what comes from another machine is read-only memory of Ray
    found = engine.segment(image, vocabulary)
    return engine.with_instances(image, found, vocabulary) if objects and isinstance(engine, FindsInstances) else found


def call_engine(method: str, *given: Any) -> Any:
    """Call a method of the engine of this process by its name, such as ``segment``."""
    return getattr(engine_here(), method)(*given)
