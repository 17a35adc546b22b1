"""The engines of the baselines on the embedded CLIP."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovdiff import Bank
from ovdiff.baselines.decision import Rule, decide
from ovdiff.baselines.engine import BaselineEngine
from ovdiff.baselines.preset import ActivationSettings, BackgroundSettings, ClipDensePreset
from ovdiff.baselines.words import competing_words
from ovdiff.engines import SegmentationEngine, load_any_preset, make_engine
from ovdiff.engines.encodings import HasEncodings, ScoresPlaces
from ovdiff.engines.segmenting import LoadsModels, SharesModels
from ovdiff.errors import DeviceError, DeviceMemoryError, ImageError, VocabularyError, WeightsError
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pamr import pamr
from ovdiff.tinyworld.world import render, sample_scene
from ovdiff.vocabulary import Category, Vocabulary

WORDS = Vocabulary(["ball", "house", "sky", "grass"])


@pytest.fixture(scope="module")
def preset() -> ClipDensePreset:
    """CLIP surgery, with which the embedded CLIP tells words apart best, and softmax."""
    found = load_any_preset("clip_surgery_tinyworld")
    assert isinstance(found, ClipDensePreset)
    return replace(
        found,
        dense=replace(found.dense, surgery_blocks=2),
        scores=ActivationSettings("softmax", 10.0),
        background=BackgroundSettings((), 0.3),
        windows=replace(found.windows, short_side_px=128),
        refine=replace(found.refine, pamr=False),
    )


@pytest.fixture(scope="module")
def engine(preset: ClipDensePreset, models: LoadedModels) -> BaselineEngine:
    return BaselineEngine(preset, models=models)


@pytest.fixture(scope="module")
def scene() -> NDArray[np.uint8]:
    return render(sample_scene(3, "thresholds"), 160).image


def _with(engine: BaselineEngine, **tables: dict[str, Any]) -> BaselineEngine:
    changed = {name: replace(getattr(engine.preset, name), **fields) for name, fields in tables.items()}
    return engine.beside(replace(engine.preset, **changed), Bank(Path("unused")))


def test_it_is_an_engine_that_prepares_nothing(preset: ClipDensePreset, tmp_path: Path) -> None:
    engine = make_engine(preset, Bank(tmp_path), "cpu")
    assert isinstance(engine, SegmentationEngine) and isinstance(engine, HasEncodings)
    assert isinstance(engine, SharesModels) and isinstance(engine, LoadsModels)
    said: list[tuple[str, float]] = []
    engine.build(Category("ball"), lambda stage, done: said.append((stage, done)))
    assert engine.has(Category("ball")) and said == [("ready", 1.0)] and not list(tmp_path.iterdir())
    assert engine.category_key(Category("ball")) != engine.category_key(Category("ball", prompts=("a ball",)))


def test_a_device_that_is_not_there_is_refused(preset: ClipDensePreset, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="nonsense"):
        make_engine(preset, Bank(tmp_path), "nonsense")


def test_an_image_is_labelled_at_its_own_size(engine: BaselineEngine, scene: NDArray[np.uint8]) -> None:
    image = scene[:130]
    found = engine.segment(image, WORDS)
    assert found.label_map.shape == found.scores.shape == found.margins.shape == (130, 160)
    assert set(np.unique(found.label_map)) <= set(range(5)) and len(np.unique(found.label_map)) > 1
    assert found.scores.min() >= 0 and found.scores.max() <= 1 and np.isfinite(found.margins).all()


def test_the_same_image_gives_the_same_masks_and_is_encoded_once(
    engine: BaselineEngine, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = engine.segment(scene, WORDS)
    encoded = engine.encode(scene)
    monkeypatch.setattr(engine, "_encode", lambda image: pytest.fail("encoded again"))
    assert engine.encode(scene[::-1][::-1]) is encoded
    again = BaselineEngine(engine.preset).segment(scene, WORDS)
    for name in ("label_map", "scores", "margins"):
        assert np.array_equal(getattr(first, name), getattr(again, name))


def test_only_so_many_images_are_kept(engine: BaselineEngine, scene: NDArray[np.uint8]) -> None:
    small = _with(engine, cache={"images": 1})
    first = small.encode(scene)
    small.encode(scene[:, ::-1])
    assert small.encode(scene) is not first
    assert _with(engine, cache={"images": 0}).segment(scene, WORDS).label_map.any()


def test_batches_change_no_mask(engine: BaselineEngine, scene: NDArray[np.uint8]) -> None:
    one, many = (_with(engine, batches={"size": size}).encode(scene) for size in (1, 16))
    assert len(one.batches) > len(many.batches) == 1
    for index in range(2):
        found = torch.cat([parts[index] for _, parts in one.batches])
        torch.testing.assert_close(found, many.batches[0][1][index], rtol=1e-4, atol=1e-5)


def test_words_of_the_background_win_pixels_and_are_never_drawn(
    engine: BaselineEngine, scene: NDArray[np.uint8]
) -> None:
    plain = _with(engine, background={"words": (), "threshold": 0.0}).segment(scene, WORDS)
    assert plain.label_map.all()
    behind = _with(engine, background={"words": ("road", "bird", "sky"), "threshold": 0.0}).segment(scene, WORDS)
    taken = behind.label_map == 0
    assert taken.any() and not taken.all()
    assert np.array_equal(behind.label_map[~taken], plain.label_map[~taken])


@pytest.mark.parametrize("behind", [(), ("road", "bird", "sky")])
def test_the_scores_of_a_place_are_those_that_label_it(
    engine: BaselineEngine, scene: NDArray[np.uint8], behind: tuple[str, ...]
) -> None:
    scoring = _with(engine, background={"words": behind, "threshold": 0.2}, refine={"min_part_px": 0})
    encoded, (height, width) = scoring.encode(scene), scene.shape[:2]
    found = scoring.label(encoded, WORDS)
    assert isinstance(scoring, ScoresPlaces)
    for x, y in ((0, 0), (width - 1, height - 1), (width // 2, 7), (3, height // 2), (90, 120)):
        told = scoring.place_scores(encoded, WORDS, (x, y))
        assert len(told.scores) == len(WORDS.names) and told.least >= 0.2
        winner = int(np.argmax(told.scores))
        assert found.label_map[y, x] == (winner + 1 if told.scores[winner] > told.least else 0)
        assert max(*told.scores, told.least) == pytest.approx(max(float(found.scores[y, x]), 0.2), abs=1e-5)
    for outside in ((width, 0), (0, height), (-1, 0)):
        with pytest.raises(ImageError, match="lies outside the image"):
            scoring.place_scores(encoded, WORDS, outside)


def test_a_pixel_below_the_threshold_is_background(engine: BaselineEngine, scene: NDArray[np.uint8]) -> None:
    plain = _with(engine, background={"words": (), "threshold": 0.0}).segment(scene, WORDS)
    strict = _with(engine, background={"words": (), "threshold": 0.5}).segment(scene, WORDS)
    assert np.array_equal(strict.label_map, np.where(plain.scores < 0.5, 0, plain.label_map))
    assert (plain.scores < 0.5).any() and strict.label_map.any()


def test_pamr_and_the_clean_up_follow_the_preset(
    engine: BaselineEngine, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    monkeypatch.setattr(
        "ovdiff.baselines.engine.pamr", lambda image, maps, given: sizes.append(maps.shape) or pamr(image, maps, given)
    )
    plain = _with(engine, refine={"pamr": False}).segment(scene, WORDS)
    assert not sizes
    refined = _with(engine, refine={"pamr": True}).segment(scene, WORDS)
    assert [tuple(size) for size in sizes] == [(4, 128, 128)] and not np.array_equal(plain.label_map, refined.label_map)
    assert not _with(engine, refine={"min_part_px": 160 * 160 + 1}).segment(scene, WORDS).label_map.any()


def test_features_may_be_kept_as_halves(engine: BaselineEngine, scene: NDArray[np.uint8]) -> None:
    encoded = _with(engine, windows={"features_dtype": "float16"}).encode(scene)
    assert {part.dtype for _, parts in encoded.batches for part in parts} == {torch.float16}


def test_keys_tell_what_matters(engine: BaselineEngine) -> None:
    other_words = _with(engine, background={"threshold": 0.7})
    other_attention = _with(engine, dense={"attention": "maskclip"})
    assert engine.encoding_key() == other_words.encoding_key() != other_attention.encoding_key()
    assert len({each.fingerprint() for each in (engine, other_words, other_attention)}) == 3


def test_missing_weights_are_named_and_change_the_fingerprint(
    preset: ClipDensePreset, scene: NDArray[np.uint8]
) -> None:
    clip = replace(preset.models.clip, source="/nowhere/clip")
    engine = BaselineEngine(replace(preset, models=replace(preset.models, clip=clip)))
    assert engine.fingerprint() == engine.preset.fingerprint()
    with pytest.raises(WeightsError, match="/nowhere/clip"):
        engine.segment(scene, WORDS)


def test_what_cannot_be_segmented_is_refused(engine: BaselineEngine, scene: NDArray[np.uint8]) -> None:
    with pytest.raises(ImageError):
        engine.segment(scene[..., 0], WORDS)
    with pytest.raises(VocabularyError, match="longer than the text encoder reads"):
        engine.segment(scene, Vocabulary([Category("ball", prompts=("umbrella " * 60,))]))


def test_too_little_memory_is_said_in_words(
    engine: BaselineEngine, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr("ovdiff.baselines.engine.decide", full)
    with pytest.raises(
        DeviceMemoryError, match=r"The maps of 4 words, 128 x 128 px each, do not fit .*max_long_side_px"
    ):
        engine.segment(scene, WORDS)


def test_features_that_are_not_finite_are_refused(
    preset: ClipDensePreset, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = BaselineEngine(preset)
    monkeypatch.setattr(engine._method, "encode", lambda windows: (torch.full((len(windows), 2, 1, 1), torch.nan),))
    with pytest.raises(WeightsError, match="not finite numbers: set the model's dtype to 'float32'"):
        engine.encode(scene)


def test_without_background_every_pixel_has_a_category(engine: BaselineEngine, scene: NDArray[np.uint8]) -> None:
    for activation in ("none", "softmax"):
        other = _with(engine, scores={"activation": activation}, background={"threshold": 0.9})
        assert not other.segment(scene, WORDS).label_map.all()
        every = other.beside(other.preset.without_background(), Bank(Path("unused")))
        assert every.segment(scene, WORDS).label_map.all()


def test_labels_are_decided_from_the_maps_of_words(engine: BaselineEngine, scene: NDArray[np.uint8]) -> None:
    words, encoded = competing_words(WORDS, ()), engine.encode(scene)
    maps = engine.word_maps(encoded, words)
    assert maps.shape == (4, 128, 128)
    found = decide(maps, words, (160, 160), Rule(engine.preset.scores, engine.preset.background.threshold))  # type: ignore[attr-defined]
    assert np.array_equal(found.label_map, engine.label(encoded, WORDS).label_map)
