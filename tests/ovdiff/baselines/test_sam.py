"""SAM's masks against the library's own processor and model, on random weights of a small size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import SamModel

from benchmarks import architectures as real
from ovdiff.baselines.preset import SamSettings
from ovdiff.baselines.sam import SamUpperLine
from ovdiff.errors import ImageError
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets.model_settings import ModelSettings
from tests.ovdiff.baselines.conftest import shaken

SIDE = 128
BOXES = np.array([[5, 8, 40, 50], [0, 0, 89, 59], [60.5, 10.25, 80, 33]])
POINTS = np.array([[20, 30], [70, 20]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(4)
    made = tmp_path_factory.mktemp("sam")
    shaken(real.build_sam(shrink=8, image_px=SIDE)).save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def line(folder: Path) -> SamUpperLine:
    return SamUpperLine(SamSettings(ModelSettings(str(folder)), prompts_at_once=2), LoadedModels())


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    return np.random.default_rng(2).integers(0, 256, (60, 90, 3), dtype=np.uint8)


@torch.inference_mode()
def _reference(
    folder: Path, image: NDArray[np.uint8], **prompts: Any
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The logits of all masks (N, M, H, W) and SAM's trust (N, M), by the library's processor."""
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    processor = SamImageProcessorPil(size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE})
    model = SamModel.from_pretrained(folder).eval()
    inputs = processor(image, return_tensors="pt")
    resized = inputs["reshaped_input_sizes"][0].tolist()
    scale = torch.tensor([resized[1] / image.shape[1], resized[0] / image.shape[0]])
    given = {}
    for name, values in prompts.items():
        given[name] = torch.tensor(values).float()
        if name != "multimask_output":
            given[name] = given[name].reshape(-1, 2).mul(scale).reshape(given[name].shape)[None]
    answer = model(
        pixel_values=inputs["pixel_values"], **{**given, "multimask_output": bool(prompts["multimask_output"])}
    )
    masks = processor.post_process_masks(
        answer.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"], binarize=False
    )[0]
    return masks.numpy(), answer.iou_scores[0].numpy()


def test_masks_of_boxes_are_the_library_s(folder: Path, line: SamUpperLine, image: NDArray[np.uint8]) -> None:
    logits, trust = _reference(folder, image, input_boxes=BOXES, multimask_output=False)
    found = line.masks_for_boxes(image, BOXES)
    assert line.for_boxes(image, BOXES).trust == pytest.approx(np.clip(trust[:, 0], 0, 1), abs=1e-5)
    assert found.shape == (3, 60, 90) and found.dtype == np.bool_
    assert found.any() and not found.all() and not np.array_equal(found[0], found[1])
    sure = np.abs(logits[:, 0]) > 1e-4 * np.abs(logits).max()
    assert sure.mean() > 0.99 and np.array_equal(found[sure], (logits[:, 0] > 0)[sure])


def test_of_a_point_s_masks_the_most_trusted_is_taken(
    folder: Path, line: SamUpperLine, image: NDArray[np.uint8]
) -> None:
    logits, trust = _reference(folder, image, input_points=POINTS[:, None], multimask_output=True)
    found = line.masks_for_points(image, POINTS)
    assert line.for_points(image, POINTS).trust == pytest.approx(np.clip(trust.max(axis=1), 0, 1), abs=1e-5)
    for number, best in enumerate(trust.argmax(axis=1)):
        wanted = logits[number, best]
        sure = np.abs(wanted) > 1e-4 * np.abs(logits).max()
        assert np.array_equal(found[number][sure], (wanted > 0)[sure])


def test_an_image_is_encoded_once(
    line: SamUpperLine, image: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = line.masks_for_boxes(image, BOXES)
    monkeypatch.setattr(line._model, "get_image_embeddings", lambda pixels: pytest.fail("encoded again"))
    assert np.array_equal(line.masks_for_boxes(image, BOXES), first)


def test_no_prompts_give_no_masks_and_odd_ones_are_refused(line: SamUpperLine, image: NDArray[np.uint8]) -> None:
    assert line.masks_for_boxes(image, np.zeros((0, 4))).shape == (0, 60, 90)
    with pytest.raises(ImageError, match=r"Expected \(N, 4\) boxes, left, top, right, bottom, .* the shape \(3, 2\)\."):
        line.masks_for_boxes(image, BOXES[:, :2])
    with pytest.raises(ImageError, match=r"Expected \(N, 2\) points"):
        line.masks_for_points(image, np.array([[np.nan, 3.0]]))
    with pytest.raises(ImageError):
        line.masks_for_boxes(image[..., 0], BOXES)
