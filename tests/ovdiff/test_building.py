from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ovdiff.building import find_masks, make_prototype_set, make_support_set
from ovdiff.errors import SupportError
from ovdiff.generation.diffusion import Batch
from ovdiff.parts import Parts
from ovdiff.presets import Preset
from ovdiff.support import SupportSet


@pytest.fixture(scope="module")
def parts(preset: Preset) -> Parts:
    return Parts(preset, "cpu")


@pytest.fixture(scope="module")
def support(parts: Parts) -> SupportSet:
    return make_support_set(parts, ["boat", "ship"], lambda *_: None)


class _Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []

    def __call__(self, stage: str, fraction: float) -> None:
        self.calls.append((stage, fraction))


def test_images_are_ordered_by_number_and_not_by_batch(parts: Parts, support: SupportSet) -> None:
    assert len(support.images) == 3
    second = parts.generator.generate(Batch("ship", (1,)))
    difference = support.images[1].image.astype(int) - second.images[0].astype(int)
    assert np.abs(difference).max() <= 1


def test_each_extractor_gets_its_prototypes(parts: Parts, support: SupportSet) -> None:
    spaces = make_prototype_set(parts, support, lambda *_: None).spaces
    assert set(spaces) == set(parts.preset.extractors.use)
    shown = support.with_foreground()
    for space in spaces.values():
        assert len(space.foreground.vectors) == 1 + shown + parts.preset.prototypes.parts


def test_progress_only_grows_and_names_its_stages(parts: Parts) -> None:
    progress = _Recorder()
    support = make_support_set(parts, ["boat"], progress)
    make_prototype_set(parts, support, progress)
    fractions = [fraction for _, fraction in progress.calls]
    assert fractions == sorted(fractions) and fractions[0] >= 0 and fractions[-1] <= 1
    assert list(dict.fromkeys(stage for stage, _ in progress.calls)) == ["generating", "masking", "extracting"]


@pytest.mark.parametrize("source", ["otsu", "multi_otsu", "fixed", "maskcut"])
def test_every_source_gives_disjoint_masks(source: Any, preset: Preset, support: SupportSet) -> None:
    small = replace(preset.proposals.maskcut, input_px=64)
    parts = Parts(replace(preset, proposals=replace(preset.proposals, source=source, maskcut=small)), "cpu")
    images = np.stack([item.image for item in support.images])
    attributions = np.stack([item.attribution for item in support.images])
    for foreground, background in find_masks(parts, images, attributions):
        assert foreground.shape == background.shape == images.shape[1:3]
        assert foreground.any() and not (foreground & background).any()


def test_a_category_that_no_image_shows_is_an_error_that_says_so(preset: Preset) -> None:
    nothing = replace(preset.proposals, source="fixed", fixed_foreground=1.0)
    with pytest.raises(SupportError, match=r"None of the 3 images generated for 'boat' has a foreground.*'fixed'"):
        make_support_set(Parts(replace(preset, proposals=nothing), "cpu"), ["boat"], lambda *_: None)


def test_foreground_that_reaches_no_feature_cell_is_an_error_and_not_an_empty_set(
    parts: Parts, support: SupportSet
) -> None:
    specks = []
    for item in support.images:
        speck = np.zeros_like(item.foreground)
        speck[0, 0] = True  # cells are sampled at their middle
        specks.append(replace(item, foreground=speck))
    with pytest.raises(SupportError, match=r"no usable .* features of its foreground.*mask_coverage"):
        make_prototype_set(parts, SupportSet(tuple(specks)), lambda *_: None)


def test_each_image_tells_its_prompt_and_seed(support: SupportSet) -> None:
    assert support.prompts == tuple(f"a good photo of a {phrase}" for phrase in ("boat", "ship", "boat"))
    assert len(set(support.seeds)) == len(support.images)
