import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from ovdiff.bank import Bank
from ovdiff.engine import Engine
from ovdiff.errors import (
    BankCorruptError,
    BankError,
    DeviceMemoryError,
    ImageError,
    MissingPrototypesError,
    OVDiffError,
)
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import ClipModelSettings
from ovdiff.proposals.maskcut import MaskCut
from ovdiff.segmenting.segmenter import class_scores
from ovdiff.vocabulary import Category, Vocabulary
from ovdiff.vocabulary.kind_table import STUFF_NAMES
from ovdiff.vocabulary.kinds import NearestKinds
from tests.fakes.waiting import eventually

BOAT, WATER, FISH = Category("boat"), Category("water"), Category("red fish")
VOCABULARY = Vocabulary((BOAT, WATER, FISH))
THREADS_TIMEOUT_S = 30.0  # the small models take seconds, also on a machine that does other work


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return Bank(tmp_path_factory.mktemp("bank"))


@pytest.fixture(scope="module")
def engine(preset: Preset, bank: Bank) -> Engine:
    engine = Engine(preset, bank)
    for category in VOCABULARY.categories:
        engine.build(category)
    return engine


def _variant(engine: Engine, section: str, **changes: object) -> Engine:
    """The same bank and models' settings, one section of the preset changed."""
    preset = replace(engine.preset, **{section: replace(getattr(engine.preset, section), **changes)})  # type: ignore[arg-type]
    return Engine(preset, engine.bank)


def test_models_can_be_loaded_before_they_are_needed(preset: Preset, bank: Bank, image: np.ndarray) -> None:
    engine = Engine(preset, bank)
    engine.load_models()
    loaded = dict(engine._models._loaded)
    engine.encode(image)
    assert loaded
    assert engine._models._loaded == loaded  # nothing was left to load


def test_segmentation_has_the_image_s_size_and_known_labels(engine: Engine, image: np.ndarray) -> None:
    before = image.copy()
    found = engine.segment(image, VOCABULARY)
    assert found.label_map.shape == found.scores.shape == found.margins.shape == image.shape[:2]
    assert set(np.unique(found.label_map)) <= {0, 1, 2, 3}
    assert found.scores.min() >= 0 and found.scores.max() <= 1 + 1e-6 and found.margins.min() >= 0
    np.testing.assert_array_equal(image, before)


def test_same_inputs_give_the_same_bank_and_the_same_masks(
    engine: Engine, preset: Preset, tmp_path: Path, image: np.ndarray
) -> None:
    again = Engine(preset, Bank(tmp_path))
    for category in reversed(VOCABULARY.categories):  # the order of building does not matter
        again.build(category)
    keys = engine.bank.keys()
    for key in keys:
        for suffix in (".safetensors", ".json"):
            name = f"{key}{suffix}"
            assert (tmp_path / name).read_bytes() == (engine.bank.folder / name).read_bytes()
    first, second = engine.segment(image, VOCABULARY), again.segment(image, VOCABULARY)
    np.testing.assert_array_equal(first.label_map, second.label_map)
    np.testing.assert_array_equal(first.scores, second.scores)


def test_a_name_stands_for_its_category(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.bank, "save", lambda *_: pytest.fail("saved again"))
    engine.build("boat")
    assert engine.has("boat") and not engine.has("clock")
    assert engine.category_key("boat") == engine.category_key(BOAT)
    assert engine.support_set("boat").images[0].seed == engine.support_set(BOAT).images[0].seed
    with pytest.raises(BankError, match="The support images of 'clock' are not in"):
        engine.support_set("clock")


def test_building_again_does_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.bank, "save", lambda *_: pytest.fail("saved again"))
    stages: list[tuple[str, float]] = []
    engine.build(BOAT, lambda stage, fraction: stages.append((stage, fraction)))
    assert stages == [("done", 1.0)]


def test_card_says_what_made_the_set(engine: Engine) -> None:
    card = engine.bank.card(engine.category_key(FISH))
    assert card.category == "red fish" and card.phrases == ("red fish",)
    assert len(card.image_seeds) == engine.preset.generation.images
    assert card.parameters["generation"]["steps"] == engine.preset.generation.steps
    assert card.models["clip"]["weights"].startswith("sha256:")
    assert card.images_with_foreground >= 1 and "torch" in card.library_versions


