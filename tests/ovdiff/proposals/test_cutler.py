from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from safetensors.torch import save_file

from ovdiff.errors import WeightsError
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset, load_preset
from ovdiff.presets.model_settings import CheckpointSettings
from ovdiff.presets.part_settings import Detectron2Settings
from ovdiff.proposals import make_source
from ovdiff.proposals.cutler import Cutler, detector_pixels, load_cutler, resized_size_hw
from tests.fakes.cutler import NARROW, SETTINGS, picture, seeded_cutler

CPU = torch.device("cpu")
GOLDEN = Path(__file__).parent / "golden" / "cutler.npz"


@pytest.fixture(scope="module")
def cutler() -> Cutler:
    return Cutler(seeded_cutler(), SETTINGS)


@pytest.mark.parametrize(
    ("size_hw", "expected"),
    [((512, 512), (800, 800)), ((600, 776), (800, 1035)), ((6000, 3167), (1333, 704)), ((1, 4000), (1, 1333))],
)
def test_the_short_side_is_800_unless_the_long_one_would_exceed_1333(
    size_hw: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert resized_size_hw(size_hw, 800, 1333) == expected


def test_pixels_are_rgb_normalised_and_padded_with_zeros() -> None:
    pixels = detector_pixels(np.full((10, 20, 3), (10, 120, 230), np.uint8), (20, 40))
    assert pixels.shape == (1, 3, 32, 64)
    expected = [(10 - 123.675) / 58.395, (120 - 116.28) / 57.12, (230 - 103.53) / 57.375]  # D.3
    np.testing.assert_allclose(pixels[0, :, 19, 39], expected, rtol=1e-5)
    assert not pixels[0, :, 20:].any() and not pixels[0, :, :, 40:].any()


def test_golden_boxes_scores_and_masks(cutler: Cutler) -> None:
    with np.load(GOLDEN) as golden:
        boxes, scores, packed = golden["boxes"], golden["scores"], golden["masks"]
    found = cutler.detect(picture())
    np.testing.assert_allclose(found.boxes.numpy(), boxes, atol=0.01)
    np.testing.assert_allclose(found.scores.numpy(), scores, atol=1e-4)
    masks = np.unpackbits(packed, axis=-1, count=128).astype(bool)
    assert len(masks) == 8 and masks.any(axis=(1, 2)).all()
    assert (cutler.propose(picture()) != masks).mean() < 1e-3  # a pixel on an edge may fall to either side


def test_masks_lie_in_their_boxes(cutler: Cutler) -> None:
    boxes, masks = cutler.detect(picture()).boxes.numpy(), cutler.propose(picture())
    for (left, top, right, bottom), mask in zip(boxes, masks, strict=True):
        rows, columns = np.nonzero(mask)
        assert left - 1 <= columns.min() and columns.max() <= right
        assert top - 1 <= rows.min() and rows.max() <= bottom


@pytest.mark.parametrize("size_hw", [(40, 200), (97, 31), (3, 5)])
def test_masks_have_the_image_s_size(cutler: Cutler, size_hw: tuple[int, int]) -> None:
    image = np.resize(picture(), (*size_hw, 3))
    masks = cutler.propose(image)
    assert masks.dtype == np.bool_ and masks.shape[1:] == size_hw
    np.testing.assert_array_equal(masks, cutler.propose(image))


def test_an_image_in_which_nothing_is_found_has_no_masks() -> None:
    strict = Cutler(seeded_cutler(), replace(SETTINGS, min_score=1.0))
    assert strict.propose(picture()).shape == (0, 96, 128)


def test_half_precision_finds_about_the_same(cutler: Cutler) -> None:
    half = Cutler(seeded_cutler(), SETTINGS, torch.bfloat16).detect(picture())
    full = cutler.detect(picture())
    assert half.scores.dtype == half.boxes.dtype == half.masks.dtype == torch.float32
    assert abs(half.scores[0] - full.scores[0]) < 0.05


@pytest.mark.parametrize("form", ["model", "bare", "safetensors"])
def test_saved_weights_load_back_through_the_path_of_real_ones(tmp_path: Path, cutler: Cutler, form: str) -> None:
    weights = seeded_cutler().state_dict()
    path = tmp_path / ("cutler.safetensors" if form == "safetensors" else "cutler.pth")
    if form == "safetensors":
        save_file(weights, path)
    else:
        torch.save({"model": weights, "iteration": 7} if form == "model" else weights, path)
    loaded = load_cutler(CheckpointSettings(source=str(path)), "", CPU, NARROW)
    assert not loaded.training
    found, expected = Cutler(loaded, SETTINGS).detect(picture()), cutler.detect(picture())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_half_precision_checkpoints_are_computed_in_full(tmp_path: Path) -> None:
    weights = {name: value.half() if value.is_floating_point() else value for name, value in _weights().items()}
    torch.save(weights, tmp_path / "half.pth")
    loaded = load_cutler(CheckpointSettings(source=str(tmp_path / "half.pth")), "", CPU, NARROW)
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}


