"""A UNet's denoising steps as CUDA graphs: the kernels of a step are recorded once, and then launched all at once.

::

    copy the inputs to where they were when the step was recorded  ->  replay  ->  copy the results

What Python does in a step happens while it is recorded, and not again. So attribution is a second result of a step, and
the positions of an image's tokens are inputs. A step of another shape is another graph, and a shape is recorded when a
batch of it comes for the second time: an odd number of images that are drawn anew is not worth it.

A graph keeps the memory of its step. Graphs share it, for no two of them run at once.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from ovdiff.building.generation.attribution import AttributionRecorder, Tokens
from ovdiff.models.memory import remember_holder
from ovdiff.presets.building_settings import AttributionSettings

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

MOST_GRAPHS = 4
"""Of the shapes that were used last: a batch of a whole size, the last batch of a category, and some others."""
LEAST_TOKENS = 4
"""Tokens of a phrase that one graph has room for; longer phrases have graphs of 8, 16, and so on."""

_WARM_UP = 2
_MIB = 1 << 20
_POSITIONS, _WEIGHTS = "token positions", "token weights"

Run = Callable[[dict[str, Tensor]], tuple[Tensor, ...]]
"""A step: its inputs by their names become its results."""


@dataclass(frozen=True)
class Recorded:
    """A step that was recorded.

    Attributes:
        inputs: the tensors that it reads, by their names.
        results: the tensors that it writes.
        replay: runs it.
        mib: the memory that it keeps, beside the tensors.
    """

    inputs: dict[str, Tensor]
    results: tuple[Tensor, ...]
    replay: Callable[[], None]
    mib: float


class Record(Protocol):
    """Records a step that reads its inputs where they are."""

    def __call__(self, run: Run, inputs: dict[str, Tensor]) -> Recorded:
        """Return the recorded step; it need not have been run."""
        ...


class CudaRecord:
    """Records steps as CUDA graphs with one pool of memory. No other thread may use the device meanwhile."""

    def __init__(self) -> None:
        """Take a pool, which is empty."""
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Run, inputs: dict[str, Tensor]) -> Recorded:
        """Run the step twice, as libraries set themselves up in the first runs, and then record it.

        Raises:
            OutOfMemoryError: the device has no room for the step, or for another beside it.
        """
        with torch.cuda.device(next(iter(inputs.values())).device):
            here, aside = torch.cuda.current_stream(), _aside(torch.cuda.current_device())
            aside.wait_stream(here)
            with torch.cuda.stream(aside):
                for _ in range(_WARM_UP):
                    run(inputs)
            here.wait_stream(aside)
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            before = torch.cuda.memory_reserved()
            graph, results = self._captured(run, inputs, aside)
            return Recorded(inputs, results, graph.replay, (torch.cuda.memory_reserved() - before) / _MIB)

    def _captured(
        self, run: Run, inputs: dict[str, Tensor], stream: torch.cuda.Stream
    ) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...]]:
        graph = torch.cuda.CUDAGraph()
        try:
            # Before torch 2.15 a capture that cannot be ended leaves its stream the current one; this block does not.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"),
            ):
                results = run(inputs)
        except RuntimeError as error:
            if isinstance(error.__context__, torch.OutOfMemoryError):  # of which the capture could not be ended
                raise error.__context__ from None
            raise
        return graph, results


@cache
def _aside(_device: int) -> torch.cuda.Stream:
    """Return the stream of a device on which steps are recorded: cuBLAS keeps 32 MiB for each that it has met."""
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]


class StepGraphs:
    """The recorded steps of one UNet, whose attribution is read by the preset's settings."""

    def __init__(
        self, unet: UNet2DConditionModel, settings: AttributionSettings, grid: int, make_record: Callable[[], Record]
    ) -> None:
        """Record nothing yet.

        Args:
            unet: the UNet; its layers are wrapped while a step is recorded.
            settings: which layers count.
            grid: g, the side of the maps.
            make_record: makes what records steps that share their memory; it is made anew when all are let go.
        """
        self._unet, self._plain, self._grid = unet, unet.forward, grid
        self._settings = replace(settings, step_range=(0.0, 1.0))  # A step that does not count is recorded without.
        self._make_record, self._record = make_record, make_record()
        self._recorded: OrderedDict[Any, tuple[Recorded, int]] = OrderedDict()
        self._batches: Counter[tuple[int, ...]] = Counter()
        remember_holder(self)

    def held_mib(self) -> float:
        """Return the memory that the recorded steps keep, beside the tensors."""
        return sum(recorded.mib for recorded, _ in self._recorded.values())

    def let_go(self) -> None:
        """Forget all recorded steps; they are recorded anew when their shapes come again."""
        self._recorded.clear()
        self._record = self._make_record()

    @contextmanager
    def recording(self, recorder: AttributionRecorder, tokens: Tokens) -> Iterator[None]:
        """Have the UNet run recorded steps within the block, and the recorder told of their attribution.

        The first batch of a shape runs as it does without graphs.
        """
        shape = tuple(tokens.positions.shape)
        self._batches[shape] += 1
        if self._batches[shape] == 1:
            with recorder:
                yield
            return

        def forward(sample: Tensor, timestep: Tensor, return_dict: bool = True, **more: Any) -> tuple[Tensor]:
            given = {name: value for name, value in more.items() if value is not None}
            return (self._step({"sample": sample, "timestep": timestep, **given}, recorder, tokens),)

        self._unet.forward = forward
        try:
            yield
        finally:
            del self._unet.forward  # of this UNet; the class has its own

    def _step(self, inputs: dict[str, Tensor], recorder: AttributionRecorder, tokens: Tokens) -> Tensor:
        """Run a step, and return its noise (B or 2B, C, h, w)."""
        counts = recorder.is_recording
        if counts:
            inputs = {**inputs, _POSITIONS: tokens.positions, _WEIGHTS: tokens.weights}
        recorded, heads = self._of_shape(inputs, len(tokens.positions))
        for name, place in recorded.inputs.items():
            place.copy_(inputs[name])
        recorded.replay()
        noise, *maps = (result.clone() for result in recorded.results)
        if counts:
            recorder.add(maps[0], heads)
        return noise

    def _of_shape(self, inputs: dict[str, Tensor], images: int) -> tuple[Recorded, int]:
        """Return the recorded step for inputs of some shapes, and how many heads its attribution adds up."""
        key = (images, *((name, value.shape, value.dtype) for name, value in inputs.items()))
        found = self._recorded.pop(key, None)
        if found is None:
            while len(self._recorded) >= MOST_GRAPHS:
                self._recorded.popitem(last=False)
            found = self._record_step(inputs, images)
        self._recorded[key] = found  # as the one that was used last
        return found

    def _record_step(self, inputs: dict[str, Tensor], images: int) -> tuple[Recorded, int]:
        heads = 0

        def run(places: dict[str, Tensor]) -> tuple[Tensor, ...]:
            nonlocal heads
            noise, maps, heads = self._run(places, images)
            return (noise,) if maps is None else (noise, maps)

        device = inputs["sample"].device
        recorded = self._record(run, {name: value.to(device, copy=True) for name, value in inputs.items()})
        return recorded, heads

    def _run(self, inputs: dict[str, Tensor], images: int) -> tuple[Tensor, Tensor | None, int]:
        """Run a step without a graph: its noise, the sum of its heads' maps (B, g, g), and the number of heads."""
        of_unet = {name: value for name, value in inputs.items() if name not in (_POSITIONS, _WEIGHTS)}
        if _POSITIONS not in inputs:
            return self._plain(**of_unet, return_dict=False)[0], None, 0
        tokens = Tokens(inputs[_POSITIONS], inputs[_WEIGHTS])
        once = AttributionRecorder(self._unet, self._settings, tokens, images=images, grid=self._grid, steps=1)
        with once:
            noise: Tensor = self._plain(**of_unet, return_dict=False)[0]
        return noise, *once.sum()
