"""Steps that are recorded and replayed, on a CPU: torch.fx stands for CUDA graphs.

What it records are torch's operations on given tensors, without any of Python's, as a CUDA graph does. That a step can
be recorded on a GPU is tested with tensors that pretend to be on one: nothing in it waits for the device or reads the
host's memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks import architectures
from ovdiff.building.generation import graphs as generation_graphs
from ovdiff.building.generation.attribution import AttributionRecorder, Tokens
from ovdiff.building.generation.diffusion import DrawingBatch, Generated, SupportGenerator
from ovdiff.building.generation.graphs import MOST_GRAPHS, CudaRecord, Recorded, Run, StepGraphs
from ovdiff.models import memory
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.building_settings import AttributionSettings


class FxRecord:
    """Records the operations of a step, and runs them again."""

    def __init__(self) -> None:
        self.recorded, self.replayed = list[list[str]](), 0

    def __call__(self, run: Run, inputs: dict[str, Tensor]) -> Recorded:
        names, places = list(inputs), list(inputs.values())
        with torch.inference_mode(False), torch.no_grad():
            places = [place.clone() for place in places]
            with tracing(TracingContext(FakeTensorMode())):  # else one is made for each operation
                program = make_fx(lambda *given: run(dict(zip(names, given, strict=True))))(*places)
            results = program(*places)
        self.recorded.append(names)

        def replay() -> None:
            self.replayed += 1
            for result, found in zip(results, program(*places), strict=True):
                result.copy_(found)

        return Recorded(dict(zip(names, places, strict=True)), results, replay, 100.0)


@pytest.fixture(scope="module")
def drawn(preset: Preset, models: LoadedModels) -> tuple[FxRecord, list[Generated], list[Generated]]:
    """Three batches of one shape, in three steps of which the last does not count, with and without recorded steps."""
    record = FxRecord()
    generation = replace(preset.generation, steps=3)
    settings = replace(preset.attribution, step_range=(0.0, 0.5))
    pipeline = models.diffusion(preset.models.generator)
    recording = SupportGenerator(pipeline, generation, settings, make_record=lambda: record)
    plain = SupportGenerator(pipeline, generation, settings)
    batches = [
        DrawingBatch(phrase, numbers) for phrase, numbers in (("boat", (0, 1)), ("red fish", (2, 0)), ("tree", (1, 5)))
    ]
    return record, [recording.generate(batch) for batch in batches], [plain.generate(batch) for batch in batches]


def test_recorded_steps_draw_the_same_images_with_the_same_attribution(
    drawn: tuple[FxRecord, list[Generated], list[Generated]],
) -> None:
    _, found, expected = drawn
    for ours, theirs in zip(found, expected, strict=True):
        assert np.abs(ours.images.astype(int) - theirs.images.astype(int)).max() <= 1
        np.testing.assert_allclose(ours.maps, theirs.maps, atol=1e-5)
    assert not np.array_equal(found[1].maps, found[2].maps)


def test_a_shape_is_recorded_once_when_it_comes_for_the_second_time(
    drawn: tuple[FxRecord, list[Generated], list[Generated]],
) -> None:
    record, *_ = drawn
    of_unet = ["sample", "timestep", "encoder_hidden_states"]
    assert record.recorded == [[*of_unet, "token positions", "token weights"], of_unet]  # one step does not count
    assert record.replayed == 6  # three steps of the second batch, and of the third


def test_afterwards_the_unet_runs_as_ever(preset: Preset, models: LoadedModels) -> None:
    unet = models.diffusion(preset.models.generator).unet
    assert "forward" not in vars(unet)


class _Unet(torch.nn.Module):
    """Has one layer that is looked for by name."""

    def forward(self, sample: Tensor, timestep: Tensor, **_: Any) -> tuple[Tensor]:
        return (sample + timestep,)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[StepGraphs]:
    monkeypatch.setattr(StepGraphs, "_run", lambda self, at, _images: (at["sample"] + at["timestep"], None, 0))
    yield StepGraphs(_Unet(), AttributionSettings(), 8, FxRecord)  # type: ignore[arg-type]


class _Recorder:
    """Counts no step."""

    is_recording = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def _step(graphs: StepGraphs, rows: int, times: int = 2) -> Tensor:
    tokens = Tokens.of([slice(0, 1)] * rows, torch.device("cpu"))
    for _ in range(times):
        with graphs.recording(_Recorder(), tokens):  # type: ignore[arg-type]
            found: Tensor = graphs._unet(torch.ones(rows, 2), torch.tensor(3.0), cross_attention_kwargs=None)[0]
    return found


def test_the_graphs_that_were_used_last_are_kept_and_their_memory_is_counted(graphs: StepGraphs) -> None:
    assert graphs.held_mib() == 0
    for rows in range(1, MOST_GRAPHS + 3):
        assert torch.equal(_step(graphs, rows), torch.full((rows, 2), 4.0))
    assert graphs.held_mib() == 100.0 * MOST_GRAPHS == memory._held_mib()
    before = graphs._record
    memory._release()
    assert graphs.held_mib() == 0 and graphs._record is not before
    assert torch.equal(_step(graphs, 2, times=1), torch.full((2, 2), 4.0)) and graphs.held_mib() == 100.0


def test_graphs_are_let_go_where_a_batch_has_no_room_beside_them(
    graphs: StepGraphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Card:
        def free_mib(self) -> float:
            return 700.0 - graphs.held_mib()

        def used_mib(self) -> float:
            return graphs.held_mib()

    _step(graphs, 1)
    monkeypatch.setattr(memory, "memory_of", lambda _: Card())
    work = memory.Work("a test", wanted=4, mib_per_item=50, budget_gib=8.0)
    assert memory.batch_size(torch.device("cpu"), work) == 1 and graphs.held_mib() == 100.0
    assert memory.batch_size(torch.device("cpu"), replace(work, mib_per_item=150)) == 1 and graphs.held_mib() == 0


class OnDeviceAlone(TorchDispatchMode):
    """Refuses every operation that touches a tensor of the host, or waits for the device."""

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        hosts = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor) and not leaf.is_cuda]
        assert not hosts, f"{func} touches the host"
        self.count = getattr(self, "count", 0) + 1
        return result


@pytest.fixture(scope="module")
def pretended() -> Iterator[tuple[Any, Tokens, dict[str, Tensor]]]:
    """A UNet, tokens and a step's inputs that pretend to be on a GPU: they have no numbers."""
    with FakeTensorMode():
        unet = architectures.build_unet(architectures.SD_15, "cuda", shrink=16).eval()
        tokens = Tokens(torch.zeros(2, 4, dtype=torch.int64, device="cuda"), torch.ones(2, 4, device="cuda"))
        inputs = {
            "sample": torch.zeros(4, 4, 8, 8, device="cuda"),
            "timestep": torch.zeros((), dtype=torch.int64, device="cuda"),
            "encoder_hidden_states": torch.zeros(4, 7, unet.config.cross_attention_dim, device="cuda"),
        }
        yield unet, tokens, inputs


