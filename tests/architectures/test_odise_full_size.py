"""ODISE at full size on the published architectures: the table of C.1, 28.1 M trained parameters; nothing is run."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks import architectures as real
from ovdiff.engines import load_any_preset
from ovdiff.models.clip import TransformersClip
from ovdiff.odise.captioner import ImplicitCaptioner
from ovdiff.odise.encoding import WindowEncoder, cut
from ovdiff.odise.head import OdiseHead
from ovdiff.odise.preset import OdisePreset
from ovdiff.odise.taps import DiffusionTaps

# C.1's table: channels and stride at 512 px of the VAE encoder's taps, the decoder's, and the UNet's.
TAPS = ((512, 4), (512, 8), (512, 8), (512, 4), (2560, 64), (1920, 32), (960, 16), (640, 8))


@pytest.fixture(scope="module")
def preset() -> OdisePreset:
    found = load_any_preset("odise")
    assert isinstance(found, OdisePreset)
    return found


@pytest.fixture(scope="module")
def encoder(preset: OdisePreset) -> WindowEncoder:
    taps = DiffusionTaps(real.build_diffusion(device="meta"), preset.taps)
    clip = TransformersClip(real.build_clip("meta", config=real.CLIP_L14_336), real.build_tokenizer())
    return WindowEncoder(preset, taps, clip)


@pytest.fixture(scope="module")
def head(preset: OdisePreset, encoder: WindowEncoder) -> OdiseHead:
    text = encoder.taps.empty_text.shape[1:]
    with torch.device("meta"):
        made = OdiseHead(preset, encoder.taps.channels, 768, (text[0], text[1]), encoder.taps.time_channels)
    return made.to("meta").eval()  # transformers makes one parameter on the CPU, whatever the device


def parameters(part: nn.Module | None) -> int:
    return sum(weight.numel() for weight in part.parameters()) if part is not None else 0


def test_the_taps_are_those_of_the_table(preset: OdisePreset, encoder: WindowEncoder, head: OdiseHead) -> None:
    windows, _ = cut(np.zeros((1024, 1024, 3), np.uint8), preset.taps)
    assert windows.shape == (4, 512, 512, 3)
    found = encoder.encode(windows[:2], head.captioner)
    assert [tuple(tap.shape) for tap in found] == [(2, ch, 512 // stride, 512 // stride) for ch, stride in TAPS]
    assert all(tap.is_meta for tap in found) and encoder.taps.channels == [channels for channels, _ in TAPS]


def test_each_tap_goes_to_the_level_of_its_stride(encoder: WindowEncoder, head: OdiseHead) -> None:
    seen: dict[int, list[int]] = {}

    def note(tap: int) -> Callable[[nn.Module, tuple[Tensor]], None]:
        return lambda _module, given: seen.setdefault(512 // given[0].shape[-1], []).append(tap)

    for tap, project in enumerate(head.masks.pyramid.taps):
        project.register_forward_pre_hook(note(tap))
    taps = [torch.zeros(1, channels, 512 // stride, 512 // stride, device="meta") for channels, stride in TAPS]
    levels = head.masks.pyramid(taps, (512, 512))
    assert seen == {4: [0, 3], 8: [1, 2, 7], 32: [4, 5], 16: [6]}  # u2's stride of 64 is clipped to 32
    assert [tuple(level.shape) for level in levels] == [(1, 512, side, side) for side in (128, 64, 32, 16)]


def test_the_captioner_conditions_text_and_time(encoder: WindowEncoder, head: OdiseHead) -> None:
    assert isinstance(head.captioner, ImplicitCaptioner)
    said = head.captioner(torch.zeros(3, 768, device="meta"), encoder.taps.empty_text)
    assert said.text.shape == (3, 77, 768) and isinstance(said.time, Tensor) and said.time.shape == (3, 1280)


def test_a_square_image_of_1024_px_has_100_masks_at_stride_4(preset: OdisePreset, head: OdiseHead) -> None:
    _, grid = cut(np.zeros((1024, 1024, 3), np.uint8), preset.taps)
    taps = [torch.zeros(4, channels, 512 // stride, 512 // stride, device="meta") for channels, stride in TAPS]
    (masks,) = head.find(taps, grid)
    assert masks.logits.shape == (1, 100, 256, 256) and masks.embeddings.shape == (1, 100, 256)


def test_28_1_million_parameters_are_trained(head: OdiseHead) -> None:
    """Count them part by part, by hand. The published model's parts are the same, see `ovdiff/odise/released.py`."""
    masks = head.masks
    gn, squeezed = 2 * 512, 128 * 128 * 9 + 2 * 2 * 128  # a normalisation of 512; a bottleneck's middle
    kept = 4 * (2 * 512 * 128 + squeezed + gn)  # four taps have 512 channels and need no shortcut
    widened = sum(ch * 128 + squeezed + 128 * 512 + gn + ch * 512 + gn for ch in (2560, 1920, 960, 640))
    assert parameters(masks.pyramid) == kept + widened == 5_873_664
    assert parameters(masks.pixels) == 5_577_152
    assert parameters(masks.queries) == 14_458_624
    assert parameters(masks.embed) == 2 * 256 + 2 * 256 + 4 * (256 * 256 + 256)
    text, time = 768 * 768 + 768 + 2 * 77 * 768, 768 * 1280 + 1280 + 2 * 1280
    assert parameters(head.captioner) == text + time
    assert parameters(head.names) == 768 * 256 + 256 + 768 + 1  # the projection, "nothing", and the scale
    assert parameters(head) == 28_067_009  # published: 28.1 M
