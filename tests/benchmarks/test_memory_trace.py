"""The trace against arithmetic by hand, and against what torch's own profiler sees of a real run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.architectures import SD_15, build_dino, build_unet
from benchmarks.memory_trace import MIB, Cost, MemoryTrace, PretendedGpu, cost_of

ROWS, INSIDE, OUTSIDE = 1024, 2048, 256  # of a two-layer network, chosen so that every tensor is whole 512 B blocks


def two_layers(device: str) -> nn.Sequential:
    return nn.Sequential(nn.Linear(OUTSIDE, INSIDE), nn.ReLU(), nn.Linear(INSIDE, OUTSIDE)).to(device)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_two_layers_by_hand(device: str) -> None:
    model = two_layers(device)
    cost = cost_of(lambda: model(torch.zeros(ROWS, OUTSIDE, device=device)), model.parameters(), device)
    # fullest while ReLU has its input and its result, and the caller's frame still holds the network's input
    values = ROWS * OUTSIDE + 2 * ROWS * INSIDE
    weights = 2 * OUTSIDE * INSIDE + INSIDE + OUTSIDE
    moved = weights + 3 * ROWS * OUTSIDE + 4 * ROWS * INSIDE  # zeros are written; each layer reads and writes
    assert cost == Cost(values * 4 / MIB, gmac=2 * ROWS * INSIDE * OUTSIDE / 1e9, moved_bytes=moved * 4)


def test_weights_are_counted_once_and_let_go_with_their_model() -> None:
    model = two_layers("meta")
    with MemoryTrace() as trace:
        trace.hold(model.parameters())
        trace.hold(model.parameters())
        assert trace.live_bytes == 4 * (2 * OUTSIDE * INSIDE + INSIDE + OUTSIDE)
        model = None  # type: ignore[assignment]
        assert trace.live_bytes == 0
        assert trace.peak_bytes == 4 * (2 * OUTSIDE * INSIDE + INSIDE + OUTSIDE)


def test_views_and_changes_in_place_take_nothing() -> None:
    def work() -> None:
        values = torch.zeros(256, 256, device="meta")
        values.T[:3].add_(1)
        values.relu_()

    assert cost_of(work).peak_mib == 256 * 256 * 4 / MIB


def test_what_a_gpu_has_one_kernel_for_makes_nothing_on_the_way() -> None:
    grid = torch.zeros(1, 768, 14, 14, device="meta")
    cost = cost_of(lambda: F.interpolate(grid, size=(56, 56), mode="bicubic"), [grid])
    assert cost.peak_mib == 768 * 56 * 56 * 4 / MIB


def test_a_small_tensor_takes_an_allocators_block() -> None:
    assert cost_of(lambda: torch.zeros(1, device="meta")).peak_mib == 512 / MIB


def test_attention_keeps_no_matrix_of_all_pairs() -> None:
    def attend(query: Tensor, mask: Tensor | None = None) -> Tensor:
        return F.scaled_dot_product_attention(query, query, query, attn_mask=mask)

    shape = (2, 8, 4096, 40)
    one = 2 * 8 * 4096 * 40 * 2  # bytes of a float16 tensor of this shape
    made = torch.empty(shape, dtype=torch.float16, device="meta")
    fused = cost_of(lambda: attend(made), [made])
    assert one <= fused.peak_mib * MIB < 1.2 * one
    assert fused.gmac == pytest.approx(2 * 2 * 8 * 4096 * 4096 * 40 / 1e9)
    pairs = cost_of(lambda: (made @ made.transpose(-1, -2)).softmax(dim=-1) @ made, [made])
    assert pairs.peak_mib * MIB > 2 * 8 * 4096 * 4096 * 2


def test_attention_that_learns_keeps_no_matrix_of_all_pairs_either() -> None:
    made = torch.empty((2, 8, 4096, 40), dtype=torch.float16, device="meta", requires_grad=True)

    def learn() -> None:
        F.scaled_dot_product_attention(made, made, made).sum().backward()  # type: ignore[no-untyped-call]

    cost = cost_of(learn, [made], learning=True)
    one = 2 * 8 * 4096 * 40 * 2
    assert cost.peak_mib * MIB < 8 * one  # one matrix of all pairs would be 102 times one tensor
    assert cost.gmac == pytest.approx(7 * 2 * 8 * 4096 * 4096 * 40 / 1e9)  # 2 forwards, 5 backwards: one is done again
    assert made.grad is not None and made.grad.shape == made.shape


def test_the_peak_of_a_real_small_unet_is_what_the_profiler_sees(tmp_path: Path) -> None:
    unet = build_unet(SD_15, shrink=8).requires_grad_(False)
    latents, text = torch.zeros(2, 4, 32, 32), torch.zeros(2, 77, 96)

    def work() -> None:
        unet(latents, 200, encoder_hidden_states=text)

    traced = cost_of(work, [*unet.parameters(), latents, text], "cpu").peak_mib
    assert traced == pytest.approx(profiled_peak_mib(work, tmp_path / "trace.json"), rel=0.01)


def test_the_pretended_gpu_takes_what_a_real_run_takes() -> None:
    def peak(device: str) -> float:
        dino = build_dino(device, shrink=8).requires_grad_(False)
        pixels = torch.zeros(2, 3, 224, 224, device=device)
        return cost_of(lambda: dino(pixels), [*dino.parameters(), pixels], device).peak_mib

    assert peak("meta") == pytest.approx(peak("cpu"), rel=0.01)


def test_values_that_are_asked_for_are_made_up() -> None:
    with PretendedGpu():
        values = torch.ones(3, 2, device="meta")
        assert values.cpu().tolist() == [[0, 0]] * 3
        assert values.sum().item() == 0
        assert values.isfinite().all()
        assert values.nonzero().shape == (1, 2)
        assert values.half().device.type == "meta"


def profiled_peak_mib(work: Callable[[], None], trace_file: Path) -> float:
    """Return the highest "Total Allocated" among the profiler's memory events, above where it began."""
    with torch.inference_mode(), torch.profiler.profile(profile_memory=True) as profiler:
        work()
    profiler.export_chrome_trace(str(trace_file))
    events = [event for event in json.loads(trace_file.read_text())["traceEvents"] if event["name"] == "[memory]"]
    events.sort(key=lambda event: event["ts"])
    first = events[0]["args"]
    return (
        float(max(event["args"]["Total Allocated"] for event in events) - first["Total Allocated"] + first["Bytes"])
        / MIB
    )