def test_a_step_waits_for_nothing_and_reads_nothing_of_the_host(
    pretended: tuple[Any, Tokens, dict[str, Tensor]],
) -> None:
    unet, tokens, inputs = pretended
    watched = OnDeviceAlone()

    def record(run: Run, places: dict[str, Tensor]) -> Recorded:
        with watched:
            results = run(places)
        return Recorded(places, results, lambda: None, 0.0)

    graphs = StepGraphs(unet, AttributionSettings(), 8, lambda: record)
    recorder = AttributionRecorder(unet, AttributionSettings(), tokens, images=2, grid=8, steps=1)
    graphs._batches[(2, 4)] = 1
    with torch.inference_mode(), graphs.recording(recorder, tokens):
        noise = unet(**inputs, return_dict=False)[0]
    assert noise.shape == inputs["sample"].shape and noise.is_cuda and recorder.maps().shape == (2, 8, 8)
    assert watched.count > 500


@pytest.mark.parametrize("fault", ["item", "cpu", "constant"])
def test_meta_a_step_that_waits_or_reads_the_host_is_noticed(
    fault: str, pretended: tuple[Any, Tokens, dict[str, Tensor]]
) -> None:
    _, _, inputs = pretended
    faults = {
        "item": lambda at: at["timestep"].item(),
        "cpu": lambda at: at["sample"].cpu(),
        "constant": lambda at: at["sample"] * torch.tensor([1.0, 2.0]).to("cuda")[0],
    }
    with pytest.raises((AssertionError, DataDependentOutputException)), OnDeviceAlone():
        faults[fault](inputs)


class OlderCuda:
    """What `CudaRecord` asks of torch.cuda, as torch before 2.15 does it: an error ends the capture badly."""

    def __init__(self) -> None:
        self.current, self.streams, self.captured_in = "main", list[str](), list[str]()

    def stream_of_its_own(self) -> Any:
        self.streams.append(f"stream {len(self.streams)}")
        return SimpleNamespace(name=self.streams[-1], wait_stream=lambda _: None)

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        before, self.current = self.current, stream.name
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, _graph: Any, *, pool: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"  # Other threads prepare images meanwhile.
        before, self.current = self.current, stream.name
        self.captured_in.append(stream.name)
        try:
            yield
        except torch.OutOfMemoryError:  # torch calls `capture_end`, which fails, before it leaves the stream
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")  # noqa: B904
        self.current = before


@pytest.fixture
def older_cuda(monkeypatch: pytest.MonkeyPatch) -> OlderCuda:
    cuda = OlderCuda()
    stand_ins: dict[str, Any] = {
        "device": lambda _: nullcontext(),
        "current_device": lambda: 0,
        "current_stream": lambda: SimpleNamespace(name=cuda.current, wait_stream=lambda _: None),
        "Stream": cuda.stream_of_its_own,
        "stream": cuda.stream,
        "graph": cuda.graph,
        "CUDAGraph": lambda: SimpleNamespace(replay=lambda: None),
        "graph_pool_handle": lambda: (0, 1),
        "synchronize": lambda: None,
        "empty_cache": lambda: None,
        "memory_reserved": lambda: 0,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(generation_graphs, "_aside", cache(generation_graphs._aside.__wrapped__))
    return cuda


def test_all_steps_are_recorded_on_one_stream(older_cuda: OlderCuda) -> None:
    ran: list[str] = []

    def run(_at: dict[str, Tensor]) -> tuple[Tensor, ...]:
        ran.append(older_cuda.current)
        return ()

    for _ in range(3):
        CudaRecord()(run, {"sample": torch.zeros(1)})
    assert ran == ["stream 0"] * 9 and older_cuda.current == "main"
    assert older_cuda.streams == ["stream 0"] and older_cuda.captured_in == ["stream 0"] * 3


def test_a_step_without_room_says_so_and_leaves_the_stream(older_cuda: OlderCuda) -> None:
    runs = [0]

    def run(_at: dict[str, Tensor]) -> tuple[Tensor, ...]:
        runs[0] += 1
        if runs[0] == 3:
            raise torch.OutOfMemoryError("no room")
        return ()

    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        CudaRecord()(run, {"sample": torch.zeros(1)})
    assert older_cuda.current == "main"
