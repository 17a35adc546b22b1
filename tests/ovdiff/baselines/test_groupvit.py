"""GroupViT against the library's own segmentation, and its naming of groups against loops, on random weights."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from transformers import CLIPTokenizer, GroupViTModel

from benchmarks import architectures as real
from ovdiff import Bank
from ovdiff.baselines.groupvit import GroupVit, named_groups
from ovdiff.baselines.preset import GroupVitPreset
from ovdiff.engines import load_any_preset, make_engine
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pixels import images_to_pixels
from ovdiff.presets.model_settings import ModelSettings
from ovdiff.vocabulary import Vocabulary
from tests.ovdiff.baselines.conftest import shaken

WORDS = ["cat", "sky", "tall tree", "boat", "grass", "car", "window"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    made = tmp_path_factory.mktemp("groupvit")
    shaken(real.build_groupvit(shrink=8)).save_pretrained(made)
    real.build_tokenizer().save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def preset(folder: Path) -> GroupVitPreset:
    published = load_any_preset("groupvit")
    assert isinstance(published, GroupVitPreset)
    return replace(published, models=replace(published.models, groupvit=ModelSettings(str(folder))))


@pytest.fixture(scope="module")
def method(preset: GroupVitPreset) -> GroupVit:
    return GroupVit(preset, LoadedModels())


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def library(folder: Path, images: NDArray[np.uint8]) -> Any:
    """What the library's own pass gives at its own size."""
    model = GroupViTModel.from_pretrained(folder).eval()
    tokens = CLIPTokenizer.from_pretrained(folder)(
        [f"a photo of a {word}." for word in WORDS], padding=True, return_tensors="pt"
    )
    pixels = images_to_pixels(images, (224, 224), "imagenet", torch.zeros(1))
    with torch.inference_mode():
        found = model(**tokens, pixel_values=pixels, output_segmentation=True)
    return found, float(model.logit_scale.detach().exp())


@torch.inference_mode()
def test_groups_and_their_patches_are_the_library_s(method: GroupVit, images: NDArray[np.uint8], library: Any) -> None:
    found, scale = library
    groups, whole, shares = method.encode(images)
    assert groups.shape == (2, 8, 32) and shares.shape == (2, 8, 14, 14)
    torch.testing.assert_close(whole, found.image_embeds, rtol=1e-4, atol=1e-5)
    logits = scale * groups @ found.text_embeds.T
    enlarged = F.interpolate(shares, (224, 224), mode="bilinear", align_corners=False)
    ours = torch.einsum("bgw,bgyx->bwyx", logits, enlarged) * scale
    torch.testing.assert_close(ours, found.segmentation_logits, rtol=1e-3, atol=1e-3 * float(ours.abs().max()))


@torch.inference_mode()
def test_maps_are_the_released_code_s_pixel_by_pixel(method: GroupVit, images: NDArray[np.uint8], library: Any) -> None:
    found, scale = library
    encoded = method.encode(images)
    maps = method.maps(encoded, WORDS, (112, 96))
    assert maps.shape == (2, len(WORDS), 112, 96) and float(maps.min()) >= 0 and float(maps.max()) <= 1
    groups, whole, shares = encoded
    scale = min(scale, 100.0)
    for image in range(2):
        seen = [scale * float(whole[image] @ text) for text in found.text_embeds]
        best = sorted(range(len(WORDS)), key=lambda word: -seen[word])[:5]
        enlarged = F.interpolate(shares[image][None], (112, 96), mode="bilinear", align_corners=False)[0]
        for row, column in ((0, 0), (40, 17), (111, 95)):
            owner = max(range(8), key=lambda group: float(enlarged[group, row, column]))
            logits = [scale * float(groups[image, owner] @ text) for text in found.text_embeds]
            for word in range(len(WORDS)):
                among = sum(math.exp(logits[other] - logits[word]) for other in best)
                among_all = sum(math.exp(other - logits[word]) for other in logits)
                expected = (1 / among if word in best else 0.0) / among_all
                assert float(maps[image, word, row, column]) == pytest.approx(expected, abs=1e-5)


def test_only_the_best_words_of_the_window_name_a_group() -> None:
    groups, whole = torch.tensor([[[1.0, 5.0, 3.0]]]), torch.tensor([[3.0, 1.0, 2.0]])
    found = named_groups(groups, whole, 2)[0, 0]
    assert float(found[1]) == 0.0 and float(found[2]) > float(found[0]) > 0
    assert torch.equal(named_groups(groups, whole, 9), groups.softmax(dim=2) ** 2)


def test_some_pixel_of_each_image_is_foreground(
    preset: GroupVitPreset, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    engine = make_engine(preset, Bank(tmp_path), "cpu")
    for image in (images[0], images[1][:150]):
        found = engine.segment(image, Vocabulary(WORDS))
        assert found.label_map.shape == image.shape[:2]
        assert found.label_map.any() and found.scores.max() <= 1


def test_the_threshold_is_the_preset_s_where_the_best_value_is_above(method: GroupVit) -> None:
    assert method.threshold(torch.tensor([[[0.99]]])) == 0.95
    assert method.threshold(torch.tensor([[[0.5]]])) == pytest.approx(0.5, abs=1e-5) and method.weights()
