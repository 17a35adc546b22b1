"""The dense CRF. Where pydensecrf is not installed, only what is said without it is tested."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from ovdiff.errors import MissingExtraError
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset, load_preset
from ovdiff.presets.part_settings import MaskCutSettings
from ovdiff.proposals import make_source
from ovdiff.proposals.crf import crf
from ovdiff.proposals.maskcut import refine_mask

CRF = MaskCutSettings(refiner="crf")


def _with_crf(preset: Preset, refine: bool = True) -> Preset:
    maskcut = replace(preset.proposals.maskcut, refiner="crf", refine=refine)
    return replace(preset, proposals=replace(preset.proposals, source="maskcut", maskcut=maskcut))


def test_without_the_library_the_error_names_the_command_before_any_model_is_loaded(
    preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pydensecrf", "pydensecrf.densecrf"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(LoadedModels, "vit", lambda *_: pytest.fail("a model was loaded first"))
    wanted = (
        r"^proposals.source 'maskcut' needs pydensecrf, which is not installed. "
        r"In a checkout of ovdiff: pip install '.\[crf\]'$"
    )
    with pytest.raises(MissingExtraError, match=wanted):
        make_source(_with_crf(preset), LoadedModels())


def test_a_preset_that_refines_nothing_needs_no_library(
    preset: Preset, models: LoadedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    make_source(_with_crf(preset, refine=False), models)


def test_no_packaged_preset_asks_for_it() -> None:
    assert {load_preset(name).proposals.maskcut.refiner for name in ("paper", "fast", "tinyworld")} == {"pamr"}


def _disc(seed: int, size: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image of a disc, and the disc."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    centre, radius = random.uniform(45, 75, size=2), random.uniform(20, 35)
    disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
    colours = random.permutation([(210, 60, 40), (40, 90, 160)])
    image = np.where(disc[..., None], *colours) + random.normal(0, 6, (size, size, 3))
    return image.clip(0, 255).astype(np.uint8), disc


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def _rough(disc: np.ndarray) -> np.ndarray:
    """The disc as a mask of 8 px patches."""
    side = len(disc) // 8
    patches = disc.reshape(side, 8, side, 8).mean(axis=(1, 3)) > 0.5
    return patches.repeat(8, axis=0).repeat(8, axis=1)


@pytest.mark.parametrize("seed", range(4))
def test_a_mask_of_patches_becomes_the_object_s_and_pamr_s_is_nearly_the_same(seed: int) -> None:
    pytest.importorskip("pydensecrf")
    image, disc = _disc(seed)
    rough = _rough(disc)
    by_crf, by_pamr = refine_mask(image, rough, CRF), refine_mask(image, rough, MaskCutSettings())
    assert by_crf is not None and by_pamr is not None
    assert _iou(by_crf, disc) > 0.97 > _iou(rough, disc)
    assert _iou(by_crf, by_pamr) > 0.95
    np.testing.assert_array_equal(crf(image, rough), crf(image, rough))


def test_the_energy_is_the_library_s_own_unary_of_a_softmax() -> None:
    pytest.importorskip("pydensecrf")
    from pydensecrf.densecrf import DenseCRF2D
    from pydensecrf.utils import unary_from_softmax

    image, disc = _disc(9)
    shares = np.exp(np.stack([~disc, disc]).astype(np.float32))
    field = DenseCRF2D(disc.shape[1], disc.shape[0], 2)
    field.setUnaryEnergy(unary_from_softmax(shares / shares.sum(axis=0)))
    field.addPairwiseGaussian(sxy=3, compat=7)
    field.addPairwiseBilateral(sxy=50, srgb=5, rgbim=image, compat=10)
    expected = np.array(field.inference(10)).reshape(2, *disc.shape).argmax(axis=0)
    np.testing.assert_array_equal(crf(image, disc), expected.astype(bool))


def test_a_mask_that_the_crf_changes_too_much_is_dropped() -> None:
    pytest.importorskip("pydensecrf")
    image, disc = _disc(0)
    assert refine_mask(image, _rough(disc), replace(CRF, min_agreement=1.0)) is None