def test_what_is_missing_is_named(engine: Engine, image: np.ndarray) -> None:
    with pytest.raises(MissingPrototypesError, match="'clock', 'mug'") as caught:
        engine.segment(image, Vocabulary((Category("clock"), BOAT, Category("mug"))))
    assert caught.value.names == ("clock", "mug")


def test_damaged_set_counts_as_missing_and_building_heals_it(preset: Preset, tmp_path: Path, image: np.ndarray) -> None:
    engine = Engine(preset, Bank(tmp_path))
    engine.build(BOAT)
    file = tmp_path / f"{engine.category_key(BOAT)}.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    assert not engine.has(BOAT)
    with pytest.raises(MissingPrototypesError):
        engine.segment(image, Vocabulary((BOAT,)))
    with pytest.raises(BankCorruptError, match=file.name[:16]):
        engine.bank.load(engine.category_key(BOAT))
    engine.build(BOAT)
    assert engine.has(BOAT)
    engine.segment(image, Vocabulary((BOAT,)))


def test_a_vocabulary_edit_encodes_nothing_again(
    engine: Engine, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.segment(image, VOCABULARY)
    monkeypatch.setattr("ovdiff.segmenting.image_segmenter.encode_image", lambda *_: pytest.fail("encoded again"))
    engine.segment(image, Vocabulary((FISH, BOAT)))


def test_tables_of_recent_vocabularies_are_kept_within_a_bound_on_memory(
    engine: Engine, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, loaded = Engine(engine.preset, engine.bank), []
    load = fresh.bank.load
    monkeypatch.setattr(fresh.bank, "load", lambda key: loaded.append(key) or load(key))
    two, one = Vocabulary((BOAT, WATER)), Vocabulary((FISH,))
    for vocabulary in (two, one, two, one):
        fresh.segment(image, vocabulary)
    assert len(loaded) == 3
    monkeypatch.setattr("ovdiff.segmenting.tables._MOST_BYTES", 1)  # the vocabulary in hand is kept all the same
    for vocabulary in (one, one, two, two):
        fresh.segment(image, vocabulary)
    assert len(loaded) == 3 + 2


def test_label_ids_follow_the_vocabulary_s_order(engine: Engine, image: np.ndarray) -> None:
    everything = _variant(engine, "prefilter", enabled=False)
    forward = everything.segment(image, VOCABULARY).label_map
    backward = everything.segment(image, Vocabulary(VOCABULARY.categories[::-1])).label_map
    np.testing.assert_array_equal(backward, np.where(forward > 0, 4 - forward, 0))


NO_IMAGES = [
    np.zeros((4, 4), np.uint8),
    np.zeros((4, 4, 4), np.uint8),
    np.zeros((4, 4, 3)),
    np.zeros((0, 4, 3), np.uint8),
    [[1]],
]


@pytest.mark.parametrize("bad", NO_IMAGES)
def test_what_is_no_image_is_refused(engine: Engine, bad: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"uint8 RGB array, got|no pixels"):
        engine.segment(bad, VOCABULARY)


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 200), (200, 3), (64, 64)])
def test_odd_sizes_work(engine: Engine, size_hw: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    assert engine.segment(image, VOCABULARY).label_map.shape == size_hw


@pytest.mark.parametrize("pamr", [False, True])
def test_an_array_may_be_read_backwards(engine: Engine, pamr: bool) -> None:
    """A flipped view has negative strides, which torch refuses."""
    uncached = _variant(engine, "cache", disk_mib=0)
    one, other = (_variant(uncached, "refine", pamr=pamr, pamr_iterations=1) for _ in range(2))
    image = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    found = one.segment(image[::-1], VOCABULARY)
    assert np.array_equal(found.scores, other.segment(image[::-1].copy(), VOCABULARY).scores)


def test_threshold_instead_of_background_prototypes(engine: Engine, image: np.ndarray) -> None:
    strict = _variant(engine, "matching", background="threshold", background_threshold=1.0)
    assert not strict.segment(image, VOCABULARY).label_map.any()
    lenient = _variant(engine, "matching", background="threshold", background_threshold=0.0).segment(image, VOCABULARY)
    np.testing.assert_array_equal(lenient.label_map > 0, lenient.scores > 0)


def test_threshold_never_scores_background_prototypes(engine: Engine, image: np.ndarray) -> None:
    chosen = _variant(engine, "matching", background="threshold", background_threshold=0.6)
    assert all((table.classes >= 0).all() for table in chosen._segmenter.tables.of(VOCABULARY).values())
    everything = replace(chosen.preset, prefilter=replace(chosen.preset.prefilter, enabled=False))
    found = Engine(everything, engine.bank).segment(image, VOCABULARY)
    np.testing.assert_array_equal(found.label_map == 0, found.scores <= np.float32(0.6))


def test_without_background_every_pixel_is_labelled_as_the_categories_rank(engine: Engine, image: np.ndarray) -> None:
    ungated = _variant(engine, "prefilter", enabled=False)
    none = _variant(ungated, "matching", background="none").segment(image, VOCABULARY)
    strict = _variant(ungated, "matching", background="threshold", background_threshold=0.0).segment(image, VOCABULARY)
    assert (none.label_map > 0).all() and np.isfinite(none.margins).all()
    assert (none.scores[strict.label_map == 0] == 0).all()  # where all cosines are negative
    labelled = strict.label_map > 0
    np.testing.assert_array_equal(none.label_map[labelled], strict.label_map[labelled])


def test_kinds_are_decided_once_a_vocabulary_and_said_once(
    engine: Engine, image: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    fresh = Engine(engine.preset, engine.bank)
    with caplog.at_level(logging.INFO, "ovdiff.segmenting.category_kinds"):
        fresh.segment(image, VOCABULARY)
        fresh.segment(image, VOCABULARY)
        found = fresh.kinds(VOCABULARY)
    assert [(each.kind, each.decided_by) for each in found] == [
        ("thing", "table"),
        ("stuff", "table"),
        ("thing", "default"),
    ]
    assert [record.message for record in caplog.records] == [
        "'boat' is thing (table); 'water' is stuff (table); 'red fish' is thing (default)"
    ]


def test_of_a_changed_vocabulary_only_new_names_are_decided(
    engine: Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = _variant(engine, "stuff_filter", unknown_names="nearest")
    assert fresh.kind_so_far(FISH) is None  # CLIP has still to be asked
    assert fresh.kind_so_far(BOAT) is not None
    with caplog.at_level(logging.INFO, "ovdiff.segmenting.category_kinds"):
        alone = fresh.kinds(Vocabulary((FISH,)))
        assert fresh.kind_so_far(FISH) == alone[0]
        monkeypatch.setattr(NearestKinds, "decide", lambda *_: pytest.fail("asked CLIP again"))
        both = fresh.kinds(Vocabulary((BOAT, FISH)))
    assert both[1] == alone[0]
    assert [record.message.count(" is ") for record in caplog.records] == [1, 1]


def test_unknown_names_ask_clip_where_the_preset_says_so_and_only_they(engine: Engine) -> None:
    nearest = _variant(engine, "stuff_filter", unknown_names="nearest")
    known = nearest.kinds(Vocabulary((BOAT, WATER)))
    assert [each.decided_by for each in known] == ["table", "table"]
    assert "texts" not in vars(nearest._segmenter.parts)  # no CLIP for known names
    (unknown,) = nearest.kinds(Vocabulary((FISH,)))
    assert unknown.decided_by == "nearest" and unknown.nearest is not None
    assert unknown.kind == ("stuff" if unknown.nearest in STUFF_NAMES else "thing")
    assert unknown.similarity == pytest.approx(_cosine(nearest, "a red fish", f"a {unknown.nearest}"), abs=1e-5)


def _cosine(engine: Engine, first: str, second: str) -> float:
    vectors = engine._segmenter.parts.texts.embed([first, second])
    assert vectors[0] is not None and vectors[1] is not None
    return float(vectors[0] @ vectors[1])


def test_one_extractor_may_vote_alone_on_the_same_bank(engine: Engine, image: np.ndarray) -> None:
    alone = _variant(engine, "matching", extractors=("clip",))
    assert alone.has(BOAT)
    assert not np.array_equal(alone.segment(image, VOCABULARY).scores, engine.segment(image, VOCABULARY).scores)


def test_pamr_is_switched_on_by_the_preset(engine: Engine, image: np.ndarray) -> None:
    refined = _variant(engine, "refine", pamr=True, pamr_iterations=2)
    assert not np.array_equal(refined.segment(image, VOCABULARY).scores, engine.segment(image, VOCABULARY).scores)


def _part_sizes(label_map: np.ndarray) -> list[int]:
    labelled = [ndimage.label(label_map == label)[0] for label in np.unique(label_map) if label > 0]
    return sorted(int(size) for pieces in labelled for size in np.bincount(pieces.ravel())[1:])


@pytest.mark.parametrize("size_hw", [(40, 50), (200, 260)])  # smaller and larger than the working image
def test_clean_up_counts_pixels_of_the_image_itself(engine: Engine, size_hw: tuple[int, int]) -> None:
    blocks = np.random.default_rng(0).integers(0, 256, (20, 26, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(blocks).resize(size_hw[::-1], Image.Resampling.NEAREST))
    sizes = _part_sizes(engine.segment(image, VOCABULARY).label_map)
    limit = sizes[len(sizes) // 2]
    assert sizes[0] < limit
    cleaned = _variant(engine, "refine", min_part_px=limit).segment(image, VOCABULARY)
    assert _part_sizes(cleaned.label_map) == [size for size in sizes if size >= limit]


def test_objects_are_told_apart_and_nothing_else_changes(engine: Engine, image: np.ndarray) -> None:
    found = engine.segment(image, VOCABULARY)
    assert found.instance_map is None
    with_ids = engine.with_instances(image, found, VOCABULARY)
    assert with_ids.label_map is found.label_map and with_ids.scores is found.scores
    ids = with_ids.instance_map
    assert ids is not None and ids.shape == found.label_map.shape and ids.max() > 0
    assert not ids[found.label_map == 0].any()
    assert all(len(np.unique(found.label_map[ids == number])) == 1 for number in range(1, ids.max() + 1))


def test_proposals_are_made_of_the_image_by_the_preset_s_source(
    engine: Engine, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []
    propose = MaskCut.propose
    monkeypatch.setattr(MaskCut, "propose", lambda self, pixels: asked.append(pixels.shape) or propose(self, pixels))
    found = engine.segment(image, VOCABULARY)
    engine.with_instances(image, found, VOCABULARY)
    assert asked == []
    proposing = _variant(engine, "instances", method="proposals", source="maskcut")
    assert proposing.with_instances(image, found, VOCABULARY).instance_map is not None
    assert asked == [image.shape]


def test_a_segmentation_of_another_image_is_refused(engine: Engine, image: np.ndarray) -> None:
    found = engine.segment(image, VOCABULARY)
    with pytest.raises(ImageError, match=r"^Expected an image and its own segmentation, got \(\d+, \d+\) and"):
        engine.with_instances(image[:-1], found, VOCABULARY)


def test_stuff_is_never_prefiltered_and_gives_no_background(engine: Engine, image: np.ndarray) -> None:
    found = engine.segment(image, Vocabulary((WATER,)))
    np.testing.assert_array_equal(found.label_map > 0, found.scores > 0)  # nothing else is there to win
    assert found.label_map.any()


def test_fingerprint_follows_the_weights_that_run_on_images_and_no_others(
    engine: Engine, weights_folder: Path, tmp_path: Path
) -> None:
    """CLIP that only prefilters is in no prototype set's key, yet decides what is looked for."""
    folder = tmp_path / "clip"
    shutil.copytree(weights_folder / "clip", folder)

    def fresh(**changes: Any) -> Engine:
        models = replace(engine.preset.models, clip=ClipModelSettings(source=str(folder)))
        extractors = replace(engine.preset.extractors, use=("dino",))
        return Engine(replace(engine.preset, models=models, extractors=extractors, **changes), engine.bank)

    without_clip = {"prefilter": replace(engine.preset.prefilter, enabled=False)}
    running, before, before_without = fresh(), fresh().fingerprint(), fresh(**without_clip).fingerprint()
    assert running.fingerprint() == before
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"?")
    assert fresh().fingerprint() != before
    assert running.fingerprint() == before  # it goes on with what it has loaded
    assert fresh(**without_clip).fingerprint() == before_without


def test_fingerprint_of_missing_weights_is_another_one_and_no_error(engine: Engine, tmp_path: Path) -> None:
    models = replace(engine.preset.models, clip=ClipModelSettings(source=str(tmp_path / "clip")))
    missing = Engine(replace(engine.preset, models=models), engine.bank)
    before = missing.fingerprint()
    shutil.copytree(engine.preset.models.clip.source, tmp_path / "clip")  # type: ignore[union-attr]
    assert missing.fingerprint() != before


def test_making_an_engine_loads_nothing(preset: Preset, bank: Bank) -> None:
    fresh = Engine(preset, bank)
    assert fresh.has(BOAT) in (True, False)
    assert not fresh._models._loaded


def _run_at_once(works: Sequence[Callable[[], object]]) -> None:
    """Run each in a thread of its own; a lock that is never given back is a failure, not an endless wait."""
    errors: list[Exception] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 — the main thread shows it
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(THREADS_TIMEOUT_S)
        assert not thread.is_alive(), "a thread waits for the models, or for the bank, for ever"
    assert errors == []


def test_threads_share_one_engine(engine: Engine) -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    expected = [engine.segment(image, VOCABULARY).label_map for image in images]
    fresh, found = Engine(engine.preset, engine.bank), {}

    def work(number: int) -> None:
        found[number] = fresh.segment(images[number % 3], VOCABULARY).label_map

    _run_at_once([partial(work, number) for number in range(6)])
    for number in range(6):
        np.testing.assert_array_equal(found[number], expected[number % 3])


def test_a_prediction_waits_for_one_batch_of_a_build_and_not_for_one_a_step(
    engine: Engine, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, running, stop, waited = 0, threading.Event(), threading.Event(), []
    fresh = Engine(engine.preset, engine.bank)
    lock = fresh._models.lock

    def build() -> None:
        nonlocal batches
        while not stop.is_set():
            with lock:
                batches += 1
                running.set()
                assert eventually(lambda: bool(lock._waiting) or stop.is_set()), "the prediction asks"

    def scores(*arguments: Any, **named: Any) -> Any:
        waited.append(batches - asked)  # the models are done with; counted once an extractor and batch of windows
        return class_scores(*arguments, **named)

    monkeypatch.setattr("ovdiff.segmenting.matching.class_scores", scores)
    builder = threading.Thread(target=build, daemon=True)
    builder.start()
    try:
        assert running.wait(60)
        asked = batches
        _run_at_once([partial(fresh.segment, np.roll(image, 1, axis=1), VOCABULARY)])
    finally:
        stop.set()
    builder.join(60)
    assert waited[0] <= 1  # one that begins when the models are done with


def test_scores_that_do_not_fit_into_memory_are_an_error_that_says_so(
    engine: Engine, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("ovdiff.segmenting.matching.class_scores", full)
    with pytest.raises(DeviceMemoryError, match=r"score maps of \d categories, 160 x 128 px each, do not fit"):
        engine.segment(image, VOCABULARY)


def test_two_engines_that_build_one_category_at_once_both_have_it(
    preset: Preset, tmp_path: Path, image: np.ndarray
) -> None:
    engines = [Engine(preset, Bank(tmp_path)) for _ in range(2)]
    _run_at_once([partial(engine.build, BOAT) for engine in engines])
    assert all(engine.has(BOAT) for engine in engines)
    found: list[np.ndarray] = []
    for engine in engines:
        _run_at_once([lambda engine=engine: found.append(engine.segment(image, Vocabulary((BOAT,))).label_map)])
    np.testing.assert_array_equal(*found)


def test_every_failure_is_one_of_ours(engine: Engine) -> None:
    with pytest.raises(OVDiffError):
        engine.build(Category("very " * 60 + "long"))
