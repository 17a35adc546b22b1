from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ovdiff import Bank, Category, Engine, Vocabulary, load_preset
from ovdiff.errors import PresetError
from ovdiff.novelties.finder import LEAST_AREA, LEAST_NOVELTY, NoveltyFinder
from ovdiff.tinyworld.world import NAMES, render, sample_scene

KNOWN = Vocabulary((Category("tree", kind="thing"), Category("sky", kind="stuff"), Category("grass", kind="stuff")))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The embedded models with few support images; only CLIP knows other words, because no anchor is built."""
    preset = load_preset("tinyworld")
    quick = replace(preset, generation=replace(preset.generation, images=2, steps=6))
    engine = Engine(quick, Bank(tmp_path_factory.mktemp("bank")))
    for category in KNOWN.categories:
        engine.build(category)
    return engine


def test_a_thing_that_nobody_asked_for_is_found_and_named(engine: Engine) -> None:
    """Over several scenes, so that no single drawing decides: most that is found is named as it is."""
    named = []
    for number in range(50_000, 50_006):
        drawn = render(sample_scene(number, "thresholds", things=2), 128)
        for region in engine.novel_regions(engine.encode(drawn.image), KNOWN):
            assert LEAST_NOVELTY < region.novelty <= 1 and region.area_share > LEAST_AREA
            assert region.mask is not None and region.mask.mean() == pytest.approx(region.area_share)
            assert not set(region.words) & set(KNOWN.names)
            assert len(region.shares) == len(region.words) and region.shares.sum() == pytest.approx(
                region.novelty, abs=1e-4
            )
            rows, columns = np.nonzero(region.mask)
            size = region.mask.shape
            sampled = drawn.label_map[rows * 128 // size[0], columns * 128 // size[1]]
            present = {NAMES[label] for label in np.unique(sampled)}
            named.append(region.words[int(region.shares.argmax())] in present)
    assert len(named) >= 3 and np.mean(named) > 0.5


def test_a_preset_without_clip_is_refused() -> None:
    parts = SimpleNamespace(preset=SimpleNamespace(models=SimpleNamespace(clip=None)))
    finder = NoveltyFinder(SimpleNamespace(parts=parts))  # type: ignore[arg-type]
    with pytest.raises(PresetError, match="Novelties need CLIP"):
        finder.find(None, KNOWN)  # type: ignore[arg-type]


def test_words_of_a_preset_without_anchors_are_the_common_ones(engine: Engine) -> None:
    bare = replace(engine.preset, anchors=replace(engine.preset.anchors, words=(), prototypes=()))
    other = engine.beside(bare, engine.bank)
    match = other._segmenter.match(other.encode(np.zeros((64, 64, 3), np.uint8)), KNOWN)
    words = other._novelty_finder._other_words(match.competition, KNOWN)
    assert len(words) > 100 and "tree" not in words