def test_the_registered_proposer_asks_for_the_released_network(
    tmp_path: Path, preset: Preset, models: LoadedModels
) -> None:
    torch.save({"model": _weights()}, tmp_path / "narrow.pth")
    chosen = replace(
        preset,
        models=replace(preset.models, cutler=CheckpointSettings(source=str(tmp_path / "narrow.pth"))),
        proposals=replace(preset.proposals, source="cutler"),
    )
    message = r"narrow\.pth is not a checkpoint of this CascadeMaskRcnn with its 408 entries: \d+ of another shape"
    with pytest.raises(WeightsError, match=message):
        make_source(chosen, models)


def test_fetching_says_first_that_the_weights_are_non_commercial(
    preset: Preset,
    models: LoadedModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    released = load_preset("paper").models.cutler
    chosen = replace(
        preset,
        models=replace(preset.models, cutler=released),
        proposals=replace(preset.proposals, source="cutler"),
    )

    def offline(*_: object, **__: object) -> None:
        assert "NON-COMMERCIAL" in caplog.text and "https://dl.fbaipublicfiles.com/cutler/" in caplog.text
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(requests, "get", offline)
    with pytest.raises(WeightsError, match=r"no network\. Download it by hand"):
        make_source(chosen, models)


def _weights() -> dict[str, torch.Tensor]:
    return seeded_cutler().state_dict()


DETECTRON2_CONFIG = """
MODEL:
  META_ARCHITECTURE: GeneralizedRCNN
  MASK_ON: true
  PIXEL_MEAN: [123.675, 116.28, 103.53]
  PIXEL_STD: [58.395, 57.12, 57.375]
  BACKBONE: {NAME: build_resnet_fpn_backbone}
  RESNETS:
    DEPTH: 50
    NORM: BN
    STRIDE_IN_1X1: false
    OUT_FEATURES: [res2, res3, res4, res5]
    STEM_OUT_CHANNELS: 8
    RES2_OUT_CHANNELS: 32
    WIDTH_PER_GROUP: 8
  FPN: {IN_FEATURES: [res2, res3, res4, res5], OUT_CHANNELS: 16, NORM: BN}
  ANCHOR_GENERATOR: {SIZES: [[32], [64], [128], [256], [512]], ASPECT_RATIOS: [[0.5, 1.0, 2.0]]}
  RPN: {IN_FEATURES: [p2, p3, p4, p5, p6], NMS_THRESH: 0.65, PRE_NMS_TOPK_TEST: 1000, POST_NMS_TOPK_TEST: 1000}
  ROI_HEADS: {NAME: CascadeROIHeads, IN_FEATURES: [p2, p3, p4, p5], NUM_CLASSES: 1}
  ROI_BOX_HEAD: {NAME: FastRCNNConvFCHead, NUM_FC: 2, FC_DIM: 32, POOLER_RESOLUTION: 7, CLS_AGNOSTIC_BBOX_REG: true}
  ROI_MASK_HEAD: {NAME: MaskRCNNConvUpsampleHead, NUM_CONV: 4, CONV_DIM: 16, POOLER_RESOLUTION: 14}
INPUT: {FORMAT: RGB, MIN_SIZE_TEST: 128, MAX_SIZE_TEST: 256}
TEST: {DETECTIONS_PER_IMAGE: 8}
VERSION: 2
"""


def test_detectron2_itself_finds_the_same(tmp_path: Path) -> None:
    """Runs where detectron2 is installed; nothing here installs it."""
    pytest.importorskip("detectron2")
    from ovdiff.proposals.detectron2 import Detectron2

    network = seeded_cutler()
    torch.save({"model": network.state_dict()}, tmp_path / "weights.pth")
    (tmp_path / "config.yaml").write_text(DETECTRON2_CONFIG, "utf-8")
    settings = Detectron2Settings(str(tmp_path / "config.yaml"), str(tmp_path / "weights.pth"), SETTINGS.min_score)
    expected = Detectron2(settings, CPU).propose(picture())
    assert expected.any()
    found = Cutler(network, SETTINGS).propose(picture())
    assert found.shape == expected.shape and (found != expected).mean() < 1e-4
